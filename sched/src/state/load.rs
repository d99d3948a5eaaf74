//! Rebuilding the state from the store.

use std::collections::BTreeMap;

use fairway_jdl::JobSpec;
use fairway_model::{Attempt, JobId, PilotId, Task, TaskState, Timestamp};

use super::gang::Placement;
use super::give_way::Yielding;
use super::{Counts, Described, LiveJob, Settings, State, Untouched};
use crate::bounds::Bounds;
use crate::command::{ActiveJob, EndedRow, NamedJob, Snapshot};
use crate::depends::Depends;
use crate::latch::Latch;
use crate::matching::Lease;
use crate::nodes::Nodes;
use crate::packing::Portion;
use crate::queue::Queue;
use crate::ranges::Ranges;
use crate::shares::Shares;

/// How far the nodes of a job are of which these tasks have ended, if tasks depend on others.
pub(super) fn nodes_restored(spec: &JobSpec, ended: &[EndedRow]) -> Option<Box<Nodes>> {
    spec.has_dependencies()
        .then(|| Box::new(Nodes::restore(spec.nodes(), ended)))
}

impl State {
    /// The state that a snapshot of the store describes. Pilots in it count as heard of at `now`.
    pub fn load(snapshot: Snapshot, settings: Settings, now: Timestamp) -> Self {
        let policy = snapshot.policy.unwrap_or_default();
        let bounds = Bounds::new(&policy);
        let shares = Shares::new(policy, now);
        let mut state = Self {
            queue: Queue::new(&shares),
            shares,
            bounds,
            latch: Latch::new(settings.fast_fail_s, settings.fast_fails_max),
            settings,
            jobs: BTreeMap::new(),
            pilots: BTreeMap::new(),
            sites: BTreeMap::new(),
            elements: BTreeMap::new(),
            parked_at: Default::default(),
            keys: BTreeMap::new(),
            depends: Depends::default(),
            news: Default::default(),
            wishes_may_be_granted: false,
            rooms: Default::default(),
            kept_rooms: Default::default(),
            refreshed_at: now,
            refresh_from: None,
            kept: Default::default(),
            noted_at: now,
            charged_to: PilotId(0),
            // Numbers begin at 1.
            unjudged: Default::default(),
            judged: 0,
            next_job: snapshot.next_job.max(1),
            next_pilot: snapshot.next_pilot.max(1),
            next_event: snapshot.next_event.max(1),
            changes: Vec::new(),
            check_after: 0,
        };
        for (entity, begin, used) in snapshot.shares {
            state.shares.restore(&entity, begin, used);
        }
        for row in snapshot.spent {
            let (user, group, today) = (&row.user, row.group.as_ref(), (row.day, row.day_ms));
            state.shares.restore_spent(user, group, row.total_ms, today);
        }
        state.shares.recount();
        for site in snapshot.sites {
            state.describe(&site, now);
            state.sites.insert(site.name.clone(), site);
        }
        for (ce, at, pilots) in snapshot.asked {
            if let Some(element) = state.elements.get_mut(&ce) {
                element.experience.note_asked(pilots, at);
            }
        }
        state.load_pilots(snapshot.pilots, now);
        let mut tasks: BTreeMap<JobId, Vec<Task>> = BTreeMap::new();
        for task in snapshot.tasks {
            tasks.entry(task.id.job).or_default().push(task);
        }
        let mut ended: BTreeMap<JobId, Counts> = BTreeMap::new();
        for (job, state, n) in snapshot.ended {
            ended.entry(job).or_default().add(state, n);
        }
        let mut leased = Vec::new();
        for (job, spec, idempotency) in snapshot.jobs {
            let counts = ended.remove(&job.id).unwrap_or_default();
            let rows = tasks.remove(&job.id).unwrap_or_default();
            let ended_rows = snapshot
                .ended_rows
                .get(&job.id)
                .map_or(&[][..], Vec::as_slice);
            leased.extend(state.load_job((job, spec, idempotency), rows, counts, ended_rows));
        }
        state.judge_all_classes();
        state.load_leases(leased, now);
        state.load_depends(&snapshot.named);
        // Nothing that loading did is news to the store.
        state.changes.clear();
        state.wishes_may_be_granted = false;
        state
    }

    fn load_pilots(&mut self, mut pilots: Vec<fairway_model::Pilot>, now: Timestamp) {
        pilots.sort_by_key(|pilot| (pilot.started_at, pilot.id));
        for pilot in pilots {
            if let Some(started_at) = pilot.started_at
                && let Some(element) = self.elements.get_mut(&pilot.ce)
            {
                element.note_delay(started_at.since(pilot.planned_at));
            }
            self.admit_pilot(pilot, now);
        }
        for element in self.elements.values_mut() {
            element.judge_all(self.queue.classes());
        }
    }

