//! Tasks with a deadline: when pilots must be asked for, how large, and what can be said of
//! them beforehand.
//!
//! A task must start by its *latest start*: the deadline, less what it is expected to take
//! (`ExpectedDuration`, else its walltime), less a margin. While what is left until then, its
//! *slack*, is plenty, it queues like all others. When the slack falls below twice what pilots
//! have to wait at every CE that could run it, it is *urgent*: pilots are asked for before all
//! others', of the size that the task needs and no more where they would wait, since a batch
//! system fills gaps with small requests. They take tasks of that class alone as long as some
//! wait. That is all that a deadline is given: on all other pilots the policy sets the order,
//! so that nobody gets ahead of others there by a deadline.
//!
//! A task that can no longer be in time is treated like all others; it runs nevertheless.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::Duration;

use fairway_jdl::Needs;
use fairway_model::{CeId, GroupName, JobId, PilotOwner, Resources, Timestamp, UserName};

use super::demand::Demand;
use super::fit::misfits_of;
use super::{PilotOrder, Planner, Prospect, Purpose, Size, Supply, Together, closures};
use crate::State;
use crate::element::{Element, PILOT_MARGIN_S};
use crate::glue::INFINITE;
use crate::packing::Room;
use crate::queue::{Class, ClassId};

/// Slack of so many times the delay of pilots is plenty.
const SAFETY: u64 = 2;

/// From the decision to a submission, and from one look to the next, in seconds.
const LEAD_S: u64 = 60;

/// Slack that is plenty where nobody knows how long pilots wait, in seconds.
const UNKNOWN_S: u64 = 24 * 3600;

/// What a pilot keeps of its walltime for its way to the first task and for tidying up, in
/// seconds; its walltime is longer than its tasks by that.
const SPARE_S: u64 = 120;

/// Reservations are asked for at most so long before they begin, in seconds.
const RESERVE_AHEAD_S: u64 = 24 * 3600;

/// So many tasks of a job are looked at to tell how its deadlines stand.
const TASKS_LOOKED_AT: u32 = 1000;

/// How a deadline stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OutlookKind {
    /// It cannot be met any more.
    Impossible,
    /// It may be met.
    Tight,
    /// It will be met if pilots start as they did lately.
    Met,
}

impl OutlookKind {
    /// The name used on the wire and on the screen.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Impossible => "impossible",
            Self::Tight => "tight",
            Self::Met => "met",
        }
    }
}

/// What can be said of a deadline. Of one task: whether there is room for all tasks of a job
/// is not asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// At the best CE.
    pub kind: OutlookKind,
    /// Why, in a sentence.
    pub because: String,
    /// At each CE, the best first.
    pub ces: Vec<CeOutlook>,
}

/// What can be said of a deadline at a CE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CeOutlook {
    /// Which CE.
    pub ce: CeId,
    /// How it stands.
    pub kind: OutlookKind,
    /// The values on both sides.
    pub because: String,
}

/// What can be said of the deadline of tasks that need this, of a user and a group; `None` if
/// they have none.
pub fn deadline_outlook(
    state: &State,
    needs: &Needs,
    (owner, group): (&UserName, Option<&GroupName>),
    now: Timestamp,
) -> Option<Outlook> {
    let deadline = needs.deadline?;
    let task = Timing::of(state, needs, now)?;
    let mut ces: Vec<CeOutlook> = state
        .elements
        .values()
        .map(|element| {
            let refusal = refusal(state, element, needs, (owner, group), now);
            let (kind, because) = refusal.map_or_else(
                || task.outlook(element, now),
                |because| (OutlookKind::Impossible, because),
            );
            let ce = element.id.clone();
            CeOutlook { ce, kind, because }
        })
        .collect();
    ces.sort_by(|a, b| (Reverse(a.kind), &a.ce).cmp(&(Reverse(b.kind), &b.ce)));
    let (kind, because) = match ces.first() {
        _ if task.latest_start <= now => (OutlookKind::Impossible, task.too_late(now)),
        None => (OutlookKind::Impossible, "no site is registered".to_owned()),
        Some(best) => (best.kind, format!("at {}, {}", best.ce, best.because)),
    };
    let because = format!("the deadline is {deadline}: {because}");
    Some(Outlook { kind, because, ces })
}

/// The worst that can be said of the deadlines in a job; `None` if it has none, or is over. Of
/// a job whose tasks differ, the first thousand are looked at.
pub fn job_outlook(state: &State, job: JobId, now: Timestamp) -> Option<Outlook> {
    let live = state.jobs.get(&job)?;
    let who = (&live.job.owner, live.job.group.as_ref());
    let indices = 0..live.job.task_count.min(TASKS_LOOKED_AT);
    let classes: BTreeSet<ClassId> = indices.map(|index| live.class_of(index)).collect();
    classes
        .into_iter()
        .filter_map(|id| deadline_outlook(state, &state.queue.class(id)?.needs, who, now))
        .min_by_key(|outlook| outlook.kind)
}

