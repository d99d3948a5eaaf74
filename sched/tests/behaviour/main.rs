//! How the scheduler behaves, seen from outside: commands in, replies and rows out.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod caps;
mod deadlines;
mod explain;
mod gentle;
mod graphs;
mod history;
mod latch;
mod order;
mod policies;
mod probe;
mod provision;
mod shapes;
mod transitions;
mod what_if;
mod world;
