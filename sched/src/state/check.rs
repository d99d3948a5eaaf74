//! The invariants, as code.

use std::collections::{BTreeMap, BTreeSet};

use fairway_model::TaskState;

use super::{LiveJob, State};
use crate::depends::Verdict;
use crate::matching::{Lease, LivePilot, Parked, Seat, serves};
use crate::nodes::Nodes;
use crate::packing::Room;
use crate::shares::{AccountId, Live};

impl State {
    /// Checks every invariant. Costs as much as there is in memory.
    ///
    /// # Errors
    /// What does not hold, for developers.
    pub fn check(&self) -> Result<(), String> {
        let (mut live, mut waiting) = (0, 0);
        for job in self.jobs.values() {
            check_job(job, self.waits_for_jobs(job))?;
            self.check_depends(job)?;
            waiting += u64::from(job.count(TaskState::Waiting));
            let alive = TaskState::ALL.iter().filter(|state| state.is_live());
            let alive: u32 = alive.map(|&state| job.count(state)).sum();
            live += u64::from(alive);
        }
        if waiting != self.queue.waiting() {
            let queued = self.queue.waiting();
            return Err(format!("{waiting} tasks wait, {queued} are in the queue"));
        }
        self.queue.check(&self.shares)?;
        self.shares.check(&self.live_of_accounts())?;
        self.bounds.check(&self.bounds_now())?;
        self.check_leases(live)?;
        self.latch.check()?;
        self.rooms.check(self)?;
        self.depends
            .check(|id| self.jobs.get(&id).map(|live| live.tally()))?;
        self.check_elements()
    }

    /// What each account has live by what pilots have.
    fn live_of_accounts(&self) -> BTreeMap<AccountId, Live> {
        let mut live: BTreeMap<AccountId, Live> = BTreeMap::new();
        for lease in self.pilots.values().flat_map(|pilot| &pilot.leases) {
            let sum = live.entry(lease.account).or_default();
            *sum = sum.plus(Live::task(lease.all));
        }
        live
    }

    /// Whether the job as a whole still waits for others.
    fn waits_for_jobs(&self, job: &LiveJob) -> bool {
        self.depends.of(job.job.id).is_some() && !job.is_let_go()
    }

    /// No task waits for other jobs any more when what it waits for has come about.
    fn check_depends(&self, job: &LiveJob) -> Result<(), String> {
        let id = job.job.id;
        if self.depends.of(id).is_none() {
            return Ok(());
        }
        let blocked = job.untouched.iter();
        let blocked = blocked.filter(|(.., it)| it.state == TaskState::Blocked);
        for (from, to, _) in blocked {
            let ready = job.by_readiness((from, to)).into_iter();
            for (_, row) in ready.filter(|(ready, _)| *ready) {
                let mut verdicts = self.verdicts(id, row).into_iter();
                if let Some((_, row)) = verdicts.find(|(verdict, _)| *verdict == Verdict::Met) {
                    return Err(format!("tasks {row:?} of job {id} wait for nothing"));
                }
            }
        }
        Ok(())
    }

    /// In debug builds: a full check after as many commands as there is to check, so that the
    /// cost of a command does not grow.
    pub(super) fn check_now_and_then(&mut self) {
        self.check_after = self.check_after.saturating_sub(1);
        if self.check_after > 0 {
            return;
        }
        self.check_after = self.size() / 4;
        if let Err(broken) = self.check() {
            panic!("an invariant does not hold: {broken}");
        }
    }

    /// How much a full check has to look at. Walking it costs less than a check, and is done no
    /// more often.
    fn size(&self) -> usize {
        let nodes = |job: &LiveJob| job.nodes.as_ref().map_or(0, |nodes| nodes.len());
        let touched = |job: &LiveJob| 1 + job.tasks.len() + nodes(job);
        let touched: usize = self.jobs.values().map(|job| touched(job)).sum();
        let classes = self.queue.classes();
        let waiters: usize = classes.map(|(_, class)| class.waiters().count()).sum();
        touched + self.pilots.len() + self.shares.len() + waiters
    }

    /// Every live attempt is with one pilot, and no pilot has more than it holds.
    fn check_leases(&self, live: u64) -> Result<(), String> {
        let mut leased = BTreeSet::new();
        for (id, pilot) in &self.pilots {
            check_pilot(pilot)?;
            for lease in &pilot.leases {
                let row = self
                    .jobs
                    .get(&lease.task.job)
                    .and_then(|job| job.tasks.get(&lease.task.index));
                let fits = row.is_some_and(|row| {
                    row.state.is_live()
                        && row.attempt == lease.attempt
                        && row.pilot == Some(*id)
                        && (row.cores == 0 || row.cores == lease.resources.cores)
                        && row.seats == lease.seats
                        && row.started_at.is_some() == lease.charged_until.is_some()
                        && lease.yielding.is_as(row)
                        && lease.cancelling == (row.state == TaskState::Cancelling)
                });
                if !fits {
                    return Err(format!("pilot {id} has {lease:?}, the task is {row:?}"));
                }
                let own = self.jobs.get(&lease.task.job).is_some_and(|live| {
                    let job = &live.job;
                    lease.class == live.class_of(lease.task.index)
                        && serves(&pilot.pilot.owner, &job.owner, job.group.as_ref())
                });
                if !own {
                    return Err(format!("pilot {id} may not run {}", lease.task));
                }
                if !leased.insert(lease.task) {
                    return Err(format!("{} is with two pilots", lease.task));
                }
            }
        }
        self.check_seats()?;
        if leased.len() as u64 != live {
            let leased = leased.len();
            return Err(format!("{live} attempts are live, {leased} with pilots"));
        }
        Ok(())
    }

