//! Whether a batch system could give what the pilots of a CE ask for, by what it publishes.

use fairway_model::{Ce, CeState};

use super::Finding;

/// What is wrong with the CE's shape and limits; one finding that all is well if nothing is.
pub(super) fn findings(ce: &Ce, state: &CeState) -> Vec<Finding> {
    let mut findings = Vec::new();
    shape(ce, state, &mut findings);
    walltime(ce, state, &mut findings);
    numbers(ce, state, &mut findings);
    if findings.is_empty() {
        let shape = &ce.shape;
        let memory = match shape.memory_mib {
            0 => "the memory that the batch system gives".to_owned(),
            mib => format!("{mib} MiB"),
        };
        let plural = |number: u32| if number == 1 { "" } else { "s" };
        findings.push(Finding::ok(format!(
            "{} core{} and {memory} on {} node{} for {} s: within what it publishes",
            shape.cores,
            plural(shape.cores),
            shape.nodes,
            plural(shape.nodes),
            shape.walltime_s
        )));
    }
    findings
}

/// What no node, job or cluster has, a pilot would wait for in vain.
fn shape(ce: &Ce, state: &CeState, findings: &mut Vec<Finding>) {
    let shape = &ce.shape;
    let nodes = u64::from(shape.nodes);
    let all = |each: u32| u64::from(each) * nodes;
    let count = |number: Option<u32>| number.map(u64::from);
    for (what, setting, asked, most, whose) in [
        (
            "cores",
            "cores",
            u64::from(shape.cores),
            count(state.node_cores),
            "the largest node",
        ),
        (
            "MiB of memory",
            "memory_mib",
            shape.memory_mib,
            state.node_memory_mib,
            "a node",
        ),
        (
            "cores in all",
            "cores",
            all(shape.cores),
            count(state.job_cores_max),
            "a job at most",
        ),
        (
            "cores in all",
            "cores",
            all(shape.cores),
            count(state.cores_total),
            "the queue",
        ),
        (
            "nodes",
            "nodes",
            nodes,
            count(state.job_nodes_max),
            "a job at most",
        ),
        (
            "nodes",
            "nodes",
            nodes,
            count(state.nodes_total),
            "the queue",
        ),
        (
            "GPUs in all",
            "gpus",
            all(shape.gpus),
            count(state.gpus_total),
            "the queue",
        ),
    ] {
        if let Some(most) = most.filter(|most| asked > *most) {
            findings.push(Finding::failed(
                format!("a pilot's job asks for {asked} {what}; {whose} has {most}"),
                format!("ask for less with shape.{setting}"),
            ));
        }
    }
}

fn walltime(ce: &Ce, state: &CeState, findings: &mut Vec<Finding>) {
    let asked_s = ce.shape.walltime_s;
    if let Some(most_s) = state.walltime_max_s.filter(|most_s| asked_s > *most_s) {
        findings.push(Finding::remark(
            format!(
                "shape.walltime_s is {asked_s}, the queue allows {most_s}: pilots ask for that"
            ),
            format!("set shape.walltime_s to {most_s}"),
        ));
    }
}

/// More pilots than the batch system takes of ours are refused by it.
fn numbers(ce: &Ce, state: &CeState, findings: &mut Vec<Finding>) {
    let nodes = ce.shape.nodes.max(1);
    // One job is a pilot on each of its nodes.
    let jobs = |pilots: u32| pilots.div_ceil(nodes);
    for (setting, asked, most, what) in [
        (
            "pilots_max",
            ce.limits.pilots_max,
            state.own_jobs_max,
            "in its queue",
        ),
        (
            "pilots_max",
            ce.limits.pilots_max,
            state.own_running_max,
            "running",
        ),
        (
            "queued_max",
            ce.limits.queued_max,
            state.own_jobs_max,
            "in its queue",
        ),
    ] {
        if let Some(most) = most.filter(|most| jobs(asked) > *most) {
            findings.push(Finding::remark(
                format!("limits.{setting} is {asked}; the batch system has at most {most} jobs of ours {what}"),
                format!("set limits.{setting} to at most {}", most.saturating_mul(nodes)),
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use fairway_api::public::CheckOutcome;
    use fairway_model::{CeId, Timestamp};

    use super::*;

    fn state() -> CeState {
        let id: CeId = "lyon/short".parse().unwrap();
        CeState::unreachable(id, "slurm", Timestamp(0), String::new())
    }

    fn told(ce: &Ce, state: &CeState) -> String {
        let line = |it: &Finding| format!("{:?}: {} -> {:?}", it.outcome, it.found, it.remedy);
        let lines: Vec<String> = findings(ce, state).iter().map(line).collect();
        lines.join("\n")
    }

    #[test]
    fn what_is_not_published_refuses_nothing() {
        let findings = findings(&Ce::new("short".parse().unwrap()), &state());
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].outcome, CheckOutcome::Ok);
    }

    #[test]
    fn each_limit_is_told_with_both_sides() {
        let mut ce = Ce::new("short".parse().unwrap());
        ce.shape.cores = 16;
        ce.shape.nodes = 4;
        ce.shape.gpus = 1;
        ce.shape.memory_mib = 64_000;
        ce.shape.walltime_s = 7200;
        let state = CeState {
            node_cores: Some(8),
            node_memory_mib: Some(32_000),
            job_cores_max: Some(48),
            cores_total: Some(40),
            job_nodes_max: Some(3),
            nodes_total: Some(2),
            gpus_total: Some(0),
            walltime_max_s: Some(3600),
            own_jobs_max: Some(4),
            own_running_max: Some(10),
            ..state()
        };
        insta::assert_snapshot!(told(&ce, &state));
    }
}
