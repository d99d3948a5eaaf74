//! How the scheduler behaves, seen from outside: commands in, replies and rows out.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod explain;
mod graphs;
mod history;
mod latch;
mod order;
mod probe;
mod provision;
mod transitions;
mod world;
