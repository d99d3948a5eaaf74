//! Why a command failed, for both dialects. Pure.

use crate::AdapterError;
use crate::exec::Output;

/// Exit codes of commands that did not reach the server, or were not let in: the server's error
/// number (15000 and more) without its upper bits. 160 unknown host, 162 no connection, 163
/// internal, 171 and 172 bad or expired credential, 183 protocol, 185 too many connections, 186 no
/// server; `qstat` ends with 255.
const UNREACHABLE_CODES: [i32; 9] = [160, 162, 163, 171, 172, 183, 185, 186, 255];
/// What they say then, as opposed to a refusal. The last four are what TORQUE's commands over
/// Slurm pass on.
const UNREACHABLE_WORDS: [&str; 13] = [
    "annot connect to",
    "ouldn't connect to",
    "could not connect to",
    "Connection refused",
    "Connection timed out",
    "Communication failure",
    "Unknown Host",
    "pbs_iff",
    "End of File",
    "Unable to contact",
    "Problem loading",
    "Socket timed out",
    "Unspecified error",
];
/// What `qdel` says of jobs that need no deletion: unknown, over, or just ending.
const OVER_WORDS: [&str; 4] = [
    "Unknown Job Id",
    "nonexistent job id",
    "Job has finished",
    "Request invalid for state of job",
];
/// And of somebody else's.
const UNAUTHORIZED: &str = "Unauthorized Request";

/// What a command says went wrong, on one line, without the program's name before each sentence
/// and without the usage that follows a bad option.
pub(super) fn words(output: &Output) -> String {
    const CHARS_MAX: usize = 600;
    let text = lines(output).collect::<Vec<_>>().join("; ");
    if text.is_empty() {
        return output.words();
    }
    text.chars().take(CHARS_MAX).collect()
}

/// The sentences of standard error; of the commands over Slurm, which tell errors on standard
/// output, those of `sbatch`.
fn lines(output: &Output) -> impl Iterator<Item = &str> {
    let text = match output.stdout.split_once("and the output was:\n") {
        Some((_, text)) => text,
        None => &output.stderr,
    };
    text.lines()
        .map(|line| line.trim_matches(|c: char| c.is_whitespace() || c == '\''))
        .take_while(|line| !line.to_ascii_lowercase().starts_with("usage:"))
        .map(|line| line.strip_prefix("sbatch: error: ").unwrap_or(line))
        .map(|line| match line.split_once(": ") {
            Some(("qsub" | "qstat" | "qdel" | "pbsnodes" | "sbatch", text)) => text.trim(),
            _ => line,
        })
        .map(|line| {
            line.strip_prefix("Batch job submission failed: ")
                .unwrap_or(line)
        })
        .filter(|line| !line.is_empty())
}

/// Whether the command did not reach the server.
fn is_unreachable(output: &Output) -> bool {
    output
        .code
        .is_none_or(|code| UNREACHABLE_CODES.contains(&code))
        || says_unreachable(output)
}

/// Whether the command says that it did not reach the server, whatever its exit code.
pub(super) fn says_unreachable(output: &Output) -> bool {
    let said = |words: &&str| output.stderr.contains(*words) || output.stdout.contains(*words);
    UNREACHABLE_WORDS.iter().any(said)
}

/// Why a submission failed. The exit code is told too: `qsub` may hand on the words of another
/// request, never its code.
pub(super) fn submission(output: &Output) -> AdapterError {
    let words = words(output);
    match output.code {
        _ if is_unreachable(output) => AdapterError::Unreachable(words),
        Some(code) if code > 2 => AdapterError::Refused(format!("{words} (exit code {code})")),
        _ => AdapterError::Refused(words),
    }
}

/// Whether a refusal is for want of room: a smaller array, or one later, may be taken.
pub(super) fn is_over_limit(error: &AdapterError) -> bool {
    const WORDS: [&str; 4] = [
        "would exceed",
        "Array job exceeds",
        "Maximum number of jobs already in queue",
        // The limit of jobs in the queue, whatever `qsub` says of it.
        "(exit code 38)",
    ];
    match error {
        AdapterError::Refused(words) => WORDS.iter().any(|full| words.contains(full)),
        AdapterError::Unreachable(_) | AdapterError::Unexpected(_) => false,
    }
}

/// What became of a deletion: the ids of jobs that belong to somebody else.
///
/// # Errors
/// What it says besides that jobs are over or unknown.
pub(super) fn deleted(output: &Output) -> Result<Vec<String>, AdapterError> {
    if output.succeeded() {
        return Ok(Vec::new());
    }
    if is_unreachable(output) || output.code == Some(MOM_AWAY) {
        return Err(AdapterError::Unreachable(words(output)));
    }
    let mut others = Vec::new();
    let mut bad = false;
    let mut silent = true;
    for line in lines(output) {
        silent = false;
        match line.strip_prefix(UNAUTHORIZED) {
            Some(rest) => others.extend(rest.split_whitespace().last().map(str::to_owned)),
            None => bad |= !OVER_WORDS.iter().any(|over| line.contains(over)),
        }
    }
    if bad || (silent && !matches!(output.code, Some(153 | 35 | 168))) {
        return Err(AdapterError::Refused(words(output)));
    }
    Ok(others)
}

/// Exit code of `qdel` when the node's daemon is away: the server forgets the request.
const MOM_AWAY: i32 = 222;
