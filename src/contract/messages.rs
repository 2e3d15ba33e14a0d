//! What clients may say and what they are answered, and what the server says of itself. The gateway is where it happens;
//! the tests of the contract compare.

use super::{Event, Field, Notice, Payload, Shape, shape::Literal};
use crate::{catalog::Catalog, event::EnvelopeStyle, gateway::CLOSING_REASONS};

/// A message of a client.
#[derive(Debug)]
pub struct Message {
    pub name: String,
    pub about: String,
    /// The payload's forms: any one of them. None for a message without a payload.
    pub payload: Vec<Vec<Field>>,
    /// Whether the payload may be left out.
    pub optional: bool,
    pub answer: Answered,
}

/// What a message that did its work is acknowledged with; all have `success: true` besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answered {
    Joined,
    Pong,
    Listed,
    Counted,
    Renewed,
}

impl Answered {
    pub const ALL: [Self; 5] = [Self::Joined, Self::Pong, Self::Listed, Self::Counted, Self::Renewed];

    pub fn name(self) -> &'static str {
        match self {
            Self::Joined => "RoomAnswer",
            Self::Pong => "Pong",
            Self::Listed => "NotificationList",
            Self::Counted => "Unread",
            Self::Renewed => "Renewed",
        }
    }

    pub fn about(self) -> &'static str {
        match self {
            Self::Joined => {
                "The room, and from which position on it is heard; `rooms` where the message means several, `refused` those of `rooms` that one may not join."
            }
            Self::Pong => "How far the server has come, null until its first sweep, and its time.",
            Self::Listed => {
                "A page of the inbox, the newest first. `next` goes into `before` of the next request; null at the end."
            }
            Self::Counted => "How many notifications are unread now.",
            Self::Renewed => "Until when the sign-in holds; null if until something changes that it rests on.",
        }
    }

    pub fn fields(self) -> Vec<Field> {
        let position = Field::new("position", Shape::Text.or_null());
        match self {
            Self::Joined => {
                let rooms = |key| Field::optional(key, Shape::array(Shape::Text));
                vec![Field::new("room", Shape::Text), rooms("rooms"), rooms("refused"), position]
            }
            Self::Pong => vec![position, Field::new("time", Shape::Timestamp)],
            Self::Listed => vec![
                Field::new("notifications", Shape::array(Shape::Object(notification()))),
                Field::new("unread", Shape::Integer),
                Field::new("next", Shape::Text.or_null()),
            ],
            Self::Counted => vec![Field::new("unread", Shape::Integer)],
            Self::Renewed => vec![Field::new("until", Shape::Timestamp.or_null())],
        }
    }
}

/// A notification as the inbox lists it.
fn notification() -> Vec<Field> {
    vec![
        Field::new("notificationId", Shape::Text),
        Field::new("kind", Shape::Text),
        Field::new("title", Shape::Text),
        Field::new("body", Shape::Text),
        Field::new("subject", subject().or_null()),
        Field::new("createdAt", Shape::Timestamp),
        Field::new("readAt", Shape::Timestamp.or_null()),
    ]
}

/// What a notification is about.
fn subject() -> Shape {
    Shape::Object(vec![Field::new("type", Shape::Text), Field::new("id", Shape::Text)])
}

