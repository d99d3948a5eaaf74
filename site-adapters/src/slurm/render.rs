//! What Slurm is told: the batch script of a pilot, and the options of the
//! commands. Pure.

use crate::{AdapterError, PilotJob, require_plain, script};

/// Columns of `squeue` in [`queue_args`]: id, state, name, reason. The reason comes last
/// because it may hold anything.
const QUEUE_FORMAT: &str = "%i|%T|%j|%r";
/// Columns of `sinfo` in [`partition_args`]: partition, availability, walltime limit, state,
/// cores (allocated/idle/other/total), cores of a node, MiB of a node.
const PARTITION_FORMAT: &str = "%R|%a|%l|%T|%C|%c|%m";

/// The options of `sbatch` for one pilot. No secret is among them.
pub(super) fn submit_args(
    job: &PilotJob,
    work_dir: Option<&str>,
) -> Result<Vec<String>, AdapterError> {
    let queue = job.ce.queue();
    require_plain("job name", &job.name)?;
    require_plain("partition", queue)?;
    let mut args = vec![
        "--parsable".to_owned(),
        // Otherwise Slurm would start the same pilot a second time after the loss of a node.
        "--no-requeue".to_owned(),
        // All that `sbatch` has is next to nothing, see `exec.rs`. Anything but ALL makes the
        // node run the user's login scripts first, for seconds, and the job wait if they fail.
        "--export=ALL".to_owned(),
        format!("--job-name={}", job.name),
        format!("--partition={queue}"),
        "--nodes=1".to_owned(),
        "--ntasks=1".to_owned(),
        format!("--cpus-per-task={}", job.resources.cores.max(1)),
        // Slurm counts in minutes, and takes 0 for no limit.
        format!("--time={}", job.walltime_s.div_ceil(60).max(1)),
    ];
    if job.resources.memory_mib > 0 {
        args.push(format!("--mem={}M", job.resources.memory_mib));
    }
    if job.resources.gpus > 0 {
        args.push(format!("--gres=gpu:{}", job.resources.gpus));
    }
    for (option, value) in [("account", &job.ce.account), ("qos", &job.ce.qos)] {
        if let Some(value) = value {
            require_plain(option, value)?;
            args.push(format!("--{option}={value}"));
        }
    }
    match work_dir {
        Some(folder) => {
            args.push(format!("--chdir={folder}"));
            args.push(format!("--output={folder}/{}.log", job.name));
        }
        // The server's own folder, which is the default, need not exist on the node.
        None => args.extend(["--chdir=/tmp", "--output=/dev/null"].map(str::to_owned)),
    }
    Ok(args)
}

/// The batch script of one pilot, see [`script::script`].
pub(super) fn script(job: &PilotJob) -> Result<String, AdapterError> {
    script::script(
        job,
        "unset LC_ALL LD_LIBRARY_PATH SLURM_TIME_FORMAT\n",
        "exec",
    )
}

/// The options of `squeue` for the caller's own jobs, those that are over included.
pub(super) fn queue_args() -> Vec<String> {
    strings(&[
        "--noheader",
        "--all",
        "--me",
        "--states=all",
        "-o",
        QUEUE_FORMAT,
    ])
}

/// The options of `sacct` for what became of `ids`.
pub(super) fn accounting_args(ids: &[&str]) -> Vec<String> {
    let mut args = strings(&["--noheader", "--parsable2", "--allocations"]);
    args.push("--format=JobIDRaw,State,ExitCode,JobName".to_owned());
    args.push(format!("--jobs={}", ids.join(",")));
    args
}

/// The options of `sinfo` for the partitions: rows of nodes that are alike.
pub(super) fn partition_args() -> Vec<String> {
    strings(&["--noheader", "--all", "--exact", "-o", PARTITION_FORMAT])
}

/// The options of `squeue` for everybody's jobs, as rows of partition and state.
pub(super) fn load_args() -> Vec<String> {
    strings(&["--noheader", "--all", "--array", "-o", "%P|%T"])
}

/// The options of `scontrol` for what the nodes are.
pub(super) fn node_args() -> Vec<String> {
    strings(&["--oneliner", "--all", "show", "node"])
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}
