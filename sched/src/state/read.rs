//! What others may read: values, never references into what changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fairway_jdl::{Ad, Needs};
use fairway_model::{
    CeId, CeState, GroupName, Job, JobId, Pilot, PilotId, PilotState, Policy, Resources, Site,
    SiteName, Task, TaskId, Timestamp, UserName,
};

use super::{Settings, State};
use crate::latch::SetAside;
use crate::matching::LivePilot;
use crate::shares::{AccountId, NodeId, Used};

/// The standing of a user in a group, with the numbers that it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// Who.
    pub user: UserName,
    /// In which group.
    pub group: Option<GroupName>,
    /// Their place in the tree of shares, by names from the top down.
    pub path: String,
    /// Tasks in the queue.
    pub waiting: u64,
    /// Tasks with a live attempt.
    pub live: u64,
    /// Cores of these.
    pub live_cores: u64,
    /// Usage that counts, under the settings in force: tasks or seconds. FS of the mission.
    pub fs: f64,
    /// What part of everything they are to get if everybody wants theirs, 0 to 1.
    pub due: f64,
    /// What part of all usage that counts is theirs, 0 to 1; 0 if there is none.
    pub used: f64,
    /// Place in the order of service, from 1, among those with waiting tasks that may be
    /// started.
    pub place: Option<u32>,
    /// The intervals that count and in which something was used, the current one first:
    /// beginning, usage and weight `decay^i`.
    pub intervals: Vec<(Timestamp, Used, f64)>,
}

/// A node of the tree of shares.
#[derive(Clone, Debug, PartialEq)]
pub struct ShareNode {
    /// Its place by names from the top down.
    pub path: String,
    /// See [`Standing::due`].
    pub due: f64,
    /// See [`Standing::used`].
    pub used: f64,
    /// Usage that counts: tasks or seconds.
    pub usage: f64,
    /// Tasks with a live attempt.
    pub live: u64,
    /// Cores of these.
    pub live_cores: u64,
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

    /// A job that is not over, without its JDL text: that is in the store alone.
    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id).map(|live| &live.job)
    }

    /// All jobs that are not over, without their JDL texts, each with how many of its tasks are
    /// not over.
    pub fn jobs_open(&self) -> impl Iterator<Item = (&Job, u64)> {
        let open = |live: &super::LiveJob| live.counts.total() - live.counts.ended();
        self.jobs.values().map(move |live| (&live.job, open(live)))
    }

    /// The owner of a job that is not over.
    pub fn job_owner(&self, id: JobId) -> Option<&UserName> {
        self.job(id).map(|job| &job.owner)
    }

    /// A task that is not over.
    pub fn task(&self, id: TaskId) -> Option<Task> {
        self.jobs.get(&id.job)?.task(id.index)
    }

    /// What a task that is not over needs.
    pub fn needs(&self, id: TaskId) -> Option<Arc<Needs>> {
        let live = self.jobs.get(&id.job)?;
        let class = self.queue.class(live.class_of(id.index))?;
        live.task(id.index)?;
        Some(Arc::clone(&class.needs))
    }

    /// The operator's settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Puts other settings in force: for copies that show what would be if.
    pub fn assume(&mut self, settings: Settings) {
        self.settings = settings;
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

    /// Every account with waiting tasks, live ones or usage that counts: those that may be served
    /// in the order of service, then the others by group and name.
    pub fn shares(&self, now: Timestamp) -> Vec<Standing> {
        let order = self.queue.accounts_in_order(&self.shares, now);
        let queued: BTreeSet<AccountId> = order.iter().copied().collect();
        let others = self.shares.accounts().filter(|id| !queued.contains(id));
        let others = others.map(|id| self.standing_at(id, None));
        let of_interest = |standing: &Standing| {
            standing.waiting > 0 || standing.live > 0 || !standing.intervals.is_empty()
        };
        let others: Vec<Standing> = others.filter(of_interest).collect();
        let placed = order.iter().zip(1..);
        placed
            .map(|(id, place)| self.standing_at(*id, Some(place)))
            .chain(others)
            .collect()
    }

    /// The inner nodes of the tree of shares, by path.
    pub fn share_tree(&self) -> Vec<ShareNode> {
        let mut nodes: Vec<ShareNode> = self
            .shares
            .all_nodes()
            .filter(|id| !self.shares.is_user(*id))
            .map(|id| {
                let (live, live_cores) = self.shares.live(id);
                ShareNode {
                    path: self.shares.path(id).to_string(),
                    due: self.shares.due(id),
                    used: self.part_used(id),
                    usage: self.shares.worth(id),
                    live,
                    live_cores,
                }
            })
            .collect();
        nodes.sort_by(|a, b| a.path.cmp(&b.path));
        nodes
    }

    /// The standing of a user in a group.
    pub fn standing(
        &self,
        user: &UserName,
        group: Option<&GroupName>,
        now: Timestamp,
    ) -> Option<Standing> {
        let id = self.shares.find(user, group)?;
        let order = self.queue.accounts_in_order(&self.shares, now);
        let place = order.iter().zip(1..).find(|(other, _)| **other == id);
        Some(self.standing_at(id, place.map(|(_, place)| place)))
    }

    fn standing_at(&self, id: AccountId, place: Option<u32>) -> Standing {
        let books = self.shares.books(id);
        let (live, live_cores) = self.shares.live(books.node);
        Standing {
            user: books.user.clone(),
            group: books.group.clone(),
            path: self.shares.path(books.node).to_string(),
            waiting: self.queue.waiting_of(id),
            live,
            live_cores,
            fs: self.shares.worth(books.node),
            due: self.shares.due(books.node),
            used: self.part_used(books.node),
            place,
            intervals: self.shares.intervals(id),
        }
    }

    fn part_used(&self, id: NodeId) -> f64 {
        let all = self.shares.worth_of_all();
        if all > 0.0 {
            self.shares.worth(id) / all
        } else {
            0.0
        }
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
            free: live.books().room.free,
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
            users: class.waiters().count(),
        };
        self.queue
            .active()
            .map(|(_, class)| summary(class))
            .collect()
    }
}
