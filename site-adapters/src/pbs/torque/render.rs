//! What TORQUE is told. Pure.

use super::Flavour;
use crate::pbs::render::{
    array_script, require_common, require_constraint, several_nodes_script, single_script, walltime,
};
use crate::pbs::strings;
use crate::script::quote;
use crate::{AdapterError, PilotJob, require_plain, script};

/// The options of `qsub` for pilots that ask for the same; several are an array. No secret is
/// among them.
pub(super) fn submit_args(
    jobs: &[PilotJob],
    flavour: Flavour,
    work_dir: Option<&str>,
) -> Result<Vec<String>, AdapterError> {
    let [job, ..] = jobs else {
        return Ok(Vec::new());
    };
    require_common(job)?;
    if let Some(qos) = &job.ce.qos {
        require_plain("quality of service", qos)?;
    }
    let mut args = strings(&["-N", &job.name, "-q", job.ce.queue(), "-l"]);
    args.push(resources(job, flavour)?);
    // Otherwise the same pilot would be started a second time after the loss of a node.
    args.extend(strings(&["-r", "n", "-j", "oe", "-o"]));
    // Slurm writes it on the node itself.
    args.push(match (flavour, work_dir) {
        (Flavour::OverSlurm, Some(folder)) => format!("{folder}/{}.log", job.name),
        _ => "/dev/null".to_owned(),
    });
    if let Some(account) = &job.ce.account {
        args.extend(["-A".to_owned(), account.clone()]);
    }
    match flavour {
        Flavour::Torque => {
            // Else the script may be read by whatever shell the account has.
            args.extend(strings(&["-S", "/bin/sh"]));
            args.extend(extensions(job));
            if jobs.len() > 1 {
                args.extend(["-t".to_owned(), format!("0-{}", jobs.len() - 1)]);
            }
            args.extend(job.ce.options.iter().cloned());
        }
        Flavour::OverSlurm => {
            // A folder of the server's, which is the default, need not exist on the node.
            args.extend(strings(&["-wd", work_dir.unwrap_or("/tmp")]));
            require_shell_safe(&job.ce.options)?;
            args.extend(job.ce.options.iter().cloned());
            // It takes no script on standard input, but hands its own on to the `sbatch` that it
            // runs: the script is still in no file. See `through_a_pipe`.
            args.push("/dev/stdin".to_owned());
        }
    }
    Ok(args)
}

/// The arguments of a shell that runs `qsub` over Slurm behind a pipe of its own: `/dev/stdin` can
/// be opened only if it is a pipe that the same user made, and not a socket, which the input of a
/// command over SSH may be, nor the pipe of whoever runs `sudo`.
pub(super) fn through_a_pipe(qsub: String, args: Vec<String>) -> Vec<String> {
    let mut words = strings(&["-c", "cat | \"$0\" \"$@\""]);
    words.push(qsub);
    words.extend(args);
    words
}

/// The resources, in one list: TORQUE takes several `-l`, the commands over Slurm the last only.
fn resources(job: &PilotJob, flavour: Flavour) -> Result<String, AdapterError> {
    let nodes = job.nodes.max(1);
    let asked = &job.resources;
    let mut list = format!("nodes={nodes}:ppn={}", asked.cores.max(1));
    if asked.gpus > 0 {
        list.push_str(&format!(":gpus={}", asked.gpus));
    }
    if let (Flavour::Torque, Some(constraint)) = (flavour, &job.ce.constraint) {
        require_constraint(constraint)?;
        list.push_str(&format!(":{constraint}"));
    }
    list.push_str(&format!(",walltime={}", walltime(job.walltime_s)));
    if asked.memory_mib > 0 {
        // TORQUE counts the memory of the whole job, Slurm that of each node.
        let mib = match flavour {
            Flavour::Torque => asked.memory_mib.saturating_mul(u64::from(nodes)),
            Flavour::OverSlurm => asked.memory_mib,
        };
        list.push_str(&format!(",mem={mib}mb"));
    }
    Ok(list)
}

