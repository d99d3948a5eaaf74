//! Sets of pilots kept for time-critical tasks: how long.

use std::time::Duration;

use fairway_model::{CeId, PilotId, PilotOwner, Timestamp};

use super::State;
use crate::element::Element;
use crate::matching::eligible;
use crate::provision::Purpose;

impl State {
    /// Time passes: warm sets are kept while there are time-critical tasks, and released when
    /// there was none for a while.
    pub(super) fn watch_warm(&mut self, now: Timestamp) {
        let mut changes: Vec<(CeId, Option<Timestamp>)> = Vec::new();
        for (id, element) in &self.elements {
            let Some(warm) = element.ce.supply.warm else {
                // Its description has changed.
                if element.critical_at.is_some() {
                    changes.push((id.clone(), None));
                }
                continue;
            };
            let idle = Duration::from_secs(warm.idle_s);
            let over = |seen_at| now.since(seen_at) > idle;
            if self.has_critical(element, now) {
                changes.push((id.clone(), Some(now)));
            } else if element.critical_at.is_some_and(over) {
                changes.push((id.clone(), None));
            }
        }
        for (id, critical_at) in changes {
            if let Some(element) = self.elements.get_mut(&id) {
                element.critical_at = critical_at;
            }
            if critical_at.is_none() {
                self.release_warm(&id, now);
            }
        }
    }

    /// Whether time-critical tasks wait that may run at the CE, or run with its warm pilots.
    fn has_critical(&self, element: &Element, now: Timestamp) -> bool {
        let door = self.door(now);
        let waits = self.queue.active().any(|(id, class)| {
            class.needs.time_critical
                && eligible(id, element)
                && class.may_any(id, |it| door.lets(it, element, &PilotOwner::Shared))
        });
        let mut pilots = element.pilots.iter().filter_map(|id| self.pilots.get(id));
        waits || pilots.any(|live| live.purpose == Purpose::Warm && !live.leases.is_empty())
    }

    /// Warm pilots that are at work finish and leave; those on their way are like all others, and
    /// called back if there is no work for them.
    fn release_warm(&mut self, id: &CeId, now: Timestamp) {
        let pilots = self.elements.get(id).into_iter().flat_map(|e| &e.pilots);
        let warm: Vec<PilotId> = pilots
            .copied()
            .filter(|id| {
                let live = self.pilots.get(id);
                live.is_some_and(|live| live.purpose == Purpose::Warm)
            })
            .collect();
        for pilot in warm {
            if let Some(live) = self.pilots.get_mut(&pilot) {
                live.purpose = Purpose::Any;
            }
            self.drain(pilot, "no time-critical task has come for a while", now);
        }
    }
}
