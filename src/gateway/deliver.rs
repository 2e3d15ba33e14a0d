//! Events to sockets.

use std::{cell::OnceCell, sync::Arc};

use serde::Serialize;
use socketioxide::{SocketError, encoded::EncodedEvent};

use super::{
    Gateway, Shared,
    hold::Held,
    resume::{RESYNC, Resync},
    session::Client,
};
use crate::{event::Event, journal::What, position::Position};

impl Gateway {
    /// Puts the event into the send buffer of every client that may hear it, once each, with the data of the first
    /// of the audiences that the client is in. Waits for nobody: a client whose buffer is full is cut, and reconnects.
    pub fn deliver(&self, event: &Event) {
        self.shared.deliver(event);
    }

    /// Tells every client to load anew what it shows.
    pub fn resync(&self, reason: &str) {
        let position = self.shared.position();
        for client in self.shared.rooms.everyone() {
            if !client.session.hold.reload(reason) {
                self.shared.note(&client.session, What::resync(reason));
                self.shared.send(&client, RESYNC, &Resync { reason, rooms: &[], position });
            }
        }
    }
}

impl Shared {
    fn deliver(&self, event: &Event) {
        self.deliver_to(event, |_| true);
    }

    /// To those alone of whom `hears` is true.
    pub(super) fn deliver_to(&self, event: &Event, hears: impl Fn(&Client) -> bool) {
        self.metrics.events.with_label_values(&[&event.kind]).inc();
        let hearers = self.hearers(event);
        let (mut reached, mut over_buffer) = (Vec::new(), Vec::new());
        for (audience, clients) in event.audiences.iter().zip(hearers) {
            if clients.is_empty() {
                continue;
            }
            let envelope = event.encode(&audience.data, self.envelope);
            // It is JSON already, so this can't fail.
            let Some(encoded) = encode(&clients[0], &event.kind, &*envelope) else { continue };
            // A second copy, for clients that are being brought up to date, if there are any.
            let kept: OnceCell<Arc<Held>> = OnceCell::new();
            let keep = || Arc::new(Held { id: event.id.clone(), kind: event.kind.clone(), envelope: envelope.clone() });
            for client in clients.into_iter().filter(&hears) {
                let held = || Arc::clone(kept.get_or_init(keep));
                if client.session.hold.keep(held) || self.send_encoded(&client, &encoded) {
                    self.metrics.deliveries.inc();
                    reached.push(client.session.member.id());
                } else {
                    over_buffer.push(client.session.member.id());
                }
            }
        }
        self.journal.sent(event, reached, over_buffer);
    }

    /// For each audience its clients.
    pub(super) fn hearers(&self, event: &Event) -> Vec<Vec<Client>> {
        // Before the rooms are looked at: a join enters its room first and reads the position after. So a client
        // that this event misses is acknowledged with this event's position or a later one, and it hears every
        // event whose position is later than the one it was told.
        self.advance(event.position);
        self.rooms.first_matches(event.audiences.iter().map(|audience| &audience.rooms[..]))
    }

    fn advance(&self, position: Position) {
        let mut present = self.position.lock().expect("no panic under the lock");
        let is_behind = present.is_none_or(|present| {
            (present.system, present.database) != (position.system, position.database)
                || present.seen.is_before(&position.seen)
        });
        if is_behind {
            *present = Some(position);
        }
    }

    /// True if it is in the client's buffer.
    pub(super) fn send<T: Serialize + ?Sized>(&self, client: &Client, name: &str, payload: &T) -> bool {
        encode(client, name, payload).is_some_and(|event| self.send_encoded(client, &event))
    }

    /// True if it is in the client's buffer, which shares the bytes with all that hold the event.
    fn send_encoded(&self, client: &Client, event: &EncodedEvent) -> bool {
        match client.socket.emit_encoded(event) {
            Ok(()) => true,
            Err(SocketError::InternalChannelFull) => {
                self.cut(&client.session, "slow");
                false
            }
            // Its disconnect handler takes it out.
            Err(SocketError::Closed) => false,
        }
    }
}

/// As it waits in a buffer, this client's and any other's; none, and a word in the log, for what can't be encoded.
fn encode<T: Serialize + ?Sized>(client: &Client, name: &str, payload: &T) -> Option<EncodedEvent> {
    client
        .socket
        .encode(name, payload)
        .inspect_err(|error| tracing::error!(name, %error, "an event could not be encoded"))
        .ok()
}
