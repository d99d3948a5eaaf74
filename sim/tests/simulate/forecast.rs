//! Forecasts from a live state.

use std::sync::Arc;
use std::time::Duration;

use fairway_jdl::JobSpec;
use fairway_model::event::TaskVerb;
use fairway_model::{
    AdapterSettings, Ce, CeId, CeState, CeStatus, JobId, LocalSettings, PilotId, PilotOwner,
    PilotShape, Principal, Resources, Role, Site, TaskId, Timestamp,
};
use fairway_sched::command::{
    AttemptNews, AttemptReport, NamedJob, PilotWant, Selection, Snapshot, Submission,
};
use fairway_sched::provision::{PilotOrder, Purpose};
use fairway_sched::{Command, Reply, Settings, State};
use fairway_sim::{ForecastOptions, ProjectionOptions, RuntimeGuess, forecast, project};

const HOUR_S: u64 = 3600;

/// A live state with one CE of 4-core pilots.
struct Live {
    state: State,
    now: Timestamp,
}

impl Live {
    fn new(cores_free: u32) -> Self {
        let now = Timestamp::from_secs(1_000_000);
        let ce = Ce {
            shape: PilotShape {
                cores: 4,
                walltime_s: 8 * HOUR_S,
                ..PilotShape::default()
            },
            ..Ce::new("main".parse().unwrap())
        };
        let adapter = AdapterSettings::Local(LocalSettings::default());
        let site = Site::new("lyon".parse().unwrap(), adapter, vec![ce]);
        let state = State::load(Snapshot::default(), Settings::default(), now);
        let mut live = Self { state, now };
        live.ask(Command::PutSite {
            site: Box::new(site),
            by: "admin".parse().unwrap(),
        });
        let unknown = CeState::unreachable(ce_id(), "slurm", now, String::new());
        live.ask(Command::Publish(vec![CeState {
            status: CeStatus::Production,
            cores_total: Some(64),
            cores_free: Some(cores_free),
            jobs_waiting: Some(0),
            jobs_running: Some(0),
            ..unknown
        }]));
        live
    }

    fn ask(&mut self, command: Command) -> Reply {
        self.state.apply(command, self.now).reply.unwrap()
    }

    fn submit(&mut self, more: &str) -> JobId {
        let jdl = format!("Executable = \"/bin/work\"; WallTime = 7200; {more}");
        let (spec, _) = JobSpec::read(&jdl).unwrap();
        let depends = spec.depends().into_iter().flat_map(|it| it.named());
        let of_one = |id| NamedJob {
            id,
            task_count: 1,
            nodes: Vec::new(),
            counts: Vec::new(),
            rows: Vec::new(),
        };
        let named = depends.map(|(_, named)| of_one(named.job)).collect();
        let submission = Submission {
            owner: "anna".parse().unwrap(),
            group: None,
            jdl,
            spec: Arc::new(spec),
            sandbox: None,
            named,
            idempotency: None,
        };
        match self.ask(Command::Submit(submission)) {
            Reply::Submitted { job, .. } => job,
            other => panic!("{other:?}"),
        }
    }

    /// A pilot that has called home, with all that it gets under way.
    fn pilot(&mut self) -> PilotId {
        let resources = Resources {
            cores: 4,
            memory_mib: 0,
            gpus: 0,
        };
        let order = PilotOrder {
            ce: ce_id(),
            owner: PilotOwner::Shared,
            resources,
            nodes: 1,
            walltime_s: 8 * HOUR_S,
            reserve_at: None,
            purpose: Purpose::Any,
            because: "a test needs it".into(),
        };
        let orders = vec![(order, vec!["hash".to_owned()])];
        let pilot = match self.ask(Command::PlanPilots { orders }) {
            Reply::Planned(pilots) => pilots[0].id,
            other => panic!("{other:?}"),
        };
        self.ask(Command::RegisterPilot {
            pilot,
            bootstrap_hash: "hash".into(),
            nonce_hash: "nonce".into(),
            session_hash: "session".into(),
            host: "n1".into(),
            resources: Resources {
                memory_mib: 8000,
                ..resources
            },
            remaining_s: 8 * HOUR_S,
        });
        let want = Some(PilotWant {
            round: 1,
            remaining_s: 8 * HOUR_S,
            backlog: 0,
            staying: false,
        });
        let wish = Command::Sync {
            pilot,
            reports: Vec::new(),
            holding: Vec::new(),
            want,
        };
        let Reply::Synced { grants, .. } = self.ask(wish) else {
            panic!("a sync is answered with Synced");
        };
        let started = grants.iter().map(|grant| AttemptReport {
            task: grant.task,
            attempt: grant.attempt,
            what: AttemptNews::Started,
        });
        let reports = started.collect();
        self.ask(Command::Sync {
            pilot,
            reports,
            holding: Vec::new(),
            want: None,
        });
        pilot
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self.now.plus(Duration::from_secs(seconds));
    }

