//! What users and groups are to get: a tree of shares.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::is_name;

/// What stands between the names of a [`SharePath`].
pub const PATH_SEPARATOR: char = '/';

/// A share by the names from the top of the tree down: `physics`, `physics/atlas`,
/// `physics/atlas/alice`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct SharePath(String);

impl SharePath {
    /// The names from the top down.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split(PATH_SEPARATOR)
    }

    /// The last name.
    pub fn name(&self) -> &str {
        self.names().next_back().unwrap_or("")
    }

    /// The share that this is a part of.
    pub fn parent(&self) -> Option<&str> {
        self.0.rsplit_once(PATH_SEPARATOR).map(|(parent, _)| parent)
    }

    /// The whole path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is a path, each of its parts a name.
    pub fn is_sound(&self) -> bool {
        self.names().all(is_name)
    }
}

impl From<&str> for SharePath {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl std::fmt::Display for SharePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

/// A node of the tree of shares.
///
/// A node with nothing beneath it is a group or, if its parent is a group, a user of it: which,
/// `user` tells. A group has its name in one place only, so that it is known where its users
/// stand; a user may stand in several groups. A group that is not named stands at the top with a
/// share of 1, a user that is not named in their group with a share of 1; users without a group
/// stand at the top.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// Where it is in the tree; the part before its own name must be there as well.
    pub path: SharePath,
    /// What it is to get against its siblings, above 0. What siblings do not use is lent to the
    /// others, and given back as soon as they have work.
    pub share: f64,
    /// Whether the name is that of a user.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub user: bool,
}
