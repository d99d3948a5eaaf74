//! What is explained is held against what then happens in the same run.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use fairway_model::{EventKind, Policy, TaskId, TaskState, Timestamp, UserName};
use fairway_sched::explain::{Explained, explain};
use fairway_sched::{Change, State};
use fairway_sim::{
    ForecastOptions, Observer, RuntimeGuess, Setup, Workload, forecast, read_policy,
    simulate_observed,
};

use crate::{setup, standing};

/// So many waiting tasks are asked about at each moment.
const ASKED_MAX: usize = 4;

/// What was said of a task at the last moment.
struct Said {
    ahead: Option<u64>,
    no_ce: bool,
    limit: bool,
}

/// Asks about waiting tasks at every moment, and holds what it was told against what comes.
struct Sceptic {
    said: BTreeMap<TaskId, Said>,
    /// Of all tasks of a run that need the same: the one that is next.
    next: Option<TaskId>,
    one_class: bool,
    /// Since the last moment, up to the change at hand.
    ended: bool,
    came: bool,
    pilots_changed: bool,
    held: u64,
    nexts: u64,
    limits: u64,
}

impl Sceptic {
    fn new(one_class: bool) -> Self {
        Self {
            said: BTreeMap::new(),
            next: None,
            one_class,
            ended: false,
            came: false,
            pilots_changed: false,
            held: 0,
            nexts: 0,
            limits: 0,
        }
    }

    fn leased(&mut self, task: TaskId) {
        if let Some(said) = self.said.remove(&task) {
            self.held += 1;
            assert!(
                !said.no_ce || self.pilots_changed,
                "{task} started though no CE could run it"
            );
            assert!(
                !said.limit || self.ended,
                "{task} started though a limit was full"
            );
        }
        // Everything fits wherever anything does: who was next is served first.
        if let Some(next) = self.next.take()
            && self.one_class
            && !self.came
        {
            self.nexts += 1;
            assert_eq!(task, next, "another task was said to be next");
        }
    }
}

/// Waiting tasks, spread over all that there are.
fn waiting(state: &State, now: Timestamp) -> Vec<TaskId> {
    let mut all = Vec::new();
    for (job, _) in state.jobs_open() {
        let tasks = (0..job.task_count).map(|index| TaskId::new(job.id, index));
        all.extend(tasks.filter(|task| {
            state
                .task(*task)
                .is_some_and(|it| it.state == TaskState::Waiting)
        }));
    }
    let step = all.len().div_ceil(ASKED_MAX).max(1);
    let offset = usize::try_from(now.0 / 1000).unwrap_or(0) % step;
    all.into_iter().skip(offset).step_by(step).collect()
}

impl Observer for Sceptic {
    fn heard(&mut self, change: &Change, _: Timestamp) {
        match change {
            Change::NewJob { .. } => self.came = true,
            Change::Task(task) if task.state == TaskState::Waiting => self.came = true,
            Change::Event(event) => match &event.kind {
                EventKind::AttemptEnded { .. } => self.ended = true,
                EventKind::PilotChanged { .. } => self.pilots_changed = true,
                EventKind::TaskLeased { task, because, .. } => {
                    assert!(because.is_some(), "{task} was leased for no reason");
                    self.leased(*task);
                }
                _ => {}
            },
            _ => {}
        }
    }

    fn moment(&mut self, state: &State, now: Timestamp) {
        self.said.clear();
        self.next = None;
        (self.ended, self.came, self.pilots_changed) = (false, false, false);
        for task in waiting(state, now) {
            let told = explain(state, task, now).unwrap();
            let said = said(&told);
            if said.ahead == Some(0) && !said.limit {
                self.next = Some(task);
            }
            self.limits += u64::from(said.limit);
            self.said.insert(task, said);
        }
    }
}

fn said(told: &Explained) -> Said {
    Said {
        ahead: told.ahead,
        no_ce: told.ces.iter().all(|ce| !ce.eligible),
        limit: told.barrier.is_some(),
    }
}

/// A burst of jobs of four users, each with an hour of walltime. `cores`: of each job in turn.
fn burst(jobs: u32, cores: &[u32], gap_s: u32) -> Workload {
    let mut text = String::new();
    for job in 0..jobs {
        let runtime = 300 + job.wrapping_mul(2_654_435_761) % 1500;
        let n = cores[job as usize % cores.len()];
        let (at, user) = (job * gap_s, 1 + job * 7 % 11 % 4);
        writeln!(text, "1 {at} -1 {runtime} {n} -1 -1 {n} 3600 -1 1 {user}").unwrap();
    }
    Workload::from_swf(text.as_bytes()).unwrap()
}

