//! Tasks that run on several nodes at the same time: gangs.
//!
//! A gang runs on pilots of one allocation. One of them, the lead, has the lease and starts the
//! payload, which reaches the other nodes by itself; the others hold seats, of which only the
//! server's books know. All of it is given at once, or nothing: what waits holds nothing, so
//! that two gangs never wait for each other. A pilot takes part only while it waits for work:
//! the last one to come makes the gang complete.
//!
//! Pilots that were asked for for a gang are kept for its class until none of its tasks waits
//! any more, so that single tasks do not keep the nodes of an allocation busy for ever. Nodes
//! beyond a multiple of its hosts are of no use to the class, and for all.

use std::collections::BTreeMap;

use fairway_model::{Attempt, PilotEnd, PilotId, PilotState, Resources, TaskId, Timestamp};

use super::State;
use super::pilots::given_up;
use crate::bounds::Subject;
use crate::command::GrantedHost;
use crate::element::Element;
use crate::matching::{Lease, Limits, LivePilot, Seat, eligible};
use crate::packing::{Portion, Room};
use crate::provision::Purpose;
use crate::queue::{Candidate, Class, ClassId};
use crate::shares::AccountId;

/// Where a task goes.
pub(super) struct Placement {
    /// What it takes of the lead.
    pub(super) portion: Portion,
    /// The other pilots.
    pub(super) seats: Vec<PilotId>,
}

impl State {
    /// Whether all other pilots are there that a task of the class needs if this one has the
    /// lease.
    pub(crate) fn is_complete(
        &self,
        lead: &LivePilot,
        id: ClassId,
        class: &Class,
        limits: Limits,
    ) -> bool {
        class.needs.hosts == 1 || self.party(lead, id, class, limits).is_some()
    }

    /// The other pilots for a task of the class: those with the least to spare, so that empty
    /// nodes stay for those that need them. `None` if there are not enough.
    fn party(
        &self,
        lead: &LivePilot,
        id: ClassId,
        class: &Class,
        limits: Limits,
    ) -> Option<Vec<PilotId>> {
        let others = class.needs.hosts.saturating_sub(1) as usize;
        if others == 0 {
            return Some(Vec::new());
        }
        if !lead.has_room(&class.needs) {
            return None;
        }
        let mut able: Vec<(u32, PilotId)> = self
            .mates(lead.pilot.allocation)
            .filter(|mate| mate.pilot.id != lead.pilot.id)
            .filter(|mate| self.may_join(mate, id, class, limits))
            .map(|mate| (mate.books().room.free.cores, mate.pilot.id))
            .collect();
        if able.len() < others {
            return None;
        }
        able.sort_unstable();
        able.truncate(others);
        Some(able.into_iter().map(|(_, pilot)| pilot).collect())
    }

    fn may_join(&self, mate: &LivePilot, id: ClassId, class: &Class, limits: Limits) -> bool {
        mate.pilot.state == PilotState::Active
            && mate.has_room(&class.needs)
            && mate
                .wish
                .is_some_and(|wish| mate.holds(wish, &class.needs, limits))
            && self.purpose_of(mate, limits).takes(self, id, class)
            && self.node_admits(mate, limits.now)
    }

    /// Where a task of the class, of this account, goes if the pilot has the lease; `None` if not all that it
    /// needs is there.
    pub(super) fn placement(
        &self,
        pilot: PilotId,
        id: ClassId,
        account: AccountId,
        now: Timestamp,
    ) -> Option<Placement> {
        let lead = self.pilots.get(&pilot)?;
        let class = self.queue.class(id)?;
        let mut portion = if lead.has_room(&class.needs) {
            lead.books().room.portion(&class.needs)
        } else {
            Portion::least(&class.needs)
        };
        let subject = Subject {
            shares: &self.shares,
            account,
            needs: &class.needs,
            site: Some(&lead.pilot.ce.site),
        };
        let least = class.needs.resources.cores;
        if !class.needs.whole_node
            && portion.resources.cores > least
            && let Some(left) = self.bounds.cores_left(subject)
        {
            // Of what it asks for at least it is known that it may have it.
            let left = u32::try_from(left).unwrap_or(u32::MAX).max(least);
            portion.resources.cores = portion.resources.cores.min(left);
        }
        Some(Placement {
            portion,
            seats: self.party(lead, id, class, self.limits(now))?,
        })
    }

