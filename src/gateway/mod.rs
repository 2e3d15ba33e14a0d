//! Rooms and sockets.
