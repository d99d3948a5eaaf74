//! A machine that many users want all of, and what each of them had of it.

use std::collections::BTreeMap;

use fairway_model::{EventKind, JobId, Policy, Timestamp, UserName};
use fairway_sched::Change;
use fairway_sim::{Clusters, Setup, Workload, simulate_watched};

/// The seeds to try: `usual` of them, or as many as `PROPTEST_CASES` says, from
/// `PROPTEST_RNG_SEED` on.
pub(crate) fn seeds(usual: u64) -> std::ops::Range<u64> {
    let asked = |name| std::env::var(name).ok().map(|it| it.parse().unwrap());
    let first = asked("PROPTEST_RNG_SEED").unwrap_or(0);
    first..first + asked("PROPTEST_CASES").unwrap_or(usual)
}

/// Runs a check for every seed; one that fails is told with how to try it alone.
pub(crate) fn for_seeds(usual: u64, name: &str, check: impl Fn(u64) + std::panic::RefUnwindSafe) {
    for seed in seeds(usual) {
        if let Err(panic) = std::panic::catch_unwind(|| check(seed)) {
            eprintln!(
                "seed {seed} failed: PROPTEST_RNG_SEED={seed} PROPTEST_CASES=1 \
                 cargo test -p fairway-sim --test fairness {name}"
            );
            std::panic::resume_unwind(panic);
        }
    }
}

/// Numbers that follow from a seed: SplitMix64.
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// Nodes that are each held by one pilot from the first moment on.
pub(crate) fn standing(nodes: u32, cores: u32, seed: u64, until_s: Option<u64>) -> Setup {
    let text = format!(
        "pilots = \"standing\"\ntick_s = 1\n\
         [[cluster]]\nname = \"one\"\nnodes = {nodes}\ncores = {cores}\n"
    );
    Setup {
        clusters: Clusters::read(&text).unwrap(),
        seed,
        until_s,
        targets: Default::default(),
    }
}

/// A task's attempt as it was seen from outside.
pub(crate) struct Ran {
    pub(crate) user: UserName,
    pub(crate) cores: u32,
    /// Seconds since the beginning.
    pub(crate) from: f64,
    pub(crate) to: f64,
}

/// What was seen of a run.
#[derive(Default)]
pub(crate) struct Seen {
    /// In the order of their ends.
    pub(crate) ran: Vec<Ran>,
    /// Whose tasks were given to pilots and when, in order.
    pub(crate) leased: Vec<(f64, UserName, JobId, u32)>,
    pub(crate) owners: BTreeMap<JobId, (UserName, f64)>,
}

pub(crate) fn watch(setup: &Setup, workload: &Workload, policy: Policy) -> Seen {
    assert_eq!(policy.check(), Ok(()));
    let mut seen = Seen::default();
    let seconds = |at: Timestamp| at.0 as f64 / 1000.0;
    let mut note = |change: &Change, now: Timestamp| match change {
        Change::NewJob { job, .. } => {
            let owner = (job.owner.clone(), seconds(now));
            seen.owners.insert(job.id, owner);
        }
        Change::Usage(record) => seen.ran.push(Ran {
            user: record.user.clone(),
            cores: record.cores,
            from: seconds(record.started_at.unwrap()),
            to: seconds(record.ended_at),
        }),
        Change::Event(event) => {
            if let EventKind::TaskLeased { task, .. } = &event.kind {
                let owner = seen.owners[&task.job].0.clone();
                let row = (seconds(now), owner, task.job, task.index);
                seen.leased.push(row);
            }
        }
        _ => {}
    };
    simulate_watched(setup, workload, policy.kind.name(), policy, &mut note).unwrap();
    seen
}

impl Seen {
    /// What each user had between two moments: core-seconds, and tasks that were started.
    pub(crate) fn used(&self, from: f64, to: f64) -> BTreeMap<UserName, (f64, f64)> {
        let mut used: BTreeMap<UserName, (f64, f64)> = BTreeMap::new();
        for ran in &self.ran {
            let within = (ran.to.min(to) - ran.from.max(from)).max(0.0);
            let sums = used.entry(ran.user.clone()).or_default();
            sums.0 += within * f64::from(ran.cores);
        }
        for (at, user, ..) in &self.leased {
            if (from..to).contains(at) {
                used.entry(user.clone()).or_default().1 += 1.0;
            }
        }
        used
    }
}
