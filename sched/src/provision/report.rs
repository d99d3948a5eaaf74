//! What an operator is told of provisioning: who wants pilots of a CE, what there is, every
//! limit with its use, and why no pilot is asked for.

use std::collections::BTreeMap;

use fairway_model::{
    CeId, GroupName, PilotId, PilotOwner, PilotSharing, PilotState, Resources, SiteMode, SiteName,
    Timestamp, UserName,
};

use super::fit::Offer;
use super::{Layout, Ledger, Limit, Size, closures, misfits};
use crate::State;
use crate::element::Element;
use crate::experience::Decision;
use crate::queue::{Class, ClassId};

/// So many classes are told of one CE.
const WANTING_MAX: usize = 100;

/// Provisioning of one CE, as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct CeReport {
    /// Which CE.
    pub ce: CeId,
    /// The stricter of the site's mode and the CE's.
    pub mode: SiteMode,
    /// What would be decided now.
    pub verdict: Verdict,
    /// Waiting work that a pilot here could run by Requirements, that served next first; the
    /// first 100 classes.
    pub wanting: Vec<Wanting>,
    /// Whose tasks a new pilot may run.
    pub sharing: PilotSharing,
    /// What a new pilot is expected to have.
    pub resources: Resources,
    /// Nodes of a new allocation.
    pub nodes: u32,
    /// Walltime of a new pilot, in seconds.
    pub walltime_s: u64,
    /// Pilots that are not over, by state.
    pub pilots: BTreeMap<PilotState, u32>,
    /// Batch jobs of ours and of others.
    pub jobs: JobCounts,
    /// Every limit with its use, the one that bounds growth (`ramp-up`) last. Where pilots are
    /// private, that of one owner is left out.
    pub limits: Vec<Limit>,
    /// Why no pilots are asked for at all: what is closed, and the values on both sides.
    pub closures: Vec<(&'static str, String)>,
    /// Until when no pilots are asked for because of useless ones, and what was said of them.
    pub backoff: Option<(Timestamp, String)>,
    /// Pilots that ended without ever calling home, since the server started.
    pub never_called_home: u64,
    /// Pilots asked for in the last 24 hours.
    pub asked_in_a_day: u64,
    /// How long a pilot is expected to wait before it starts, in seconds;
    /// [`INFINITE`](crate::glue::INFINITE) if nobody knows.
    pub response_s: i64,
    /// Core-milliseconds in which cores were free, wanted, and kept for tasks that needed more of
    /// them, since the server started.
    pub kept_idle_core_ms: u64,
    /// The last decisions, the newest last. Not durable.
    pub decisions: Vec<Decision>,
}

/// What would be decided about a CE now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// So many pilots would be asked for.
    pub pilots: u32,
    /// The kind of reason: `orders` where pilots would be asked for. Otherwise `work` (no task
    /// waits), `requirements`, `covered` (pilots for all tasks are there or on their way), `rank`
    /// (other CEs take them), `threshold` (too few wait), `back-off`, or the name of what is in the way, as in explanations
    /// of tasks.
    pub kind: &'static str,
    /// Why, in a sentence.
    pub because: String,
}

/// A class of waiting tasks that could run at a CE.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanting {
    /// What they need, in canonical form.
    pub needs: String,
    /// The group that they are submitted for.
    pub group: Option<GroupName>,
    /// How many wait.
    pub waiting: u64,
    /// How many of them have no place on pilots that are there or on their way.
    pub without_pilot: u64,
    /// The Rank of this CE for them.
    pub rank: Option<f64>,
    /// Why a new pilot could not run them, with the values on both sides.
    pub refusals: Vec<(&'static str, String)>,
}

/// Batch jobs at a CE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobCounts {
    /// Ours that run, by what is known of their pilots. An allocation is one job.
    pub ours_running: u32,
    /// Ours that wait, or whose submission is under way.
    pub ours_waiting: u32,
    /// All others that run; `None` if the batch system does not tell.
    pub others_running: Option<u32>,
    /// All others that wait.
    pub others_waiting: Option<u32>,
}

/// Provisioning of each CE of a site; `None` if there is no such site. Costs as much as a plan.
pub fn report(state: &State, site: &SiteName, now: Timestamp) -> Option<Vec<CeReport>> {
    state.sites.get(site)?;
    let layout = Layout::of(state, now);
    // Limits are told as they are, not as they would be.
    let ledger = Ledger::of(state, now);
    let here = state.elements.values().filter(|e| e.id.site == *site);
    Some(
        here.map(|element| of_ce(state, &layout, &ledger, element, now))
            .collect(),
    )
}

