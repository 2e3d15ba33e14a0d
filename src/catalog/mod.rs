//! The catalog: which change becomes which event, for whom, with which data. Rules are data, not code: TOML files whose
//! conditions and values are CEL expressions.
//!
//! ```text
//! files -> load -> declarations          load, fault
//!            |
//! compile: rules, rooms, lookups         rule, rooms, visitors, template, changes, vocabulary, expression, functions, value
//!            |
//! bind: which rules are live             bind, lookups
//!            |
//! evaluate: Page -> Events               evaluate
//! ```
//!
//! What stands in a file:
//!
#![doc = include_str!("../../catalog/README.md")]

mod bind;
mod bounds;
mod changes;
pub mod describe;
mod evaluate;
mod explain;
mod expression;
mod fault;
mod functions;
mod items;
mod load;
mod lookups;
mod outline;
mod own_tables;
mod query;
mod reveal;
mod rooms;
mod rule;
mod schedule;
mod template;
#[cfg(test)]
mod tests;
mod value;
mod visitors;
mod vocabulary;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    panic::resume_unwind,
    path::Path,
    thread,
};

use cel::{
    Context,
    common::types::{CelMap, CelMapKey},
};

pub use self::{
    bind::Inactive,
    evaluate::{Engine, Evaluated, Failure},
    explain::{
        AudienceExplanation, Explainer, Explanation, Heard, Hearing, NeedsLookups, Reason, RuleExplanation, Unnamed,
        Verdict, one_line,
    },
    fault::{Fault, Faults},
    functions::camel,
    lookups::Unavailable,
    outline::{AudienceOutline, Outline, RuleOutline},
    own_tables::{ONLINE, ROOM},
    query::{QueryError, Runnable},
    reveal::Revealed,
    rooms::MessageError,
    rule::Rule,
    schedule::{Schedule, WaitingList},
};
use self::{
    load::{Declarations, Source},
    lookups::Lookup,
    query::Prepared,
    rooms::Rooms,
};
use crate::{change::TableName, grants::Granted, identity::Identity, room::Room};

/// Values by name, from the operator's configuration; they override those in the catalog's `[settings]`.
pub type Settings = BTreeMap<String, toml::Value>;

/// The files compiled into the binary, in the order in which their rules are evaluated.
const BUILT_IN: [(&str, &str); 10] = [
    ("catalog/rooms.toml", include_str!("../../catalog/rooms.toml")),
    ("catalog/products.toml", include_str!("../../catalog/products.toml")),
    ("catalog/stock.toml", include_str!("../../catalog/stock.toml")),
    ("catalog/wholesale.toml", include_str!("../../catalog/wholesale.toml")),
    ("catalog/quotations.toml", include_str!("../../catalog/quotations.toml")),
    ("catalog/orders.toml", include_str!("../../catalog/orders.toml")),
    ("catalog/carts.toml", include_str!("../../catalog/carts.toml")),
    ("catalog/analytics.toml", include_str!("../../catalog/analytics.toml")),
    ("catalog/notifications.toml", include_str!("../../catalog/notifications.toml")),
    ("catalog/presence.toml", include_str!("../../catalog/presence.toml")),
];

/// A catalog without faults.
pub struct Catalog {
    rules: Vec<Rule>,
    lookups: Vec<Lookup>,
    schedules: Vec<Schedule>,
    waiting: Vec<WaitingList>,
    /// The lookup that says who gets an announcement, by its place.
    announced_to: Option<usize>,
    rooms: Rooms,
    settings: Settings,
    /// Functions and settings; made once, since it is slow to make.
    context: Context<'static, 'static>,
}

impl Catalog {
    /// The catalog that comes with rowcast.
    pub fn built_in(settings: &Settings) -> Result<Self, Faults> {
        let sources = BUILT_IN.map(|(name, text)| Source { name: name.into(), text: text.to_owned() });
        Self::from_sources(&sources, settings, Vec::new())
    }

    /// The files of the catalog that comes with rowcast: each one's name and its text.
    pub fn built_in_files() -> impl Iterator<Item = (&'static str, &'static str)> {
        BUILT_IN.iter().map(|(path, text)| (path.trim_start_matches("catalog/"), *text))
    }

