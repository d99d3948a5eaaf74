//! Qualities of service.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{GroupName, UserName};

/// A quality of service that tasks may ask for with `QoS`. Tasks that ask for none have tier 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Qos {
    /// Its name.
    pub name: String,
    /// Tasks of a higher tier are served before all of a lower one, whosever they are. Under
    /// `maui` tiers are of no account: `priority` is.
    #[serde(default)]
    pub tier: i32,
    /// Under `maui`: added to a task's priority.
    #[serde(default)]
    pub priority: f64,
    /// What usage counts, times this: 0 is free, 2 is dear.
    #[serde(default = "one")]
    pub usage_factor: f64,
    /// Names of qualities of service whose tasks give way to these; `""` names tasks without
    /// one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preempts: Vec<String>,
    /// Whether its tasks give way, whatever they say themselves.
    #[serde(default)]
    pub preemptible: bool,
    /// Users who may ask for it. Everybody if neither users nor groups are named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<UserName>,
    /// Groups who may ask for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupName>,
}

const fn one() -> f64 {
    1.0
}

impl Qos {
    /// Whether tasks of the user and group may ask for it.
    pub fn admits(&self, user: &UserName, group: Option<&GroupName>) -> bool {
        (self.users.is_empty() && self.groups.is_empty())
            || self.users.contains(user)
            || group.is_some_and(|group| self.groups.contains(group))
    }
}
