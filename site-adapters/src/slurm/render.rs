//! What Slurm is told: the batch script of pilots, and the options of the
//! commands. Pure.

use std::collections::BTreeMap;

use super::bulk::{self, Batch};
use crate::{AdapterError, PilotJob, require_plain, script};

/// Columns of `squeue` in [`queue_args`]: id, state, name, reason. The reason comes last
/// because it may hold anything.
const QUEUE_FORMAT: &str = "%i|%T|%j|%r";
/// Columns of `sinfo` in [`partition_args`]: partition, availability, walltime limit, state,
/// cores (allocated/idle/other/total), cores of a node, MiB of a node, number of nodes, generic
/// resources, features, and why they are away. That comes last because it may hold
/// anything.
const PARTITION_FORMAT: &str = "%R|%a|%l|%T|%C|%c|%m|%D|%G|%f|%E";
/// Columns of `sacctmgr` in [`association_args`].
const ASSOCIATION_FORMAT: &str = "DefaultAccount,Cluster,Account,Partition,MaxJobs,MaxSubmit,\
                                  MaxWall,MaxTRES,QOS,DefaultQOS";
/// Columns of `sacctmgr` in [`qos_args`].
const QOS_FORMAT: &str = "Name,Flags,MaxWall,MaxTRES,MaxJobsPU,MaxSubmitPU";
/// What the batch script does before the pilot starts: takes away what is meant for the commands
/// that submitted it.
const PREAMBLE: &str = "unset LC_ALL LD_LIBRARY_PATH SLURM_TIME_FORMAT\n";

/// Where pilots start, and with which programs.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    /// Folder that they start in and write their log to.
    pub(super) work_dir: Option<String>,
    /// Folder of Slurm's commands.
    pub(super) bin_dir: Option<String>,
}

impl Place {
    /// The folder to start in. The server's own, which is the default, need not exist on the node.
    pub(super) fn folder(&self) -> &str {
        self.work_dir.as_deref().unwrap_or("/tmp")
    }

    /// The file that the job's output goes to.
    pub(super) fn log(&self, batch: &Batch<'_>) -> String {
        let member = if batch.members.len() > 1 { "_%a" } else { "" };
        match &self.work_dir {
            Some(folder) => format!("{folder}/{}{member}.log", batch.first().name),
            None => "/dev/null".to_owned(),
        }
    }
}

/// Refuses a job that Slurm cannot be asked for, or whose texts could be taken for something else.
pub(super) fn check(job: &PilotJob) -> Result<(), AdapterError> {
    let ce = &job.ce;
    require_plain("job name", &job.name)?;
    require_plain("partition", ce.queue())?;
    for (what, value) in [
        ("account", &ce.account),
        ("QoS", &ce.qos),
        ("GPU type", &ce.gpu_type),
        ("reservation", &ce.reservation),
        ("user", &job.run_as),
    ] {
        if let Some(value) = value {
            require_plain(what, value)?;
        }
    }
    if let Some(constraint) = &ce.constraint {
        require_constraint(constraint)?;
    }
    if job.reserve_at.is_some() {
        return Err(AdapterError::Refused(
            "Slurm lets only its operators make reservations: have one made, and name it as the \
             CE's reservation"
                .to_owned(),
        ));
    }
    Ok(())
}

/// Features and what Slurm combines them with: `(intel|amd)&ib`, `[rack1|rack2]`, `ib*2`.
fn require_constraint(text: &str) -> Result<(), AdapterError> {
    const CHARS_MAX: usize = 512;
    let may = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+:=@/&|()[]*,!".contains(&byte);
    let is_plain = !text.is_empty()
        && text.len() <= CHARS_MAX
        && !text.starts_with('-')
        && text.bytes().all(may);
    if is_plain {
        return Ok(());
    }
    Err(AdapterError::Refused(format!(
        "constraint {text:?} may hold only letters, digits and . _ - + : = @ / & | ( ) [ ] * , ! \
         (at most {CHARS_MAX}, and not begin with -)"
    )))
}

/// The generic resources to ask for on each node: `gpu:a100:2`.
pub(super) fn gres(job: &PilotJob) -> Option<String> {
    let count = job.resources.gpus;
    match &job.ce.gpu_type {
        _ if count == 0 => None,
        Some(kind) => Some(format!("gpu:{kind}:{count}")),
        None => Some(format!("gpu:{count}")),
    }
}

/// The walltime to ask for, in minutes, as Slurm counts. It takes 0 for no limit.
pub(super) fn minutes(job: &PilotJob) -> u64 {
    job.walltime_s.div_ceil(60).max(1)
}

