//! Maui's priority: a sum of weighted components.
//!
//! Source: Maui Administrator's Guide, "Job Prioritization" and "Fairshare". The priority of a
//! waiting task is
//!
//! ```text
//! fairshare_weight · Σ_e weight_e · (target_e - 100·U_e/U)     e: its user, group, share above that, QoS, queue
//! + queue_time_weight · minutes in the queue
//! + expansion_factor_weight · (1 + wait/walltime)
//! + resource_weight · (core_weight·cores + memory_weight·GiB + gpu_weight·GPUs + walltime_weight·hours)
//! + the priority of its QoS
//! ```
//!
//! where usage `U_e = Σ (i = 0 .. depth-1) decay^i · U_(e,i)` over windows of `interval_s`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a target bounds usage.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum TargetKind {
    /// Priority goes up below it and down above it.
    #[default]
    Target,
    /// `+`: priority goes up below it, and not down above it.
    Floor,
    /// `-`: priority goes down above it, and not up below it.
    Ceiling,
    /// `%`: nothing is started above it; usage is measured over all intervals, as for the target.
    Cap,
    /// `^`: nothing is started above it; usage is measured in the current interval alone.
    IntervalCap,
}

/// The share of all usage that a user, group, account, QoS or queue is to have, in percent,
/// with Maui's suffix: `25`, `25+`, `25-`, `25%`, `25^`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MauiTarget {
    /// In percent of all usage.
    pub percent: f64,
    /// What it does.
    pub kind: TargetKind,
}

impl std::fmt::Display for MauiTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let suffix = match self.kind {
            TargetKind::Target => "",
            TargetKind::Floor => "+",
            TargetKind::Ceiling => "-",
            TargetKind::Cap => "%",
            TargetKind::IntervalCap => "^",
        };
        write!(f, "{}{suffix}", self.percent)
    }
}

impl std::str::FromStr for MauiTarget {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (number, kind) = match text.char_indices().next_back() {
            Some((end, '+')) => (&text[..end], TargetKind::Floor),
            Some((end, '-')) => (&text[..end], TargetKind::Ceiling),
            Some((end, '%')) => (&text[..end], TargetKind::Cap),
            Some((end, '^')) => (&text[..end], TargetKind::IntervalCap),
            _ => (text, TargetKind::Target),
        };
        let percent = number.trim().parse::<f64>().ok();
        percent
            .filter(|percent| (0.0..=100.0).contains(percent))
            .map(|percent| Self { percent, kind })
            .ok_or_else(|| {
                format!(
                    "`{text}` is not a target: write a percentage such as 25, 25+, 25-, 25% or 25^"
                )
            })
    }
}

impl Serialize for MauiTarget {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MauiTarget {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Integer(i64),
            Real(f64),
            Text(String),
        }
        let text = match Written::deserialize(deserializer)? {
            Written::Integer(percent) => percent.to_string(),
            Written::Real(percent) => percent.to_string(),
            Written::Text(text) => text,
        };
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl utoipa::PartialSchema for MauiTarget {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .examples(["25-"])
            .into()
    }
}

impl ToSchema for MauiTarget {}

/// Maui's settings. Weights may be negative but for that of the time in the queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MauiSettings {
    /// `FSINTERVAL`: length of a window, in seconds.
    pub interval_s: u64,
    /// `FSDEPTH`: how many windows count.
    pub depth: u32,
    /// `FSDECAY`: weight of a window against the one after it, 0 to 1.
    pub decay: f64,
    /// `FSWEIGHT`: what a percent away from a target is worth, times the weights below.
    pub fairshare_weight: f64,
    /// `FSUSERWEIGHT`.
    pub user_weight: f64,
    /// `FSGROUPWEIGHT`: the group that the task is submitted for.
    pub group_weight: f64,
    /// `FSACCOUNTWEIGHT`: the share directly above the group, if there is a tree of shares.
    pub account_weight: f64,
    /// `FSQOSWEIGHT`.
    pub qos_weight: f64,
    /// `FSCLASSWEIGHT`: the queue that the task names (`QueueName`).
    pub queue_weight: f64,
    /// `QUEUETIMEWEIGHT`: what a minute in the queue is worth. Above 0, so that nothing starves.
    pub queue_time_weight: f64,
    /// `XFACTORWEIGHT`: what `1 + wait/walltime` is worth.
    pub expansion_factor_weight: f64,
    /// `RESWEIGHT`: what the resources asked for are worth.
    pub resource_weight: f64,
    /// `PROCWEIGHT`: of a core.
    pub core_weight: f64,
    /// `MEMWEIGHT`: of a GiB.
    pub memory_gib_weight: f64,
    /// Of a GPU.
    pub gpu_weight: f64,
    /// `WALLTIMEWEIGHT`: of an hour of walltime.
    pub walltime_hour_weight: f64,
    /// Users' targets by name; `*` for those not named.
    pub users: std::collections::BTreeMap<String, MauiTarget>,
    /// Groups' targets.
    pub groups: std::collections::BTreeMap<String, MauiTarget>,
    /// Accounts' targets: shares above groups, by path.
    pub accounts: std::collections::BTreeMap<String, MauiTarget>,
    /// Targets of qualities of service.
    pub qos: std::collections::BTreeMap<String, MauiTarget>,
    /// Targets of queues.
    pub queues: std::collections::BTreeMap<String, MauiTarget>,
}

impl Default for MauiSettings {
    /// A percent from a user's target is worth 4 hours in the queue.
    fn default() -> Self {
        Self {
            interval_s: 12 * 3600,
            depth: 8,
            decay: 0.8,
            fairshare_weight: 1.0,
            user_weight: 240.0,
            group_weight: 0.0,
            account_weight: 0.0,
            qos_weight: 0.0,
            queue_weight: 0.0,
            queue_time_weight: 1.0,
            expansion_factor_weight: 0.0,
            resource_weight: 0.0,
            core_weight: 1.0,
            memory_gib_weight: 0.0,
            gpu_weight: 0.0,
            walltime_hour_weight: 0.0,
            users: Default::default(),
            groups: Default::default(),
            accounts: Default::default(),
            qos: Default::default(),
            queues: Default::default(),
        }
    }
}
