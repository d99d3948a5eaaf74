//! The protocol between a site's agent and the server. The agent always calls; one outbound
//! HTTPS connection is all that it needs.
//!
//! `POST /v1/agent/{site}/exchange` does everything: it brings [`AgentReply`]s to earlier
//! [`AgentRequest`]s, tells which requests the agent still holds, and is held open until there
//! are new ones. It is safe to repeat:
//!
//! - A request that was given to the agent and is in neither `holding` nor `replies` was lost
//!   on the way, and is given again. The agent knows requests by their ids and never executes
//!   one twice.
//! - A session is one run of an agent. A session that is not known yet ends the one before it:
//!   what that one holds is never given to another, and its next exchange is refused.
//! - Within a session, an exchange of a later round ends one of an earlier round that is still
//!   held open, with no requests. So an answer need not wait for the end of a long poll.
//!
//! What is asked for mirrors the server's view of a batch system: submit, poll, cancel,
//! publish. It names CEs and says nothing of how the batch system is reached: that is in the
//! agent's own file.

use fairway_model::{CeName, CeState, PilotId, Resources, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Longest body of an exchange, in bytes.
pub const EXCHANGE_BYTES_MAX: u64 = 16 << 20;

/// What an agent tells.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ExchangeRequest {
    /// A random text of this run of the agent.
    pub session: String,
    /// Grows with every exchange of the session, from 1.
    pub round: u64,
    /// The agent's version.
    pub version: String,
    /// The machine that the agent runs on.
    pub host: String,
    /// Requests that the agent has and has not answered yet.
    #[serde(default)]
    pub holding: Vec<String>,
    /// What became of earlier requests. Told again until an exchange with them succeeds.
    #[serde(default)]
    pub replies: Vec<AgentReply>,
    /// How long to hold the exchange open if there is no request, in seconds. The server may
    /// answer sooner. 0 if there are replies: who reports wants to know soon that it was heard.
    #[serde(default)]
    pub wait_s: u64,
    /// The agent ends: it takes no more requests.
    #[serde(default)]
    pub leaving: bool,
}

/// What an agent is asked for.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct ExchangeReply {
    /// New requests, and those that were lost on the way.
    #[serde(default)]
    pub requests: Vec<AgentRequest>,
}

/// A request to an agent.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AgentRequest {
    /// What it is known by; no other request ever has the same.
    pub id: String,
    /// It must not be begun later than so many milliseconds after it was received: whoever
    /// asked has given up by then.
    pub useful_ms: u64,
    /// What to do.
    #[serde(flatten)]
    pub call: Call,
}

/// What to do. Serialized with a `call` tag.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "call", rename_all = "kebab-case")]
pub enum Call {
    /// Submit pilots. Answered by [`Outcome::Submitted`].
    Submit {
        /// The pilots' jobs.
        jobs: Vec<SubmitJob>,
    },
    /// Tell of all jobs whose name begins so, and of those that are known. Answered by
    /// [`Outcome::Jobs`].
    Poll {
        /// How the names begin.
        name_prefix: String,
        /// Batch ids that must be told of, also if they are over.
        known: Vec<String>,
    },
    /// End jobs. Answered by [`Outcome::Cancelled`].
    Cancel {
        /// Which.
        batch_ids: Vec<String>,
    },
    /// Tell what these CEs publish. Answered by [`Outcome::Published`].
    Publish {
        /// Which.
        ces: Vec<CeName>,
        /// The moment, by the server's clock.
        now: Timestamp,
    },
}

/// A pilot to submit.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct SubmitJob {
    /// Which pilot.
    pub pilot: PilotId,
    /// Where to. How pilots are submitted there is in the agent's own file.
    pub ce: CeName,
    /// The job's name in the batch system; by it a lost submission is found again.
    pub name: String,
    /// What to ask for, on each node.
    pub resources: Resources,
    /// How many nodes.
    pub nodes: u32,
    /// The account at the site to run under; one of those in the agent's own file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as: Option<String>,
    /// Ask for an advance reservation that begins then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserve_at: Option<Timestamp>,
    /// Worker nodes that are not to be used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub avoid: Vec<String>,
    /// The walltime to ask for, in seconds.
    pub walltime_s: u64,
    /// The pilot program and its arguments, where the CE in the agent's own file names none.
    pub program: Vec<String>,
    /// What the program reads on its standard input: the bootstrap document. Holds a secret.
    pub stdin: String,
}