fn of_ce(
    state: &State,
    layout: &Layout,
    ledger: &Ledger,
    element: &Element,
    now: Timestamp,
) -> CeReport {
    let size = Size::of(element);
    let mut limits = ledger.limits(state, element, &PilotOwner::Shared, size);
    limits.push(ledger.ramp(state, element, size));
    let experience = &element.experience;
    let backoff = experience.backing_off(now);
    CeReport {
        ce: element.id.clone(),
        mode: element.mode(),
        verdict: layout.verdict(state, element, now),
        wanting: wanting(state, layout, element, now),
        sharing: element.ce.pilots,
        resources: element.expected(),
        nodes: size.nodes,
        walltime_s: element.walltime_s(now),
        pilots: state.pilots_by_state(&element.id),
        jobs: jobs(state, element),
        limits,
        closures: closures(state, element, now),
        backoff: backoff.map(|(until, because)| (until, because.to_owned())),
        never_called_home: experience.silent(),
        asked_in_a_day: experience.asked_in_a_day(now),
        response_s: element.response_s(),
        kept_idle_core_ms: state.kept_idle_core_ms(&element.id),
        decisions: experience.decisions().cloned().collect(),
    }
}

fn wanting(state: &State, layout: &Layout, element: &Element, now: Timestamp) -> Vec<Wanting> {
    let classes = super::in_order_of_service(state, now).into_iter();
    let eligible = classes.filter_map(|(id, class)| {
        let verdict = element.verdicts.get(&id)?;
        verdict.eligible.then_some((id, class, verdict.rank))
    });
    eligible
        .take(WANTING_MAX)
        .map(|(id, class, rank)| {
            let mut refusals = misfits(state, element, &class.needs, now);
            refusals.extend(strangers(state, element, class));
            Wanting {
                needs: class.needs.key.clone(),
                group: class.group.clone(),
                waiting: class.waiting(),
                without_pilot: layout.short.get(&id).map_or(0, |short| short.before),
                rank,
                refusals,
            }
        })
        .collect()
}

/// Why no user with waiting tasks of a class gets a pilot at the CE; `None` if one does.
fn strangers(state: &State, element: &Element, class: &Class) -> Option<(&'static str, String)> {
    let group = class.group.as_ref();
    let (_, first) = class.waiters().next()?;
    let refusal = if element.admits(&first.user, group) {
        element.owner_for(&first.user, group).err()?
    } else {
        ("users", format!("user {} may not use the CE", first.user))
    };
    let is_served =
        |user: &UserName| element.admits(user, group) && element.owner_for(user, group).is_ok();
    let by_name = !element.admits_all() && !group.is_some_and(|it| element.ce.groups.contains(it));
    let served = if by_name {
        // Those that are named are few, where many may wait.
        let waits = |user: &&UserName| {
            let mut accounts = state.queue.accounts_of(user);
            accounts.any(|account| class.waiting_of(account) > 0)
        };
        element.ce.users.iter().filter(waits).any(is_served)
    } else {
        class.waiters().any(|(_, waiter)| is_served(&waiter.user))
    };
    (!served).then_some(refusal)
}

/// Ours are counted by the state of their pilots, since batch systems tell of all jobs in one.
fn jobs(state: &State, element: &Element) -> JobCounts {
    let mut ours: BTreeMap<PilotId, PilotState> = BTreeMap::new();
    for live in element.pilots.iter().filter_map(|id| state.pilots.get(id)) {
        let farthest = ours
            .entry(live.pilot.allocation)
            .or_insert(live.pilot.state);
        *farthest = live.pilot.state.max(*farthest);
    }
    let count = |running: bool| {
        let of = ours
            .values()
            .filter(|state| (**state >= PilotState::Starting) == running);
        u32::try_from(of.count()).unwrap_or(u32::MAX)
    };
    let (ours_running, ours_waiting) = (count(true), count(false));
    let published = element.published.as_ref();
    let others = |all: Option<u32>, ours: u32| all.map(|all| all.saturating_sub(ours));
    JobCounts {
        ours_running,
        ours_waiting,
        others_running: others(published.and_then(|state| state.jobs_running), ours_running),
        others_waiting: others(published.and_then(|state| state.jobs_waiting), ours_waiting),
    }
}

