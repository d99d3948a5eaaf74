//! What others may read: values, never references into what changes.

use std::collections::{BTreeMap, BTreeSet};

use fairway_jdl::Ad;
use fairway_model::{
    CeId, CeState, GroupName, Job, JobId, Pilot, PilotId, PilotState, Policy, Resources, Site,
    SiteName, Task, TaskId, Timestamp, UserName,
};

use super::State;
use crate::latch::SetAside;
use crate::matching::LivePilot;
use crate::shares::Used;

/// A user's standing with the numbers that it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// Who.
    pub user: UserName,
    /// Tasks in the queue.
    pub waiting: u64,
    /// Tasks with a live attempt.
    pub live: u64,
    /// FS under the settings in force.
    pub fs: f64,
    /// Place in the order of service, from 1, among users with waiting tasks.
    pub place: Option<u32>,
    /// The intervals that count and in which something was used, the current one first:
    /// beginning, usage and weight `decay_rate^i`.
    pub intervals: Vec<(Timestamp, Used, f64)>,
}

/// A pilot with what it has.
#[derive(Clone, Debug)]
pub struct PilotView {
    /// The pilot.
    pub pilot: Pilot,
    /// When it was heard of last.
    pub heard_at: Timestamp,
    /// Its tasks, in the order of granting.
    pub tasks: Vec<TaskId>,
    /// Tasks whose leases other pilots of its allocation have, and that run on its node too.
    pub seats: Vec<TaskId>,
    /// What all of them leave free.
    pub free: Resources,
}

/// A class of tasks: those that need the same, for the same group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassSummary {
    /// What they need, in canonical form.
    pub needs: String,
    /// The group that they are submitted for.
    pub group: Option<GroupName>,
    /// How many wait.
    pub waiting: u64,
    /// How many users they belong to.
    pub users: usize,
}

impl State {
    /// Whether the job is in memory: some task of it is not over.
    pub fn knows_job(&self, id: JobId) -> bool {
        self.jobs.contains_key(&id)
    }