    /// Takes the seats of an attempt, which the lead gets or has. Gives back what it has on
    /// all nodes together.
    pub(super) fn take_seats(
        &mut self,
        lead: PilotId,
        (task, attempt): (TaskId, Attempt),
        class: ClassId,
        placement: &Placement,
    ) -> Resources {
        let mut all = placement.portion.resources;
        let Some(needs) = self.queue.class(class).map(|class| class.needs.clone()) else {
            return all;
        };
        for id in &placement.seats {
            let Some(mate) = self.pilots.get_mut(id) else {
                continue;
            };
            let portion = Portion::on_seat(&mate.pilot, &needs);
            all = all.plus(portion.resources);
            mate.seats.push(Seat {
                task,
                attempt,
                lead,
                portion,
            });
            mate.unneeded_since = None;
            let first = !std::mem::replace(&mut mate.useful, true);
            if let Some(element) = self.elements.get_mut(&mate.pilot.ce) {
                element.experience.note_useful(first);
            }
            self.recount(*id);
            self.tell(*id);
        }
        all
    }

    /// The attempt of a lease is over: its seats are free.
    pub(super) fn free_seats(&mut self, lease: &Lease) {
        for id in &lease.seats {
            let Some(mate) = self.pilots.get_mut(id) else {
                continue;
            };
            let own = |seat: &Seat| (seat.task, seat.attempt) == (lease.task, lease.attempt);
            mate.seats.retain(|seat| !own(seat));
            self.wishes_may_be_granted |= mate.wish.is_some();
            self.recount(*id);
            self.tell(*id);
        }
    }

    /// A pilot is over: so are the attempts of other pilots that it was part of. They are told
    /// to stop them.
    pub(super) fn vacate(&mut self, id: PilotId, end: &PilotEnd, now: Timestamp) {
        let Some(live) = self.pilots.get(&id) else {
            return;
        };
        let host = live.pilot.host.clone().unwrap_or_default();
        for seat in live.seats.clone() {
            let Some(lead) = self.pilots.get_mut(&seat.lead) else {
                continue;
            };
            let lease = lead.leases.iter().find(|lease| lease.task == seat.task);
            let Some(lease) = lease else { continue };
            let nodes = lease.seats.len() + 1;
            lead.written_off.push((seat.task, seat.attempt));
            let reason = format!("pilot {id} on {host}, one of its {nodes} nodes, {end}");
            // A pilot that leaves in good order has nothing to hand back: the lead does that.
            let how = given_up(end, false, reason);
            self.end_attempt(seat.lead, seat.task, how, None, now);
            self.tell(seat.lead);
        }
    }

    /// The nodes of an attempt that has several.
    pub(super) fn hosts_of(&self, lead: &LivePilot, lease: &Lease) -> Vec<GrantedHost> {
        if lease.seats.is_empty() {
            return Vec::new();
        }
        let host = |live: &LivePilot, cores| GrantedHost {
            name: live.pilot.host.clone().unwrap_or_default(),
            cores,
        };
        let mates = lease.seats.iter().filter_map(|id| {
            let mate = self.pilots.get(id)?;
            let own = |seat: &&Seat| seat.task == lease.task;
            let seat = mate.seats.iter().find(own)?;
            Some(host(mate, seat.portion.resources.cores))
        });
        std::iter::once(host(lead, lease.resources.cores))
            .chain(mates)
            .collect()
    }

