//! Kinds of rooms: who may join which, which ones are joined on connect, and which client messages ask for them.

use std::collections::{BTreeMap, HashMap};

use cel::{
    Context,
    common::{
        types::{CelBool, CelMap, CelMapKey, CelNull, CelString},
        value::Val,
    },
};

use super::{
    expression::{Expression, Surroundings},
    fault::{Fault, quoted},
    load::RoomDeclaration,
    value, visitors,
    vocabulary::Vocabulary,
};
use crate::{identity::Identity, room::Room};

/// The declared kinds of rooms.
#[derive(Debug, Default)]
pub(super) struct Rooms(Vec<Kind>);

#[derive(Debug)]
pub(super) struct Kind {
    /// `product:{id}`, as declared.
    pub pattern: String,
    /// `product`, what stands before the colon; the whole name where there is none.
    prefix: String,
    /// `id`, where the room has one.
    parameter: Option<String>,
    /// Nobody may join without a policy.
    pub join: Option<Expression>,
    pub own: Option<Expression>,
    /// Whether the policy lets visitors in, for some parameter at least.
    pub public: bool,
    pub message: Option<Message>,
}

#[derive(Debug)]
pub(super) struct Message {
    pub name: String,
    pub key: Option<String>,
}

/// Why a client's message names no room.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    #[error("unknown message {0:?}")]
    Unknown(String),
    #[error("expected {{\"{key}\": \"…\"}}, {found}")]
    Payload { key: String, found: &'static str },
    #[error("the {0:?} is too long, or holds control characters")]
    Name(String),
    #[error("no room of one's own to join: sign in as a seller, or name the room")]
    NoneOwn,
}

const AUTH: &[&str] = &["user_id", "roles", "stores", "admin"];

