//! Whether everybody gets what they are to get, measured on simulated machines from outside: by
//! what was started and what ran, not by what the scheduler thinks of it.
//!
//! Each test tries a few seeds; `PROPTEST_RNG_SEED=7 PROPTEST_CASES=100` tries a hundred
//! from the seventh on. `cargo xtask soak` tries those that take long.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what was measured, and how to try a seed again"
)]

mod machine;
mod shares;
mod turns;
mod waits;