/// The options of `sbatch` for a batch. No secret is among them.
pub(super) fn submit_args(batch: &Batch<'_>, place: &Place) -> Result<Vec<String>, AdapterError> {
    let job = batch.first();
    let ce = &job.ce;
    check(job)?;
    let mut args = vec![
        "--parsable".to_owned(),
        // Otherwise Slurm would start the same pilot a second time after the loss of a node.
        "--no-requeue".to_owned(),
        // All that `sbatch` has is next to nothing, see `exec.rs`. Anything but ALL makes the
        // node run the user's login scripts first, for seconds, and the job wait if they fail.
        "--export=ALL".to_owned(),
        format!("--job-name={}", job.name),
        format!("--partition={}", ce.queue()),
        format!("--nodes={}", job.nodes.max(1)),
        "--ntasks-per-node=1".to_owned(),
        format!("--cpus-per-task={}", job.resources.cores.max(1)),
        format!("--time={}", minutes(job)),
    ];
    args.extend(batch.array().map(|array| format!("--array={array}")));
    match job.resources.memory_mib {
        // With --exclusive, too, memory has to be asked for: 0 is all that a node has.
        0 if ce.shape.whole_node => args.push("--mem=0".to_owned()),
        0 => {}
        memory => args.push(format!("--mem={memory}M")),
    }
    if ce.shape.whole_node {
        args.push("--exclusive".to_owned());
    }
    args.extend(gres(job).map(|gres| format!("--gres={gres}")));
    for (option, value) in [
        ("account", &ce.account),
        ("qos", &ce.qos),
        ("constraint", &ce.constraint),
        ("reservation", &ce.reservation),
    ] {
        args.extend(value.iter().map(|value| format!("--{option}={value}")));
    }
    let avoid = avoided(job);
    if !avoid.is_empty() {
        args.push(format!("--exclude={}", avoid.join(",")));
    }
    args.push(format!("--chdir={}", place.folder()));
    args.push(format!("--output={}", place.log(batch)));
    for option in &ce.options {
        args.push(require_option(option)?.to_owned());
    }
    Ok(args)
}

/// The names of the nodes to keep away from. One that cannot be a node's name is none.
pub(super) fn avoided(job: &PilotJob) -> Vec<&str> {
    let avoid = job.avoid.iter().map(String::as_str);
    avoid.filter(|name| crate::is_plain(name)).collect()
}

/// A word of the site's own for `sbatch`. What does not begin with `-` would be the path of a
/// script, and what comes after it the script's.
fn require_option(word: &str) -> Result<&str, AdapterError> {
    let is_option = word.len() > 1
        && word.starts_with('-')
        && word != "--"
        && !word.chars().any(char::is_control);
    if is_option {
        return Ok(word);
    }
    Err(AdapterError::Refused(format!(
        "option {word:?} must be one word that begins with -, as in --name=value"
    )))
}

/// The batch script of a batch: the pilot's, see [`script::script`], or one that each member of an
/// array finds its own document in.
pub(super) fn script(batch: &Batch<'_>, place: &Place) -> Result<String, AdapterError> {
    let job = batch.first();
    if batch.members.len() > 1 {
        return array_script(batch);
    }
    if job.nodes > 1 {
        return script::script(job, PREAMBLE, &launcher(job, place));
    }
    script::script(job, PREAMBLE, "exec")
}

/// One script for all members. Each document is a here-document of its own: the shell gives a
/// member what is behind its index and looks at nothing else.
fn array_script(batch: &Batch<'_>) -> Result<String, AdapterError> {
    let job = batch.first();
    let command = script::command(&job.program)?;
    let mut text = format!(
        "#!/bin/sh\n\
         # Pilot {name} of Fairway and {others} more.\n\
         export PATH=/usr/local/bin:/usr/bin:/bin\n\
         {PREAMBLE}\
         case $SLURM_ARRAY_TASK_ID in\n",
        name = job.name,
        others = batch.members.len() - 1,
    );
    for member in &batch.members {
        let document = &member.job.stdin;
        let mark = script::end_mark(document);
        let newline = if document.ends_with('\n') { "" } else { "\n" };
        text += &format!(
            "{index})\nexec {command} <<'{mark}'\n{document}{newline}{mark}\n;;\n",
            index = member.index,
        );
    }
    text.push_str("esac\necho \"no pilot has the index $SLURM_ARRAY_TASK_ID\" >&2\nexit 1\n");
    Ok(text)
}

