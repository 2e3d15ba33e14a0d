//! The name of a Socket.IO room.

use std::{fmt, sync::Arc};

use serde::{Serialize, Serializer};

/// The longest room name that is accepted, in bytes.
pub const MAX_LENGTH: usize = 256;

/// A room: `user:{id}`, `seller:{id}`, `storefront:{id}`, `product:{id}`, `sellers`, `buyers`, or what the catalog
/// declares besides. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Room(Arc<str>);

impl Room {
    /// `None` for a name that is empty, too long, or holds control characters.
    pub fn new(name: &str) -> Option<Self> {
        let fits = !name.is_empty() && name.len() <= MAX_LENGTH && !name.chars().any(char::is_control);
        fits.then(|| Self(name.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Room {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}