    /// A job that is not over.
    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id).map(|live| &live.job)
    }

    /// The owner of a job that is not over.
    pub fn job_owner(&self, id: JobId) -> Option<&UserName> {
        self.job(id).map(|job| &job.owner)
    }

    /// A task that is not over.
    pub fn task(&self, id: TaskId) -> Option<Task> {
        self.jobs.get(&id.job)?.task(id.index)
    }

    /// How many tasks are in the queue.
    pub fn waiting(&self) -> u64 {
        self.queue.waiting()
    }

    /// How many tasks have a live attempt.
    pub fn live(&self) -> u64 {
        self.pilots
            .values()
            .map(|live| live.leases.len() as u64)
            .sum()
    }

    /// The policy in force.
    pub fn policy(&self) -> &Policy {
        self.shares.policy()
    }

    /// When the current interval of the shares began.
    pub fn interval_begins_at(&self) -> Timestamp {
        self.shares.current()
    }

    /// Every user with waiting tasks or with usage that counts, in the order of service; then
    /// those with nothing in the queue, by name.
    pub fn shares(&self) -> Vec<Standing> {
        let waiting = self.users_in_order();
        let queued: BTreeSet<&UserName> = waiting.iter().collect();
        let others = self.shares.users().filter(|user| !queued.contains(user));
        waiting
            .iter()
            .zip(1..)
            .map(|(user, place)| self.standing_at(user, Some(place)))
            .chain(others.map(|user| self.standing_at(user, None)))
            .collect()
    }

    /// One user's standing.
    pub fn standing(&self, user: &UserName) -> Standing {
        let order = self.users_in_order();
        let place = order.iter().zip(1..).find(|(other, _)| *other == user);
        self.standing_at(user, place.map(|(_, place)| place))
    }

    fn standing_at(&self, user: &UserName, place: Option<u32>) -> Standing {
        Standing {
            user: user.clone(),
            waiting: self.queue.waiting_of(user),
            live: self.shares.live(user),
            fs: self.shares.fs(user),
            place,
            intervals: self.shares.intervals(user),
        }
    }

    /// The users with waiting tasks, the one to be served next first.
    pub(crate) fn users_in_order(&self) -> Vec<UserName> {
        let mut first: BTreeMap<&UserName, _> = BTreeMap::new();
        for (_, class) in self.queue.active() {
            for (place, user, task) in class.in_order() {
                let best = first.entry(user).or_insert((place, task));
                *best = (*best).min((place, task));
            }
        }
        let mut order: Vec<_> = first.into_values().collect();
        order.sort_unstable();
        order
            .into_iter()
            .map(|(place, _)| place.user().clone())
            .collect()
    }

    /// The sites, by name.
    pub fn sites(&self) -> impl Iterator<Item = &Site> {
        self.sites.values()
    }

    /// A site.
    pub fn site(&self, name: &SiteName) -> Option<&Site> {
        self.sites.get(name)
    }

    /// What a CE published last.
    pub fn published(&self, ce: &CeId) -> Option<&CeState> {
        self.elements.get(ce)?.published.as_ref()
    }

    /// A CE's ad under GLUE names, as Requirements and Rank see it.
    pub fn glue(&self, ce: &CeId) -> Option<&Ad> {
        Some(&self.elements.get(ce)?.ad)
    }

    /// Until when no pilots are asked for of a CE because of useless ones, and why.
    pub fn backing_off(&self, ce: &CeId, now: Timestamp) -> Option<(Timestamp, &str)> {
        self.elements.get(ce)?.experience.backing_off(now)
    }

    /// The nodes of a CE that get no tasks because work fails there at once, by name.
    pub fn set_aside(&self, ce: &CeId) -> Vec<SetAside> {
        self.latch.set_aside_at(ce)
    }

    /// How long a pilot asked for now would wait before it starts, in seconds, as far as that can
    /// be told. [`crate::glue::INFINITE`] if it cannot.
    pub fn response_s(&self, ce: &CeId) -> Option<i64> {
        Some(self.elements.get(ce)?.response_s())
    }

    /// How many pilots of a CE that are not over are in each state; states with none are left out.
    pub fn pilots_by_state(&self, ce: &CeId) -> BTreeMap<PilotState, u32> {
        let mut states = BTreeMap::new();
        let ids = self.elements.get(ce).into_iter().flat_map(|e| &e.pilots);
        for live in ids.filter_map(|id| self.pilots.get(id)) {
            *states.entry(live.pilot.state).or_default() += 1;
        }
        states
    }

    /// A pilot that is not over.
    pub fn pilot(&self, id: PilotId) -> Option<PilotView> {
        let live = self.pilots.get(&id)?;
        Some(PilotView {
            pilot: live.pilot.clone(),
            heard_at: live.heard_at,
            tasks: live.leases.iter().map(|lease| lease.task).collect(),
            seats: live.seats.iter().map(|seat| seat.task).collect(),
            free: live.books().0.free,
        })
    }

    /// All pilots that are not over.
    pub fn pilots_live(&self) -> impl Iterator<Item = &Pilot> {
        self.pilots.values().map(|live| &live.pilot)
    }

    /// The pilots of an allocation that are not over; named after its first.
    pub fn allocation(&self, first: PilotId) -> impl Iterator<Item = &Pilot> {
        // Their numbers follow each other.
        let from = self.pilots.range(first..).map(|(_, live)| &live.pilot);
        from.take_while(move |pilot| pilot.allocation == first)
    }

    /// As [`allocation`](Self::allocation), with all that is known of them.
    pub(crate) fn mates(&self, first: PilotId) -> impl Iterator<Item = &LivePilot> {
        let from = self.pilots.range(first..).map(|(_, live)| live);
        from.take_while(move |live| live.pilot.allocation == first)
    }

    /// The classes with waiting tasks.
    pub fn classes_summary(&self) -> Vec<ClassSummary> {
        let summary = |class: &crate::queue::Class| ClassSummary {
            needs: class.needs.key.clone(),
            group: class.group.clone(),
            waiting: class.waiting(),
            users: class.users().count(),
        };
        self.queue
            .active()
            .map(|(_, class)| summary(class))
            .collect()
    }
}
