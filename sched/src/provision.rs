//! How many pilots of which shape to ask of which CE, and which to call back.

use fairway_model::{CeId, PilotId, Resources, Timestamp};

use crate::State;

/// A pilot to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PilotOrder {
    /// Where.
    pub ce: CeId,
    /// What to ask for.
    pub resources: Resources,
    /// The walltime to ask for, in seconds.
    pub walltime_s: u64,
    /// Why, in a sentence.
    pub because: String,
}

/// What to do about pilots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PilotPlan {
    /// Pilots to ask for.
    pub orders: Vec<PilotOrder>,
    /// Pilots that have not called home and for which there is no work any more, with the reason.
    pub recalls: Vec<(PilotId, String)>,
}

/// Plans pilots for the work that waits. Changes nothing; what it plans is
/// checked again when it is carried out.
pub fn plan(_state: &State, _now: Timestamp) -> PilotPlan {
    todo!()
}
