//! The wire of Fairway: what is said between clients and the server
//! ([`public`]), between pilots and the server ([`pilot`]), between sites' agents and the
//! server ([`agent`]), how errors are told ([`problem`]), and a typed client of the public
//! protocol ([`client`]).
//!
//! The types here hold no logic; they are what the OpenAPI document is made from.

pub mod agent;
pub mod client;
pub mod pilot;
pub mod problem;
pub mod public;

pub use problem::{Problem, ProblemCode};