    fn in_s(&self, at: Option<Timestamp>) -> Option<u64> {
        at.map(|at| at.since(self.now).as_secs())
    }
}

fn ce_id() -> CeId {
    "lyon/main".parse().unwrap()
}

#[test]
fn a_task_behind_others_starts_when_they_end() {
    let mut live = Live::new(0);
    live.submit("CpuNumber = 4;");
    live.pilot();
    live.pass(600);
    let behind = live.submit("CpuNumber = 4;");
    let mut options = ForecastOptions::default();
    let guess = RuntimeGuess {
        short_s: 900,
        likely_s: 1200,
        long_s: 3000,
    };
    options.runtimes.insert("anna".parse().unwrap(), guess);
    let told = forecast(
        live.state.clone(),
        TaskId::new(behind, 0),
        live.now,
        &options,
    );
    // It runs for 600 s already. A new pilot is no sooner: no core is free.
    assert_eq!(live.in_s(told.likely), Some(600), "{told:?}");
    assert_eq!(live.in_s(told.latest), Some(2400), "{told:?}");
    assert!(live.in_s(told.earliest) <= Some(300), "{told:?}");
    assert_eq!((told.runs, told.why_none), (3, None));
}

#[test]
fn without_history_a_part_of_the_walltime_is_assumed() {
    let mut live = Live::new(0);
    live.submit("CpuNumber = 4;");
    live.pilot();
    let behind = live.submit("CpuNumber = 4;");
    let options = ForecastOptions::default();
    let told = forecast(
        live.state.clone(),
        TaskId::new(behind, 0),
        live.now,
        &options,
    );
    assert_eq!(live.in_s(told.latest), Some(7200), "{told:?}");
    assert!(
        told.earliest <= told.likely && told.likely < told.latest,
        "{told:?}"
    );
    let again = forecast(
        live.state.clone(),
        TaskId::new(behind, 0),
        live.now,
        &options,
    );
    assert_eq!(told, again);
}

#[test]
fn free_cores_bring_a_pilot_soon() {
    let mut live = Live::new(16);
    let job = live.submit("");
    let options = ForecastOptions::default();
    let told = forecast(live.state.clone(), TaskId::new(job, 0), live.now, &options);
    assert!(live.in_s(told.latest) <= Some(3 * HOUR_S), "{told:?}");
    assert!(
        told.earliest.is_some() && told.why_none.is_none(),
        "{told:?}"
    );
}

#[test]
fn what_does_not_start_is_told_with_the_reason() {
    let mut live = Live::new(16);
    let wide = live.submit("CpuNumber = 64;");
    let options = ForecastOptions {
        horizon_s: 6 * HOUR_S,
        ..ForecastOptions::default()
    };
    let of = |live: &Live, job| {
        let told = forecast(live.state.clone(), TaskId::new(job, 0), live.now, &options);
        assert_eq!(
            (told.earliest, told.likely, told.latest),
            (None, None, None)
        );
        told.why_none.unwrap()
    };
    let mut told = vec![of(&live, wide)];
    let held = live.submit("");
    live.ask(Command::ChangeTasks {
        verb: TaskVerb::Hold,
        tasks: Selection::Job(held),
        by: Principal {
            name: "anna".parse().unwrap(),
            group: None,
            role: Role::User,
            sites: Vec::new(),
        },
    });
    told.push(of(&live, held));
    told.push(of(&live, JobId(99)));
    let runs = live.submit("");
    live.pilot();
    told.push(of(&live, runs));
    let after_a_failure = live.submit(&format!("Depends = {{ \"afternotok:{runs}\" }};"));
    told.push(of(&live, after_a_failure));
    let small = ForecastOptions {
        work_max: 3,
        ..options.clone()
    };
    live.submit("CpuNumber = 4;");
    let wide = TaskId::new(wide, 0);
    let exhausted = forecast(live.state.clone(), wide, live.now, &small);
    told.push(exhausted.why_none.unwrap());
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn what_pilots_did_before_is_no_part_of_a_projection() {
    let mut live = Live::new(0);
    live.submit("CpuNumber = 2;");
    live.pilot();
    live.pass(HOUR_S);
    let options = ProjectionOptions::default();
    let outcome = project(live.state.clone(), "now", None, live.now, &options).unwrap();
    assert_eq!(outcome.tasks.succeeded, 1, "{outcome:?}");
    // Half of the walltime was over already: 4 cores for as long as is left of the task, two of
    // them idle.
    assert!(outcome.makespan_s > 0.0, "{outcome:?}");
    let all_s = 4.0 * outcome.makespan_s;
    assert!((outcome.pilots.core_s - all_s).abs() < 1.0, "{outcome:?}");
    assert!(
        (outcome.pilots.idle_core_s - all_s / 2.0).abs() < 1.0,
        "{outcome:?}"
    );
}
