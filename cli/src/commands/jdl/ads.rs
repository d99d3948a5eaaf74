//! Ads from files: in JDL, as ClassAds, or as JSON.

use std::path::Path;

use fairway_jdl::Ad;
use fairway_jdl::json::is_json;
use serde_json::Value as Json;

use crate::exit::Failure;
use crate::submission::{listed, read_text};

/// The ad in a file (`-`: standard input).
pub(super) fn read(path: &Path) -> Result<Ad, Failure> {
    let text = read_text(path)?;
    if is_json(&text) {
        from_json(path, &parse_json(path, &text)?)
    } else {
        parse(path, &text)
    }
}

/// The ad in a text that a file held.
pub(super) fn parse(path: &Path, text: &str) -> Result<Ad, Failure> {
    Ad::parse_lenient(text)
        .map_err(|diagnostics| Failure::Refused(listed(path, "a valid ad", &diagnostics)))
}

/// The JSON in a text that a file held.
pub(super) fn parse_json(path: &Path, text: &str) -> Result<Json, Failure> {
    serde_json::from_str(text)
        .map_err(|error| Failure::Refused(format!("{}: {error}", path.display())))
}

/// The ad that JSON from a file stands for.
pub(super) fn from_json(path: &Path, json: &Json) -> Result<Ad, Failure> {
    fairway_jdl::json::from_json(json)
        .map_err(|diagnostics| Failure::Refused(listed(path, "a valid ad", &diagnostics)))
}
