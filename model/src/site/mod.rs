//! Sites, their compute elements, and what they publish about themselves.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{CeName, GroupName, SiteName, Timestamp, UserName};

mod adapter;
mod pilots;
mod published;

pub use adapter::{
    AdapterSettings, AgentSettings, KubernetesSettings, LocalSettings, OarSettings, PbsDialect,
    PbsSettings, RestSettings, SecretRef, SlurmSettings, SshSettings,
};
pub use pilots::{PilotLimits, PilotShape, PilotSharing, SupplySettings, WarmSettings};
pub use published::{CeState, CeStatus};

/// Whether a site or CE takes pilots, by its admin's or an operator's word.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum SiteMode {
    /// It takes pilots.
    #[default]
    Open,
    /// Pilots there finish the tasks they have; no new pilot is sent.
    Draining,
    /// No pilot is sent.
    Closed,
}

/// A place with a batch system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// Its name.
    pub name: SiteName,
    /// Whether it takes pilots.
    #[serde(default)]
    pub mode: SiteMode,
    /// The batch system's kind and how it is reached; read by the site adapters.
    /// Secrets are referred to (a file, an environment variable), never written here.
    pub adapter: AdapterSettings,
    /// Its compute elements.
    pub ces: Vec<Ce>,
    /// Pilots at all its CEs together that are not over, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pilots_max: Option<u32>,
    /// Cores of these pilots, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cores_max: Option<u32>,
    /// When it is not to be used, in its admin's plan. Pilots that would still run then are not
    /// asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub maintenance: Vec<Maintenance>,
    /// The accounts at the site that private pilots of users run under; a user without one gets
    /// no private pilot here. Empty: all run under the adapter's own account.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub accounts: BTreeMap<UserName, String>,
}

/// A time in which a site is not to be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Maintenance {
    /// When it begins.
    #[serde(with = "crate::time::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// When it is over.
    #[serde(with = "crate::time::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    /// Why, for people to read.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// A compute element: one queue or partition that pilots are submitted to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Ce {
    /// Its name within the site.
    pub name: CeName,
    /// Whether it takes pilots.
    #[serde(default)]
    pub mode: SiteMode,
    /// The batch system's queue or partition; the CE's name if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// The account to submit under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The quality of service to ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qos: Option<String>,
    /// What nodes must have, in the batch system's own words: Slurm's `--constraint`, OAR's
    /// properties (`-p`), what stands beside `ncpus` in a chunk of PBS's `select`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraint: Option<String>,
    /// The kind of GPU, where the batch system tells them apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_type: Option<String>,
    /// A reservation of the site's to run in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservation: Option<String>,
    /// Types of job in OAR's sense, such as `besteffort`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// More options for the submission, each one word, as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// Path of the pilot program on the worker nodes; the server's setting if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pilot_program: Option<String>,
    /// What one pilot asks the batch system for.
    #[serde(default)]
    pub shape: PilotShape,
    /// How many pilots there may be.
    #[serde(default)]
    pub limits: PilotLimits,
    /// Whose tasks one pilot may run.
    #[serde(default)]
    pub pilots: PilotSharing,
    /// When pilots are asked for.
    #[serde(default)]
    pub supply: SupplySettings,
    /// Who may use it; everybody if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<UserName>,
    /// Groups that may use it; everybody if empty (and `users` is).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupName>,
    /// Software tags, published as `GlueHostApplicationSoftwareRunTimeEnvironment`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Whether payloads may reach the network outside the site.
    #[serde(default = "yes")]
    pub outbound: bool,
    /// Benchmark of one core in SI00 (250 are one HS06), published as `GlueHostBenchmarkSI00`.
    /// What runs here counts for so much in usage that is normalised; a CE that does not say
    /// counts as one of [`Ce::BENCHMARK_USUAL_SI00`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub benchmark_si00: Option<u32>,
}

const fn yes() -> bool {
    true
}

impl Ce {
    /// Benchmark of a usual core, in SI00: 10 HS06.
    pub const BENCHMARK_USUAL_SI00: u32 = 2500;
}

impl Site {
    /// A site that is open and has no limits of its own.
    pub fn new(name: SiteName, adapter: AdapterSettings, ces: Vec<Ce>) -> Self {
        Self {
            name,
            mode: SiteMode::Open,
            adapter,
            ces,
            pilots_max: None,
            cores_max: None,
            maintenance: Vec::new(),
            accounts: BTreeMap::new(),
        }
    }
}

impl Ce {
    /// A CE as it is if its description says nothing but its name.
    pub fn new(name: CeName) -> Self {
        Self {
            name,
            mode: SiteMode::Open,
            queue: None,
            account: None,
            qos: None,
            constraint: None,
            gpu_type: None,
            reservation: None,
            types: Vec::new(),
            options: Vec::new(),
            pilot_program: None,
            shape: PilotShape::default(),
            limits: PilotLimits::default(),
            pilots: PilotSharing::Shared,
            supply: SupplySettings::default(),
            users: Vec::new(),
            groups: Vec::new(),
            tags: Vec::new(),
            outbound: true,
            benchmark_si00: None,
        }
    }

    /// The batch system's queue or partition.
    pub fn queue(&self) -> &str {
        self.queue.as_deref().unwrap_or(self.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maintenance_is_written_for_people_and_read_from_programs_too() {
        let described =
            r#"{"from":"2026-12-01T08:00:00Z","to":"2026-12-01T20:00:00Z","why":"power"}"#;
        let read: Maintenance = serde_json::from_str(described).unwrap();
        assert_eq!(read.from, Timestamp(1_796_112_000_000));
        assert_eq!(serde_json::to_string(&read).unwrap(), described);
        let millis = r#"{"from": 1796112000000, "to": 1796155200000, "why": "power"}"#;
        assert_eq!(serde_json::from_str::<Maintenance>(millis).unwrap(), read);
        let wrong = r#"{"from": "in the morning", "to": 1}"#;
        let told = serde_json::from_str::<Maintenance>(wrong).unwrap_err();
        assert!(told.to_string().contains("2026-12-01T08:00:00Z"), "{told}");
    }

    #[test]
    fn a_key_that_is_none_is_named() {
        let text = r#"{"name": "lyon", "adapter": {"kind": "local"}, "ces": [], "queues": []}"#;
        let told = serde_json::from_str::<Site>(text).unwrap_err();
        assert!(told.to_string().contains("`queues`"), "{told}");
    }
}