    /// The catalog of a directory: its `*.toml` files in the order of their names.
    pub fn from_dir(path: impl AsRef<Path>, settings: &Settings) -> Result<Self, Faults> {
        let path = path.as_ref();
        let mut faults = Vec::new();
        let mut unreadable = |file: &Path, reason: String| {
            faults.push(Fault { file: file.display().to_string().into(), line: None, place: None, reason });
        };
        let mut files = Vec::new();
        match fs::read_dir(path) {
            Ok(entries) => files.extend(entries.flatten().map(|entry| entry.path())),
            Err(error) => unreadable(path, format!("the catalog's directory can't be read: {error}")),
        }
        files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
        files.sort();
        let mut sources = Vec::new();
        for file in &files {
            match fs::read_to_string(file) {
                Ok(text) => sources.push(Source { name: file.display().to_string().into(), text }),
                Err(error) => unreadable(file, format!("can't be read: {error}")),
            }
        }
        if files.is_empty() && faults.is_empty() {
            let reason = "expected the catalog's *.toml files here, found none".to_owned();
            faults.push(Fault { file: path.display().to_string().into(), line: None, place: None, reason });
        }
        Self::from_sources(&sources, settings, faults)
    }

    /// A catalog of texts, each with the name that faults call it by.
    pub fn from_texts(files: &[(&str, &str)]) -> Result<Self, Faults> {
        let source = |(name, text): &(&str, &str)| Source { name: (*name).into(), text: (*text).to_owned() };
        Self::from_sources(&files.iter().map(source).collect::<Vec<_>>(), &Settings::new(), Vec::new())
    }

