//! What OpenPBS is told. Pure.

use crate::pbs::render::{
    array_script, require_common, require_constraint, several_nodes_script, single_script, walltime,
};
use crate::pbs::strings;
use crate::{AdapterError, PilotJob};

/// The options of `qsub` for pilots that ask for the same; several are an array. No secret is
/// among them.
pub(super) fn submit_args(jobs: &[PilotJob]) -> Result<Vec<String>, AdapterError> {
    let [job, ..] = jobs else {
        return Ok(Vec::new());
    };
    require_common(job)?;
    if job.ce.qos.is_some() {
        return Err(AdapterError::Refused(
            "OpenPBS has no quality of service: choose a queue".to_owned(),
        ));
    }
    let mut args = strings(&["-N", &job.name, "-q", target(&job.ce)]);
    args.extend(["-l".to_owned(), select(job)?]);
    args.extend([
        "-l".to_owned(),
        format!("walltime={}", walltime(job.walltime_s)),
    ]);
    let place = place(job);
    if !place.is_empty() {
        args.extend(["-l".to_owned(), format!("place={place}")]);
    }
    // Otherwise the same pilot would be started a second time after the loss of a node. One whose
    // first moments fall into a restart of the server is all the same.
    args.extend(strings(&["-r", "n", "-j", "oe", "-o", "/dev/null"]));
    if let Some(account) = &job.ce.account {
        args.extend(["-A".to_owned(), account.clone()]);
    }
    if jobs.len() > 1 {
        args.extend(["-J".to_owned(), format!("0-{}", jobs.len() - 1)]);
    }
    args.extend(job.ce.options.iter().cloned());
    Ok(args)
}

/// Where jobs of a CE go. A reservation is a queue of its own, named like its id without the
/// server.
pub(super) fn target(ce: &fairway_model::Ce) -> &str {
    match &ce.reservation {
        Some(reservation) => reservation.split('.').next().unwrap_or(reservation),
        None => ce.queue(),
    }
}

/// The chunks: one for each node.
fn select(job: &PilotJob) -> Result<String, AdapterError> {
    let resources = &job.resources;
    let mut select = format!(
        "select={}:ncpus={}",
        job.nodes.max(1),
        resources.cores.max(1)
    );
    if resources.memory_mib > 0 {
        select.push_str(&format!(":mem={}mb", resources.memory_mib));
    }
    if resources.gpus > 0 {
        select.push_str(&format!(":ngpus={}", resources.gpus));
    }
    if let Some(constraint) = &job.ce.constraint {
        require_constraint(constraint)?;
        select.push_str(&format!(":{constraint}"));
    }
    Ok(select)
}

/// How the chunks lie: each on a host of its own, and with nobody else on it. `exclhost` rather
/// than `excl`, which leaves the other virtual nodes of a host to others.
fn place(job: &PilotJob) -> String {
    let mut words = Vec::new();
    words.extend((job.nodes > 1).then_some("scatter"));
    words.extend(job.ce.shape.whole_node.then_some("exclhost"));
    words.join(":")
}

/// The batch script of pilots that are submitted at once.
pub(super) fn script(jobs: &[PilotJob], work_dir: Option<&str>) -> Result<String, AdapterError> {
    match jobs {
        [job] if job.nodes > 1 => several_nodes_script(job, work_dir, "pbsdsh --"),
        [job] => single_script(job, work_dir),
        jobs => array_script(jobs, "PBS_ARRAY_INDEX", work_dir),
    }
}

/// The options of `qstat` for all jobs that are not over, members of arrays one by one.
pub(super) fn queue_args() -> Vec<String> {
    strings(&["-t", "-f"])
}

/// The options of `qstat` for jobs that are over: `ids`, or all that the history has.
pub(super) fn history_args() -> Vec<String> {
    strings(&["-x", "-t", "-f"])
}

/// The options of `qstat` for the queues.
pub(super) fn queues_args() -> Vec<String> {
    strings(&["-Q", "-f"])
}

/// The options of `qstat` for the server.
pub(super) fn server_args() -> Vec<String> {
    strings(&["-B", "-f"])
}

/// The options of `pbsnodes` for all virtual nodes. Without `-v` a host is told of as one row of
/// sums, and what is offline is not seen.
pub(super) fn nodes_args() -> Vec<String> {
    strings(&["-a", "-v"])
}
