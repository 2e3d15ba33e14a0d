//! Disconnecting a client with a word why, so that it can do something about it.

use std::{sync::Arc, time::Duration};

use serde::Serialize;

use super::{Shared, session::Client};

/// The event that a client gets before the server disconnects it.
const CLOSING: &str = "rowcast:closing";

/// How long a client may keep its transport after that.
const GRACE: Duration = Duration::from_secs(2);

/// The words for why a client is disconnected.
pub const CLOSING_REASONS: [&str; 3] = [SIGNED_OUT, EXPIRED, TOO_MANY_MESSAGES];
/// The sign-in has ended: the session was deleted, the user is gone.
pub(super) const SIGNED_OUT: &str = "signed_out";
/// The sign-in's time is over.
pub(super) const EXPIRED: &str = "expired";
/// The client did not heed the limit of its messages.
pub(super) const TOO_MANY_MESSAGES: &str = "too_many_messages";

/// Why a client is disconnected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Farewell {
    /// One of [`CLOSING_REASONS`], for programs; the label in the metrics too.
    pub reason: &'static str,
    /// A sentence for people.
    pub message: String,
}

impl Shared {
    /// Tells a client why, and disconnects it; nothing is sent to it any more. JavaScript clients do not come back by
    /// themselves after this, so it is for what will not be better the next moment.
    pub(super) fn dismiss(self: &Arc<Self>, client: &Client, farewell: &Farewell) {
        if !self.close(&client.session, Some(farewell.reason)) {
            return;
        }
        self.metrics.sockets_cut.with_label_values(&[farewell.reason]).inc();
        self.tell_of_end(&client.session, farewell.reason);
        // A full buffer takes neither; then the transport's end has to be enough.
        client.socket.emit(CLOSING, farewell).ok();
        client.socket.clone().disconnect().ok();
        let (shared, sid) = (self.clone(), client.session.sid);
        // Ends by itself, and what it does is harmless once the connection has gone.
        tokio::spawn(async move {
            tokio::time::sleep(GRACE).await;
            shared.connections.end(sid);
        });
    }
}
