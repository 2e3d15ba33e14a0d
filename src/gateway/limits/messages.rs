//! Whether a client may say something now.

use std::{sync::Arc, time::Instant};

use serde::Serialize;
use socketioxide::{SendError, SocketError, extract::AckSender};

use super::Allowance;
use crate::gateway::{
    Shared,
    dismissal::{Farewell, TOO_MANY_MESSAGES},
    session::Client,
};

/// The limit, as its key in the configuration.
const LIMIT: &str = "messages_per_minute";

/// What a refused message is acknowledged with.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Refusal<'a> {
    success: bool,
    error: &'a str,
    /// Seconds until the client is heard again.
    retry_after: u64,
}

/// What becomes of a message.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Heard,
    /// With the seconds until the client is heard again.
    Refused(u64),
    /// One too many were refused.
    Dismissed(u64),
}

impl Allowance {
    fn judge(&self, most: u32, breaches: u32, now: Instant) -> Verdict {
        let left = {
            let mut said = self.said.lock().expect("no panic under the lock");
            if said.count(now) <= most {
                return Verdict::Heard;
            }
            said.seconds_left(now)
        };
        let refused = self.refused.lock().expect("no panic under the lock").count(now);
        if refused < breaches { Verdict::Refused(left) } else { Verdict::Dismissed(left) }
    }
}

impl Shared {
    /// Counts a message, of whatever form, before anything is done about it. If it is not to be heard, answers it, and
    /// disconnects a client that goes on.
    pub(in crate::gateway) fn hear(self: &Arc<Self>, client: &Client, ack: AckSender) -> Option<AckSender> {
        let config = self.limits.config();
        let (most, breaches) = (config.messages_per_minute.get(), config.breaches.get());
        let verdict = client.session.allowance.judge(most, breaches, Instant::now());
        let (Verdict::Refused(seconds) | Verdict::Dismissed(seconds)) = verdict else { return Some(ack) };
        self.limits.note(LIMIT, None);
        let error = format!(
            "you have sent {most} messages within a minute, which is the most that are heard; try again in {seconds} s"
        );
        let sent = ack.send(&Refusal { success: false, error: &error, retry_after: seconds });
        if verdict == Verdict::Dismissed(seconds) {
            self.dismiss(client, &Farewell { reason: TOO_MANY_MESSAGES, message: error });
        } else if let Err(SendError::Socket(SocketError::InternalChannelFull)) = sent {
            self.cut(&client.session, "slow");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        super::{Limits, LimitsConfig},
        *,
    };
    use crate::metrics::Metrics;

    fn limits() -> Arc<Limits> {
        Limits::new(LimitsConfig::default(), Arc::new(Metrics::new()))
    }

    fn say(allowance: &Allowance, now: Instant) -> Verdict {
        allowance.judge(2, 3, now)
    }

    #[test]
    fn the_third_that_is_refused_within_a_minute_is_one_too_many() {
        let (allowance, now) = (limits().connect(Some("u1")).unwrap(), Instant::now());
        let verdicts: Vec<_> = (0..5).map(|second| say(&allowance, now + Duration::from_secs(second))).collect();
        use Verdict::{Dismissed, Heard, Refused};
        assert_eq!(verdicts, [Heard, Heard, Refused(58), Refused(57), Dismissed(56)]);
        assert_eq!(say(&allowance, now + Duration::from_secs(60)), Heard);
    }

    #[test]
    fn a_users_connections_share_what_may_be_said_but_not_what_was_refused() {
        let (limits, now) = (limits(), Instant::now());
        let (first, second) = (limits.connect(Some("u1")).unwrap(), limits.connect(Some("u1")).unwrap());
        for _ in 0..4 {
            say(&first, now);
        }
        assert_eq!(say(&second, now), Verdict::Refused(60));
        assert_eq!(say(&first, now), Verdict::Dismissed(60));
        assert_eq!(say(&limits.connect(Some("u2")).unwrap(), now), Verdict::Heard);
    }

    #[test]
    fn visitors_share_nothing() {
        let (limits, now) = (limits(), Instant::now());
        let (first, second) = (limits.connect(None).unwrap(), limits.connect(None).unwrap());
        for _ in 0..3 {
            say(&first, now);
        }
        assert_eq!(say(&first, now), Verdict::Refused(60));
        assert_eq!(say(&second, now), Verdict::Heard);
    }
}
