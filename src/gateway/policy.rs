//! What the gateway asks of the catalog.

use serde_json::Value;

use crate::{identity::Identity, room::Room};

/// Which rooms there are, and who may be in them.
pub trait Policy: Send + Sync + 'static {
    /// False too for a room of a kind that doesn't exist.
    fn may_join(&self, identity: &Identity, room: &Room) -> bool;

    /// The rooms that the server joins for a client when it connects.
    fn own_rooms(&self, identity: &Identity) -> Vec<Room>;

    /// The rooms that a message such as `join:product {productId}` means. For `leave:product` the gateway asks with
    /// the name `join:product`, so a message and its counterpart always mean the same rooms.
    ///
    /// # Errors
    ///
    /// A sentence for the client: no such message, or what is wrong with the payload (`null` if there was none).
    fn rooms_for_message(&self, name: &str, identity: &Identity, payload: &Value) -> Result<Vec<Room>, String>;

    /// The kinds of rooms (`product` of `product:{id}`) whose comers and goers waiting lists want to know of.
    fn waiting_rooms(&self) -> Vec<String> {
        Vec::new()
    }
}
