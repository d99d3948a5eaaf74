//! Who is served next, and within which bounds: the operator's choice.
//!
//! The whole of it is one document ([`Policy`]), which can be exported, checked, compared with
//! the one in force, and put in its place while the server runs.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

mod backfill;
mod bounds;
mod changes;
mod check;
mod document;
mod fairshare;
mod maui;
mod preemption;
mod qos;
mod shares;
mod usage;

pub use backfill::{Backfill, BackfillSettings};
pub use bounds::{Budget, BudgetPeriod, Limit, Pause, Scope, Who};
pub use changes::FieldChange;
pub use document::Mistake;
pub use fairshare::{FairshareSettings, HalfLifeSettings, MAX_DEPTH_MAX};
pub use maui::{MauiSettings, MauiTarget, TargetKind};
pub use preemption::PreemptionSettings;
pub use qos::Qos;
pub use shares::{PATH_SEPARATOR, Share, SharePath};
pub use usage::{Metric, UsageSettings, UsageWeights};

/// The order in which work is served when a pilot has room.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyKind {
    /// Tasks in the order in which they came into the queue.
    Fifo,
    /// Users in turn, one task each, without preemption.
    RoundRobin,
    /// Groups in turn, one task each; within a group its users in turn.
    RoundRobinGroups,
    /// The share with the smallest FS for its size first, from the top of the tree to the user.
    #[default]
    Fairshare,
    /// As [`Fairshare`](Self::Fairshare), with usage that decays by half-life: Slurm's Fair Tree.
    FairTree,
    /// Users by `2^(-U/S)`, all in one order: Slurm's classic fair-share factor.
    HalfLife,
    /// Users by the cores that they have in use against their slice: HTCondor's averages, with
    /// slices in proportion to shares, and larger for who had less than their part lately.
    UserPriority,
    /// Tasks by the sum of weighted components, fairshare targets among them: Maui.
    Maui,
}

impl PolicyKind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::Fifo,
        Self::RoundRobin,
        Self::RoundRobinGroups,
        Self::Fairshare,
        Self::FairTree,
        Self::HalfLife,
        Self::UserPriority,
        Self::Maui,
    ];

    /// The name used in documents and on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fifo => "fifo",
            Self::RoundRobin => "round-robin",
            Self::RoundRobinGroups => "round-robin-groups",
            Self::Fairshare => "fairshare",
            Self::FairTree => "fair-tree",
            Self::HalfLife => "half-life",
            Self::UserPriority => "user-priority",
            Self::Maui => "maui",
        }
    }
}

/// The whole of the operator's choice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// The order of service.
    pub kind: PolicyKind,
    /// What counts as usage, whatever the kind.
    pub usage: UsageSettings,
    /// Of `fairshare`.
    pub fairshare: FairshareSettings,
    /// Of `fair-tree`, `half-life` and `user-priority`.
    pub half_life: HalfLifeSettings,
    /// Of `maui`.
    pub maui: MauiSettings,
    /// A task that has waited for so many seconds goes before all that have not, whatever the
    /// order of service says: nothing starves. Except under `fifo` that is said only of users who
    /// got nothing for tasks that need the same in that time, so that a backlog that has grown old
    /// does not go before everything else. `None`, in documents 0: no such bound. Not of `maui`,
    /// where waiting has a weight of its own.
    #[serde(deserialize_with = "document::seconds_or_none")]
    pub wait_max_s: Option<u64>,
    /// How idle cores are used while a wide task waits for more of them.
    pub backfill: BackfillSettings,
    /// When running tasks give way to others.
    pub preemption: PreemptionSettings,
    /// What users and groups are to get, as a tree. What is not named gets a share of 1.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shares: Vec<Share>,
    /// Qualities of service that tasks may ask for with `QoS`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub qos: Vec<Qos>,
    /// Limits on running and waiting tasks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Limit>,
    /// Core-hours that may be used.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<Budget>,
    /// Who gets no new tasks started at the moment.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paused: Vec<Pause>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            kind: PolicyKind::default(),
            usage: UsageSettings::default(),
            fairshare: FairshareSettings::default(),
            half_life: HalfLifeSettings::default(),
            maui: MauiSettings::default(),
            wait_max_s: Some(7 * 24 * 3600),
            backfill: BackfillSettings::default(),
            preemption: PreemptionSettings::default(),
            shares: Vec::new(),
            qos: Vec::new(),
            limits: Vec::new(),
            budgets: Vec::new(),
            paused: Vec::new(),
        }
    }
}

impl Policy {
    /// The quality of service of that name.
    pub fn qos_named(&self, name: &str) -> Option<&Qos> {
        self.qos.iter().find(|qos| qos.name == name)
    }

    /// Whether the tree of shares has the user in the group.
    pub fn has_in(&self, user: &crate::UserName, group: &crate::GroupName) -> bool {
        self.shares.iter().any(|share| {
            let mut names = share.path.names().rev();
            share.user
                && names.next() == Some(user.as_str())
                && names.next() == Some(group.as_str())
        })
    }
}
