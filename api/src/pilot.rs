//! The protocol between a pilot and the server. The pilot always calls; one
//! outbound HTTPS connection is all that it needs.
//!
//! 1. The batch job hands the pilot a [`Bootstrap`] on standard input: neither a
//!    command line nor an environment ever holds the secret.
//! 2. `POST /v1/pilot/register` exchanges the one-time secret for a session
//!    token. The same nonce may repeat the call, should the reply be lost.
//! 3. `POST /v1/pilot/sync` does everything else: it is the heartbeat, carries
//!    [`Report`]s, asks for work ([`Want`]) and brings [`Lease`]s and orders
//!    back. With a `Want` and no reports it is a long poll. It is safe to repeat:
//!    reports are fenced by attempt, and leases that the pilot does not list
//!    under `holding` are sent again.
//! 4. Files travel beside it: `GET /v1/pilot/tasks/{task}/{attempt}/input/{name}`,
//!    `PUT …/{attempt}/stdout|stderr?offset=N` (chunks), `PUT …/{attempt}/output`
//!    (one gzipped tar).
//! 5. `POST /v1/pilot/goodbye` ends the session.
//!
//! Every refusal is a [`Problem`](crate::Problem). `pilot-ended` and
//! `unauthorized` tell the pilot to stop its payloads and end.

use fairway_model::{Attempt, AttemptEnd, CeId, Order, PilotId, Resources, TaskId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// What a pilot is started with: one JSON document on its standard input.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bootstrap {
    /// Base URL of the server, e.g. `https://wms.example.org:8443`.
    pub server: String,
    /// Certificates to trust instead of the machine's, in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<String>,
    /// Who this pilot is.
    pub pilot: PilotId,
    /// The CE that it was sent to.
    pub ce: CeId,
    /// The one-time secret.
    pub secret: String,
    /// What was asked for; the pilot never takes more than this, unless it has a whole node.
    pub resources: Resources,
    /// Whether a whole node was asked for: the pilot takes what it finds there.
    #[serde(default)]
    pub whole_node: bool,
    /// The walltime that was asked for, in seconds, from the start of the pilot.
    pub walltime_s: u64,
    /// Folder to work in; a temporary one if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work_dir: Option<String>,
    /// The pilot ends after so many seconds without work.
    pub idle_s: u64,
}

impl std::fmt::Debug for Bootstrap {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bootstrap")
            .field("server", &self.server)
            .field("pilot", &self.pilot)
            .field("ce", &self.ce)
            .finish_non_exhaustive()
    }
}

/// The first call.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RegisterRequest {
    /// Who calls.
    pub pilot: PilotId,
    /// The one-time secret.
    pub secret: String,
    /// A random text of the pilot's own, the same if it must repeat the call.
    pub nonce: String,
    /// The worker node's name.
    pub host: String,
    /// What the pilot found that it may use.
    pub resources: Resources,
    /// When its allocation ends, by the pilot's clock, as seconds from now.
    pub remaining_s: u64,
    /// The pilot's version.
    pub version: String,
}

/// The answer to the first call.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RegisterReply {
    /// Bearer token for all further calls.
    pub token: String,
    /// The pilot must be heard of at least this often, in seconds.
    pub heartbeat_s: u64,
    /// Longest that the server holds a long poll, in seconds.
    pub poll_s: u64,
}

/// Heartbeat, reports and the wish for work in one.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct SyncRequest {
    /// What happened since the last successful sync, in order.
    #[serde(default)]
    pub reports: Vec<Report>,
    /// Every attempt that the pilot holds: waiting to start, running, or ended and not
    /// yet reported with success.
    pub holding: Vec<(TaskId, Attempt)>,
    /// The wish for work, if there is one.
    #[serde(default)]
    pub want: Option<Want>,
}

/// The wish for work.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct Want {
    /// Grows with every wish. A newer wish of the same pilot ends an older one.
    pub round: u64,
    /// Seconds that remain of the allocation, less what the pilot needs to tidy up.
    pub remaining_s: u64,
    /// How many tasks may wait at the pilot beyond those that its resources hold.
    /// Short payloads do not pay a round trip each that way.
    pub backlog: u32,
    /// What the pilot was told last by [`SyncReply::stay`]; false before.
    #[serde(default)]
    pub staying: bool,
}

