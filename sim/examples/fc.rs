use fairway_jdl::JobSpec;
use fairway_model::*;
use fairway_sched::command::*;
use fairway_sched::provision::{PilotOrder, Purpose};
use fairway_sched::{Command, Reply, Settings, State};
use fairway_sim::{ForecastOptions, forecast};
use std::sync::Arc;
fn main() {
    let now = Timestamp::from_secs(1_000_000);
    let ce = Ce {
        shape: PilotShape {
            cores: 32,
            walltime_s: 86400,
            ..PilotShape::default()
        },
        limits: PilotLimits {
            pilots_max: 5000,
            queued_max: 5000,
            ..Default::default()
        },
        ..Ce::new("main".parse().unwrap())
    };
    let site = Site::new(
        "lyon".parse().unwrap(),
        AdapterSettings::Local(LocalSettings::default()),
        vec![ce],
    );
    let mut s = State::load(Snapshot::default(), Settings::default(), now);
    let id: CeId = "lyon/main".parse().unwrap();
    let a = |s: &mut State, c| s.apply(c, now).reply.unwrap();
    a(
        &mut s,
        Command::PutSite {
            site: Box::new(site),
            by: "admin".parse().unwrap(),
        },
    );
    let u = CeState::unreachable(id.clone(), "slurm", now, String::new());
    a(
        &mut s,
        Command::Publish(vec![CeState {
            status: CeStatus::Production,
            cores_total: Some(32000),
            cores_free: Some(0),
            jobs_waiting: Some(5),
            jobs_running: Some(1000),
            ..u
        }]),
    );
    let mut last = JobId(0);
    for i in 0..200 {
        let jdl = format!(
            "Executable = \"/bin/work\"; WallTime = {}; JobType=\"Parametric\"; Arguments=\"_PARAM_\"; Parameters=1000; ParameterStart=0; ParameterStep=1;",
            3600 + 600 * (i % 12)
        );
        let (spec, _) = JobSpec::read(&jdl).unwrap();
        if let Reply::Submitted { job, .. } = a(
            &mut s,
            Command::Submit(Submission {
                owner: format!("u{}", i % 30).parse().unwrap(),
                group: None,
                jdl,
                spec: Arc::new(spec),
                sandbox: None,
                idempotency: None,
            }),
        ) {
            last = job;
        }
    }
    let resources = Resources {
        cores: 32,
        memory_mib: 0,
        gpus: 0,
    };
    let order = PilotOrder {
        ce: id,
        owner: PilotOwner::Shared,
        resources,
        nodes: 1,
        walltime_s: 86400,
        reserve_at: None,
        purpose: Purpose::Any,
        because: String::new(),
    };
    let Reply::Planned(pilots) = a(
        &mut s,
        Command::PlanPilots {
            orders: vec![(order, vec!["h".to_owned()]); 1000],
        },
    ) else {
        panic!()
    };
    println!("{} pilots", pilots.len());
    for p in pilots {
        a(
            &mut s,
            Command::RegisterPilot {
                pilot: p.id,
                bootstrap_hash: "h".into(),
                nonce_hash: "n".into(),
                session_hash: "s".into(),
                host: format!("n{}", p.id),
                resources: Resources {
                    memory_mib: 64000,
                    ..resources
                },
                remaining_s: 86400,
            },
        );
        let Reply::Synced { grants, .. } = a(
            &mut s,
            Command::Sync {
                pilot: p.id,
                reports: vec![],
                holding: vec![],
                want: Some(PilotWant {
                    round: 1,
                    remaining_s: 86400,
                    backlog: 0,
                }),
            },
        ) else {
            panic!()
        };
        let reports = grants
            .iter()
            .map(|g| AttemptReport {
                task: g.task,
                attempt: g.attempt,
                what: AttemptNews::Started,
            })
            .collect();
        a(
            &mut s,
            Command::Sync {
                pilot: p.id,
                reports,
                holding: vec![],
                want: None,
            },
        );
    }
    println!("{} waiting {} live", s.waiting(), s.live());
    for (name, task) in [
        ("last", TaskId::new(last, 999)),
        ("early", TaskId::new(JobId(40), 999)),
    ] {
        let t = std::time::Instant::now();
        let f = forecast(s.clone(), task, now, &ForecastOptions::default());
        println!("{name}: {:?} {f:?}", t.elapsed());
    }
}
