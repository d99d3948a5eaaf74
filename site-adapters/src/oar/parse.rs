//! What OAR answers, by its commands and by its REST API: the same rows of the same tables under
//! different names. Pure.

use serde::Deserialize;
use serde_json::Value;

use super::render;
use crate::exec::Output;
use crate::{AdapterError, BatchJob, BatchState};

/// A job, in the words of `oarstat -J` or of the table of jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Job {
    #[serde(alias = "Job_Id", deserialize_with = "number")]
    pub(super) job_id: i64,
    #[serde(alias = "name", deserialize_with = "text")]
    job_name: String,
    #[serde(deserialize_with = "number")]
    array_index: i64,
    #[serde(deserialize_with = "text")]
    pub(super) state: String,
    #[serde(alias = "queue", deserialize_with = "text")]
    pub(super) queue_name: String,
    #[serde(deserialize_with = "text")]
    message: String,
    #[serde(deserialize_with = "text")]
    command: String,
    /// The raw status of wait(2).
    exit_code: Option<i64>,
    #[serde(deserialize_with = "list")]
    pub(super) assigned_resources: Vec<i64>,
    #[serde(deserialize_with = "list")]
    pub(super) events: Vec<Event>,
}

/// Something that happened to a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Event {
    #[serde(deserialize_with = "number")]
    event_id: i64,
    #[serde(deserialize_with = "number")]
    pub(super) job_id: i64,
    #[serde(rename = "type", deserialize_with = "text")]
    kind: String,
    #[serde(deserialize_with = "text")]
    description: String,
}

/// A number, or a text that is one; 0 for anything else.
fn number<'de, D: serde::Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    Ok(as_number(&Value::deserialize(from)?).unwrap_or_default())
}

pub(super) fn as_number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// A text, or a number as one; empty for anything else.
fn text<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(as_text(&Value::deserialize(from)?).unwrap_or_default())
}

pub(super) fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A list without what cannot be read in it; empty for anything else.
fn list<'de, D, T>(from: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::de::DeserializeOwned,
{
    let Value::Array(values) = Value::deserialize(from)? else {
        return Ok(Vec::new());
    };
    let read = |value| serde_json::from_value(value).ok();
    Ok(values.into_iter().filter_map(read).collect())
}

impl Job {
    /// The name that the pilot was submitted under.
    pub(super) fn name(&self) -> String {
        let index = usize::try_from(self.array_index).unwrap_or(1).max(1);
        render::member_name(&self.job_name, index).unwrap_or_else(|| self.job_name.clone())
    }

    /// Whether it is over.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state.as_str(), "Terminated" | "Error")
    }

    /// Whether a process of it can hear a signal.
    pub(super) fn has_started(&self) -> bool {
        matches!(self.state.as_str(), "Running" | "Suspended" | "Resuming")
    }

    /// Whether resources are given to it now.
    pub(super) fn is_placed(&self) -> bool {
        self.has_started() || matches!(self.state.as_str(), "toLaunch" | "Launching" | "Finishing")
    }

    /// The account that it was submitted as, if not the adapter's own, and the file of its script.
    pub(super) fn script(&self, work_dir: &str) -> Option<(Option<String>, String)> {
        let index = usize::try_from(self.array_index).unwrap_or(1).max(1);
        render::script_of(&self.command, index, work_dir)
    }

    /// Whether it may have ended without its script being started, which then is still there.
    pub(super) fn may_leave_its_script(&self) -> bool {
        self.state == "Error"
    }

    /// As all batch systems tell it.
    pub(super) fn batch_job(&self) -> BatchJob {
        let state = match self.state.as_str() {
            "Running" | "Suspended" | "Resuming" | "Finishing" => BatchState::Running,
            "Terminated" | "Error" => BatchState::Ended {
                detail: self.detail(),
            },
            // Waiting, Hold, toLaunch, Launching, toAckReservation, toError, and whatever a later
            // release invents.
            "Waiting" if !self.message.is_empty() => BatchState::Queued {
                reason: self.message.clone(),
            },
            other => BatchState::Queued {
                reason: comma([other, &self.message]),
            },
        };
        BatchJob {
            batch_id: self.job_id.to_string(),
            name: self.name(),
            state,
        }
    }

    /// How it ended. The state alone does not say: a job whose program failed is `Terminated`, one
    /// that was killed is `Error`, and why is told by what happened to it.
    fn detail(&self) -> String {
        if let Some(status) = self.exit_code {
            let status = match (status >> 8 & 255, status & 127) {
                (0, 0) => String::new(),
                (code, 0) => format!("exit code {code}"),
                (_, signal) => format!("signal {signal}"),
            };
            return comma([&self.state, &status]);
        }
        let why = self.cause();
        // What the scheduler said of a job before it started says nothing of its end.
        let is_request = self.message.starts_with("R=");
        match why {
            Some(why) => comma([&self.state, &why]),
            None if is_request => self.state.clone(),
            None => comma([&self.state, &self.message]),
        }
    }

    fn cause(&self) -> Option<String> {
        let mut events: Vec<&Event> = self.events.iter().collect();
        events.sort_by_key(|event| event.event_id);
        let find = |wanted: &dyn Fn(&Event) -> bool| events.iter().find(|event| wanted(event));
        if find(&|event| event.kind == "BESTEFFORT_KILL").is_some() {
            return Some("preempted, as besteffort jobs are".to_owned());
        }
        // Changes of the walltime are told of by the same name.
        let elapsed =
            |event: &Event| event.kind == "WALLTIME" && event.description.ends_with("(Elapsed)");
        if find(&elapsed).is_some() {
            return Some("walltime reached".to_owned());
        }
        if let Some(event) = find(&|event| event.kind == "FRAG_JOB_REQUEST") {
            let who = event.description.split(' ').nth(1).unwrap_or("somebody");
            return Some(format!("deleted by {who}"));
        }
        // The rest are signals, checkpoints and changes of state that go with each end.
        let telling = [
            "WORKING_DIRECTORY",
            "OUTPUT_FILES",
            "EXIT_VALUE_OAREXEC",
            "CPUSET_ERROR",
            "PING_CHECKER_NODE_SUSPECTED",
            "USER_SHELL",
            "PROLOGUE_ERROR",
            "SERVER_PROLOGUE_ERROR",
            "CANNOT_NOTIFY_OARSUB",
        ];
        let event = find(&|event| telling.contains(&event.kind.as_str()))?;
        let words = event.description.split_once("] ");
        Some(words.map_or(event.description.clone(), |(_, words)| words.to_owned()))
    }
}

