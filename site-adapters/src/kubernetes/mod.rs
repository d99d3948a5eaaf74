//! Kubernetes: each pilot is a Job.

use std::sync::Arc;

use fairway_model::{KubernetesSettings, SiteName};

use crate::{AdapterError, BatchSystem};

/// The adapter of a site. Nothing is asked yet.
pub(crate) fn open(
    _site: SiteName,
    _settings: &KubernetesSettings,
) -> Result<Arc<dyn BatchSystem>, AdapterError> {
    Err(AdapterError::Refused(
        "there is no adapter for kubernetes yet".to_owned(),
    ))
}