    /// Whether a pilot is not to leave though it has no task: it is part of one, or awaited.
    pub(super) fn must_stay(&self, live: &LivePilot, now: Timestamp) -> bool {
        !live.seats.is_empty()
            || matches!(self.purpose_of(live, self.limits(now)), Purpose::Gang(_))
    }

    /// Which tasks a pilot is for. One that was asked for for a gang is for all as soon as the
    /// class has no use for it: none of its tasks waits that may run here, or the allocation has
    /// not, or no longer, what they need.
    pub(crate) fn purpose_of(&self, live: &LivePilot, limits: Limits) -> Purpose {
        match live.purpose {
            Purpose::Gang(own) if !self.is_awaited(live, own, limits) => Purpose::Any,
            purpose => purpose,
        }
    }

    fn is_awaited(&self, live: &LivePilot, own: ClassId, limits: Limits) -> bool {
        let (Some(class), Some(element)) =
            (self.queue.class(own), self.elements.get(&live.pilot.ce))
        else {
            return false;
        };
        let door = self.door(limits.now);
        let lets = |it: &Candidate<'_>| door.lets(it, element, &live.pilot.owner);
        if !eligible(own, element) || !class.may_any(own, lets) {
            return false;
        }
        let hosts = class.needs.hosts.max(1) as usize;
        let can = self.mates(live.pilot.allocation).filter(|mate| {
            let ends_at = mate.pilot.ends_at;
            mate.pilot.state != PilotState::Draining
                && ends_at.is_none_or(|end| {
                    limits.lasts(&class.needs, element.usable_until(end, limits.now))
                })
                && (mate.pilot.state.is_expected() || Room::on(&mate.pilot).holds(&class.needs))
        });
        let can: Vec<PilotId> = can.map(|mate| mate.pilot.id).collect();
        let of_use = can.len() - can.len() % hosts;
        can.iter().take(of_use).any(|id| *id == live.pilot.id)
    }

    /// The most pilots of one allocation that have room for a part of a task of the class now.
    pub(crate) fn most_hosts_free(&self, element: &Element, class: &Class) -> u32 {
        let mut free: BTreeMap<PilotId, u32> = BTreeMap::new();
        for live in element.pilots.iter().filter_map(|id| self.pilots.get(id)) {
            if live.pilot.state == PilotState::Active && live.has_room(&class.needs) {
                *free.entry(live.pilot.allocation).or_default() += 1;
            }
        }
        free.into_values().max().unwrap_or(0)
    }

    /// Whether the allocation of a pilot has so many that could each hold a part of a task.
    pub(crate) fn has_hosts(&self, live: &LivePilot, class: &Class) -> bool {
        let needs = &class.needs;
        let mates = self.mates(live.pilot.allocation);
        let can = mates.filter(|mate| Room::on(&mate.pilot).holds(needs));
        can.take(needs.hosts as usize).count() == needs.hosts as usize
    }

    /// Every seat belongs to a lease of another pilot of the allocation, and every lease has the
    /// seats that it says.
    pub(super) fn check_seats(&self) -> Result<(), String> {
        let mut seats = 0;
        for (id, live) in &self.pilots {
            for seat in &live.seats {
                let lead = self.pilots.get(&seat.lead);
                let of = |lease: &&Lease| {
                    (lease.task, lease.attempt) == (seat.task, seat.attempt)
                        && lease.seats.iter().filter(|it| *it == id).count() == 1
                };
                let sound = lead.is_some_and(|lead| {
                    lead.pilot.allocation == live.pilot.allocation
                        && seat.lead != *id
                        && lead.leases.iter().any(|lease| of(&lease))
                });
                if !sound {
                    return Err(format!("pilot {id} has {seat:?}, of which no lease knows"));
                }
                seats += 1;
            }
        }
        let leases = self.pilots.values().flat_map(|live| &live.leases);
        let of_leases: usize = leases.map(|lease| lease.seats.len()).sum();
        if of_leases != seats {
            return Err(format!("leases have {of_leases} seats, pilots {seats}"));
        }
        Ok(())
    }
}