/// Why the tasks cannot run at a CE.
fn refusal(
    state: &State,
    element: &Element,
    needs: &Needs,
    (owner, group): (&UserName, Option<&GroupName>),
    now: Timestamp,
) -> Option<String> {
    if !element.judge(needs).eligible {
        return Some("its Requirements are not met".to_owned());
    }
    if !element.admits(owner, group) {
        return Some(format!("user {owner} may not use it"));
    }
    if let Err((_, because)) = element.owner_for(owner, group) {
        return Some(because);
    }
    let closure = closures(state, element, now).into_iter().next();
    let needed_s = needed_s(state, needs);
    let misfits = || misfits_of(element, needs, needed_s, now);
    let refused = closure.or_else(|| misfits().into_iter().next())?;
    Some(refused.1)
}

fn duration_s(state: &State, needs: &Needs) -> u64 {
    let hint = needs.expected_s.or(needs.walltime_s);
    hint.unwrap_or(state.settings.remaining_min_s)
}

/// The walltime of a pilot for one task.
fn needed_s(state: &State, needs: &Needs) -> u64 {
    duration_s(state, needs).saturating_add(SPARE_S)
}

/// How long a pilot waits before it starts, in seconds: nothing at a CE with free cores, else
/// what is estimated, and not less than the longest that one of the last ones waited. `None` if
/// nobody knows.
fn delay_s(element: &Element) -> Option<u64> {
    let response_s = element.response_s();
    if response_s == 0 {
        return Some(0);
    }
    let estimated_s = Some(response_s).filter(|s| (0..INFINITE).contains(s));
    let estimated_s = estimated_s.map(i64::unsigned_abs);
    estimated_s.max(element.experience.longest_delay_s())
}

/// When tasks with a deadline must start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    pub(super) latest_start: Timestamp,
    /// Until then, in seconds.
    slack_s: u64,
    duration_s: u64,
}

impl Timing {
    /// `None` without a deadline.
    fn of(state: &State, needs: &Needs, now: Timestamp) -> Option<Self> {
        let deadline = needs.deadline?;
        let duration_s = duration_s(state, needs);
        let before_s = duration_s.saturating_add(PILOT_MARGIN_S);
        let before_ms = i64::try_from(before_s.saturating_mul(1000)).unwrap_or(i64::MAX);
        let latest_start = Timestamp(deadline.0.saturating_sub(before_ms));
        Some(Self {
            latest_start,
            slack_s: latest_start.since(now).as_secs(),
            duration_s,
        })
    }

    /// Whether there is plenty of time until pilots must be asked for at the CE.
    fn is_plenty(&self, element: &Element) -> bool {
        let enough_s = delay_s(element).map_or(UNKNOWN_S, |delay_s| {
            delay_s.saturating_mul(SAFETY).saturating_add(LEAD_S)
        });
        self.slack_s >= enough_s
    }

    fn is_in_time(&self, element: &Element) -> bool {
        delay_s(element).is_some_and(|delay_s| self.slack_s >= delay_s)
    }

    fn too_late(&self, now: Timestamp) -> String {
        let (duration_s, late_s) = (self.duration_s, now.since(self.latest_start).as_secs());
        format!("a task takes {duration_s} s and would have had to start {late_s} s ago")
    }

    fn outlook(&self, element: &Element, now: Timestamp) -> (OutlookKind, String) {
        if self.latest_start <= now {
            return (OutlookKind::Impossible, self.too_late(now));
        }
        let slack_s = self.slack_s;
        let must = format!("a task must start within {slack_s} s");
        match delay_s(element) {
            None => (
                OutlookKind::Tight,
                format!("{must}, and nobody knows how long pilots wait there"),
            ),
            Some(delay_s) => {
                let kind = match self.is_plenty(element) {
                    true => OutlookKind::Met,
                    false => OutlookKind::Tight,
                };
                (
                    kind,
                    format!("{must}, pilots there wait for up to {delay_s} s"),
                )
            }
        }
    }
}

/// A class with a deadline that can be met.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    timing: Timing,
    /// Pilots are to be asked for now.
    urgent: bool,
}