fn held_against(policy: &str, setup: &Setup, workload: &Workload, one_class: bool) -> Sceptic {
    let mut sceptic = Sceptic::new(one_class);
    let policy: Policy = read_policy(policy).unwrap();
    simulate_observed(setup, workload, "as it is", policy, &mut sceptic).unwrap();
    sceptic
}

#[test]
fn who_is_said_to_be_next_is_next() {
    for kind in ["fifo", "round-robin", "fairshare", "fair-tree", "maui"] {
        let policy = format!("kind = \"{kind}\"");
        let sceptic = held_against(&policy, &standing(2, 3), &burst(60, &[1], 40), true);
        assert!(sceptic.nexts >= 10, "{kind}: {} were next", sceptic.nexts);
    }
}

#[test]
fn what_a_limit_holds_does_not_start_while_it_is_full() {
    let policy = "kind = \"fairshare\"\n[[limits]]\nuser = \"*\"\nrunning_tasks_max = 2\n";
    let workload = burst(80, &[1, 2], 30);
    let sceptic = held_against(policy, &standing(4, 4), &workload, false);
    assert!(sceptic.limits > 100, "limits held {}", sceptic.limits);
    assert!(sceptic.held > 20, "{} were held against", sceptic.held);
}

#[test]
fn what_no_ce_can_run_does_not_start() {
    let setup = setup(
        "[[cluster]]\nname = \"one\"\nnodes = 4\ncores = 4\n\
         delay = { kind = \"fixed\", seconds = 90 }\n",
    );
    let sceptic = held_against(
        "kind = \"fairshare\"",
        &setup,
        &burst(60, &[1, 4, 2], 30),
        false,
    );
    assert!(sceptic.held > 20, "{} were held against", sceptic.held);
}

/// Forecasts that were made, and when their tasks started.
#[derive(Default)]
struct Prophet {
    options: ForecastOptions,
    made: BTreeMap<TaskId, (Option<Timestamp>, Option<Timestamp>, Timestamp)>,
    started: BTreeMap<TaskId, Timestamp>,
    asked_at: Timestamp,
    from: Timestamp,
}

impl Observer for Prophet {
    fn heard(&mut self, change: &Change, now: Timestamp) {
        if let Change::Task(task) = change
            && task.state == TaskState::Running
        {
            self.started.entry(task.id).or_insert(now);
        }
    }

    fn moment(&mut self, state: &State, now: Timestamp) {
        // All is submitted by then, since nobody foresees what others will submit.
        if now < self.from || now.since(self.asked_at).as_secs() < 1200 {
            return;
        }
        self.asked_at = now;
        for task in waiting(state, now) {
            if !self.made.contains_key(&task) {
                let told = forecast(state.clone(), task, now, &self.options);
                self.made.insert(task, (told.earliest, told.latest, now));
            }
        }
    }
}

#[test]
fn ranges_of_forecasts_hold_what_comes() {
    let mut shown = String::new();
    for (name, setup) in [
        ("standing", standing(4, 4)),
        (
            "batch",
            setup("[[cluster]]\nname = \"one\"\nnodes = 6\ncores = 4\n"),
        ),
    ] {
        let guess = RuntimeGuess {
            short_s: 450,
            likely_s: 1050,
            long_s: 1650,
        };
        let users = ["user1", "user2", "user3", "user4"];
        let users = users.map(|user| (user.parse::<UserName>().unwrap(), guess));
        let mut prophet = Prophet {
            from: Timestamp::from_secs(400),
            ..Prophet::default()
        };
        let workload = burst(120, &[1, 2, 1, 4], 2);
        prophet.options.runtimes = workload
            .users()
            .iter()
            .map(|it| (it.clone(), guess))
            .collect();
        prophet.options.runtimes.extend(users);
        let policy = read_policy("kind = \"fairshare\"").unwrap();
        simulate_observed(&setup, &workload, "fairshare", policy, &mut prophet).unwrap();
        let mut within = 0;
        for (task, (earliest, latest, at)) in &prophet.made {
            let Some(start) = prophet.started.get(task) else {
                continue;
            };
            let after = earliest.is_some_and(|earliest| earliest <= *start);
            let before = latest.is_none_or(|latest| *start <= latest);
            within += u32::from(after && before);
            if !(after && before) {
                let s = |it: Timestamp| it.since(*at).as_secs();
                println!(
                    "{task}: {:?} to {:?}, was {}",
                    earliest.map(s),
                    latest.map(s),
                    s(*start)
                );
            }
        }
        let made = prophet.made.len();
        let rate = f64::from(within) / made.max(1) as f64;
        writeln!(shown, "{name}: {within} of {made} starts within the range").unwrap();
        println!("{name}: {within} of {made} starts within the range ({rate:.2})");
        assert!(made >= 8, "{shown}");
        assert!(rate >= 0.8, "{shown}");
    }
}