impl Layout {
    /// What is decided about a CE, and why.
    pub(crate) fn verdict(&self, state: &State, element: &Element, now: Timestamp) -> Verdict {
        let pilots = self.ordered.get(&element.id).copied().unwrap_or(0);
        let (kind, because) = self.nothing(state, element, now).unwrap_or_else(|| {
            let tasks = self.sum_short(state, element, |short| short.before);
            let because = format!("{tasks} tasks that may run here have no pilot yet");
            ("orders", because)
        });
        Verdict {
            pilots,
            kind,
            because,
        }
    }

    /// Why no pilot is asked for: the kind of reason, and the reason in a sentence. `None` if some
    /// are.
    pub(crate) fn nothing(
        &self,
        state: &State,
        element: &Element,
        now: Timestamp,
    ) -> Option<(&'static str, String)> {
        let none = !self.ordered.contains_key(&element.id);
        none.then(|| self.in_the_way(state, element, now))
    }

    /// The first thing that is in the way of new pilots.
    fn in_the_way(
        &self,
        state: &State,
        element: &Element,
        now: Timestamp,
    ) -> (&'static str, String) {
        if let Some(closure) = closures(state, element, now).into_iter().next() {
            return closure;
        }
        if let Some((until, reason)) = element.experience.backing_off(now) {
            let because = format!("no pilots are asked for until {until}: {reason}");
            return ("back-off", because);
        }
        let waiting = state.waiting();
        if waiting == 0 {
            return ("work", "no task waits".into());
        }
        let eligible: Vec<(ClassId, &Class)> = state
            .queue
            .active()
            .filter(|(id, _)| element.verdicts.get(id).is_some_and(|v| v.eligible))
            .collect();
        if eligible.is_empty() {
            let because = format!("the Requirements of all {waiting} waiting tasks exclude it");
            return ("requirements", because);
        }
        let mut refusal = None;
        let mut fitting = Vec::new();
        let offer = Offer::of(element, now);
        for (id, class) in eligible {
            let refused = if offer.holds(state, &class.needs) {
                strangers(state, element, class)
            } else if refusal.is_none() {
                let misfits = misfits(state, element, &class.needs, now);
                misfits.into_iter().next()
            } else {
                continue;
            };
            match refused {
                Some(refused) => refusal = refusal.or(Some(refused)),
                None => fitting.push((id, class)),
            }
        }
        if fitting.is_empty() {
            return refusal.unwrap_or(("work", "no task waits".into()));
        }
        if let Some(because) = super::below_threshold(element, &self.waiting_at) {
            return ("threshold", because);
        }
        self.no_room(state, element, &fitting)
    }

    /// Why no pilot is asked for where some tasks could have one.
    fn no_room(
        &self,
        state: &State,
        element: &Element,
        fitting: &[(ClassId, &Class)],
    ) -> (&'static str, String) {
        let size = Size::of(element);
        let left = fitting.iter().filter(|(id, _)| {
            let short = self.short.get(id);
            short.is_some_and(|short| short.after > 0)
        });
        for (_, class) in left {
            let users = class.waiters().map(|(_, waiter)| &waiter.user);
            let owners =
                users.filter_map(|user| element.owner_for(user, class.group.as_ref()).ok());
            let different = match element.ce.pilots {
                PilotSharing::PerUser => usize::MAX,
                PilotSharing::Shared | PilotSharing::PerGroup => 1,
            };
            for owner in owners.take(different) {
                let mut limits = self.ledger.limits(state, element, &owner, size);
                limits.push(self.ledger.ramp(state, element, size));
                if let Some(full) = limits.iter().find(|limit| limit.is_full()) {
                    return (full.name, full.because());
                }
            }
        }
        let elsewhere: u64 = fitting
            .iter()
            .filter_map(|(id, _)| self.short.get(id))
            .map(|short| short.before - short.after)
            .sum();
        if elsewhere > 0 {
            let because = format!("pilots for {elsewhere} tasks are asked for at other CEs first");
            return ("rank", because);
        }
        let tasks: u64 = fitting.iter().map(|(_, class)| class.waiting()).sum();
        let because = format!("all {tasks} waiting tasks have a place on pilots that are there");
        ("covered", because + " or on their way")
    }

    /// A sum over the classes that may run at the CE and do not all have a place.
    fn sum_short(
        &self,
        state: &State,
        element: &Element,
        of: impl Fn(&super::Short) -> u64,
    ) -> u64 {
        let eligible = self.short.iter().filter(|(id, _)| {
            let verdict = element.verdicts.get(id);
            verdict.is_some_and(|verdict| verdict.eligible) && state.queue.class(**id).is_some()
        });
        eligible.map(|(_, short)| of(short)).sum()
    }
}
