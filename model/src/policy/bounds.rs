//! Limits, budgets and pauses.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{SiteName, Timestamp};

/// Whom a bound is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// Each one separately: `*`.
    Each,
    /// The one of that name.
    One(String),
}

impl Who {
    /// Whether it is about the one of that name.
    pub fn is(&self, name: &str) -> bool {
        match self {
            Self::Each => true,
            Self::One(own) => own == name,
        }
    }
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Each => f.pad("*"),
            Self::One(name) => f.pad(name),
        }
    }
}

impl Serialize for Who {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Who {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match String::deserialize(deserializer)? {
            text if text == "*" => Self::Each,
            text => Self::One(text),
        })
    }
}

impl utoipa::PartialSchema for Who {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .description(Some("A name, or `*` for each one separately"))
            .examples(["*"])
            .into()
    }
}

impl ToSchema for Who {}

/// Which tasks a bound is about: those that fit all that is said. With nothing said: all tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Scope {
    /// Tasks of this user, over all groups; `*`: of each user separately.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Who>,
    /// Tasks in this share of the tree, by path or a group's name; `*`: in each group separately.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<Who>,
    /// Tasks of this quality of service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qos: Option<String>,
    /// Tasks with this among their `Tags`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Tasks that name this queue (`QueueName`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
}

/// A limit on what runs and waits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Tasks of this user, over all groups; `*`: of each user separately.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Who>,
    /// Tasks in this share of the tree, by path or a group's name; `*`: in each group separately.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Who>,
    /// Tasks of this quality of service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qos: Option<String>,
    /// Tasks with this among their `Tags`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Tasks that name this queue (`QueueName`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// What runs at this site. Not with bounds on what waits, which is at no site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<SiteName>,
    /// Tasks with pilots at a time, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_tasks_max: Option<u64>,
    /// Cores of tasks with pilots at a time, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_cores_max: Option<u64>,
    /// Tasks in the queue, at most: a job that would exceed it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_tasks_max: Option<u64>,
    /// Cores that tasks in the queue ask for, at most: a job that would exceed it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_cores_max: Option<u64>,
}

impl Limit {
    /// Whether it bounds what waits.
    pub const fn bounds_waiting(&self) -> bool {
        self.waiting_tasks_max.is_some() || self.waiting_cores_max.is_some()
    }

    /// Whether it bounds what runs.
    pub const fn bounds_running(&self) -> bool {
        self.running_tasks_max.is_some() || self.running_cores_max.is_some()
    }
}

/// How long core-hours of a [`Budget`] must last.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum BudgetPeriod {
    /// A day, from midnight to midnight UTC.
    Day,
    /// For ever.
    #[default]
    Total,
}

/// Core-hours that may be used. Nothing new is started once they are; what runs goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Whose: this user's, over all groups; `*`: each user's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Who>,
    /// Whose: this share's of the tree, by path or a group's name; `*`: each group's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Who>,
    /// How long it must last.
    #[serde(default)]
    pub every: BudgetPeriod,
    /// Core-hours.
    pub core_hours: f64,
}

/// Tasks of which nothing new is started. What runs goes on, what waits keeps its place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// Tasks of this user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Tasks in this share of the tree, by path or a group's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Tasks of this quality of service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qos: Option<String>,
    /// Tasks with this among their `Tags`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Tasks that name this queue (`QueueName`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// Why, for those who wait.
    #[serde(default)]
    pub why: String,
    /// Until when; for ever if it is not said. Documents may have it as RFC 3339 in quotes.
    #[serde(
        default,
        deserialize_with = "super::document::moment",
        skip_serializing_if = "Option::is_none"
    )]
    pub until: Option<Timestamp>,
}

impl Limit {
    /// Which tasks it is about, wherever they run.
    pub fn scope(&self) -> Scope {
        Scope {
            user: self.user.clone(),
            group: self.group.clone(),
            qos: self.qos.clone(),
            tag: self.tag.clone(),
            queue: self.queue.clone(),
        }
    }
}

impl Budget {
    /// Whose it is.
    pub fn scope(&self) -> Scope {
        Scope {
            user: self.user.clone(),
            group: self.group.clone(),
            ..Scope::default()
        }
    }
}

impl Pause {
    /// Which tasks it is about.
    pub fn scope(&self) -> Scope {
        Scope {
            user: self.user.clone().map(Who::One),
            group: self.group.clone().map(Who::One),
            qos: self.qos.clone(),
            tag: self.tag.clone(),
            queue: self.queue.clone(),
        }
    }
}