    /// On a thread of its own, whose stack is large enough for what the expressions may be: see `bounds`.
    fn from_sources(sources: &[Source], settings: &Settings, faults: Vec<Fault>) -> Result<Self, Faults> {
        thread::scope(|scope| {
            let compiler = thread::Builder::new().name("catalog".to_owned()).stack_size(bounds::STACK);
            let compiling = compiler.spawn_scoped(scope, || Self::compile(sources, settings, faults));
            compiling.expect("a thread to compile the catalog").join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    fn compile(sources: &[Source], settings: &Settings, mut faults: Vec<Fault>) -> Result<Self, Faults> {
        let mut declared = Declarations::default();
        for source in sources {
            load::read(source, &mut declared, &mut faults);
        }
        let settings = effective_settings(declared.settings, settings, &mut faults);
        let context = context(&settings);
        let rooms = Rooms::compile(declared.rooms, &settings, &context, &mut faults);
        let mut lookups: Vec<Lookup> = Vec::new();
        for declaration in declared.lookups {
            if lookups.iter().any(|lookup| lookup.name == declaration.name) {
                let reason = "a second lookup of this name: names are unique".to_owned();
                faults.push(declaration.place.fault(declaration.place.line, reason));
            }
            lookups.push(Lookup::compile(declaration, &mut faults));
        }
        let mut schedules: Vec<Schedule> = Vec::new();
        for declaration in declared.schedules {
            if schedules.iter().any(|schedule| schedule.name == declaration.name) {
                let reason = "a second schedule of this name: names are unique".to_owned();
                faults.push(declaration.place.fault(declaration.place.line, reason));
            }
            schedules.push(Schedule::compile(declaration, &rooms, &settings, &mut faults));
        }
        let waiting =
            declared.waiting.into_iter().map(|list| WaitingList::compile(list, &rooms, &mut faults)).collect();
        let announced_to = declared.announced_to.and_then(|(place, name)| {
            let known = lookups.iter().position(|lookup| lookup.name == name.value);
            if known.is_none() {
                let known = fault::quoted(lookups.iter().map(|lookup| &lookup.name));
                let reason = format!("unknown lookup {:?}; the lookups are {known}", name.value);
                faults.push(place.fault(name.line, reason));
            }
            known
        });
        let among = rule::Surroundings { settings: &settings, lookups: &lookups, rooms: &rooms };
        let mut rules: Vec<Rule> = Vec::new();
        for declaration in declared.rules {
            if rules.iter().any(|rule| *rule.name == *declaration.name) {
                let reason = "a second rule of this name: give it another `name`, names are unique".to_owned();
                faults.push(declaration.place.fault(declaration.place.line, reason));
            }
            rules.push(Rule::compile(declaration, &among, &mut faults));
        }
        let files: Vec<_> = sources.iter().map(|source| source.name.clone()).collect();
        match Faults::new(faults, &files) {
            Some(faults) => Err(faults),
            None => Ok(Self { rules, lookups, schedules, waiting, announced_to, rooms, context, settings }),
        }
    }

    /// Whether this client may join this room. Nobody may where no kind of room or policy says so, or the policy fails.
    pub fn may_join(&self, identity: &Identity, room: &Room) -> bool {
        self.rooms.may_join(&self.context, identity, room)
    }

    /// The rooms that the server joins for this client on connect.
    pub fn own_rooms(&self, identity: &Identity) -> Vec<Room> {
        self.rooms.own(&self.context, identity)
    }

    /// The rooms that a client's message asks for, such as `join:product {productId}` or its `leave:`; whether the client
    /// may join them is for [`Catalog::may_join`] to say. They are several only where the message leaves the parameter
    /// out and means one's own rooms, as `join:seller {}` does.
    pub fn room_for_message(
        &self,
        identity: &Identity,
        message: &str,
        payload: &serde_json::Value,
    ) -> Result<Vec<Room>, MessageError> {
        self.rooms.for_message(&self.context, identity, message, payload)
    }

    /// The names that clients use after `join:` and `leave:`.
    pub fn messages(&self) -> impl Iterator<Item = &str> {
        self.rooms.messages()
    }

    /// The events that rules make, without repeats, in alphabetical order.
    pub fn event_kinds(&self) -> BTreeSet<&str> {
        self.rules.iter().filter(|rule| !rule.inbox).map(|rule| &*rule.event).collect()
    }

    /// The tables that rules are about.
    pub fn tables(&self) -> BTreeSet<&TableName> {
        self.rules.iter().map(|rule| &rule.table).collect()
    }

    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The settings with the values that hold.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn schedules(&self) -> &[Schedule] {
        &self.schedules
    }

    /// Has the database prepare the lookup that says who gets an announcement: its key is `all`, `sellers` or `buyers`, and
    /// its rows have a `user_id`.
    ///
    /// # Errors
    ///
    /// Why there are no announcements: the catalog names no lookup, or the database can't run it.
    pub async fn recipients_of_announcements(&self, pool: &sqlx::PgPool) -> Result<Runnable, String> {
        let Some(place) = self.announced_to else {
            return Err("the catalog has no [announcements] with the name of a lookup as `recipients`".to_owned());
        };
        let Lookup { name, query, .. } = &self.lookups[place];
        let unable = |reason| Err(format!("the lookup {name:?} can't be run: {reason}"));
        match query.prepare(pool).await {
            Prepared::Runnable(runnable) if runnable.columns.contains_key("user_id") => Ok(runnable),
            Prepared::Runnable(_) => unable("it returns no column \"user_id\"".to_owned()),
            Prepared::Refused(reason) => unable(reason),
            Prepared::Unknown => unable("the database did not answer".to_owned()),
        }
    }

    /// Whether it says who hears announcements.
    pub fn announces(&self) -> bool {
        self.announced_to.is_some()
    }

    /// All its queries, as they are granted to a role that may not read the tables.
    pub fn granted(&self) -> Vec<Granted> {
        let lookups = self.lookups.iter().map(|lookup| &lookup.query);
        let schedules = self.schedules.iter().map(|schedule| &schedule.query);
        let waiting = self.waiting.iter().map(|list| &list.query);
        lookups.chain(schedules).chain(waiting).map(query::Query::granted).collect()
    }

    pub fn waiting_lists(&self) -> &[WaitingList] {
        &self.waiting
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog").field("rules", &self.rules.len()).field("lookups", &self.lookups.len()).finish()
    }
}

fn effective_settings(
    declared: Vec<(load::Place, String, load::At<toml::Value>)>,
    overrides: &Settings,
    faults: &mut Vec<Fault>,
) -> Settings {
    let mut settings = Settings::new();
    for (place, name, value) in declared {
        if settings.insert(name.clone(), value.value).is_some() {
            faults.push(place.fault(value.line, format!("the setting {name:?} is declared twice")));
        }
    }
    for (name, value) in overrides {
        let reason = match settings.get(name) {
            None => format!("unknown; the settings are {}", fault::quoted(settings.keys())),
            Some(default) if !default.same_type(value) => {
                format!("is of type {}, expected {} as in its default {default}", value.type_str(), default.type_str())
            }
            Some(_) => {
                settings.insert(name.clone(), value.clone());
                continue;
            }
        };
        let place = Some(format!("setting {name:?}"));
        faults.push(Fault { file: "configuration".into(), line: None, place, reason });
    }
    settings
}

fn context(settings: &Settings) -> Context<'static, 'static> {
    let mut context = functions::context();
    let settings = settings.iter().map(|(name, value)| (CelMapKey::from(name.clone()), value::from_toml(value)));
    let settings: std::collections::HashMap<_, _> = settings.collect();
    context.add_variable_as_val("settings", Box::new(CelMap::from(settings)));
    context
}
