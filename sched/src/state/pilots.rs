//! The life of a pilot, from the decision to its end.

use std::time::Duration;

use fairway_model::{
    AttemptEnd, CeId, EventKind, Pilot, PilotEnd, PilotId, PilotState, Resources, SiteMode,
    Timestamp,
};

use super::probe::is_probe;
use super::{State, refused};
use crate::command::{Change, Observation, Refused, RefusedKind, Reply};
use crate::experience::Decided;
use crate::matching::LivePilot;
use crate::provision::{Ledger, Limit, PilotOrder, Size, too_large};

/// What a pilot says when it first calls home.
pub(super) struct FirstCall {
    pub(super) bootstrap_hash: String,
    pub(super) nonce_hash: String,
    pub(super) session_hash: String,
    pub(super) host: String,
    pub(super) resources: Resources,
    pub(super) remaining_s: u64,
}

/// Compares hashes in a time that does not depend on where they differ.
fn same_hash(a: &str, b: &str) -> bool {
    a.len() == b.len()
        && a.bytes()
            .zip(b.bytes())
            .fold(0, |diff, (a, b)| diff | (a ^ b))
            == 0
}

/// What a pilot may use: what it found, but no more than was asked for. If GPUs or memory were
/// left to the batch system, what it found of them is what it got; so is all of a whole node.
fn granted(asked: Resources, found: Resources, whole_node: bool) -> Resources {
    if whole_node {
        return found;
    }
    let memory_mib = match asked.memory_mib {
        0 => found.memory_mib,
        asked => asked.min(found.memory_mib),
    };
    let gpus = match asked.gpus {
        0 => found.gpus,
        asked => asked.min(found.gpus),
    };
    Resources {
        cores: asked.cores.min(found.cores),
        memory_mib,
        gpus,
    }
}

/// How an attempt ends whose pilot, or one of them, is over. What a pilot is lost with counts;
/// what we ourselves or a pilot in good order give up does not, unless the payload ran and
/// nothing more was said of it.
pub(super) fn given_up(end: &PilotEnd, started: bool, reason: String) -> AttemptEnd {
    let harmless = match end {
        PilotEnd::Cancelled { .. } | PilotEnd::Refused { .. } => true,
        PilotEnd::Done { .. } => !started,
        PilotEnd::Lost { .. } => false,
    };
    if harmless {
        AttemptEnd::HandedBack { reason }
    } else {
        AttemptEnd::PilotLost { reason }
    }
}

impl State {
    /// Notes pilots as planned. Orders that the state has overtaken since they were planned
    /// (the CE is gone, not open, or full) are left out of the answer.
    pub(super) fn plan_pilots(
        &mut self,
        orders: Vec<(PilotOrder, Vec<String>)>,
        now: Timestamp,
    ) -> Reply {
        let mut ledger = Ledger::of(self, now);
        let planned = orders
            .into_iter()
            .flat_map(|(order, hashes)| self.plan_allocation(&mut ledger, &order, hashes, now))
            .collect();
        Reply::Planned(planned)
    }

    /// All pilots of an allocation, or none: one for each hash.
    fn plan_allocation(
        &mut self,
        ledger: &mut Ledger,
        order: &PilotOrder,
        hashes: Vec<String>,
        now: Timestamp,
    ) -> Vec<Pilot> {
        let nodes = u32::try_from(hashes.len()).unwrap_or(u32::MAX);
        let Some(size) = self.size_if_allowed(ledger, order, nodes, now) else {
            return Vec::new();
        };
        ledger.add(order, size);
        if let Some(element) = self.elements.get_mut(&order.ce) {
            let experience = &mut element.experience;
            experience.note_asked(nodes, now);
            experience.note(Decided::Ordered(nodes), &order.because, now);
        }
        let allocation = PilotId(self.next_pilot);
        hashes
            .into_iter()
            .map(|hash| self.plan_pilot(order, allocation, hash, now))
            .collect()
    }