    fn check_elements(&self) -> Result<(), String> {
        for (id, element) in &self.elements {
            for (class, _) in self.queue.classes() {
                if !element.verdicts.contains_key(&class) && !self.unjudged.contains(&class) {
                    return Err(format!("CE {id} has no verdict for class {class:?}"));
                }
            }
            let here = |pilot: &&LivePilot| pilot.pilot.ce == *id;
            let pilots: BTreeSet<_> = self.pilots.values().filter(here).collect_ids();
            let mut parked = Parked::default();
            for live in self.pilots.values().filter(here) {
                if let Some(wish) = live.wish {
                    parked.insert(&live.pilot.owner, live.pilot.id, live.reach(wish));
                }
            }
            let known = parked.is_empty() || self.parked_at.contains(id);
            if pilots != element.pilots || parked != element.parked || !known {
                return Err(format!("CE {id} miscounts its pilots"));
            }
        }
        Ok(())
    }
}

/// Collects the ids of pilots.
trait CollectIds {
    fn collect_ids(self) -> BTreeSet<fairway_model::PilotId>;
}

impl<'a, I: Iterator<Item = &'a LivePilot>> CollectIds for I {
    fn collect_ids(self) -> BTreeSet<fairway_model::PilotId> {
        self.map(|live| live.pilot.id).collect()
    }
}

/// submitted = waiting + held + live + ended, and the counts are those of the tasks.
fn check_job(live: &LiveJob, waits: bool) -> Result<(), String> {
    let id = live.job.id;
    if live.counts.total() != u64::from(live.job.task_count) {
        return Err(format!("job {id} counts {:?}", live.counts));
    }
    let mut counts = super::Counts::default();
    for (from, to, untouched) in live.untouched.iter() {
        counts.add(untouched.state, to - from);
    }
    for row in live.tasks.values() {
        if row.state.is_final() || row.attempt.0 == 0 {
            return Err(format!("{row:?} should not be kept as a row"));
        }
        counts.add(row.state, 1);
    }
    let kept = TaskState::ALL.iter().filter(|state| !state.is_final());
    for &state in kept {
        if counts.of(state) != live.counts.of(state) {
            return Err(format!("job {id} miscounts its {state:?} tasks"));
        }
    }
    if live.counts.ended() == u64::from(live.job.task_count) {
        return Err(format!("job {id} is over and still there"));
    }
    match &live.nodes {
        Some(nodes) => check_nodes(live, nodes, waits),
        None => Ok(()),
    }
}

/// Tasks wait for their parents, and for nothing else unless the job `waits`; the nodes count what
/// there is.
fn check_nodes(live: &LiveJob, nodes: &Nodes, waits: bool) -> Result<(), String> {
    let described = live.spec.nodes();
    nodes.check(described)?;
    for (place, node) in (0..).zip(described) {
        let (from, to) = (node.tasks.start, node.tasks.end);
        let untouched = live.untouched.within(from, to);
        let begun = live.tasks.range(from..to).count();
        let skipped = nodes.skipped((from, to));
        let size = |(from, to): (u32, u32)| u64::from(to - from);
        let open = begun as u64 + untouched.iter().map(|it| size((it.0, it.1))).sum::<u64>();
        let skipped: u64 = skipped.into_iter().map(size).sum();
        let missing = open + skipped + u64::from(nodes.broken(place));
        let stands = |state| match (nodes.is_ready(place), nodes.is_futile(place)) {
            (true, _) => waits || state != TaskState::Blocked,
            (false, false) => matches!(state, TaskState::Blocked | TaskState::Held),
            (false, true) => false,
        };
        let sound = missing == u64::from(nodes.missing(place))
            && (begun == 0 || nodes.is_ready(place))
            && (skipped == 0 || nodes.is_futile(place))
            && untouched.iter().all(|(_, _, it)| stands(it.state));
        if !sound {
            let (id, name) = (live.job.id, &node.name);
            return Err(format!("node {name} of job {id} is not as its tasks are"));
        }
    }
    Ok(())
}

/// No oversubscription: beyond what its resources hold, a pilot has at most its backlog.
fn check_pilot(live: &LivePilot) -> Result<(), String> {
    let id = live.pilot.id;
    if !live.is_counted() {
        return Err(format!("what is free on pilot {id} was not counted"));
    }
    let waiting = live.books().waiting;
    if waiting > live.backlog {
        return Err(format!(
            "{waiting} tasks wait at pilot {id}, allowed {}",
            live.backlog
        ));
    }
    let mut seated = Room::on(&live.pilot);
    for Seat { task, portion, .. } in &live.seats {
        if !seated.take(portion.resources, &portion.custom) {
            return Err(format!("there is no room for {task} on pilot {id}"));
        }
    }
    if waiting > 0 && !live.seats.is_empty() {
        return Err(format!("tasks wait at pilot {id} beside a seat"));
    }
    let fits = |lease: &&Lease| Room::on(&live.pilot).take(lease.resources, &lease.custom);
    if let Some(lease) = live.leases.iter().find(|lease| !fits(lease)) {
        return Err(format!("{} can never run with its pilot", lease.task));
    }
    Ok(())
}
