//! No limit on pilots is ever exceeded, whatever happens: counted anew from the rows after each
//! plan that was carried out.

use std::collections::{BTreeMap, BTreeSet};

use fairway_model::{
    Ce, CeId, CeState, Pilot, PilotEnd, PilotId, PilotLimits, PilotOwner, PilotSharing, PilotState,
    PolicyKind, Site,
};
use fairway_sched::command::Observation;
use fairway_sched::{Command, Settings};
use proptest::prelude::*;

use crate::world::{World, site, sweep};

const USERS: [&str; 3] = ["alice", "bob", "carol"];
const CES: [&str; 4] = ["group", "long", "mine", "wide"];
const DAY_S: u64 = 24 * 3600;

#[derive(Clone, Debug)]
struct Limits {
    ce: [u32; 5],
    site: [u32; 2],
    job: [u32; 4],
    /// Which of those that may be missing are there.
    set: [bool; 9],
}

#[derive(Clone, Debug)]
enum Step {
    Submit {
        user: usize,
        member: bool,
        tasks: u32,
        more: usize,
    },
    Plan,
    /// A pilot becomes known to wait, to run, or to be over.
    Observe {
        pilot: usize,
        what: usize,
    },
    Register {
        pilot: usize,
        cores: u32,
    },
    Pull {
        pilot: usize,
    },
    Kill {
        pilot: usize,
    },
    Pass {
        seconds: u64,
    },
    Limit(Limits),
    Tick,
    Restart,
}

fn limits() -> impl Strategy<Value = Limits> {
    let ce = [1..12_u32, 1..8, 1..40, 1..30, 1..6];
    let job = [1..8_u32, 1..8, 1..20, 1..4];
    (ce, [1..20_u32, 1..60], job, any::<[bool; 9]>()).prop_map(|(ce, site, job, set)| Limits {
        ce,
        site,
        job,
        set,
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..3_usize, any::<bool>(), 1..40_u32, 0..3_usize)
            .prop_map(|(user, member, tasks, more)| Step::Submit { user, member, tasks, more }),
        6 => Just(Step::Plan),
        3 => (0..64_usize, 0..3_usize).prop_map(|(pilot, what)| Step::Observe { pilot, what }),
        5 => (0..64_usize, 1..9_u32).prop_map(|(pilot, cores)| Step::Register { pilot, cores }),
        6 => (0..64_usize).prop_map(|pilot| Step::Pull { pilot }),
        4 => (0..64_usize).prop_map(|pilot| Step::Kill { pilot }),
        2 => (1..8 * 3600_u64).prop_map(|seconds| Step::Pass { seconds }),
        2 => limits().prop_map(Step::Limit),
        2 => Just(Step::Tick),
        1 => Just(Step::Restart),
    ]
}

fn describe(ce: &mut Ce) {
    match ce.name.as_str() {
        "group" => ce.pilots = PilotSharing::PerGroup,
        "mine" => ce.pilots = PilotSharing::PerUser,
        "wide" => (ce.shape.nodes, ce.shape.cores) = (3, 2),
        _ => ce.shape.cores = 4,
    }
}

fn within(n: u64, max: Option<u32>, what: &str) {
    assert!(max.is_none_or(|max| n <= max.into()), "{n} {what}, {max:?}");
}

fn cores(pilots: &[&Pilot]) -> u64 {
    let cores = pilots.iter().map(|pilot| u64::from(pilot.resources.cores));
    cores.sum()
}

struct Run {
    world: World,
    limits: Limits,
}

impl Run {
    fn new(limits: Limits) -> Self {
        let settings = Settings {
            pilots_max: Some(25),
            ..Settings::default()
        };
        let mut run = Self {
            world: World::with(PolicyKind::Fairshare, &CES, settings),
            limits,
        };
        run.limit();
        run
    }

    /// The limit of this place, if it is set.
    fn set(&self, place: usize, max: u32) -> Option<u32> {
        self.limits.set[place].then_some(max)
    }

    fn limit(&mut self) {
        let own = &self.limits;
        let mut site = site(&CES);
        site.pilots_max = self.set(0, own.site[0]);
        site.cores_max = self.set(1, own.site[1]);
        for ce in &mut site.ces {
            describe(ce);
            ce.limits = PilotLimits {
                pilots_max: own.ce[0],
                queued_max: own.ce[1],
                cores_max: self.set(2, own.ce[2]),
                per_day_max: self.set(3, own.ce[3]),
                per_owner_max: self.set(4, own.ce[4]),
            };
        }
        self.world.describe(site);
        self.publish();
    }

    fn publish(&mut self) {
        for ce in CES {
            let job = self.limits.job;
            let maxima = [0, 1, 2, 3].map(|place| self.set(5 + place, job[place]));
            self.world.publish(ce, |state| {
                [
                    state.own_jobs_max,
                    state.own_running_max,
                    state.job_cores_max,
                    state.job_nodes_max,
                ] = maxima;
            });
        }
    }

