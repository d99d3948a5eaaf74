//! What both dialects are told alike: the batch scripts. Pure.

use crate::script::{command, end_mark, quote, script};
use crate::{AdapterError, PilotJob, require_plain};

/// Whether a text is an absolute path that means itself wherever PBS reads a path.
pub(super) fn is_plain_path(path: &str) -> bool {
    path.starts_with('/')
        && path
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/._-+@=".contains(&byte))
}

/// Refuses words of a constraint that would be more than what they are pasted into: only plain
/// words, `name=value` and `:` between them.
pub(super) fn require_constraint(constraint: &str) -> Result<(), AdapterError> {
    for word in constraint.split(':') {
        let (name, value) = word.split_once('=').unwrap_or((word, "x"));
        for part in [name, value] {
            require_plain("constraint", part)?;
            if part.contains('+') {
                return Err(AdapterError::Refused(format!(
                    "constraint {constraint:?} may not hold a +, which begins another chunk"
                )));
            }
        }
    }
    Ok(())
}

/// Refuses options that are not one word each.
pub(super) fn require_words(options: &[String]) -> Result<(), AdapterError> {
    match options
        .iter()
        .find(|word| word.is_empty() || word.chars().any(char::is_control))
    {
        None => Ok(()),
        Some(word) => Err(AdapterError::Refused(format!(
            "option {word:?} is empty or holds a control character"
        ))),
    }
}

/// Refuses what neither dialect has.
pub(super) fn require_common(job: &PilotJob) -> Result<(), AdapterError> {
    require_plain("job name", &job.name)?;
    require_plain("queue", job.ce.queue())?;
    if let Some(account) = &job.ce.account {
        require_plain("account", account)?;
    }
    if let Some(reservation) = &job.ce.reservation {
        require_plain("reservation", reservation)?;
    }
    if let Some(user) = &job.run_as {
        require_plain("account at the site", user)?;
    }
    require_words(&job.ce.options)?;
    if job.reserve_at.is_some() {
        return Err(AdapterError::Refused(
            "pilots make no advance reservations in PBS: make one with pbs_rsub, and name it as \
             the reservation of the CE"
                .to_owned(),
        ));
    }
    if let Some(kind) = &job.ce.gpu_type {
        return Err(AdapterError::Refused(format!(
            "PBS has no kinds of GPU of its own: say what tells a node with {kind:?} in the \
             constraint of the CE"
        )));
    }
    Ok(())
}

