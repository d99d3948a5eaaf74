//! OpenPBS, PBS Pro and TORQUE through their command line.

use std::sync::Arc;

use fairway_model::{PbsSettings, SiteName};

use crate::{AdapterError, BatchSystem};

/// The adapter of a site. Nothing is asked yet.
pub(crate) fn open(
    _site: SiteName,
    _settings: &PbsSettings,
) -> Result<Arc<dyn BatchSystem>, AdapterError> {
    Err(AdapterError::Refused(
        "there is no adapter for pbs yet".to_owned(),
    ))
}