/// What TORQUE hands on to its scheduler, Maui or Moab.
fn extensions(job: &PilotJob) -> Vec<String> {
    let mut words = Vec::new();
    words.extend(
        job.ce
            .shape
            .whole_node
            .then(|| "NACCESSPOLICY:SINGLEJOB".to_owned()),
    );
    words.extend(job.ce.qos.as_ref().map(|qos| format!("QOS:{qos}")));
    let reservation = job.ce.reservation.as_ref();
    words.extend(reservation.map(|reservation| format!("FLAGS:ADVRES:{reservation}")));
    if words.is_empty() {
        return Vec::new();
    }
    vec!["-W".to_owned(), format!("x={}", words.join(";"))]
}

/// What the commands over Slurm have no option for, as lines that `sbatch` reads in the script.
fn directives(job: &PilotJob) -> Result<String, AdapterError> {
    let mut lines = String::new();
    if job.ce.shape.whole_node {
        lines.push_str("#SBATCH --exclusive\n");
    }
    for (option, value) in [("qos", &job.ce.qos), ("reservation", &job.ce.reservation)] {
        if let Some(value) = value {
            require_plain(option, value)?;
            lines.push_str(&format!("#SBATCH --{option}={value}\n"));
        }
    }
    if let Some(constraint) = &job.ce.constraint {
        require_plain("constraint", constraint)?;
        lines.push_str(&format!("#SBATCH --constraint={constraint}\n"));
    }
    if !job.avoid.is_empty() {
        for node in &job.avoid {
            require_plain("node", node)?;
        }
        lines.push_str(&format!("#SBATCH --exclude={}\n", job.avoid.join(",")));
    }
    Ok(lines)
}

/// The commands over Slurm paste their options into a line for a shell.
fn require_shell_safe(options: &[String]) -> Result<(), AdapterError> {
    let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@+:=,/%^".contains(&byte);
    match options.iter().find(|word| !word.bytes().all(is_safe)) {
        None => Ok(()),
        Some(word) => Err(AdapterError::Refused(format!(
            "option {word:?} may not hold what means something to a shell"
        ))),
    }
}

/// The batch script of pilots that are submitted at once.
pub(super) fn script(
    jobs: &[PilotJob],
    flavour: Flavour,
    work_dir: Option<&str>,
) -> Result<String, AdapterError> {
    match (flavour, jobs) {
        (Flavour::OverSlurm, [job]) => {
            let launcher = match job.nodes {
                0 | 1 => "exec".to_owned(),
                nodes => step(nodes, job.resources.cores.max(1)),
            };
            let script = script::script(job, "unset LC_ALL LD_LIBRARY_PATH\n", &launcher)?;
            // Directives are read up to the first command only.
            let first = "#!/bin/sh\n";
            Ok(script.replacen(first, &format!("{first}{}", directives(job)?), 1))
        }
        (_, [job]) if job.nodes > 1 => several_nodes_script(job, work_dir, "pbsdsh -u"),
        (_, [job]) => single_script(job, work_dir),
        (_, jobs) => array_script(jobs, "PBS_ARRAYID", work_dir),
    }
}

/// What starts a program once on every node of an allocation of Slurm's, each with all that is
/// read on standard input.
fn step(nodes: u32, cores: u32) -> String {
    let each = "FAIRWAY_NODE=$SLURM_NODEID; export FAIRWAY_NODE; exec \"$@\"";
    format!(
        "exec srun --nodes={nodes} --ntasks={nodes} --ntasks-per-node=1 --cpus-per-task={cores} \
         --input=all --kill-on-bad-exit=0 /bin/sh -c {} pilot",
        quote(each)
    )
}

/// The options of `qstat` for all jobs, members of arrays one by one.
pub(super) fn queue_args(flavour: Flavour) -> Vec<String> {
    match flavour {
        // `-1`: long values on one line.
        Flavour::Torque => strings(&["-t", "-f", "-1"]),
        Flavour::OverSlurm => strings(&["-f"]),
    }
}