    /// The size of an allocation, if its CE is there and open, and no limit is exceeded by it.
    fn size_if_allowed(
        &self,
        ledger: &Ledger,
        order: &PilotOrder,
        nodes: u32,
        now: Timestamp,
    ) -> Option<Size> {
        let element = self.elements.get(&order.ce)?;
        let cores = element.expected_of(order.resources).cores;
        let size = Size { nodes, cores };
        let published = element.published.as_ref();
        let walltime_max_s = published.and_then(|state| state.walltime_max_s);
        let end = now.plus(Duration::from_secs(order.walltime_s));
        let allowed = nodes > 0
            && element.mode() == SiteMode::Open
            && too_large(element, nodes, cores).is_none()
            && walltime_max_s.is_none_or(|max| order.walltime_s <= max)
            && element.usable_until(end, now) == end
            && !ledger
                .limits(self, element, &order.owner, size)
                .iter()
                .any(Limit::is_full);
        allowed.then_some(size)
    }

    pub(super) fn plan_pilot(
        &mut self,
        order: &PilotOrder,
        allocation: PilotId,
        hash: String,
        now: Timestamp,
    ) -> Pilot {
        let id = PilotId(self.next_pilot);
        self.next_pilot += 1;
        let shape = self.elements.get(&order.ce).map(|it| &it.ce.shape);
        let pilot = Pilot {
            id,
            ce: order.ce.clone(),
            owner: order.owner.clone(),
            allocation,
            state: PilotState::Planned,
            since: now,
            planned_at: now,
            batch_id: None,
            resources: order.resources,
            custom: shape.map_or_else(Default::default, |shape| shape.custom.clone()),
            whole_node: shape.is_some_and(|shape| shape.whole_node),
            walltime_s: order.walltime_s,
            bootstrap_hash: hash,
            session_hash: None,
            nonce_hash: None,
            host: None,
            started_at: None,
            ends_at: None,
            end: None,
        };
        self.admit_pilot(pilot.clone(), now);
        if let Some(live) = self.pilots.get_mut(&id) {
            live.purpose = order.purpose;
        }
        self.changes.push(Change::Pilot(pilot.clone()));
        let kind = EventKind::PilotPlanned {
            pilot: id,
            ce: pilot.ce.clone(),
            because: order.because.clone(),
        };
        self.event(kind, now);
        pilot
    }

    /// Takes a pilot into memory, as if heard of at `now`.
    pub(super) fn admit_pilot(&mut self, pilot: Pilot, now: Timestamp) {
        let id = pilot.id;
        if let Some(element) = self.elements.get_mut(&pilot.ce) {
            element.pilots.insert(id);
        }
        let host = pilot.host.as_deref();
        let node = host.map(|host| self.latch.join(&pilot.ce, host, id));
        self.pilots.insert(id, LivePilot::new(pilot, now, node));
    }

    /// The tasks of a pilot, or its resources, are not what they were.
    pub(super) fn recount(&mut self, id: PilotId) {
        if let Some(live) = self.pilots.get_mut(&id) {
            live.count();
            let element = self.elements.get_mut(&live.pilot.ce);
            if let Some((element, wish)) = element.zip(live.wish) {
                let reach = live.reach(wish);
                element.parked.insert(&live.pilot.owner, id, reach);
            }
        }
        self.rooms.touch(id);
    }

