//! A job's description, as far as it is kept in memory.

use std::sync::Arc;

use fairway_jdl::job::Depends;
use fairway_jdl::{JobNode, JobSpec};

/// A job's description, where decisions need it or many tasks share it.
///
/// What was read of a text of a few hundred bytes takes several thousand. Where each task is a job
/// of its own that would be most of what a waiting task takes, and nothing is decided by it: what the
/// task needs is known by its class. So it is left to whoever carries out a grant to read the text,
/// which is in the store, again.
#[derive(Clone, Debug)]
pub(crate) struct Described(Option<Arc<JobSpec>>);

impl Described {
    /// Of a description that was read from `jdl`; without that text there is none in the store.
    pub(super) fn of(spec: Arc<JobSpec>, jdl: &str) -> Self {
        let is_plain = spec.task_count() == 1 && spec.nodes().is_empty();
        let again = is_plain && spec.depends().is_none() && !jdl.is_empty();
        Self((!again).then_some(spec))
    }

    /// The description; `None` if its text is to be read again.
    pub(crate) fn read(&self) -> Option<&Arc<JobSpec>> {
        self.0.as_ref()
    }

    /// See [`JobSpec::nodes`].
    pub(crate) fn nodes(&self) -> &[JobNode] {
        self.0.as_ref().map_or(&[], |spec| spec.nodes())
    }

    /// See [`JobSpec::node_of`].
    pub(crate) fn node_of(&self, index: u32) -> Option<u32> {
        self.0.as_ref()?.node_of(index)
    }

    /// See [`JobSpec::depends`].
    pub(crate) fn depends(&self) -> Option<&Depends> {
        self.0.as_ref()?.depends()
    }
}
