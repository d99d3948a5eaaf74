//! Who speaks to the server, and what they may do.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{GroupName, SiteName, UserName};

/// What a token's holder may do.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Submits jobs; sees and touches only their own.
    User,
    /// Registers and changes the sites that their token names.
    SiteAdmin,
    /// May do everything.
    Operator,
}

impl Role {
    /// The name used on the wire and in the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::SiteAdmin => "site-admin",
            Self::Operator => "operator",
        }
    }

    /// The role with that [`name`](Self::name).
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::User, Self::SiteAdmin, Self::Operator]
            .into_iter()
            .find(|role| role.name() == name)
    }
}

/// The person or program behind a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Principal {
    /// The name that jobs are submitted under.
    pub name: UserName,
    /// The group that jobs are submitted for.
    pub group: Option<GroupName>,
    /// What they may do.
    pub role: Role,
    /// The sites that a site admin is responsible for.
    #[serde(default)]
    pub sites: Vec<SiteName>,
}

impl Principal {
    /// Whether they may do everything.
    pub fn is_operator(&self) -> bool {
        self.role == Role::Operator
    }

    /// Whether they may change `site`.
    pub fn administers(&self, site: &SiteName) -> bool {
        self.is_operator() || (self.role == Role::SiteAdmin && self.sites.contains(site))
    }

    /// Whether they may see and touch what `owner` submitted.
    pub fn may_touch(&self, owner: &UserName) -> bool {
        self.is_operator() || self.name == *owner
    }
}
