//! Probes: pilots that only show that pilots start at a CE and call home.

use std::time::Duration;

use fairway_model::{CeId, Pilot, PilotId, PilotOwner, Timestamp, UserName};

use super::{State, refused};
use crate::command::{Refused, RefusedKind, Reply};
use crate::matching::LivePilot;
use crate::provision::{PilotOrder, Purpose};

/// Whoever tries a CE waits no longer than this for its probe. One that is older and has not
/// called home is nobody's any more: the one who asked is gone.
pub(crate) const PROBE_AGE_MAX: Duration = Duration::from_secs(3600);

/// The walltime of a probe, in seconds, where the CE's pilots ask for more: it needs only a
/// moment, and short jobs start sooner.
const WALLTIME_S: u64 = 600;

impl State {
    /// Notes a probe as planned.
    pub(super) fn probe_pilot(
        &mut self,
        ce: &CeId,
        hash: String,
        by: &UserName,
        now: Timestamp,
    ) -> Result<Reply, Refused> {
        let Some(element) = self.elements.get(ce) else {
            let reason = format!("there is no CE {ce}");
            return Err(refused(RefusedKind::NotFound, reason));
        };
        if let Some(other) = self.probe_at(ce) {
            let reason = format!("pilot {other} is trying {ce} already; wait until it has ended");
            return Err(refused(RefusedKind::Conflict, reason));
        }
        let order = PilotOrder {
            ce: ce.clone(),
            owner: PilotOwner::Probe,
            resources: element.asked(),
            nodes: 1,
            walltime_s: element.walltime_s(now).clamp(1, WALLTIME_S),
            reserve_at: None,
            purpose: Purpose::Any,
            because: format!("{by} tries the CE"),
        };
        let id = PilotId(self.next_pilot);
        Ok(Reply::Planned(vec![self.plan_pilot(&order, id, hash, now)]))
    }

    fn probe_at(&self, ce: &CeId) -> Option<PilotId> {
        let pilots = self.elements.get(ce)?.pilots.iter();
        pilots.copied().find(|id| {
            let live = self.pilots.get(id);
            live.is_some_and(|live| is_probe(&live.pilot))
        })
    }

    /// Probes that nobody waits for any more, with what is said of them.
    pub(crate) fn forgotten_probes(&self, now: Timestamp) -> Vec<(PilotId, String)> {
        let forgotten = |live: &&LivePilot| {
            is_probe(&live.pilot)
                && live.pilot.state.is_expected()
                && now.since(live.pilot.planned_at) > PROBE_AGE_MAX
        };
        let probes = self.pilots.values().filter(forgotten);
        probes
            .map(|live| (live.pilot.id, "nobody waits for it any more".to_owned()))
            .collect()
    }
}

/// Whether the pilot gets no tasks.
pub(crate) fn is_probe(pilot: &Pilot) -> bool {
    pilot.owner == PilotOwner::Probe
}