impl<'a> Planner<'a> {
    /// Classes with waiting tasks: those first whose pilots must be asked for now, the one
    /// that must start first before the others; then all in the order of service.
    pub(super) fn in_order(&self, open: &[Prospect<'a>]) -> Vec<(ClassId, &'a Class, Option<Due>)> {
        let classes = super::in_order_of_service(self.state, self.now).into_iter();
        let mut classes: Vec<_> = classes
            .map(|(id, class)| (id, class, self.due(open, id, class)))
            .collect();
        classes.sort_by_key(|(.., due)| {
            let urgent = due.filter(|due| due.urgent);
            urgent.map_or((true, Timestamp(0)), |due| (false, due.timing.latest_start))
        });
        classes
    }

    fn due(&self, open: &[Prospect<'a>], id: ClassId, class: &Class) -> Option<Due> {
        // Tasks on several nodes need allocations of the CE's shape, and are asked for like others.
        if class.needs.hosts > 1 {
            return None;
        }
        let timing = Timing::of(self.state, &class.needs, self.now)?;
        if timing.latest_start <= self.now {
            return None;
        }
        let fitting = self.fitting(open, id, class);
        let plenty = fitting.iter().any(|(element, _)| timing.is_plenty(element));
        let urgent = !plenty && !fitting.is_empty();
        Some(Due { timing, urgent })
    }

    /// CEs that may get pilots that are sized for the class, with its Rank there.
    fn fitting(
        &self,
        open: &[Prospect<'a>],
        id: ClassId,
        class: &Class,
    ) -> Vec<(&'a Element, f64)> {
        let needed_s = needed_s(self.state, &class.needs);
        open.iter()
            .filter_map(|&Prospect { element, offer, .. }| {
                let verdict = element.verdicts.get(&id).filter(|it| it.eligible)?;
                let fits = offer.holds_for(&class.needs, needed_s);
                fits.then(|| (element, verdict.rank_or_last()))
            })
            .collect()
    }

    /// Asks for what a class needs to be in time; gives back how many tasks got a new pilot so.
    pub(super) fn meet(
        &mut self,
        open: &[Prospect<'a>],
        id: ClassId,
        class: &Class,
        due: Due,
        demand: &mut Demand<'_>,
    ) -> u64 {
        if !due.urgent {
            self.reserve(open, id, class, due.timing, demand);
            return 0;
        }
        for supply in &mut self.supplies {
            if matches!(supply.purpose, Purpose::Deadline(own) | Purpose::Reserved(own) if own == id)
            {
                supply.take(self.state, id, class, demand);
            }
        }
        let mut fitting = self.fitting(open, id, class);
        fitting.sort_by(|(a, rank_a), (b, rank_b)| {
            let in_time = |element| !due.timing.is_in_time(element);
            (in_time(a).cmp(&in_time(b)))
                .then_with(|| rank_b.total_cmp(rank_a))
                .then_with(|| {
                    delay_s(a)
                        .unwrap_or(u64::MAX)
                        .cmp(&delay_s(b).unwrap_or(u64::MAX))
                })
                .then_with(|| a.id.cmp(&b.id))
        });
        let before = demand.total();
        for (element, _) in fitting {
            self.meet_at(element, id, class, due.timing, demand);
        }
        before - demand.total()
    }

    fn meet_at(
        &mut self,
        element: &'a Element,
        id: ClassId,
        class: &Class,
        timing: Timing,
        demand: &mut Demand<'_>,
    ) {
        for owner in demand.owners(element) {
            while demand.at(element, &owner) > 0 {
                let request = self.request(element, class);
                if request.size.cores == 0
                    || !self
                        .ledger
                        .has_room(self.state, element, &owner, request.size)
                {
                    break;
                }
                let because = |tasks| {
                    format!(
                        "{} must start by {}, and pilots here are sized for them",
                        tasks_told(tasks),
                        timing.latest_start
                    )
                };
                let purpose = Purpose::Deadline(id);
                self.order_request(element, class, &owner, (request, purpose), demand, because);
            }
        }
    }

    /// What to ask for. Where a pilot would wait and the tasks say how long they take, no more
    /// than one of them needs: gaps in a batch system's plan are small.
    fn request(&self, element: &Element, class: &Class) -> Request {
        let needs = &class.needs;
        let whole = Size::of(element);
        let hinted = needs.expected_s.or(needs.walltime_s).is_some();
        let walltime_s = if hinted {
            needed_s(self.state, needs).div_ceil(60).saturating_mul(60)
        } else {
            element.walltime_s(self.now)
        };
        let walltime_s = walltime_s.min(element.walltime_s(self.now));
        let busy = !self.ledger.starts_at_once(element, whole);
        if hinted && busy && !element.ce.shape.whole_node {
            return Request::small(element, needs.resources, 1, walltime_s);
        }
        Request {
            resources: element.asked(),
            size: whole,
            walltime_s,
            reserve_at: None,
        }
    }

    /// Orders one allocation and lays tasks of the class onto its pilots.
    fn order_request(
        &mut self,
        element: &'a Element,
        class: &Class,
        owner: &PilotOwner,
        (request, purpose): (Request, Purpose),
        demand: &mut Demand<'_>,
        because: impl Fn(u64) -> String,
    ) {
        let room = Room {
            free: element.expected_of(request.resources),
            ..element.room()
        };
        // At least one, so that no limit of nobody's making asks without end.
        let per_pilot = room.times(&class.needs).max(1);
        let mut taken = 0;
        for _ in 0..request.size.nodes {
            let tasks = per_pilot.min(demand.at(element, owner));
            if request.reserve_at.is_none() {
                demand.take(element, owner, tasks);
            }
            taken += tasks;
            let mut room = room.clone();
            room.without(&class.needs, tasks);
            self.supplies.push(Supply {
                element,
                owner: owner.clone(),
                room,
                lasts_s: request.walltime_s.saturating_sub(PILOT_MARGIN_S),
                purpose,
                together: Together::Ordered(self.orders.len()),
                pilot: None,
                used: true,
            });
        }
        let order = PilotOrder {
            ce: element.id.clone(),
            owner: owner.clone(),
            resources: request.resources,
            nodes: request.size.nodes,
            walltime_s: request.walltime_s,
            reserve_at: request.reserve_at,
            purpose,
            because: because(taken),
        };
        self.ledger.add(&order, request.size);
        self.orders.push(order);
    }

    /// Asks for one reservation that begins just in time, where the batch system takes them, a
    /// pilot would wait, and there is none yet. The tasks go on queueing like others; if they
    /// are served before, it is called back.
    fn reserve(
        &mut self,
        open: &[Prospect<'a>],
        id: ClassId,
        class: &Class,
        timing: Timing,
        demand: &Demand<'_>,
    ) {
        let needs = &class.needs;
        let hinted = needs.expected_s.or(needs.walltime_s).is_some();
        let own = |supply: &Supply<'_>| supply.purpose == Purpose::Reserved(id);
        if !hinted || timing.slack_s > RESERVE_AHEAD_S || self.supplies.iter().any(own) {
            return;
        }
        let lead = Duration::from_secs(LEAD_S);
        let begin = self
            .now
            .plus(Duration::from_secs(timing.slack_s).saturating_sub(lead));
        let mut fitting = self.fitting(open, id, class);
        fitting.retain(|(element, _)| element.ce.supply.reserve && element.response_s() != 0);
        fitting.sort_by(|(a, rank_a), (b, rank_b)| {
            rank_b.total_cmp(rank_a).then_with(|| a.id.cmp(&b.id))
        });
        for (element, _) in fitting {
            let Some(owner) = demand.owners(element).into_iter().next() else {
                continue;
            };
            let most = element.room().times(needs).max(1);
            let tasks = most.min(demand.at(element, &owner));
            let walltime_s = needed_s(self.state, needs).saturating_add(LEAD_S);
            let walltime_s = walltime_s.div_ceil(60).saturating_mul(60);
            let walltime_s = walltime_s.min(element.walltime_s(self.now));
            let mut request = Request::small(element, needs.resources, tasks, walltime_s);
            request.reserve_at = Some(begin);
            if tasks == 0
                || !self
                    .ledger
                    .has_room(self.state, element, &owner, request.size)
            {
                continue;
            }
            let because = |tasks| {
                format!(
                    "{} must start by {}",
                    tasks_told(tasks),
                    timing.latest_start
                )
            };
            let mut copy = demand.clone();
            let how = (request, Purpose::Reserved(id));
            self.order_request(element, class, &owner, how, &mut copy, because);
            return;
        }
    }
}

fn tasks_told(n: u64) -> String {
    match n {
        1 => "1 task".to_owned(),
        n => format!("{n} tasks"),
    }
}

/// What to ask a batch system for.
#[derive(Clone, Copy, Debug)]
struct Request {
    resources: Resources,
    size: Size,
    walltime_s: u64,
    reserve_at: Option<Timestamp>,
}

impl Request {
    /// As much as `tasks` tasks need, on one node; the whole of it where nodes are not shared.
    fn small(element: &Element, task: Resources, tasks: u64, walltime_s: u64) -> Self {
        let shape = element.asked();
        let whole = element.ce.shape.whole_node;
        let n = u32::try_from(tasks).unwrap_or(u32::MAX).max(1);
        let cores = task.cores.max(1).saturating_mul(n);
        let memory_mib = match (task.memory_mib, shape.memory_mib) {
            // Its share of what a pilot asks for.
            (0, of) => {
                (of.saturating_mul(u64::from(cores))).div_ceil(u64::from(shape.cores.max(1)))
            }
            (own, _) => own.saturating_mul(u64::from(n)),
        };
        let resources = if whole {
            shape
        } else {
            Resources {
                cores,
                memory_mib,
                gpus: task.gpus.saturating_mul(n),
            }
        };
        Self {
            resources,
            size: Size {
                nodes: 1,
                cores: element.expected_of(resources).cores,
            },
            walltime_s,
            reserve_at: None,
        }
    }
}
