//! Whether the service does its work at present, and if not, why.

/// What `/readyz` answers on the admin address; whoever runs the capture writes it, the HTTP server watches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    /// The reason, as a sentence for an operator: "standing by: the lease is held by …".
    NotReady(String),
}

impl Readiness {
    pub fn not_ready(reason: impl Into<String>) -> Self {
        Self::NotReady(reason.into())
    }

    pub fn is_ready(&self) -> bool {
        *self == Self::Ready
    }

    /// Why not, for everybody: one of a few words, without what the reason says of hosts, processes and errors.
    pub fn word(&self) -> Option<&'static str> {
        const WORDS: [(&str, &str); 4] = [
            ("starting", "starting"),
            ("standing by", "standing by"),
            ("capture is down", "capture is down"),
            ("capture lo", "losing changes"),
        ];
        let Self::NotReady(reason) = self else { return None };
        let word = WORDS.iter().find(|(begin, _)| reason.starts_with(begin)).map(|(_, word)| *word);
        Some(word.unwrap_or("not ready"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_everybody_hears_is_a_word_and_no_more() {
        assert_eq!(Readiness::Ready.word(), None);
        for (reason, word) in [
            ("starting", "starting"),
            ("standing by: the lease is held by process 21057 (rowcast doorbell at 10.0.0.7), since …", "standing by"),
            ("capture is down: cannot connect to Postgres at db.internal", "capture is down"),
            ("capture lost changes; clients were told to load anew", "losing changes"),
            ("capture loses changes: permission denied for table change", "losing changes"),
            ("something that nobody thought of at db.internal", "not ready"),
        ] {
            assert_eq!(Readiness::not_ready(reason).word(), Some(word));
        }
    }
}
