//! How the scheduler behaves, seen from outside: commands in, replies and rows out.

mod explain;
mod history;
mod order;
mod provision;
mod transitions;
mod world;
