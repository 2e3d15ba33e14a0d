//! Whether the service does its work at present, and if not, why.

/// What `/readyz` answers; whoever runs the capture writes it, the HTTP server watches it.
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
}
