//! One compute element as decisions see it: its description, what it published, the pilots
//! there, and what each class of tasks thinks of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fairway_jdl::{Ad, Needs, Value, eval};
use fairway_model::{
    Ce, CeId, CeState, CeStatus, GroupName, Maintenance, PilotId, PilotOwner, PilotSharing,
    Resources, Site, SiteMode, Timestamp, UserName,
};

use crate::experience::Experience;
use crate::glue;
use crate::matching::Parked;
use crate::packing::Room;
use crate::queue::{Class, ClassId, Queue};

/// A pilot's time on the way to its first task and for tidying up, in seconds: a task must
/// ask for so much less than a pilot's walltime.
pub(crate) const PILOT_MARGIN_S: u64 = 30;

/// What Requirements and Rank of a class say of a CE.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Verdict {
    /// Whether Requirements are true (without Requirements, whether it is in production), and the
    /// tags are named that tasks must name here.
    pub(crate) eligible: bool,
    /// What Rank is worth, if it is a number.
    pub(crate) rank: Option<f64>,
}

impl Verdict {
    /// Rank for comparison: what has none comes last.
    pub(crate) fn rank_or_last(&self) -> f64 {
        self.rank.unwrap_or(f64::NEG_INFINITY)
    }
}

/// One compute element.
#[derive(Clone, Debug)]
pub(crate) struct Element {
    pub(crate) id: CeId,
    pub(crate) ce: Ce,
    pub(crate) site_mode: SiteMode,
    /// The site's plan of when it is not to be used.
    maintenance: Vec<Maintenance>,
    /// See [`Site::accounts`].
    accounts: BTreeMap<UserName, String>,
    pub(crate) published: Option<CeState>,
    pub(crate) ad: Ad,
    /// Of every class that has been held against it. The newest may not have been yet.
    pub(crate) verdicts: BTreeMap<ClassId, Verdict>,
    /// Pilots that are not over.
    pub(crate) pilots: BTreeSet<PilotId>,
    /// Those of them with an open wish for work.
    pub(crate) parked: Parked,
    pub(crate) experience: Experience,
    /// What the pilot that waits longest has waited, in seconds, rounded down to a power of 2.
    waited_s: u64,
    /// By how many seconds what was published is worth less than when it was new.
    staleness_s: u64,
    /// Whether the ad is to be made anew for other reasons than news from the CE.
    pub(crate) outdated: bool,
    /// When a time-critical task that may run here was last seen to wait or run, while its warm
    /// set of pilots is kept.
    pub(crate) critical_at: Option<Timestamp>,
}

impl Element {
    pub(crate) fn new(id: CeId, ce: Ce, site: &Site) -> Self {
        let mut element = Self {
            id,
            ce,
            site_mode: site.mode,
            maintenance: site.maintenance.clone(),
            accounts: site.accounts.clone(),
            published: None,
            ad: Ad::new(),
            verdicts: BTreeMap::new(),
            pilots: BTreeSet::new(),
            parked: Parked::default(),
            experience: Experience::default(),
            waited_s: 0,
            staleness_s: 0,
            outdated: false,
            critical_at: None,
        };
        element.publish_again();
        element
    }

    /// The stricter of the site's mode and the CE's.
    pub(crate) fn mode(&self) -> SiteMode {
        self.site_mode.max(self.ce.mode)
    }

    /// Makes the ad anew. The verdicts are out of date then.
    fn publish_again(&mut self) {
        let state = self.published.as_ref();
        let response_s = self.response_s();
        self.ad = glue::ad(&self.id.site, &self.ce, state, response_s);
        self.outdated = false;
    }

