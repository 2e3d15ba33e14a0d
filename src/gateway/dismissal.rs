//! Disconnecting a client with a word why, so that it can do something about it.

use std::{sync::Arc, time::Duration};

use serde::Serialize;

use super::{Shared, session::Client};

/// The event that a client gets before the server disconnects it.
const CLOSING: &str = "rowcast:closing";

/// How long a client may keep its transport after that.
const GRACE: Duration = Duration::from_secs(2);

/// Why a client is disconnected: a word for programs, which is the label in the metrics too, and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Farewell {
    pub reason: &'static str,
    pub message: String,
}

impl Shared {
    /// Tells a client why, and disconnects it; nothing is sent to it any more. JavaScript clients do not come back by
    /// themselves after this, so it is for what will not be better the next moment.
    pub(super) fn dismiss(self: &Arc<Self>, client: &Client, farewell: &Farewell) {
        if !self.close(&client.session) {
            return;
        }
        self.metrics.sockets_cut.with_label_values(&[farewell.reason]).inc();
        tracing::info!(socket = %client.session.sid, reason = farewell.reason, "disconnected a client");
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
