//! Rules: from a change to events.
