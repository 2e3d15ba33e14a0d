//! What takes long: ten million changes through a small log, and an hour of sockets that come and go. Each is a measurement
//! that fails if something grows, and draws what it saw.
//!
//!     make log-life
//!     make soak ARGS="--seconds 3600"

mod crowd;
mod life;
mod log_life;
mod plot;
mod sample;
#[allow(dead_code, reason = "the integration tests use the rest")]
#[path = "../support/mod.rs"]
mod support;
mod trend;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use self::support::{database::Database, server::Server};

/// A number from the environment, where scripts put what they were told.
fn from_environment(name: &str, default: u64) -> u64 {
    let Ok(value) = env::var(name) else { return default };
    value.parse().unwrap_or_else(|_| panic!("{name}: expected a number, found {value:?}"))
}

/// Where the picture goes.
fn plot_file(default: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    env::var_os("ROWCAST_PLOT").map_or_else(|| root.join(default), PathBuf::from)
}

/// A watched table `reading`, whose rows carry a version that grows by one with each change.
async fn readings(server: &Server, rows: u64) -> Database {
    let database = Database::empty_on(&server.url).await;
    database.migrate().await;
    // Two hundred bytes of text. More than half of each page is left free, so that an update finds room beside the row, and the table itself stays as it is.
    database
        .run(&format!(
            "create table reading (id bigint primary key, version bigint not null, note text) with (fillfactor = 40);
             insert into reading select n, 0, repeat('a reading ', 20) from generate_series(0, {rows} - 1) n;
             select rowcast.watch('public.reading'); analyze reading"
        ))
        .await;
    database
}

/// A configuration in a directory of its own, removed when dropped.
struct Configuration {
    directory: PathBuf,
}

impl Configuration {
    fn write(capture: &str) -> Self {
        let directory = env::temp_dir().join(format!("rowcast-soak-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        let of = |name: &str| directory.join(name);
        fs::write(of("rooms.toml"), ROOMS).expect("written");
        fs::write(of("rules.toml"), RULES).expect("written");
        let catalog = directory.to_str().expect("text");
        // All clients come from one address, and what the journal keeps is full within the first minute or two.
        let limits = "[limits]\nconnections_per_address = 100000\n[journal]\nchanges = 2000\ndeliveries = 50000\nhappenings = 2000\n";
        let text = format!("[capture]\n{capture}\n[catalog]\ndir = \"{catalog}\"\n{limits}");
        fs::write(env::temp_dir().join(format!("rowcast-soak-{}.toml", std::process::id())), text).expect("written");
        Self { directory }
    }

    fn file(&self) -> PathBuf {
        self.directory.with_extension("toml")
    }
}

impl Drop for Configuration {
    fn drop(&mut self) {
        fs::remove_file(self.file()).ok();
        fs::remove_dir_all(&self.directory).ok();
    }
}

const ROOMS: &str = r#"
[[room]]
room = "reading:{id}"
join = "true"

[[room]]
room = "readings:{id}"
join = "true"
"#;

const RULES: &str = r#"
[[rule]]
event = "reading:changed"
table = "reading"
on = ["update"]
to = [{ rooms = ["reading:{row.id}", "readings:all"] }]
data = { id = "row.id", before = "old.version", after = "new.version" }
"#;
