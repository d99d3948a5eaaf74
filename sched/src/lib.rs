//! Every decision of Fairway.
//!
//! [`State`] holds all that is decided upon. [`State::apply`] is the only way to
//! change it: a [`Command`] and the moment go in, a [`Reply`] and the
//! [`Change`]s to be made durable come out. Deterministic: no clock, no random
//! source, no I/O, no HashMap.

mod backfill;
mod bounds;
pub mod command;
mod depends;
mod element;
mod experience;
pub mod explain;
pub mod glue;
pub mod hold;
pub mod latch;
mod matching;
mod nodes;
mod packing;
mod preempt;
pub mod provision;
mod queue;
mod ranges;
mod shares;
pub mod state;
pub mod what_if;

pub use backfill::Reservation;
pub use command::{Applied, Change, Command, Entity, Grant, Refused, RefusedKind, Reply};
pub use experience::{Decided, Decision};
pub use queue::ClassId;
pub use shares::{Used, interval_s};
pub use state::{Settings, State};
