//! What a CE publishes, under GLUE 1.3 names: the other ad of Requirements and Rank.

use fairway_jdl::Ad;
use fairway_model::{Ce, CeState, SiteName, Timestamp};

/// The CE's ad. What is not known is published as the worst case.
pub fn ad(_site: &SiteName, _ce: &Ce, _state: Option<&CeState>, _now: Timestamp) -> Ad {
    todo!()
}
