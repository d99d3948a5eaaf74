//! One compute element as decisions see it: its description, what it published, the pilots
//! there, and what each class of tasks thinks of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use fairway_jdl::{Ad, Needs, Value, eval};
use fairway_model::{
    Ce, CeId, CeState, CeStatus, GroupName, PilotId, Resources, SiteMode, Timestamp, UserName,
};

use crate::glue;
use crate::queue::{Class, ClassId};

/// The start delays of so many pilots make the estimate for the next.
const DELAYS_MAX: usize = 8;

/// How long no pilots are asked for after the first useless one; doubles with each.
const BACKOFF_MIN: Duration = Duration::from_secs(30);

/// The doubling ends here.
const BACKOFF_MAX: Duration = Duration::from_secs(30 * 60);

/// A pilot's time on the way to its first task and for tidying up, in seconds: a task must
/// ask for so much less than a pilot's walltime.
pub(crate) const PILOT_MARGIN_S: u64 = 30;

/// What Requirements and Rank of a class say of a CE.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Verdict {
    /// Whether Requirements are true; without Requirements, whether it is in production.
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
    pub(crate) published: Option<CeState>,
    pub(crate) ad: Ad,
    /// Up to date for every class.
    pub(crate) verdicts: BTreeMap<ClassId, Verdict>,
    /// Pilots that are not over.
    pub(crate) pilots: BTreeSet<PilotId>,
    /// Those of them with an open wish for work.
    pub(crate) parked: BTreeSet<PilotId>,
    delays_s: VecDeque<u64>,
    /// Whether the start delays changed since the ad was made.
    pub(crate) outdated: bool,
    useless: u32,
    /// No pilots are asked for before this moment, because of what is said.
    pub(crate) backoff: Option<(Timestamp, String)>,
}

impl Element {
    pub(crate) fn new(id: CeId, ce: Ce, site_mode: SiteMode) -> Self {
        let mut element = Self {
            id,
            ce,
            site_mode,
            published: None,
            ad: Ad::new(),
            verdicts: BTreeMap::new(),
            pilots: BTreeSet::new(),
            parked: BTreeSet::new(),
            delays_s: VecDeque::new(),
            outdated: false,
            useless: 0,
            backoff: None,
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
        Verdict { eligible, rank }
    }

    pub(crate) fn in_production(&self) -> bool {
        self.published
            .as_ref()
            .is_some_and(|state| state.status == CeStatus::Production)
    }

    /// See [`glue::response_s`].
    pub(crate) fn response_s(&self) -> i64 {
        let delays: Vec<u64> = self.delays_s.iter().copied().collect();
        glue::response_s(&self.ce, self.published.as_ref(), &delays)
    }

    /// Whether the user may use this CE: everybody if neither users nor groups are named.
    pub(crate) fn admits(&self, user: &UserName, group: Option<&GroupName>) -> bool {
        (self.ce.users.is_empty() && self.ce.groups.is_empty())
            || self.ce.users.contains(user)
            || group.is_some_and(|group| self.ce.groups.contains(group))
    }

    /// What a pilot here asks the batch system for, on each node.
    pub(crate) fn asked(&self) -> Resources {
        let shape = self.ce.shape;
        Resources {
            cores: shape.cores,
            memory_mib: shape.memory_mib,
            gpus: shape.gpus,
        }
    }

    /// What a pilot here is expected to have. Memory that the shape leaves to the batch system
    /// is at most that of a node; if that is not known either, nothing is refused for it.
    pub(crate) fn expected(&self) -> Resources {
        Resources {
            memory_mib: self.expected_memory(self.ce.shape.memory_mib),
            cores: self.ce.shape.cores,
            gpus: 0,
        }
    }

    fn expected_memory(&self, asked_mib: u64) -> u64 {
        let node = self.published.as_ref().and_then(|s| s.node_memory_mib);
        if asked_mib > 0 {
            asked_mib
        } else {
            node.unwrap_or(u64::MAX)
        }
    }

    /// What a pilot that was asked for and has not called home is expected to have.
    pub(crate) fn expected_of(&self, asked: Resources) -> Resources {
        Resources {
            memory_mib: self.expected_memory(asked.memory_mib),
            ..asked
        }
    }

    /// The walltime to ask for: the shape's, or the queue's limit where that is less.
    pub(crate) fn walltime_s(&self) -> u64 {
        let limit = self.published.as_ref().and_then(|s| s.walltime_max_s);
        limit.map_or(self.ce.shape.walltime_s, |limit| {
            limit.min(self.ce.shape.walltime_s)
        })
    }

    /// Notes how long a pilot waited from the decision to its first call.
    pub(crate) fn note_delay(&mut self, delay: Duration) {
        if self.delays_s.len() == DELAYS_MAX {
            self.delays_s.pop_front();
        }
        self.delays_s.push_back(delay.as_secs());
        self.outdated = true;
    }

    /// Notes a pilot that was refused, or ended without use. Several at once count once.
    pub(crate) fn note_useless(&mut self, reason: String, now: Timestamp) {
        if self.backing_off(now).is_some() {
            return;
        }
        let doubled = BACKOFF_MIN.saturating_mul(2_u32.saturating_pow(self.useless));
        self.useless = self.useless.saturating_add(1);
        self.backoff = Some((now.plus(doubled.min(BACKOFF_MAX)), reason));
    }

    /// Notes that a pilot here got a task.
    pub(crate) fn note_useful(&mut self) {
        self.useless = 0;
        self.backoff = None;
    }

    /// Until when no pilots are asked for, and why.
    pub(crate) fn backing_off(&self, now: Timestamp) -> Option<(Timestamp, &str)> {
        let (until, reason) = self.backoff.as_ref()?;
        (now < *until).then_some((*until, reason))
    }

    /// Takes over from the element that was here before its description changed. Patience with
    /// useless pilots begins anew: the change may have been the remedy.
    pub(crate) fn succeed(&mut self, before: Self) {
        self.published = before.published;
        self.pilots = before.pilots;
        self.parked = before.parked;
        self.delays_s = before.delays_s;
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