    pub(super) fn register_pilot(
        &mut self,
        id: PilotId,
        call: FirstCall,
        now: Timestamp,
    ) -> Result<Reply, Refused> {
        let element = self.pilots.get(&id).map(|live| &live.pilot.ce);
        let element = element.and_then(|ce| self.elements.get(ce));
        let whole_node = element.is_some_and(|element| element.ce.shape.whole_node);
        let live = self.live_pilot(id)?;
        let pilot = &mut live.pilot;
        if !same_hash(&pilot.bootstrap_hash, &call.bootstrap_hash) {
            let reason = format!("this is not the secret of pilot {id}");
            return Err(refused(RefusedKind::Unauthorized, reason));
        }
        live.heard_at = now;
        if let Some(nonce) = &pilot.nonce_hash {
            if !same_hash(nonce, &call.nonce_hash) {
                let reason = format!("the secret of pilot {id} has been used");
                return Err(refused(RefusedKind::Unauthorized, reason));
            }
            // The reply was lost; with it the token, of which only the hash is known.
            pilot.session_hash = Some(call.session_hash);
            let row = pilot.clone();
            self.changes.push(Change::Pilot(row));
            return Ok(Reply::Done);
        }
        pilot.state = PilotState::Active;
        pilot.since = now;
        live.unneeded_since = None;
        pilot.nonce_hash = Some(call.nonce_hash);
        pilot.session_hash = Some(call.session_hash);
        pilot.resources = granted(pilot.resources, call.resources, whole_node);
        pilot.started_at = Some(now);
        pilot.ends_at = Some(now.plus(Duration::from_secs(call.remaining_s)));
        pilot.host = Some(call.host.clone());
        let row = pilot.clone();
        if let Some(element) = self.elements.get_mut(&row.ce) {
            element.note_delay(now.since(row.planned_at));
        }
        let probe = is_probe(&row);
        self.changed_pilot(row, call.host, now);
        self.recount(id);
        self.arrive(id, now);
        if probe {
            // It has shown what it was to show. Its first wish is answered with the order to end.
            self.drain(id, "it was only to call home", now);
        }
        Ok(Reply::Done)
    }

    fn changed_pilot(&mut self, row: Pilot, detail: String, now: Timestamp) {
        let kind = EventKind::PilotChanged {
            pilot: row.id,
            state: row.state,
            detail,
        };
        self.changes.push(Change::Pilot(row));
        self.event(kind, now);
    }

    /// Takes in what the batch system says. What is known already changes nothing; what is
    /// said of a pilot that is over comes too late.
    pub(super) fn observe_pilot(&mut self, id: PilotId, seen: Observation, now: Timestamp) {
        let Some(live) = self.pilots.get_mut(&id) else {
            return;
        };
        let pilot = &mut live.pilot;
        let expected = pilot.state.is_expected();
        let named = matches!(seen, Observation::Submitted { .. });
        let next = match seen {
            Observation::Submitted { batch_id } => {
                if pilot.batch_id.as_ref() == Some(&batch_id) {
                    return;
                }
                pilot.batch_id = Some(batch_id);
                if pilot.state == PilotState::Planned {
                    PilotState::Queued
                } else {
                    pilot.state
                }
            }
            Observation::Queued if expected => PilotState::Queued,
            Observation::Running if expected => PilotState::Starting,
            Observation::Queued | Observation::Running => return,
            Observation::Unanswered { reason } => {
                if expected {
                    let ce = pilot.ce.clone();
                    self.note_useless(&ce, id, &format!("unanswered: {reason}"), now);
                }
                return;
            }
            Observation::Refused { reason } => {
                // A pilot that called home was accepted, whatever a late word says.
                if expected {
                    self.end_pilot(id, PilotEnd::Refused { reason }, now);
                }
                return;
            }
            Observation::Ended { detail } => {
                let reason = format!("it is over in the batch system: {detail}");
                self.end_pilot(id, PilotEnd::Lost { reason }, now);
                return;
            }
        };
        let moved = pilot.state != next;
        if moved {
            pilot.state = next;
            pilot.since = now;
        }
        let row = pilot.clone();
        if moved {
            let batch_id = row.batch_id.clone().unwrap_or_default();
            self.changed_pilot(row, batch_id, now);
        } else if named {
            self.changes.push(Change::Pilot(row));
        }
    }

    pub(super) fn goodbye(
        &mut self,
        id: PilotId,
        reason: String,
        now: Timestamp,
    ) -> Result<Reply, Refused> {
        self.live_pilot(id)?;
        self.end_pilot(id, PilotEnd::Done { reason }, now);
        Ok(Reply::Done)
    }

    pub(super) fn drain_pilot(&mut self, id: PilotId, now: Timestamp) -> Result<Reply, Refused> {
        let live = self.live_pilot(id)?;
        if live.pilot.state.is_expected() {
            let reason = format!("pilot {id} has not called home and has no tasks: end it instead");
            return Err(refused(RefusedKind::Conflict, reason));
        }
        self.drain(id, "drained by an operator's word", now);
        Ok(Reply::Done)
    }