/// The answer to a sync.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct SyncReply {
    /// Work. May repeat a lease that the pilot has already: it is then left alone.
    #[serde(default)]
    pub leases: Vec<Lease>,
    /// What is to be done with attempts. May repeat an order that the pilot has already: it is
    /// then left alone, but that a payload sleeps or goes on is told again.
    #[serde(default)]
    pub orders: Vec<AttemptOrder>,
    /// Finish what is there, take no more, end.
    #[serde(default)]
    pub drain: bool,
    /// Whether to stay though there is no task here: the node is part of one that another pilot of
    /// the allocation has, or waits to be. A pilot that drains then ends only when that is over.
    /// Not set: as it was told before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stay: Option<bool>,
}

/// What is to be done with one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AttemptOrder {
    /// Which task.
    pub task: TaskId,
    /// Which try.
    pub attempt: Attempt,
    /// What.
    #[serde(flatten)]
    pub what: Order,
}

/// What a pilot tells about one attempt.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Report {
    /// Which task.
    pub task: TaskId,
    /// Which try.
    pub attempt: Attempt,
    /// What happened.
    #[serde(flatten)]
    pub what: ReportKind,
}

/// What happened to an attempt. Serialized with a `report` tag.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "report", rename_all = "kebab-case")]
pub enum ReportKind {
    /// The payload started.
    Started,
    /// The payload sleeps: its cores are free.
    Suspended,
    /// The payload goes on.
    Resumed,
    /// The attempt is over.
    Ended {
        /// How.
        end: AttemptEnd,
        /// What it used.
        used: Used,
    },
}

/// What an attempt used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Used {
    /// From the payload's start to its end without the time that it slept, in milliseconds; 0 if
    /// it did not start.
    pub wall_ms: u64,
    /// Processor time of the whole process tree, in milliseconds.
    pub cpu_ms: u64,
    /// Peak memory of the whole process tree, in KiB.
    pub memory_peak_kib: u64,
}

/// A task given to a pilot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Lease {
    /// Which task.
    pub task: TaskId,
    /// Which try.
    pub attempt: Attempt,
    /// What to run.
    pub payload: Payload,
}

/// What to run, and what to bring and fetch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Payload {
    /// A file of the input sandbox, an absolute path, or a name on the search path.
    pub executable: String,
    /// Its arguments, split as a shell would.
    pub arguments: Vec<String>,
    /// Variables set for it, beside the pilot's own `FAIRWAY_*` ones.
    pub environment: Vec<(String, String)>,
    /// File (of the sandbox) that is its standard input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// File in its folder that its standard output goes to; `stdout` if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<String>,
    /// File in its folder that its standard error goes to; `stderr` if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<String>,
    /// Files to fetch from the server into its folder before it starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<InputFile>,
    /// Names or patterns (`*`, `?`) of files in its folder to bring back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<String>,
    /// What it was given, on this node.
    pub resources: Resources,
    /// The nodes that it was given, this one first, if there are several. The pilot starts it
    /// here; how it reaches the others is its own affair.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<PayloadHost>,
    /// Longest time that it may run, without the time that it sleeps, in seconds; no limit of its
    /// own if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub walltime_s: Option<u64>,
}

/// One of the nodes of a task that has several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PayloadHost {
    /// Its name, as its own pilot told it.
    pub name: String,
    /// Cores that the task was given there.
    pub cores: u32,
}

/// A file of an input sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InputFile {
    /// Its name in the task's folder: one path component.
    pub name: String,
    /// What the server calls it: it is fetched by this.
    pub stored_as: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, in hex.
    pub sha256: String,
    /// Whether it may be executed.
    #[serde(default)]
    pub executable: bool,
}

/// Where a chunk of output belongs.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ChunkQuery {
    /// Where it begins in the file, in bytes.
    pub offset: u64,
}

/// The answer to a chunk of output.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct ChunkReply {
    /// Where the next chunk must begin.
    pub next_offset: u64,
    /// Whether the server keeps no more of this file (its size limit is reached).
    pub full: bool,
}

/// The last call.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct GoodbyeRequest {
    /// Why the pilot ends, for people.
    pub reason: String,
    /// When the pilot started, by the server's clock; not trusted for accounting.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
}
