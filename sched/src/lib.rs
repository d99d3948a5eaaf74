//! Every decision of Fairway.
//!
//! [`State`] holds all that is decided upon. [`State::apply`] is the only way to
//! change it: a [`Command`] and the moment go in, a [`Reply`] and the
//! [`Change`]s to be made durable come out. Deterministic: no clock, no random
//! source, no I/O, no HashMap.

pub mod command;
pub mod explain;
pub mod glue;
pub mod provision;
pub mod state;

pub use command::{Applied, Change, Command, Grant, Orders, Refused, RefusedKind, Reply};
pub use state::{Settings, State};