    /// Makes the ad and every verdict anew.
    pub(crate) fn judge_all<'a>(&mut self, classes: impl Iterator<Item = (ClassId, &'a Class)>) {
        self.publish_again();
        self.verdicts = classes
            .map(|(id, class)| (id, self.judge(&class.needs)))
            .collect();
    }

    /// What Requirements and Rank say of this CE. Without Requirements, gLite's default
    /// (`other.GlueCEStateStatus == "Production"`) holds, without Rank its default too
    /// (`-other.GlueCEStateEstimatedResponseTime`).
    pub(crate) fn judge(&self, needs: &Needs) -> Verdict {
        let eligible = needs.requirements.as_ref().map_or_else(
            || self.in_production(),
            |expr| eval(expr, &needs.ad, Some(&self.ad)) == Value::Boolean(true),
        );
        let rank = needs.rank.as_ref().map_or_else(
            || Some((-self.response_s()) as f64),
            |expr| number(&eval(expr, &needs.ad, Some(&self.ad))),
        );
        Verdict {
            eligible: eligible && self.tags_missing(needs).is_none(),
            rank,
        }
    }

    /// Why a task that does not name the tags that it must name here may not come; the values on
    /// both sides.
    pub(crate) fn tags_missing(&self, needs: &Needs) -> Option<(&'static str, String)> {
        let names = |tag: &String| {
            let mut named = needs.tags.iter();
            named.any(|own| own.eq_ignore_ascii_case(tag))
        };
        if self.ce.tags_required.iter().all(names) {
            return None;
        }
        let named = match &*needs.tags {
            [] => "none".to_owned(),
            tags => tags.join(", "),
        };
        let needed = self.ce.tags_required.join(", ");
        Some((
            "tags",
            format!("it names the tags {named}, needed {needed}"),
        ))
    }

    /// Whether tasks wait that its state lets in.
    pub(crate) fn has_work(&self, queue: &Queue) -> bool {
        let eligible = |id| self.verdicts.get(&id).is_some_and(|it| it.eligible);
        queue.active().any(|(id, _)| eligible(id))
    }

    /// What a core is worth against a usual one, for usage that is normalised.
    pub(crate) fn benchmark(&self) -> f64 {
        let usual = Ce::BENCHMARK_USUAL_SI00;
        f64::from(self.ce.benchmark_si00.unwrap_or(usual)) / f64::from(usual)
    }

    pub(crate) fn in_production(&self) -> bool {
        self.published
            .as_ref()
            .is_some_and(|state| state.status == CeStatus::Production)
    }

    /// See [`glue::response_s`].
    pub(crate) fn response_s(&self) -> i64 {
        let waits = glue::Waits {
            mean_s: self.experience.mean_delay_s(),
            longest_s: self.waited_s,
        };
        let fresh_s = glue::response_s(&self.ce, self.published.as_ref(), waits);
        let staleness_s = i64::try_from(self.staleness_s).unwrap_or(glue::INFINITE);
        fresh_s.saturating_add(staleness_s).min(glue::INFINITE)
    }

    /// Takes in how long a pilot has waited there by now; in steps that double, as for age.
    pub(crate) fn note_waiting(&mut self, longest: Duration) {
        let seconds = longest.as_secs();
        let waited_s = seconds.checked_ilog2().map_or(0, |log| 1 << log);
        let before = self.response_s();
        self.waited_s = waited_s;
        self.outdated |= self.response_s() != before;
    }

    /// Takes in how old what was published is. It loses weight once a look was missed, in steps
    /// that double, so that an ad is not made anew every second.
    pub(crate) fn grow_stale(&mut self, look_every_s: u64, now: Timestamp) {
        let Some(published) = &self.published else {
            return;
        };
        let age_s = now.since(published.observed_at).as_secs();
        let looks = age_s / look_every_s.max(1);
        let staleness_s = if looks < 2 {
            0
        } else {
            look_every_s.max(1).saturating_mul(1 << looks.ilog2())
        };
        self.outdated |= staleness_s != self.staleness_s;
        self.staleness_s = staleness_s;
    }

    /// Takes in what was published. Whether anything but the moment is new.
    pub(crate) fn publish(&mut self, state: CeState) -> bool {
        self.outdated |= self.staleness_s > 0;
        self.staleness_s = 0;
        let mut before = self.published.replace(state);
        // The moment of looking is not in the ad.
        if let (Some(before), Some(after)) = (&mut before, &self.published) {
            before.observed_at = after.observed_at;
        }
        before != self.published || self.outdated
    }

    pub(crate) fn admits_all(&self) -> bool {
        self.ce.users.is_empty() && self.ce.groups.is_empty()
    }

    /// Whether the user may use this CE: everybody if neither users nor groups are named.
    pub(crate) fn admits(&self, user: &UserName, group: Option<&GroupName>) -> bool {
        self.admits_all()
            || self.ce.users.contains(user)
            || group.is_some_and(|group| self.ce.groups.contains(group))
    }

    /// Whose a new pilot for a task of the user must be.
    ///
    /// # Errors
    /// Why there can be none, with the values on both sides.
    pub(crate) fn owner_for(
        &self,
        user: &UserName,
        group: Option<&GroupName>,
    ) -> Result<PilotOwner, (&'static str, String)> {
        match self.ce.pilots {
            PilotSharing::Shared => Ok(PilotOwner::Shared),
            PilotSharing::PerUser if self.has_account(user) => Ok(PilotOwner::User(user.clone())),
            PilotSharing::PerUser => {
                let because = format!(
                    "user {user} has no account at site {}, needed for pilots of their own",
                    self.id.site
                );
                Err(("accounts", because))
            }
            PilotSharing::PerGroup => match group {
                Some(group) => Ok(PilotOwner::Group(group.clone())),
                None => {
                    let because = "it is of no group, pilots here are of one group each";
                    Err(("group", because.to_owned()))
                }
            },
        }
    }

    fn has_account(&self, user: &UserName) -> bool {
        self.accounts.is_empty() || self.accounts.contains_key(user)
    }

    /// What a new pilot asks for on each node.
    pub(crate) fn asked(&self) -> Resources {
        Resources {
            cores: self.ce.shape.cores,
            memory_mib: self.ce.shape.memory_mib,
            gpus: self.ce.shape.gpus,
        }
    }

    /// What a new pilot is expected to have; see [`expected_of`](Self::expected_of).
    pub(crate) fn expected(&self) -> Resources {
        self.expected_of(self.asked())
    }

    /// Room on a new pilot.
    pub(crate) fn room(&self) -> Room {
        Room {
            free: self.expected(),
            custom: self.ce.shape.custom.clone(),
            whole_node: self.ce.shape.whole_node,
            empty: true,
        }
    }

    /// What a pilot that was asked for and has not called home is expected to have: what was
    /// asked for, but all of the node where whole nodes are. Memory that is left to the batch
    /// system is at most that of a node; if that is not known either, nothing is refused for it.
    pub(crate) fn expected_of(&self, asked: Resources) -> Resources {
        let published = self.published.as_ref();
        let node_memory_mib = published.and_then(|state| state.node_memory_mib);
        let asked_memory_mib = (asked.memory_mib > 0).then_some(asked.memory_mib);
        let (cores, memory_mib) = if self.ce.shape.whole_node {
            let node_cores = published.and_then(|state| state.node_cores);
            (node_cores, node_memory_mib.or(asked_memory_mib))
        } else {
            (None, asked_memory_mib.or(node_memory_mib))
        };
        Resources {
            cores: cores.unwrap_or(asked.cores),
            memory_mib: memory_mib.unwrap_or(u64::MAX),
            gpus: asked.gpus,
        }
    }

    /// Nodes of an allocation: the shape's, or as many as the batch system allows one job. At
    /// least 1, allowed or not.
    pub(crate) fn nodes(&self) -> u32 {
        let published = self.published.as_ref();
        let by_nodes = published.and_then(|state| state.job_nodes_max);
        let by_cores = published
            .and_then(|state| state.job_cores_max)
            .map(|max| max / self.expected().cores.max(1));
        let limits = by_nodes.into_iter().chain(by_cores);
        limits.fold(self.ce.shape.nodes, u32::min).max(1)
    }

    /// The walltime to ask for without regard to maintenance: the shape's, or the queue's limit
    /// where that is less.
    pub(crate) fn walltime_max_s(&self) -> u64 {
        let limit = self.published.as_ref().and_then(|s| s.walltime_max_s);
        limit.map_or(self.ce.shape.walltime_s, |limit| {
            limit.min(self.ce.shape.walltime_s)
        })
    }

    /// The walltime to ask for: one that a pilot that waits as the last ones did does not reach
    /// into a maintenance with.
    pub(crate) fn walltime_s(&self, now: Timestamp) -> u64 {
        let max_s = self.walltime_max_s();
        let Some(next) = self.maintenance_ahead(now) else {
            return max_s;
        };
        let known = |response_s: &i64| (0..glue::INFINITE).contains(response_s);
        let response_s = Some(self.response_s()).filter(known).unwrap_or(0);
        let start = now.plus(Duration::from_secs(response_s.unsigned_abs()));
        next.from.since(start).as_secs().min(max_s)
    }

    /// The maintenance that is under way, or else the next.
    pub(crate) fn maintenance_ahead(&self, now: Timestamp) -> Option<&Maintenance> {
        let ahead = self.maintenance.iter().filter(|window| now < window.to);
        ahead.min_by_key(|window| window.from)
    }

    /// The maintenance that is under way.
    pub(crate) fn maintenance_now(&self, now: Timestamp) -> Option<&Maintenance> {
        let ahead = self.maintenance_ahead(now);
        ahead.filter(|window| window.from <= now)
    }

    /// Until when tasks may run here that could otherwise run until `until`: no maintenance is
    /// to end them.
    pub(crate) fn usable_until(&self, until: Timestamp, now: Timestamp) -> Timestamp {
        let ahead = self.maintenance_ahead(now);
        ahead.map_or(until, |window| until.min(window.from))
    }

    /// Notes how long a pilot waited from the decision to its first call.
    pub(crate) fn note_delay(&mut self, delay: Duration) {
        self.experience.note_delay(delay);
        self.outdated = true;
    }

    /// Takes over from the element that was here before its description changed.
    pub(crate) fn succeed(&mut self, before: Self) {
        self.published = before.published;
        self.pilots = before.pilots;
        self.parked = before.parked;
        self.experience.succeed(before.experience);
        self.staleness_s = before.staleness_s;
        self.waited_s = before.waited_s;
        self.critical_at = before.critical_at;
    }

    /// Whether its warm set of pilots is kept.
    pub(crate) fn is_warm(&self) -> bool {
        self.ce.supply.warm.is_some() && self.critical_at.is_some()
    }
}

/// A Rank as a number; truth counts 1 or 0 as in the ClassAd language.
fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Integer(i) => *i as f64,
        Value::Real(r) => *r,
        Value::Boolean(b) => f64::from(u8::from(*b)),
        _ => return None,
    };
    // Ranks are compared in total order, where -0.0 comes before 0.0.
    (!number.is_nan()).then_some(number + 0.0)
}
