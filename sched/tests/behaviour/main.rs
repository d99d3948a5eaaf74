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

/// How random tests are run: 64 cases, or what `PROPTEST_CASES` asks for.
fn random_cases() -> proptest::test_runner::Config {
    let usual = proptest::test_runner::Config::default();
    let asked = std::env::var_os("PROPTEST_CASES");
    proptest::test_runner::Config {
        cases: asked.map_or(64, |_| usual.cases),
        ..usual
    }
}