impl std::fmt::Debug for SubmitJob {
    /// Without the bootstrap document, which holds a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SubmitJob")
            .field("pilot", &self.pilot)
            .field("ce", &self.ce)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// An agent's answer to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AgentReply {
    /// Which request.
    pub id: String,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What became of a request. Serialized with an `outcome` tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// What became of each submission, in order.
    Submitted {
        /// The batch id, or why there is none.
        results: Vec<Submitted>,
    },
    /// The jobs that were found.
    Jobs {
        /// In any order.
        jobs: Vec<BatchJob>,
    },
    /// The jobs are over, or will be.
    Cancelled,
    /// What each CE publishes, in the order in which they were asked for.
    Published {
        /// One for each CE.
        states: Vec<CeState>,
    },
    /// It could not be done.
    Failed {
        /// Why.
        fault: Fault,
    },
}

/// What became of one submission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Submitted {
    /// The batch system's id.
    BatchId(String),
    /// Why there is none.
    Fault(Fault),
}

/// Why something could not be done at the site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Fault {
    /// What is known of it.
    pub kind: FaultKind,
    /// In the batch system's or the agent's words.
    pub text: String,
}

/// What is known of something that could not be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// The batch system, or the agent, would not: nothing was done.
    Refused,
    /// Nothing is known of what the batch system did.
    Unreachable,
    /// The batch system's answer was not understood.
    Unexpected,
}

/// A job in the batch system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BatchJob {
    /// The batch system's id.
    pub batch_id: String,
    /// Its name, as given at submission.
    pub name: String,
    /// Where it is.
    #[serde(flatten)]
    pub state: BatchState,
}

/// Where a job is. Serialized with a `state` tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum BatchState {
    /// In the queue.
    Queued {
        /// Why it waits, in the batch system's words.
        reason: String,
    },
    /// Running.
    Running,
    /// Over.
    Ended {
        /// What the batch system says of it.
        detail: String,
    },
}

/// What is known of a site's agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AgentView {
    /// When it was last heard of.
    pub heard_at: Timestamp,
    /// Its version.
    pub version: String,
    /// The machine that it runs on.
    pub host: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Agents and servers of different versions speak to each other: this is what they rely on.
    #[test]
    fn what_is_on_the_wire() {
        let request = AgentRequest {
            id: "r1".to_owned(),
            useful_ms: 30_000,
            call: Call::Poll {
                name_prefix: "fw-1-".to_owned(),
                known: vec!["7".to_owned()],
            },
        };
        assert_eq!(
            serde_json::to_value(&request).unwrap(),
            serde_json::json!({
                "id": "r1", "useful_ms": 30_000,
                "call": "poll", "name_prefix": "fw-1-", "known": ["7"],
            })
        );
        let reply = AgentReply {
            id: "r1".to_owned(),
            outcome: Outcome::Jobs {
                jobs: vec![BatchJob {
                    batch_id: "7".to_owned(),
                    name: "fw-1-p7".to_owned(),
                    state: BatchState::Running,
                }],
            },
        };
        let json = serde_json::json!({
            "id": "r1", "outcome": "jobs",
            "jobs": [{"batch_id": "7", "name": "fw-1-p7", "state": "running"}],
        });
        assert_eq!(serde_json::to_value(&reply).unwrap(), json);
        assert_eq!(serde_json::from_value::<AgentReply>(json).unwrap(), reply);
        let refused = Submitted::Fault(Fault {
            kind: FaultKind::Refused,
            text: "no such queue".to_owned(),
        });
        assert_eq!(
            serde_json::to_value(&refused).unwrap(),
            serde_json::json!({"fault": {"kind": "refused", "text": "no such queue"}})
        );
    }

    #[test]
    fn no_secret_is_shown() {
        let job: SubmitJob = serde_json::from_value(serde_json::json!({
            "pilot": "p7", "ce": "short", "name": "fw-1-p7", "nodes": 1, "walltime_s": 60,
            "resources": {"cores": 1, "memory_mib": 0, "gpus": 0},
            "program": ["/opt/pilot"], "stdin": "hush",
        }))
        .unwrap();
        let request = AgentRequest {
            id: "r1".to_owned(),
            useful_ms: 30_000,
            call: Call::Submit { jobs: vec![job] },
        };
        assert!(!format!("{request:?}").contains("hush"));
    }
}