/// Every message, in alphabetical order.
pub fn all(catalog: &Catalog) -> Vec<Message> {
    let room = || Field::new("room", Shape::Text);
    let rooms = || Field::new("rooms", Shape::array(Shape::Text));
    let since = || Field::optional("since", Shape::Text.or_null());
    let message = |name: &str, about: &str, payload: Vec<Vec<Field>>, optional: bool, answer: Answered| Message {
        name: name.to_owned(),
        about: about.to_owned(),
        payload,
        optional,
        answer,
    };
    let one = |fields: Vec<Field>| vec![fields];
    let notification_id = || Field::new("notificationId", Shape::Text);
    let all = Field::new("all", Shape::Literal(Literal::Boolean(true)));
    let page = vec![
        Field::optional("limit", Shape::Integer),
        Field::optional("before", Shape::Text.or_null()),
        Field::optional("unread", Shape::Boolean),
    ];
    let mut messages = vec![
        message("ping", "Asks whether the server is there, and how far it has come.", vec![], true, Answered::Pong),
        message(
            "join",
            "Joins a room, or several; with `since`, what was missed since then comes first.",
            vec![vec![room(), since()], vec![rooms(), since()]],
            false,
            Answered::Joined,
        ),
        message("leave", "Leaves a room, or several.", vec![vec![room()], vec![rooms()]], false, Answered::Joined),
        message(
            "chat:typing",
            "Tells the others in a room that one is typing; without `typing: false` that ends by itself.",
            one(vec![room(), Field::optional("typing", Shape::Boolean)]),
            false,
            Answered::Joined,
        ),
        message(
            "auth:renew",
            "Renews one's sign-in with a fresh token, of the same user; without one, has it confirmed.",
            one(vec![Field::new("token", Shape::Text)]),
            true,
            Answered::Renewed,
        ),
        message("notification:list", "Lists one's own notifications.", one(page), true, Answered::Listed),
        message(
            "notification:read",
            "Marks one notification as read, or all.",
            vec![vec![notification_id()], vec![all]],
            false,
            Answered::Counted,
        ),
        message(
            "notification:delete",
            "Deletes a notification.",
            one(vec![notification_id()]),
            false,
            Answered::Counted,
        ),
    ];
    for kind in catalog.described_rooms() {
        let Some((name, key)) = kind.message else { continue };
        let parameter = key.map(|key| {
            let shape = Shape::union([Shape::Text, Shape::Integer]);
            // Without it, one's own rooms of the kind are meant.
            if kind.own { Field::optional(key, shape.or_null()) } else { Field::new(key, shape) }
        });
        let optional = parameter.as_ref().is_none_or(|parameter| parameter.optional);
        let whose = if key.is_some() && kind.own { " Without the id: all of one's own." } else { "" };
        for (verb, word, since) in [("join", "Joins", Some(since())), ("leave", "Leaves", None)] {
            messages.push(Message {
                name: format!("{verb}:{name}"),
                about: format!("{word} `{}`.{whose}", kind.pattern),
                payload: one(parameter.iter().cloned().chain(since).collect()),
                optional,
                answer: Answered::Joined,
            });
        }
    }
    messages.sort_by(|one, other| one.name.cmp(&other.name));
    messages
}

/// What the server says of a connection.
pub fn notices() -> Vec<Notice> {
    let rooms = |key| Field::new(key, Shape::array(Shape::Text));
    vec![
        Notice {
            kind: "rowcast:closing",
            about: "The server is about to disconnect this client, which then does not reconnect by itself.",
            data: vec![
                Field::new(
                    "reason",
                    Shape::union(CLOSING_REASONS.map(|reason| Shape::Literal(Literal::Text(reason.into())))),
                ),
                Field::new("message", Shape::Text),
            ],
        },
        Notice {
            kind: "rowcast:rooms",
            about: "What one may hear has changed: the rooms that one is in now without having asked, and is no longer in.",
            data: vec![rooms("joined"), rooms("left"), Field::new("position", Shape::Text.or_null())],
        },
        Notice {
            kind: "rowcast:resumed",
            about: "Everything that was missed in these rooms has been sent.",
            data: vec![
                Field::new("rooms", Shape::array(Shape::Text)),
                Field::new("replayed", Shape::Integer),
                Field::new("position", Shape::Text),
            ],
        },
        Notice {
            kind: "rowcast:resync",
            about: "What was missed can't be sent: load anew what is shown of these rooms, of all where they are missing.",
            data: vec![
                Field::new("reason", Shape::Text),
                Field::optional("rooms", Shape::array(Shape::Text)),
                Field::new("position", Shape::Text.or_null()),
            ],
        },
    ]
}

/// Who is typing.
pub fn typing(style: EnvelopeStyle) -> Event {
    let mut data =
        vec![Field::new("room", Shape::Text), Field::new("userId", Shape::Text), Field::new("typing", Shape::Boolean)];
    if style == EnvelopeStyle::Flat {
        data.retain(|field| field.key != "userId");
    }
    Event {
        kind: "chat:typing".to_owned(),
        about: vec!["Somebody in a room that one is in begins to type, or ends.".to_owned()],
        rooms: Vec::new(),
        payloads: vec![Payload { data, subject: Vec::new() }],
    }
}