/// The words that say something, separated by commas.
fn comma<const N: usize>(words: [&str; N]) -> String {
    let said: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    said.join(", ")
}

/// The rows of an answer of the commands: an object of rows by number, or nothing at all.
pub(super) fn rows(program: &str, stdout: &str) -> Result<Vec<Value>, AdapterError> {
    if stdout.trim().is_empty() {
        return Ok(Vec::new());
    }
    match serde_json::from_str(stdout) {
        Ok(Value::Object(rows)) => Ok(rows.into_iter().map(|(_, row)| row).collect()),
        _ => Err(unexpected(program, stdout)),
    }
}

/// The jobs in rows of theirs.
pub(super) fn jobs(program: &str, rows: Vec<Value>) -> Result<Vec<Job>, AdapterError> {
    let read = |row: Value| {
        serde_json::from_value(row).map_err(|error| unexpected(program, &error.to_string()))
    };
    rows.into_iter().map(read).collect()
}

/// The ids in what `oarsub` prints, among whatever the site's rules have to say; `count` are
/// expected.
pub(super) fn submitted_ids(stdout: &str, count: usize) -> Result<Vec<String>, AdapterError> {
    let ids = printed_ids(stdout);
    if ids.len() == count {
        Ok(ids)
    } else {
        Err(unexpected("oarsub", stdout))
    }
}

/// The ids that were printed. Failures print `OAR_JOB_ID=-5`, or nothing behind the sign.
pub(super) fn printed_ids(stdout: &str) -> Vec<String> {
    stdout
        .lines()
        .filter_map(|line| line.strip_prefix("OAR_JOB_ID="))
        .map(str::trim)
        .filter(|id| render::parse_id(id).is_some())
        .map(str::to_owned)
        .collect()
}

/// Why `oarsub` failed, by its exit code and its words. 9: the server is away, though the job is
/// written down. 25: the database is. No code: it was ended from outside, after who knows what.
pub(super) fn submission_failure(code: Option<i32>, words: String) -> AdapterError {
    match code {
        None | Some(9 | 25) => AdapterError::Unreachable(words),
        Some(_) => AdapterError::Refused(words),
    }
}

/// What a command says went wrong, without what is printed for every job.
pub(super) fn words(output: &Output) -> String {
    clean(&output.words(), output.code)
}

/// The site's own words in what `oarsub` printed.
pub(super) fn clean(printed: &str, code: Option<i32>) -> String {
    let noise = |sentence: &&str| {
        !sentence.is_empty()
            && !sentence.starts_with("OAR_JOB_ID=")
            && !sentence.starts_with("[ADMISSION RULE] Modify resource description")
            && !sentence.contains("please verify your request syntax")
            && !sentence.starts_with("Reservation mode: waiting")
            && !sentence.starts_with(['#', '{', '}', '"'])
    };
    let sentences: Vec<&str> = printed
        .split([';', '\n'])
        .map(str::trim)
        .filter(noise)
        .collect();
    match (sentences.is_empty(), code) {
        (true, Some(code)) => format!("exit code {code} and no message"),
        (true, None) => "no message".to_owned(),
        (false, _) => sentences.join("; "),
    }
}

/// What `oardel` says of jobs that are over, gone or somebody else's is no failure of ours; that
/// the server is away is.
pub(super) fn deletion(output: &Output) -> Result<(), AdapterError> {
    match output.code {
        // 1: unknown or not ours; 4: not a job; 5: not running; 6: killed already; 7: interactive.
        Some(0 | 1 | 4..=7) => Ok(()),
        _ => Err(AdapterError::Unreachable(words(output))),
    }
}

/// The version in `OAR version : 2.5.9 (Canicule)`.
pub(super) fn version(text: &str) -> String {
    let mut words = text.split_whitespace();
    words
        .find(|word| word.starts_with(|letter: char| letter.is_ascii_digit()))
        .unwrap_or_default()
        .to_owned()
}

/// An answer that is not understood, with its beginning.
pub(super) fn unexpected(who: &str, answer: &str) -> AdapterError {
    const CHARS_MAX: usize = 200;
    let answer: String = answer.chars().take(CHARS_MAX).collect();
    AdapterError::Unexpected(format!("{who} answered {answer:?}"))
}