impl Rooms {
    pub fn compile(
        declarations: Vec<RoomDeclaration>,
        settings: &BTreeMap<String, toml::Value>,
        root: &Context<'static, 'static>,
        faults: &mut Vec<Fault>,
    ) -> Self {
        let mut kinds: Vec<Kind> = Vec::new();
        for RoomDeclaration { place, room, join, own, message } in declarations {
            let Some((prefix, parameter)) = parse_pattern(&room.value) else {
                let reason =
                    format!("room {:?}: expected a name such as \"sellers\" or \"product:{{id}}\"", room.value);
                faults.push(place.fault(room.line, reason));
                continue;
            };
            if kinds.iter().any(|kind| kind.prefix == prefix && kind.parameter.is_some() == parameter.is_some()) {
                faults.push(place.fault(room.line, format!("room {:?} is declared twice", room.value)));
            }
            let mut vocabulary = Vocabulary { settings: Some(settings), ..Vocabulary::default() };
            vocabulary.variables.push(("auth", AUTH));
            let mut compile = |expression: Option<super::load::At<String>>, vocabulary: &Vocabulary<'_>| {
                let expression = expression?;
                match vocabulary.compile(&expression.value) {
                    Ok(compiled) => Some(compiled),
                    Err(errors) => {
                        faults.extend(errors.into_iter().map(|error| place.fault(expression.line, error)));
                        None
                    }
                }
            };
            let own = compile(own, &vocabulary);
            if let Some(parameter) = &parameter {
                vocabulary.variables.push((parameter, &[]));
            }
            let join = compile(join, &vocabulary);
            if let Some(message) = &message {
                let same = |kind: &Kind| kind.message.as_ref().is_some_and(|other| other.name == message.name.value);
                if kinds.iter().any(same) {
                    let reason = format!("message {:?} is declared twice", message.name.value);
                    faults.push(place.fault(message.name.line, reason));
                }
                if message.key.is_some() != parameter.is_some() {
                    let reason = "a message has a `key` just if its room has a parameter";
                    faults.push(place.fault(message.name.line, reason));
                }
            }
            let message = message.map(|message| Message { name: message.name.value, key: message.key });
            let public = join.as_ref().is_some_and(|join| visitors::let_in(join, parameter.as_deref(), root));
            kinds.push(Kind { pattern: room.value, prefix, parameter, join, own, public, message });
        }
        Self(kinds)
    }

    /// Whether a rule may send to a room of this form: its kind must be declared.
    pub fn accepts_template(&self, template: &str) -> Result<(), String> {
        let (prefix, parameter) = match template.split_once(':') {
            Some((prefix, parameter)) => (prefix, !parameter.is_empty()),
            None => (template, false),
        };
        if self.0.iter().any(|kind| kind.prefix == prefix && kind.parameter.is_some() == parameter) {
            return Ok(());
        }
        let known = quoted(self.0.iter().map(|kind| &kind.pattern));
        Err(format!("unknown room template {template:?}; the rooms are {known}"))
    }

    /// `product` of `product:{id}`, where such a kind of room is declared.
    pub fn kind(&self, pattern: &str) -> Option<&str> {
        let kind = self.0.iter().find(|kind| kind.pattern == pattern && kind.parameter.is_some());
        kind.map(|kind| kind.prefix.as_str())
    }

    /// A room's kind and parameter.
    fn kind_of<'a>(&self, room: &'a Room) -> Option<(&Kind, Option<&'a str>)> {
        let (prefix, parameter) = match room.as_str().split_once(':') {
            Some((_, "")) => return None,
            Some((prefix, parameter)) => (prefix, Some(parameter)),
            None => (room.as_str(), None),
        };
        let kind = self.0.iter().find(|kind| kind.prefix == prefix && kind.parameter.is_some() == parameter.is_some());
        kind.map(|kind| (kind, parameter))
    }

    pub fn may_join(&self, root: &Context<'static, 'static>, identity: &Identity, room: &Room) -> bool {
        let Some((kind, parameter)) = self.kind_of(room) else { return false };
        let Some(policy) = &kind.join else { return false };
        let mut variables = HashMap::from([("auth", auth(identity))]);
        if let (Some(name), Some(value)) = (&kind.parameter, parameter) {
            variables.insert(name, Box::new(CelString::from(value)));
        }
        let surroundings = Surroundings::of_variables(root, variables);
        let verdict = policy.test(&surroundings);
        verdict.unwrap_or_else(|error| {
            tracing::warn!(room = kind.pattern, error, "the room's policy failed, so nobody may join");
            false
        })
    }

    pub fn own(&self, root: &Context<'static, 'static>, identity: &Identity) -> Vec<Room> {
        self.0.iter().flat_map(|kind| self.own_of_kind(kind, root, identity)).collect()
    }

    fn own_of_kind(&self, kind: &Kind, root: &Context<'static, 'static>, identity: &Identity) -> Vec<Room> {
        let Some(own) = &kind.own else { return Vec::new() };
        let surroundings = Surroundings::of_variables(root, HashMap::from([("auth", auth(identity))]));
        let rooms = match &kind.parameter {
            None => own.test(&surroundings).map(|own| Vec::from_iter(own.then(|| Room::new(&kind.prefix)).flatten())),
            Some(_) => own.names(&surroundings).map(|parameters| {
                parameters.iter().filter_map(|parameter| Room::new(&format!("{}:{parameter}", kind.prefix))).collect()
            }),
        };
        let mut rooms = rooms.unwrap_or_else(|error| {
            tracing::warn!(room = kind.pattern, error, "the rooms to join on connect can't be told");
            Vec::new()
        });
        rooms.retain(|room| self.may_join(root, identity, room));
        rooms
    }

    pub fn kinds(&self) -> impl Iterator<Item = &Kind> {
        self.0.iter()
    }

    /// The kind of room that a template begins like: `product:{id}` for `product:`.
    pub fn kind_of_template(&self, text: &str) -> Option<&Kind> {
        let (prefix, parameter) = text.split_once(':').map_or((text, false), |(prefix, _)| (prefix, true));
        self.0.iter().find(|kind| kind.prefix == prefix && kind.parameter.is_some() == parameter)
    }

    pub fn messages(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|kind| Some(kind.message.as_ref()?.name.as_str()))
    }

    pub fn for_message(
        &self,
        root: &Context<'static, 'static>,
        identity: &Identity,
        message: &str,
        payload: &serde_json::Value,
    ) -> Result<Vec<Room>, MessageError> {
        let name = message.strip_prefix("join:").or_else(|| message.strip_prefix("leave:")).unwrap_or(message);
        let found = self.0.iter().find_map(|kind| {
            let message = kind.message.as_ref().filter(|message| message.name == name)?;
            Some((kind, message))
        });
        let Some((kind, Message { key, .. })) = found else { return Err(MessageError::Unknown(message.to_owned())) };
        let Some(key) = key else { return Ok(Vec::from_iter(Room::new(&kind.prefix))) };
        let wrong = |found| MessageError::Payload { key: key.clone(), found };
        let parameter = match payload.get(key) {
            Some(serde_json::Value::String(text)) if text.is_empty() => return Err(wrong("found an empty string")),
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(serde_json::Value::Number(number)) if !number.is_f64() => number.to_string(),
            Some(serde_json::Value::Null) | None => {
                if kind.own.is_none() {
                    return Err(wrong("found none"));
                }
                let own = self.own_of_kind(kind, root, identity);
                return if own.is_empty() { Err(MessageError::NoneOwn) } else { Ok(own) };
            }
            Some(_) => return Err(wrong("found something else")),
        };
        let room = Room::new(&format!("{}:{parameter}", kind.prefix)).ok_or_else(|| MessageError::Name(key.clone()))?;
        Ok(vec![room])
    }
}

/// `product:{id}` as `product` and `id`; `sellers` as itself.
fn parse_pattern(pattern: &str) -> Option<(String, Option<String>)> {
    let word = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    match pattern.split_once(':') {
        None => word(pattern).then(|| (pattern.to_owned(), None)),
        Some((prefix, rest)) => {
            let parameter = rest.strip_prefix('{')?.strip_suffix('}')?;
            (word(prefix) && word(parameter)).then(|| (prefix.to_owned(), Some(parameter.to_owned())))
        }
    }
}

pub(super) fn auth<'v>(identity: &'v Identity) -> Box<dyn Val + 'v> {
    let user_id: Box<dyn Val + 'v> = match &identity.user_id {
        Some(id) => Box::new(CelString::from(id.as_str())),
        None => Box::new(CelNull),
    };
    Box::new(CelMap::from(HashMap::from([
        (CelMapKey::from("user_id"), user_id),
        (CelMapKey::from("roles"), value::from_strings(identity.roles.iter().map(String::as_str))),
        (CelMapKey::from("stores"), value::from_strings(identity.stores.iter().map(String::as_str))),
        (CelMapKey::from("admin"), Box::new(CelBool::from(identity.admin))),
    ])))
}
