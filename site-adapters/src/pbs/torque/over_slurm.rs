//! What TORQUE's commands over Slurm say of queues and nodes. They do not tell which nodes a queue
//! has, nor what jobs a node has, so that some of it is reckoned. Pure.

use fairway_model::CeState;

use super::publish::{Node, describe, publish_nodes, status};
use crate::pbs::limits::seconds;
use crate::pbs::stanza::Stanza;

/// Writes what is known of a queue into `state`: `jobs` is the answer of `qstat -f`, `limits` that
/// of `qstat -q`.
pub(super) fn publish(
    queue: &Stanza,
    nodes: &[Node],
    jobs: &[Stanza],
    limits: &str,
    state: &mut CeState,
) {
    let all: Vec<&Node> = nodes.iter().collect();
    let is_in = |job: &&Stanza| {
        job.get("queue")
            .is_some_and(|names| names.split(',').any(|name| name == queue.name))
    };
    let has_state = |job: &Stanza, states: &str| {
        job.get("job_state")
            .is_some_and(|state| states.contains(state))
    };
    let count = |states: &str| {
        let jobs = jobs.iter().filter(is_in);
        u32::try_from(jobs.filter(|job| has_state(job, states)).count()).unwrap_or(u32::MAX)
    };
    state.jobs_running = Some(count("RSE"));
    state.jobs_waiting = Some(count("QHWT"));
    state.walltime_max_s = walltime_max(limits, &queue.name);

    let used = |jobs: &mut dyn Iterator<Item = &Stanza>| -> u32 {
        jobs.filter(|job| has_state(job, "RSE"))
            .map(|job| cores(job.get("exec_host").unwrap_or_default()))
            .fold(0, u32::saturating_add)
    };
    publish_nodes(&all, state);
    let whole_used = used(&mut jobs.iter());
    let whole_free = free(state.cores_total, state.cores_offline, whole_used);
    let count = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
    let own: u32 = queue.number("resources_default.nodes").unwrap_or(count);
    // How many nodes are free is not to be told from cores in use.
    state.nodes_free = None;
    if own == count {
        state.cores_used = Some(whole_used);
        state.cores_free = Some(whole_free);
    } else {
        // Some of the nodes: which, nobody says. They are taken to be like all others, and to run
        // jobs of this queue only.
        let total = u64::from(state.cores_total.unwrap_or(0)) * u64::from(own);
        let total = u32::try_from(total / u64::from(count.max(1))).unwrap_or(u32::MAX);
        let own_used = used(&mut jobs.iter().filter(is_in)).min(total);
        let is_all_up = state.cores_offline == Some(0);
        state.cores_total = Some(total);
        state.nodes_total = Some(own);
        state.cores_used = Some(own_used);
        state.cores_free = Some((total - own_used).min(whole_free));
        state.cores_offline = is_all_up.then_some(0);
        state.nodes_offline = is_all_up.then_some(0);
        state.gpus_total = None;
    }
    describe(&all, state);
    (state.status, state.reason) = status(queue, state);
}

fn free(total: Option<u32>, offline: Option<u32>, used: u32) -> u32 {
    total
        .unwrap_or(0)
        .saturating_sub(offline.unwrap_or(0))
        .saturating_sub(used)
}

/// The cores in `exec_host`: `n1/2+n2/4` is two on the one and four on the other.
fn cores(exec_host: &str) -> u32 {
    exec_host
        .split('+')
        .filter_map(|part| part.rsplit_once('/')?.1.parse::<u32>().ok())
        .fold(0, u32::saturating_add)
}

/// The walltime limit in the answer of `qstat -q`, where names are cut off after 16 characters.
fn walltime_max(limits: &str, queue: &str) -> Option<u64> {
    let cut: String = queue.chars().take(16).collect();
    let row = limits
        .lines()
        .find(|line| line.split_whitespace().next() == Some(&cut))?;
    seconds(row.split_whitespace().nth(3)?)
}