/// What starts a program once on each node, with the same standard input, and waits for all.
/// Slurm itself brings signals to the processes of a step, so that each pilot hears of its end.
fn launcher(job: &PilotJob, place: &Place) -> String {
    let folder = place.bin_dir.as_ref();
    let srun = folder.map_or_else(
        || "srun".to_owned(),
        |folder| script::quote(&format!("{folder}/srun")),
    );
    let cores = if job.ce.shape.whole_node {
        // As much as there is: a number would bind the program to so many cores.
        "--cpu-bind=none".to_owned()
    } else {
        // Not taken over from the job by the releases from 22.05 on.
        format!("--cpus-per-task={}", job.resources.cores.max(1))
    };
    format!(
        "unset SLURM_CPUS_PER_TASK SRUN_CPUS_PER_TASK\n\
         exec {srun} --nodes={nodes} --ntasks={nodes} --ntasks-per-node=1 {cores} --export=ALL \
         --input=all --kill-on-bad-exit=0 --wait=0 \
         /bin/sh -c 'FAIRWAY_NODE=$SLURM_PROCID; export FAIRWAY_NODE; exec \"$@\"' pilot",
        nodes = job.nodes,
    )
}

/// The options of `squeue` for the caller's own jobs, or for those of `users`, those that are
/// over included.
pub(super) fn queue_args(users: Option<&str>) -> Vec<String> {
    let whose = users.map_or_else(|| "--me".to_owned(), |users| format!("--user={users}"));
    let mut args = strings(&["--noheader", "--all", "--array", "--states=all"]);
    args.extend([whose, "-o".to_owned(), QUEUE_FORMAT.to_owned()]);
    args
}

/// The options of `squeue` for whose jobs there are: rows of id and user.
pub(super) fn owner_args(users: &str) -> Vec<String> {
    let mut args = strings(&["--noheader", "--all", "--array", "-o", "%i|%u"]);
    args.push(format!("--user={users}"));
    args
}

/// The options of `sacct` for what became of `ids`. Members that are cancelled before they
/// started have no row of their own, so arrays are asked for as a whole.
pub(super) fn accounting_args(ids: &[&str]) -> Vec<String> {
    let mut args = strings(&["--noheader", "--parsable2", "--allocations"]);
    args.push("--format=JobID,State,ExitCode,JobName".to_owned());
    args.push(format!("--jobs={}", ids.join(",")));
    args
}

/// The words of `scancel` for `ids`: one for each job, and one for all members of an array.
pub(super) fn cancel_words<'a>(ids: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut words = Vec::new();
    let mut arrays: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for id in ids {
        match id.split_once('_') {
            Some((array, index)) => {
                let members = arrays.entry(array).or_default();
                members.extend(index.parse::<u64>().ok());
            }
            None => words.push(id.to_owned()),
        }
    }
    for (array, mut members) in arrays {
        members.sort_unstable();
        members.dedup();
        words.push(format!("{array}_[{}]", bulk::ranges(&members)));
    }
    words
}

/// The options of `sinfo` for the partitions: rows of nodes that are alike.
pub(super) fn partition_args() -> Vec<String> {
    strings(&["--noheader", "--all", "--exact", "-o", PARTITION_FORMAT])
}

/// The options of `scontrol` for what partitions allow.
pub(super) fn rule_args() -> Vec<String> {
    strings(&["--oneliner", "--all", "show", "partition"])
}

/// The options of `scontrol` for how the cluster is set up.
pub(super) fn config_args() -> Vec<String> {
    strings(&["show", "config"])
}

/// The options of `squeue` for everybody's jobs, as rows of partition and state.
pub(super) fn load_args() -> Vec<String> {
    strings(&["--noheader", "--all", "--array", "-o", "%P|%T"])
}

/// The options of `scontrol` for what the nodes are.
pub(super) fn node_args() -> Vec<String> {
    strings(&["--oneliner", "--all", "show", "node"])
}

/// The options of `sacctmgr` for the associations of `user`, with what they inherit.
pub(super) fn association_args(user: &str) -> Vec<String> {
    let mut args = strings(&["--noheader", "--parsable2", "show", "user", "withassoc"]);
    args.push(format!("name={user}"));
    args.push(format!("format={ASSOCIATION_FORMAT}"));
    args
}

/// The options of `sacctmgr` for all qualities of service.
pub(super) fn qos_args() -> Vec<String> {
    let mut args = strings(&["--noheader", "--parsable2", "show", "qos"]);
    args.push(format!("format={QOS_FORMAT}"));
    args
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}
