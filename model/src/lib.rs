//! The vocabulary of Fairway: what every other crate means by a task, an
//! attempt, a pilot, a site, an amount of resources or a moment in time.
//!
//! Nothing here does I/O, is async or reads a clock. Legal transitions between
//! states are defined beside the states, so that there is one place to look
//! them up.

pub mod event;
pub mod id;
pub mod job;
pub mod order;
pub mod pilot;
pub mod policy;
pub mod principal;
pub mod resources;
pub mod rule;
pub mod site;
pub mod task;
pub mod time;
pub mod usage;

pub use event::{Event, EventKind, TaskVerb};
pub use id::{Attempt, CeId, CeName, GroupName, JobId, PilotId, SiteName, TaskId, UserName};
pub use job::Job;
pub use order::Order;
pub use pilot::{Pilot, PilotEnd, PilotOwner, PilotState};
pub use policy::{
    FairshareSettings, Metric, Policy, PolicyKind, PreemptionSettings, UsageSettings,
};
pub use principal::{Principal, Role};
pub use resources::{CustomResources, Resources};
pub use rule::Rule;
pub use site::{
    AdapterSettings, AgentSettings, Ce, CeState, CeStatus, KubernetesSettings, LocalSettings,
    Maintenance, OarSettings, PbsDialect, PbsSettings, PilotLimits, PilotShape, PilotSharing,
    RestSettings, SecretRef, Site, SiteMode, SlurmSettings, SshSettings, SupplySettings,
    WarmSettings,
};
pub use task::{AttemptEnd, GivesWay, Preemption, Task, TaskState};
pub use time::Timestamp;
pub use usage::UsageRecord;
