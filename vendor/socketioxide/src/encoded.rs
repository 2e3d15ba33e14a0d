//! Not upstream's: an event that is encoded once, for the many sockets that hear it.
//!
//! [`Socket::emit`] encodes for each socket anew, and each socket's buffer then holds a copy. A broadcast encodes once, but does
//! not say which sockets had no room for it. This does both: one encoding that all buffers share, and an answer for each.

use std::mem::discriminant;

use serde::Serialize;
use socketioxide_core::{Str, Value, packet::Packet, parser::Parse};

use crate::{SocketError, adapter::Adapter, parser::Parser, socket::Socket};

/// An event as sockets of one namespace and parser send it. A clone shares the bytes.
#[derive(Debug, Clone)]
pub struct EncodedEvent {
    value: Value,
    namespace: Str,
    parser: Parser,
}

impl<A: Adapter> Socket<A> {
    /// Encodes an event for this socket and all others of its namespace.
    ///
    /// # Errors
    /// What can't be serialized.
    pub fn encode<T: ?Sized + Serialize>(
        &self,
        event: impl AsRef<str>,
        data: &T,
    ) -> Result<EncodedEvent, crate::ParserError> {
        let namespace = self.ns.path.clone();
        let data = self.parser.encode_value(data, Some(event.as_ref()))?;
        let value = self.parser.encode(Packet::event(namespace.clone(), data));
        Ok(EncodedEvent {
            value,
            namespace,
            parser: self.parser,
        })
    }

    /// Puts the event into this socket's buffer, as [`Socket::emit`] does.
    ///
    /// # Errors
    /// The socket is closed, or its buffer is full.
    ///
    /// # Panics
    /// If the event was encoded by a socket of another namespace or parser.
    pub fn emit_encoded(&self, event: &EncodedEvent) -> Result<(), SocketError> {
        let is_ours = event.namespace == self.ns.path
            && discriminant(&event.parser) == discriminant(&self.parser);
        assert!(
            is_ours,
            "an event of namespace {} was sent in {}",
            event.namespace, self.ns.path
        );
        if !self.connected() {
            return Err(SocketError::Closed);
        }
        self.send_raw(event.value.clone())
    }
}
