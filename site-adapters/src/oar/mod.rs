//! OAR through its command line or its REST API.

use std::sync::Arc;

use fairway_model::{OarSettings, SiteName};

use crate::{AdapterError, BatchSystem};

/// The adapter of a site. Nothing is asked yet.
pub(crate) fn open(
    _site: SiteName,
    _settings: &OarSettings,
) -> Result<Arc<dyn BatchSystem>, AdapterError> {
    Err(AdapterError::Refused(
        "there is no adapter for oar yet".to_owned(),
    ))
}
