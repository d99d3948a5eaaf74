//! What users are told when they ask why a task is where it is.

use std::fmt::Write;

use fairway_model::event::TaskVerb;
use fairway_model::{Ce, CeStatus, JobId, PilotLimits, PolicyKind, SiteMode, TaskId};
use fairway_sched::Command;
use fairway_sched::command::Selection;
use fairway_sched::explain::explain;

use crate::world::{World, site, sweep, user};

/// The explanation as a user would read it.
fn told(world: &World, job: JobId, index: u32) -> String {
    let explained = explain(&world.state, TaskId::new(job, index), world.now).unwrap();
    let mut text = explained.summary.clone() + "\n";
    if let Some(ahead) = explained.ahead {
        writeln!(text, "ahead: {ahead}").unwrap();
    }
    let standing = &explained.standing;
    writeln!(
        text,
        "{}: FS {}, place {:?}",
        standing.user, standing.fs, standing.place
    )
    .unwrap();
    for ce in &explained.ces {
        let word = if ce.eligible {
            "could run it"
        } else {
            "refuses it"
        };
        writeln!(text, "{} {word}, rank {:?}", ce.ce, ce.rank).unwrap();
        for refusal in &ce.refusals {
            writeln!(text, "  {}: {}", refusal.clause, refusal.because).unwrap();
        }
    }
    text
}