    /// Has a pilot that called home finish what it has.
    pub(super) fn drain(&mut self, id: PilotId, detail: &str, now: Timestamp) {
        let Some(live) = self.pilots.get_mut(&id) else {
            return;
        };
        if live.pilot.state != PilotState::Active {
            return;
        }
        live.pilot.state = PilotState::Draining;
        live.pilot.since = now;
        let row = live.pilot.clone();
        self.rooms.touch(id);
        self.tell(id);
        self.changed_pilot(row, detail.to_owned(), now);
    }

    pub(super) fn end_pilot_by_word(
        &mut self,
        id: PilotId,
        end: PilotEnd,
        now: Timestamp,
    ) -> Result<Reply, Refused> {
        self.live_pilot(id)?;
        self.end_pilot(id, end, now);
        Ok(Reply::Done)
    }

    /// A pilot is over: its tasks come back, and it is let go.
    pub(super) fn end_pilot(&mut self, id: PilotId, end: PilotEnd, now: Timestamp) {
        let Some(live) = self.pilots.get(&id) else {
            return;
        };
        let leases: Vec<_> = live
            .leases
            .iter()
            .map(|lease| (lease.task, lease.charged_until.is_some()))
            .collect();
        self.vacate(id, &end, now);
        for (task, started) in leases {
            let reason = format!("pilot {id} {end}");
            let how = given_up(&end, started, reason);
            self.end_attempt(id, task, how, None, now);
        }
        let told = self.pilots.get(&id).is_some_and(|live| live.wish.is_some());
        self.close_wish(id);
        if told {
            self.news.insert(id);
        }
        let Some(mut live) = self.pilots.remove(&id) else {
            return;
        };
        self.rooms.touch(id);
        self.depart(&live, &end, now);
        self.note_use(&live, &end, now);
        live.pilot.state = PilotState::Ended;
        live.pilot.since = now;
        live.pilot.end = Some(end.clone());
        self.changes.push(Change::Pilot(live.pilot));
        self.event(EventKind::PilotEnded { pilot: id, end }, now);
    }

    /// Tells the CE whether the pilot was of use. One that left without a task while there was
    /// none is nobody's fault.
    fn note_use(&mut self, live: &LivePilot, end: &PilotEnd, now: Timestamp) {
        let (ce, id) = (&live.pilot.ce, live.pilot.id);
        let Some(element) = self.elements.get_mut(ce) else {
            return;
        };
        element.pilots.remove(&id);
        if is_probe(&live.pilot) {
            return; // Whoever asked for it is told; it says nothing of pilots with work.
        }
        let work_waits = element.has_work(&self.queue);
        let recalled = match end {
            PilotEnd::Cancelled { reason } if live.pilot.state.is_expected() => Some(reason),
            _ => None,
        };
        if let Some(reason) = recalled {
            element.experience.note(Decided::Recalled(1), reason, now);
        }
        if matches!(end, PilotEnd::Lost { .. }) && live.pilot.started_at.is_none() {
            element.experience.note_silent();
        }
        let useless = match end {
            PilotEnd::Refused { .. } => true,
            PilotEnd::Cancelled { .. } => false,
            PilotEnd::Done { .. } | PilotEnd::Lost { .. } => !live.useful && work_waits,
        };
        if useless {
            self.note_useless(ce, id, &end.to_string(), now);
        }
        if let Some(element) = self.elements.get_mut(ce)
            && element.pilots.is_empty()
        {
            element.experience.note_empty();
        }
    }

    fn note_useless(&mut self, ce: &CeId, pilot: PilotId, said: &str, now: Timestamp) {
        if let Some(element) = self.elements.get_mut(ce) {
            let pilots = element.pilots.iter().filter_map(|id| self.pilots.get(id));
            let useful = pilots.filter(|live| live.useful).count();
            let useful = u32::try_from(useful).unwrap_or(u32::MAX);
            element.experience.note_useless(pilot, said, useful, now);
        }
    }
}
