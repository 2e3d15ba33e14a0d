//! The servers that are compared.

use clap::ValueEnum;

/// A server under test, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Peer {
    /// (a) Node: LISTEN on a per-row trigger's NOTIFY, socket.io emits to rooms.
    #[value(name = "a")]
    NodeListen,
    /// (b) Node: the application emits after its write.
    #[value(name = "b")]
    NodeApp,
    /// (c) No capture, no server.
    #[value(name = "c")]
    Nothing,
    /// (d) The floor: bare socketioxide on the notifications of (a).
    #[value(name = "d")]
    Floor,
    /// rowcast.
    #[value(name = "rowcast")]
    Rowcast,
}

impl Peer {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 5] = [Self::NodeListen, Self::NodeApp, Self::Nothing, Self::Floor, Self::Rowcast];

    /// As the head of a column.
    pub fn title(self) -> &'static str {
        match self {
            Self::NodeListen => "(a)",
            Self::NodeApp => "(b)",
            Self::Nothing => "(c)",
            Self::Floor => "(d)",
            Self::Rowcast => "rowcast",
        }
    }

    /// The database that is prepared for it. (b) and (c) have nothing in theirs.
    pub fn database(self) -> &'static str {
        match self {
            Self::NodeListen | Self::Floor => "bench_notify",
            Self::NodeApp | Self::Nothing => "bench_plain",
            Self::Rowcast => "bench_rowcast",
        }
    }
}