    /// Takes a job in with its tasks that are not over; gives back those with a live attempt.
    fn load_job(
        &mut self,
        (job, spec, idempotency): ActiveJob,
        mut rows: Vec<Task>,
        counts: Counts,
        ended: &[EndedRow],
    ) -> Vec<Task> {
        let id = job.id;
        let mut live = LiveJob {
            classes: self.classes_of(&job, &spec, 0),
            nodes: nodes_restored(&spec, ended),
            spec: Described::of(spec, &job.jdl),
            job,
            idempotency: None,
            untouched: Ranges::default(),
            tasks: BTreeMap::new(),
            counts,
        };
        rows.sort_unstable_by_key(|row| row.id);
        let mut waiting: Ranges<()> = Ranges::default();
        let mut leased = Vec::new();
        let mut joining: Ranges<()> = Ranges::default();
        for row in rows {
            let index = row.id.index;
            live.counts.add(row.state, 1);
            joining.insert(index, index + 1, ());
            if row.state == TaskState::Waiting {
                waiting.insert(index, index + 1, ());
            }
            if row.state.is_live() {
                leased.push(row.clone());
            }
            if row.attempt == Attempt(0) {
                let untouched = Untouched {
                    state: row.state,
                    since: row.since,
                };
                live.untouched.insert(index, index + 1, untouched);
            } else {
                live.tasks.insert(index, row);
            }
        }
        self.admit(live, idempotency);
        for (from, to, ()) in joining.iter() {
            self.rejoin(id, (from, to));
        }
        for (from, to, ()) in waiting.iter() {
            self.enqueue(id, from, to);
        }
        leased
    }

    /// Has the jobs wait for others again that do. What follows from it has been done.
    fn load_depends(&mut self, named: &[NamedJob]) {
        let dependents = self.jobs.iter();
        let dependents = dependents.filter(|(_, live)| live.spec.depends().is_some());
        let ids: Vec<JobId> = dependents.map(|(id, _)| *id).collect();
        for id in ids {
            let Some(live) = self.jobs.get(&id) else {
                continue;
            };
            let Some(spec) = live.spec.read().cloned() else {
                continue;
            };
            let job = live.job.clone();
            let found = self.find_named(&spec, named);
            debug_assert!(found.is_ok(), "job {id}: {:?}", found.err());
            if let Ok(found) = found {
                self.enroll(&job, &spec, found);
            }
        }
        self.depends.clear_news();
    }

    /// Gives the pilots their tasks back, in the order of leasing.
    fn load_leases(&mut self, mut leased: Vec<Task>, now: Timestamp) {
        leased.sort_by_key(|row| (row.leased_at, row.id));
        let grace_s = self.policy().preemption.grace_s;
        for row in leased {
            let Some(live) = self.jobs.get(&row.id.job) else {
                continue;
            };
            let account = self
                .shares
                .account(&live.job.owner, live.job.group.as_ref());
            let class = live.class_of(row.id.index);
            let Some(needs) = self.queue.class(class).map(|class| class.needs.clone()) else {
                continue;
            };
            self.shares.take_turn(account);
            let Some(lead) = row.pilot else { continue };
            let at = self.pilots.get(&lead);
            let portion = at.map(|live| Portion::on_lease(&live.pilot, &needs, row.cores));
            let Some(portion) = portion else { continue };
            let placement = Placement {
                portion,
                seats: row.seats.clone(),
            };
            let all = self.take_seats(lead, (row.id, row.attempt), class, &placement);
            self.note_live(lead, account, &needs, all, true);
            if let Some(pilot) = self.pilots.get_mut(&lead) {
                let first = !std::mem::replace(&mut pilot.useful, true);
                if let Some(element) = self.elements.get_mut(&pilot.pilot.ce) {
                    element.experience.note_useful(first);
                }
                pilot.leases.push(Lease {
                    task: row.id,
                    attempt: row.attempt,
                    account,
                    class,
                    resources: placement.portion.resources,
                    custom: placement.portion.custom,
                    seats: placement.seats,
                    all,
                    walltime_s: needs.walltime_s,
                    since: row.started_at.or(row.leased_at).unwrap_or(now),
                    round: 0,
                    // What ran while nobody counted is not charged.
                    charged_until: row.started_at.map(|_| now),
                    young_since: row.started_at,
                    yielding: Yielding::of(&row, grace_s),
                    cancelling: row.state == TaskState::Cancelling,
                });
            }
        }
        for pilot in self.pilots.values_mut() {
            pilot.count();
            pilot.backlog = pilot.books().waiting;
        }
        self.shares.refresh();
        self.reorder_all();
        self.note_bounds();
    }
}