fn describe(world: &mut World, change: impl Fn(&mut Ce)) {
    let names: Vec<String> = world.ces().iter().map(|id| id.ce.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut site = site(&names);
    site.ces.iter_mut().for_each(change);
    world
        .ask(Command::PutSite {
            site: Box::new(site),
            by: user("admin"),
        })
        .unwrap();
}

/// What the reader of job descriptions takes for published is what CEs publish.
#[test]
fn published_names_are_known_to_the_reader() {
    let site = site(&["short"]);
    let ad = fairway_sched::glue::ad(&site.name, &site.ces[0], None, 0);
    let names = ad.iter().map(|(name, _)| name);
    let unknown: Vec<_> = names
        .filter(|name| !fairway_jdl::job::is_published(name))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn refused_by_requirements() {
    let mut world = World::new(PolicyKind::Fairshare, &["long", "short"]);
    let job = world.submit(
        "alice",
        &sweep(
            2,
            "Requirements = other.GlueCEPolicyMaxWallClockTime >= 720 \
             && other.GlueCEStateFreeCPUs > 4 && other.GlueCENoSuchThing == \"x\";",
        ),
    );
    insta::assert_snapshot!(told(&world, job, 0));
}

#[test]
fn refused_by_every_limit() {
    let mut world = World::new(
        PolicyKind::Fairshare,
        &["closed", "down", "mine", "silent", "stale"],
    );
    describe(&mut world, |ce| match ce.name.as_str() {
        "closed" => ce.mode = SiteMode::Closed,
        "mine" => {
            ce.users = vec![user("bob")];
            ce.groups = vec!["biomed".parse().unwrap()];
        }
        _ => {}
    });
    world.pass(700);
    for name in ["closed", "down", "mine"] {
        world.publish(name, |state| {
            if name == "down" {
                state.status = CeStatus::Draining;
                state.reason = Some("partition is down for maintenance".into());
            }
        });
    }
    let job = world.submit("alice", &sweep(1, "CpuNumber = 4;"));
    insta::assert_snapshot!(told(&world, job, 0));
}

#[test]
fn waiting_for_pilots() {
    let mut world = World::new(PolicyKind::Fairshare, &["long", "short"]);
    describe(&mut world, |ce| {
        if ce.name.as_str() == "long" {
            ce.limits = PilotLimits {
                pilots_max: 100,
                queued_max: 1,
                ..PilotLimits::default()
            };
        }
    });
    world.submit("bob", &sweep(5, ""));
    let job = world.submit("alice", &sweep(10, ""));
    world.planned("long", 1);
    insta::assert_snapshot!(told(&world, job, 7));
}

#[test]
fn with_a_pilot() {
    let mut world = World::new(PolicyKind::Fifo, &["short"]);
    let pilot = world.pilot("short", 1);
    let job = world.submit("alice", &sweep(3, ""));
    let attempt = world.pull_one(pilot);
    world.start(pilot, attempt);
    world.change(
        TaskVerb::Hold,
        Selection::Tasks(vec![TaskId::new(job, 1)]),
        "alice",
    );
    let texts = [0, 1, 2].map(|index| told(&world, job, index));
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn without_a_site() {
    let mut world = World::new(PolicyKind::Fifo, &[]);
    let job = world.submit("alice", &sweep(1, ""));
    insta::assert_snapshot!(told(&world, job, 0));
}

#[test]
fn what_is_over_is_not_explained() {
    let mut world = World::new(PolicyKind::Fifo, &["short"]);
    let job = world.submit("alice", &sweep(1, ""));
    world.change(TaskVerb::Cancel, Selection::Job(job), "alice");
    assert!(explain(&world.state, TaskId::new(job, 0), world.now).is_none());
}

/// The estimate is what comes true, if all tasks take the same time.
#[test]
fn those_ahead_are_served_before() {
    for kind in [
        PolicyKind::Fifo,
        PolicyKind::RoundRobin,
        PolicyKind::Fairshare,
    ] {
        let mut world = World::new(kind, &["short"]);
        let pilot = world.pilot("short", 1);
        world.submit("carol", &sweep(4, ""));
        let job = world.submit("alice", &sweep(9, ""));
        world.submit("bob", &sweep(6, ""));
        let task = TaskId::new(job, 5);
        let mut before = 0;
        let ahead = explain(&world.state, task, world.now)
            .unwrap()
            .ahead
            .unwrap();
        loop {
            let attempt = world.pull_one(pilot);
            if attempt.0 == task {
                break;
            }
            before += 1;
            world.end(pilot, attempt, crate::world::exit(0));
        }
        assert_eq!(before, ahead, "{kind:?}");
    }
}

/// A CE as its descriptions see it, if all is known of it and if nothing is.
#[test]
fn what_a_ce_publishes() {
    let mut world = World::new(PolicyKind::Fifo, &["known", "unknown"]);
    let mut site = site(&["known", "unknown"]);
    site.ces[0].shape.gpus = 2;
    site.ces[0].shape.whole_node = true;
    site.ces[0].tags = vec!["ROOT-6".into()];
    site.ces[0].outbound = false;
    world.describe(site);
    world.publish("known", |state| {
        state.lrms = ("slurm".into(), "22.05.8".into());
        state.cores_used = Some(40);
        state.cores_offline = Some(8);
        state.nodes_total = Some(4);
        state.nodes_free = Some(1);
        state.nodes_offline = Some(0);
        state.gpus_total = Some(8);
        state.walltime_max_s = Some(1800);
        state.own_jobs_max = Some(30);
        state.own_running_max = Some(20);
        state.job_cores_max = Some(12);
        state.job_nodes_max = Some(2);
        state.architecture = Some("x86_64".into());
        state.operating_system = Some("Debian 12".into());
        state.features = vec!["ROOT-6".into(), "avx512".into()];
        state.jobs_waiting = Some(3);
        state.start_estimate = Some(world_time(90));
    });
    world.publish("unknown", |state| {
        *state = fairway_model::CeState {
            status: CeStatus::Production,
            ..fairway_model::CeState::unreachable(
                state.ce.clone(),
                "slurm",
                state.observed_at,
                String::new(),
            )
        };
    });
    let told = ["known", "unknown"].map(|name| {
        let ad = world.state.glue(&crate::world::ce(&format!("lyon/{name}")));
        let lines = ad
            .unwrap()
            .iter()
            .map(|(name, expr)| format!("{name} = {expr}"));
        lines.collect::<Vec<_>>().join("\n")
    });
    insta::assert_snapshot!(told.join("\n\n"));
}

/// So many seconds after a world begins.
fn world_time(seconds: i64) -> fairway_model::Timestamp {
    fairway_model::Timestamp::from_secs(36_000 + seconds)
}

/// Pilots of others are no promise.
#[test]
fn private_pilots_of_others_do_not_count() {
    let mut world = World::new(PolicyKind::Fifo, &["short"]);
    describe(&mut world, |ce| {
        ce.pilots = fairway_model::PilotSharing::PerUser;
    });
    let owner = fairway_model::PilotOwner::User(user("bob"));
    world.planned_for("short", 1, owner);
    let job = world.submit("alice", &sweep(1, ""));
    insta::assert_snapshot!(told(&world, job, 0));
}