    fn pilot(&self, which: usize) -> Option<PilotId> {
        let live: Vec<PilotId> = self.world.state.pilots_live().map(|it| it.id).collect();
        (!live.is_empty()).then(|| live[which % live.len()])
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Submit {
                user,
                member,
                tasks,
                more,
            } => {
                let more = ["", "CpuNumber = 2;", "CpuNumber = 4; Memory = 900;"][*more];
                let group = member.then_some("biomed");
                let jdl = sweep(*tasks, more);
                let submitted = self.world.submit_for(USERS[*user], group, &jdl, None);
                submitted.unwrap();
            }
            Step::Plan => self.plan(),
            Step::Observe { pilot, what } => {
                if let Some(pilot) = self.pilot(*pilot) {
                    let seen = match what {
                        0 => Observation::Queued,
                        1 => Observation::Running,
                        _ => Observation::Ended {
                            detail: "NODE_FAIL".into(),
                        },
                    };
                    self.world.observe(pilot, seen);
                }
            }
            Step::Register { pilot, cores } => {
                if let Some(pilot) = self.pilot(*pilot) {
                    let _ = self.world.register(pilot, "nonce", *cores);
                }
            }
            Step::Pull { pilot } => self.pull(*pilot),
            Step::Kill { pilot } => {
                if let Some(pilot) = self.pilot(*pilot) {
                    let reason = "a test".into();
                    let end = PilotEnd::Done { reason };
                    self.world.ask(Command::EndPilot { pilot, end }).unwrap();
                }
            }
            Step::Pass { seconds } => {
                self.world.pass(*seconds);
                self.publish();
            }
            Step::Limit(limits) => {
                self.limits = limits.clone();
                self.limit();
            }
            Step::Tick => drop(self.world.ask(Command::Tick)),
            Step::Restart => self.world.reload(),
        }
    }

    fn pull(&mut self, which: usize) {
        let Some(id) = self.pilot(which) else { return };
        let live = self.world.state.pilot(id).unwrap();
        if live.pilot.state == PilotState::Active {
            let rows = &self.world.rows.tasks;
            let holding: Vec<_> = live
                .tasks
                .iter()
                .map(|task| (*task, rows[task].attempt))
                .collect();
            self.world.pull(id, &holding);
        }
    }

    fn plan(&mut self) {
        let (waiting, orders) = (self.world.state.waiting(), self.world.plan().orders);
        assert!(orders.len() as u64 <= waiting, "more allocations than work");
        let noted = self.world.carry_out();
        let planned: u32 = orders.iter().map(|order| order.nodes).sum();
        assert_eq!(noted.len(), planned as usize, "nothing came in between");
        self.check(&noted);
    }

    /// Counts what there is wherever something new is.
    fn check(&self, noted: &[Pilot]) {
        let rows = &self.world.rows;
        let site: Site = rows.sites["lyon"].clone();
        let alive: Vec<&Pilot> = rows
            .pilots
            .values()
            .filter(|pilot| pilot.state != PilotState::Ended)
            .collect();
        if noted.is_empty() {
            return;
        }
        within(alive.len() as u64, Some(25), "pilots");
        within(alive.len() as u64, site.pilots_max, "pilots at the site");
        within(cores(&alive), site.cores_max, "cores at the site");
        let touched: BTreeSet<_> = noted.iter().map(|pilot| &pilot.ce).collect();
        for id in touched {
            self.check_ce(id, &site, &alive, noted);
        }
    }

    fn check_ce(&self, id: &CeId, site: &Site, alive: &[&Pilot], noted: &[Pilot]) {
        let ce = site.ces.iter().find(|ce| ce.name == id.ce).unwrap();
        let state: &CeState = self.world.state.published(id).unwrap();
        let rows = &self.world.rows;
        let here: Vec<&Pilot> = alive.iter().filter(|it| it.ce == *id).copied().collect();
        let count = here.len() as u64;
        within(count, Some(ce.limits.pilots_max), "pilots_max");
        let expected = here.iter().filter(|pilot| pilot.state.is_expected());
        within(
            expected.count() as u64,
            Some(ce.limits.queued_max),
            "queued_max",
        );
        within(cores(&here), ce.limits.cores_max, "cores_max");
        let of_late = rows.pilots.values().filter(|pilot| {
            pilot.ce == *id && self.world.now.since(pilot.planned_at).as_secs() <= DAY_S
        });
        within(of_late.count() as u64, ce.limits.per_day_max, "per_day_max");
        let mut owners: BTreeMap<&PilotOwner, u64> = BTreeMap::new();
        let mut jobs: BTreeMap<PilotId, Vec<&Pilot>> = BTreeMap::new();
        for pilot in here {
            *owners.entry(&pilot.owner).or_default() += 1;
            jobs.entry(pilot.allocation).or_default().push(pilot);
        }
        for (owner, n) in owners {
            // One that got nothing new may have more from before the limit was lowered.
            let new = noted.iter().any(|new| new.ce == *id && new.owner == *owner);
            if new && *owner != PilotOwner::Shared {
                within(n, ce.limits.per_owner_max, "per_owner_max");
            }
        }
        within(jobs.len() as u64, state.own_jobs_max, "own_jobs_max");
        within(jobs.len() as u64, state.own_running_max, "own_running_max");
        for pilots in jobs.values() {
            if noted
                .iter()
                .any(|new| new.allocation == pilots[0].allocation)
            {
                within(pilots.len() as u64, state.job_nodes_max, "job_nodes_max");
                within(cores(pilots), state.job_cores_max, "job_cores_max");
            }
        }
    }
}

proptest! {
    #![proptest_config(crate::random_cases())]

    #[test]
    fn no_limit_is_ever_exceeded(
        first in limits(),
        steps in prop::collection::vec(step(), 1..100),
    ) {
        let mut run = Run::new(first);
        for step in &steps {
            run.take(step);
            run.world.state.check().unwrap();
        }
    }
}