/// A walltime as `HH:MM:SS`, a minute at least.
pub(super) fn walltime(seconds: u64) -> String {
    let seconds = seconds.max(60);
    format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// Lines that take a pilot to its folder: the site's, or what PBS makes for each job. PBS itself
/// starts a job in its owner's home.
fn go_to(work_dir: Option<&str>) -> String {
    match work_dir {
        Some(folder) => format!("cd {} || exit 1\n", quote(folder)),
        None => "cd \"${TMPDIR:-/tmp}\" || exit 1\n".to_owned(),
    }
}

/// A line that lets a pilot write its log into its folder. PBS is told to keep nothing: it would
/// copy the output to the machine of the submission, and the job not be over until that is done.
fn log_to(work_dir: Option<&str>, name: &str) -> String {
    match work_dir {
        Some(folder) => format!("exec >>{} 2>&1\n", quote(&format!("{folder}/{name}.log"))),
        None => String::new(),
    }
}

/// The script of one pilot on one node.
///
/// # Errors
/// `Refused` if its program or document cannot be written so.
pub(super) fn single_script(
    job: &PilotJob,
    work_dir: Option<&str>,
) -> Result<String, AdapterError> {
    let preamble = format!("{}{}", go_to(work_dir), log_to(work_dir, &job.name));
    script(job, &preamble, "exec")
}

const PATH_LINE: &str = "export PATH=/usr/local/bin:/usr/bin:/bin\n";

/// The script of an array: what each member reads is chosen by `index`, the variable that holds
/// its place. Everything else is the first pilot's.
///
/// # Errors
/// `Refused` if a program or document cannot be written so.
pub(super) fn array_script(
    jobs: &[PilotJob],
    index: &str,
    work_dir: Option<&str>,
) -> Result<String, AdapterError> {
    let mut script = format!(
        "#!/bin/sh\n# {} pilots of Fairway, one for each index of an array.\n{PATH_LINE}{}\
         case ${index} in\n",
        jobs.len(),
        go_to(work_dir)
    );
    for (place, job) in jobs.iter().enumerate() {
        let name = &job.name;
        let log = log_to(work_dir, name);
        let program = reads_document(job)?;
        script.push_str(&format!("{place}) # {name}\n{log}{program};;\n"));
    }
    script.push_str("esac\necho 'no pilot has this index' >&2\nexit 2\n");
    Ok(script)
}

/// The pilot's command with its document as a here-document.
fn reads_document(job: &PilotJob) -> Result<String, AdapterError> {
    let command = command(&job.program)?;
    if job.stdin.contains('\0') {
        return Err(AdapterError::Refused(
            "the bootstrap document holds a zero byte".to_owned(),
        ));
    }
    let mark = end_mark(&job.stdin);
    let newline = if job.stdin.ends_with('\n') { "" } else { "\n" };
    let document = &job.stdin;
    Ok(format!(
        "exec {command} <<'{mark}'\n{document}{newline}{mark}\n"
    ))
}

/// The script of an allocation of several nodes. Programs that PBS itself starts on the other nodes
/// (`launcher`, a `pbsdsh`) have no input, so the script that each of them runs, with the document
/// in it, is laid into `work_dir`, which all nodes must share, for its owner's eyes only, and
/// removed in the end.
///
/// A signal of the batch system reaches the programs on all nodes; this shell waits for them,
/// because its own end would be theirs.
///
/// # Errors
/// `Refused` if there is no such folder, or a program or document cannot be written.
pub(super) fn several_nodes_script(
    job: &PilotJob,
    work_dir: Option<&str>,
    launcher: &str,
) -> Result<String, AdapterError> {
    let Some(folder) = work_dir else {
        return Err(AdapterError::Refused(
            "pilots on several nodes of PBS need a work_dir, a folder that all nodes share"
                .to_owned(),
        ));
    };
    let name = &job.name;
    let go = go_to(work_dir);
    let log = quote(&format!("{folder}/{name}."));
    let program = reads_document(job)?;
    let each = format!(
        "#!/bin/sh\n{PATH_LINE}FAIRWAY_NODE=$PBS_NODENUM\nexport FAIRWAY_NODE\n{go}\
         exec >>{log}\"$PBS_NODENUM\".log 2>&1\n{program}"
    );
    let mark = end_mark(&each);
    let file = quote(&format!("{folder}/.{name}."));
    Ok(format!(
        "#!/bin/sh\n\
         # Pilots {name} of Fairway, one on each node.\n\
         file={file}\"$PBS_JOBID\"\n\
         configuration=${{PBS_CONF_FILE:-/etc/pbs.conf}}\n\
         [ ! -r \"$configuration\" ] || . \"$configuration\"\n\
         PATH=$PATH:${{PBS_EXEC:-/opt/pbs}}/bin:/usr/local/bin:/usr/bin:/bin\n\
         stopped=\n\
         trap 'stopped=yes' TERM\n\
         trap 'rm -f \"$file\"' EXIT\n\
         rm -f \"$file\"\n\
         (umask 077; set -C; cat >\"$file\") <<'{mark}' || exit 1\n\
         {each}{mark}\n\
         {launcher} /bin/sh \"$file\" &\n\
         wait $!\n\
         code=$?\n\
         # The launcher goes with the signal, the pilots need a moment.\n\
         [ -z \"$stopped\" ] || sleep 10\n\
         exit \"$code\"\n"
    ))
}
