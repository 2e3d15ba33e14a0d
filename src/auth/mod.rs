//! Who is connecting: every way in which a client can sign in.
//!
//! | file | role |
//! |---|---|
//! | `insecure` | the client's word, in development |
//! | `people` | who a user is: roles, stores, memberships |

mod insecure;
mod people;

pub use self::{insecure::Insecure, people::People};
