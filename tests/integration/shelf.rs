//! Rules whose one event needs a lookup that takes as long as a test likes.

use rowcast::config::Config;

use crate::cli::Files;

/// A configuration whose catalog tells the room `shelf` of each row inserted into `table`, as `thing:new` with its id and a
/// name that `lookup` finds, SQL with the ids as keys. The files are to be kept for as long as it is in use.
pub fn with_lookup(table: &str, lookup: &str) -> (Config, Files) {
    let rules = format!(
        r#"
room = [{{ room = "shelf", join = "true" }}]

[[lookup]]
name = "slow"
returns = "one"
cache = "0s"
sql = "{lookup}"

[[rule]]
event = "thing:new"
table = "{table}"
on = ["insert"]
lookups = {{ named = {{ use = "slow", key = "string(row.id)" }} }}
data = {{ id = "row.id", name = "named.name" }}
to = [{{ rooms = ["shelf"] }}]
"#
    );
    let files = Files::new(&[("rules.toml", &rules)]);
    let mut config = Config::default();
    config.catalog.dir = Some(files.path().into());
    (config, files)
}
