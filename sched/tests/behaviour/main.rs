//! How the scheduler behaves, seen from outside: commands in, replies and rows out.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod backfill;
mod caps;
mod deadlines;
mod depends;
mod documents;
mod explain;
mod gangs;
mod gentle;
mod graphs;
mod history;
mod latch;
mod order;
mod packing;
mod policies;
mod preempt;
mod probe;
mod provision;
mod reasons;
mod scale;
mod shapes;
mod transitions;
mod what_if;
mod world;
