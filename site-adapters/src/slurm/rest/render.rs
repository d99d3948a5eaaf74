//! What `slurmrestd` is told. Pure.

use serde_json::{Value, json};

use super::Version;
use crate::slurm::bulk::Batch;
use crate::slurm::render::{self, Place};
use crate::{AdapterError, PilotJob};

/// Where the pilot's programs are looked for, before the script sets its own.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The body of a submission. It holds the pilots' documents.
///
/// # Errors
/// `Refused` if the job asks for what cannot be said so.
pub(super) fn submission(
    batch: &Batch<'_>,
    place: &Place,
    version: Version,
) -> Result<Value, AdapterError> {
    let job = batch.first();
    render::check(job)?;
    if !job.ce.options.is_empty() {
        return Err(AdapterError::Refused(
            "the CE's options are words for sbatch, which is not used where there is slurmrestd"
                .to_owned(),
        ));
    }
    let mut asked = json!({
        "name": job.name,
        "partition": job.ce.queue(),
        "nodes": job.nodes.max(1).to_string(),
        "tasks_per_node": 1,
        "cpus_per_task": job.resources.cores.max(1),
        "current_working_directory": place.folder(),
        "standard_output": place.log(batch),
    });
    for (name, value) in [
        ("account", job.ce.account.clone()),
        ("qos", job.ce.qos.clone()),
        ("constraints", job.ce.constraint.clone()),
        ("reservation", job.ce.reservation.clone()),
        ("array", batch.array()),
    ] {
        if let Some(value) = value {
            asked[name] = value.into();
        }
    }
    if version.is_parsed() {
        newer(job, &mut asked);
    } else {
        older(job, &mut asked);
    }
    let script = render::script(batch, place)?;
    // Until it went into the job it stood beside it.
    Ok(if version.has_script_in_job() {
        asked["script"] = script.into();
        json!({ "job": asked })
    } else {
        json!({ "job": asked, "script": script })
    })
}

/// Memory to ask for on each node, in MiB; 0 is all that there is.
fn memory(job: &PilotJob) -> Option<u64> {
    match job.resources.memory_mib {
        0 => job.ce.shape.whole_node.then_some(0),
        memory => Some(memory),
    }
}

/// v0.0.38 takes what `sbatch` takes, by the names of its long options: `requeue` asks for it
/// whatever its value is. It cannot be told what nodes to avoid.
fn older(job: &PilotJob, asked: &mut Value) {
    asked["no_requeue"] = true.into();
    asked["time_limit"] = render::minutes(job).into();
    asked["environment"] = json!({ "PATH": PATH });
    if let Some(memory) = memory(job) {
        asked["memory_per_node"] = memory.into();
    }
    if let Some(gres) = render::gres(job) {
        asked["gres"] = gres.into();
    }
    if job.ce.shape.whole_node {
        asked["exclusive"] = "exclusive".into();
    }
}

/// From v0.0.39 on it takes the fields of Slurm's own job description.
fn newer(job: &PilotJob, asked: &mut Value) {
    let number = |number: u64| json!({ "set": true, "infinite": false, "number": number });
    let nodes = job.nodes.max(1);
    asked["minimum_nodes"] = nodes.into();
    asked["maximum_nodes"] = nodes.into();
    asked["tasks"] = nodes.into();
    asked["requeue"] = false.into();
    asked["time_limit"] = number(render::minutes(job));
    asked["environment"] = json!([format!("PATH={PATH}")]);
    if let Some(memory) = memory(job) {
        asked["memory_per_node"] = number(memory);
    }
    if let Some(gres) = render::gres(job) {
        asked["tres_per_node"] = format!("gres/{gres}").into();
    }
    if job.ce.shape.whole_node {
        asked["shared"] = json!(["none"]);
    }
    let avoid = render::avoided(job);
    if !avoid.is_empty() {
        asked["excluded_nodes"] = avoid.into();
    }
}
