//! The REST API and the pilots' protocol, handler by handler, over a real store
//! and a real engine. What clients see is held by snapshots.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agent;
mod bed;
mod isolation;
mod jobs;
mod operators;
mod pilot;
mod policy;
mod problems;
mod sites;
mod wire;
