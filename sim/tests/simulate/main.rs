//! Simulations: what follows from the rules of the world, whatever the scheduler decides, and what
//! can be worked out by hand.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod engine;
mod explain;
mod forecast;
mod report;
mod traces;

use fairway_model::Policy;
use fairway_sim::{Clusters, Outcome, Setup, Workload, read_policy, simulate};

/// A machine on which a pilot holds each node from the beginning.
pub(crate) fn standing(nodes: u32, cores: u32) -> Setup {
    setup(&format!(
        "pilots = \"standing\"\n[[cluster]]\nname = \"one\"\nnodes = {nodes}\ncores = {cores}\n"
    ))
}

pub(crate) fn setup(clusters: &str) -> Setup {
    Setup {
        clusters: Clusters::read(clusters).unwrap(),
        seed: 7,
        until_s: None,
        targets: Default::default(),
    }
}

/// Jobs as (submission, runtime, cores, user), all in seconds, each with an hour of walltime.
pub(crate) fn jobs(rows: &[(u32, u32, u32, u32)]) -> Workload {
    let row = |&(at, runtime, cores, user): &(u32, u32, u32, u32)| {
        format!("1 {at} -1 {runtime} {cores} -1 -1 {cores} 3600 -1 1 {user}\n")
    };
    let text: String = rows.iter().map(row).collect();
    Workload::from_swf(text.as_bytes()).unwrap()
}

pub(crate) fn policy(kind: &str) -> Policy {
    read_policy(&format!("kind = \"{kind}\"")).unwrap()
}

pub(crate) fn run(setup: &Setup, workload: &Workload, kind: &str) -> Outcome {
    simulate(setup, workload, kind, policy(kind)).unwrap()
}
