//! How the adapter behaves where a cluster does what others do not: tokens that expire, watches
//! that break, answers that get lost, pods that are refused or taken away.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "standin/mod.rs"]
mod standin;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fairway_model::{AdapterSettings, CeStatus, KubernetesSettings, PilotId, Resources, Timestamp};
use fairway_site_adapters::pending::{HOLD_LABEL, PendingPods};
use fairway_site_adapters::{AdapterError, BatchJob, BatchState, BatchSystem, PilotJob, connect};
use serde_json::{Value, json};

use standin::{IMAGE, Kind, Mishap, NAMESPACE, Settings, Standin, node};

const DEADLINE: Duration = Duration::from_secs(30);
const PREFIX: &str = "fw-test-";

struct World {
    standin: Standin,
    system: Arc<dyn BatchSystem>,
}

impl World {
    fn new(settings: Settings) -> Self {
        let standin = Standin::start(settings);
        let system = system(&standin);
        Self { standin, system }
    }

    async fn submit(&self, job: PilotJob) -> Result<String, AdapterError> {
        self.system.submit(&[job]).await.remove(0)
    }

    async fn poll(&self, known: &[&String]) -> Vec<BatchJob> {
        let known: Vec<String> = known.iter().map(|&id| id.clone()).collect();
        self.system.poll(PREFIX, &known).await.unwrap()
    }

    async fn until(&self, id: &String, wanted: impl Fn(&BatchState) -> bool) -> BatchState {
        let begin = Instant::now();
        loop {
            let jobs = self.poll(&[id]).await;
            let state = jobs
                .into_iter()
                .find(|job| job.batch_id == *id)
                .map(|job| job.state);
            match state {
                Some(state) if wanted(&state) => return state,
                other => assert!(begin.elapsed() < DEADLINE, "{other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn until_ended(&self, id: &String) -> String {
        match self
            .until(id, |state| matches!(state, BatchState::Ended { .. }))
            .await
        {
            BatchState::Ended { detail } => detail,
            other => unreachable!("{other:?}"),
        }
    }

    async fn until_queued_for(&self, id: &String, words: &str) {
        let waits = |state: &BatchState| matches!(state, BatchState::Queued { reason } if reason.contains(words));
        self.until(id, waits).await;
    }
}

fn system(standin: &Standin) -> Arc<dyn BatchSystem> {
    system_with(standin, |_| {})
}

fn system_with(
    standin: &Standin,
    change: impl FnOnce(&mut KubernetesSettings),
) -> Arc<dyn BatchSystem> {
    let mut settings = KubernetesSettings {
        kubeconfig: Some(standin.kubeconfig().to_str().unwrap().to_owned()),
        image: Some(IMAGE.to_owned()),
        ..KubernetesSettings::default()
    };
    change(&mut settings);
    let settings = AdapterSettings::Kubernetes(Box::new(settings));
    connect(&"here".parse().unwrap(), &settings, Path::new("/unused")).unwrap()
}

fn job(name: &str, script: &str) -> PilotJob {
    PilotJob {
        pilot: PilotId(1),
        ce: serde_json::from_value(json!({"name": "ce"})).unwrap(),
        name: format!("{PREFIX}{name}"),
        resources: Resources {
            cores: 1,
            memory_mib: 64,
            gpus: 0,
        },
        nodes: 1,
        run_as: None,
        reserve_at: None,
        avoid: Vec::new(),
        walltime_s: 120,
        program: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        stdin: "{\"secret\": \"hush\"}".into(),
    }
}

const LONG: &str = "sleep 60";

#[tokio::test]
async fn a_token_that_was_renewed_is_read_again() {
    let world = World::new(Settings::default());
    let id = world.submit(job("a", LONG)).await.unwrap();
    world.standin.renew_token("another");
    assert_eq!(world.poll(&[&id]).await.len(), 1);
    world.submit(job("b", LONG)).await.unwrap();
}

#[tokio::test]
async fn credentials_that_are_not_taken_are_no_refusal() {
    let world = World::new(Settings::default());
    let kubeconfig = std::fs::read_to_string(world.standin.kubeconfig()).unwrap();
    std::fs::write(
        world.standin.kubeconfig(),
        kubeconfig.replace("token: ", "token: not-"),
    )
    .unwrap();
    for error in [
        world.submit(job("a", LONG)).await.unwrap_err(),
        world.system.poll(PREFIX, &[]).await.unwrap_err(),
    ] {
        assert!(
            matches!(&error, AdapterError::Unreachable(why) if why == "Unauthorized"),
            "{error}"
        );
    }
    std::fs::write(world.standin.kubeconfig(), "users: [{token: hush").unwrap();
    let error = world.submit(job("a", LONG)).await.unwrap_err();
    assert!(
        matches!(&error, AdapterError::Unreachable(why) if !why.contains("hush")),
        "{error}"
    );
}

#[tokio::test]
async fn a_submission_whose_answer_got_lost_can_be_repeated() {
    let world = World::new(Settings::default());
    world.standin.mishaps(&[Mishap::LoseAnswer]);
    let error = world.submit(job("a", LONG)).await.unwrap_err();
    assert!(!matches!(error, AdapterError::Refused(_)), "{error}");
    let found = world.poll(&[]).await;
    let id = world.submit(job("a", LONG)).await.unwrap();
    assert_eq!(
        found.iter().map(|job| &job.batch_id).collect::<Vec<_>>(),
        [&id]
    );
    // The second has brought the Secret that the first had no time for.
    world
        .until(&id, |state| *state == BatchState::Running)
        .await;
    assert_eq!(world.standin.objects(Kind::Job).len(), 1);
}

#[tokio::test]
async fn a_job_without_its_secret_is_taken_back() {
    let world = World::new(Settings::default());
    world.standin.mishaps(&[Mishap::None, Mishap::Fail]);
    let error = world.submit(job("a", LONG)).await.unwrap_err();
    assert!(matches!(error, AdapterError::Unreachable(_)), "{error}");
    assert_eq!(world.standin.objects(Kind::Job), Vec::<Value>::new());
}

#[tokio::test]
async fn a_quota_of_jobs_and_a_name_that_is_taken_are_refusals() {
    let world = World::new(Settings {
        quota: Some(json!({"count/jobs.batch": "1"})),
        ..Settings::default()
    });
    let name = format!("{PREFIX}a");
    world.standin.add(
        Kind::Job,
        json!({"metadata": {"name": name}, "spec": {"suspend": true}}),
    );
    for (name, words) in [("a", "none of Fairway's"), ("b", "exceeded quota")] {
        let error = world.submit(job(name, LONG)).await.unwrap_err();
        assert!(
            matches!(&error, AdapterError::Refused(why) if why.contains(words)),
            "{error}"
        );
    }
    assert_eq!(world.standin.objects(Kind::Secret), Vec::<Value>::new());
}

#[tokio::test]
async fn watches_go_on_after_their_version_is_too_old() {
    let world = World::new(Settings::default());
    let first = world.submit(job("a", LONG)).await.unwrap();
    world
        .until(&first, |state| *state == BatchState::Running)
        .await;
    world.standin.compact();
    let second = world.submit(job("b", "exit 3")).await.unwrap();
    assert!(world.until_ended(&second).await.contains("exit code 3"));
    assert!(matches!(
        world.poll(&[&first]).await[0].state,
        BatchState::Running
    ));
}

#[tokio::test]
async fn another_server_finds_what_the_first_left() {
    let world = World::new(Settings::default());
    let id = world.submit(job("a", LONG)).await.unwrap();
    world
        .until(&id, |state| *state == BatchState::Running)
        .await;
    let later = World {
        system: system(&world.standin),
        standin: world.standin,
    };
    assert!(matches!(
        later.poll(&[]).await[0].state,
        BatchState::Running
    ));
    later
        .system
        .cancel(std::slice::from_ref(&id))
        .await
        .unwrap();
    assert_eq!(later.until_ended(&id).await, "cancelled: exit code 143");
}

#[tokio::test]
async fn polls_ask_next_to_nothing() {
    let world = World::new(Settings::default());
    let id = world.submit(job("a", LONG)).await.unwrap();
    world
        .until(&id, |state| *state == BatchState::Running)
        .await;
    // Until both watches are connected, everything is listed.
    let begin = Instant::now();
    loop {
        let before = world.standin.requests();
        world.poll(&[&id]).await;
        if world.standin.requests() - before == 1 {
            break;
        }
        assert!(begin.elapsed() < DEADLINE);
    }
    let before = world.standin.requests();
    for _ in 0..10 {
        world.poll(&[&id]).await;
    }
    assert_eq!(world.standin.requests() - before, 10);
}

#[tokio::test]
async fn jobs_that_are_over_are_removed_once_that_was_told() {
    let world = World::new(Settings::default());
    let id = world.submit(job("a", "exit 0")).await.unwrap();
    assert!(world.until_ended(&id).await.starts_with("Complete"));
    assert_eq!(world.standin.objects(Kind::Job).len(), 1);
    world.poll(&[]).await;
    assert_eq!(world.standin.objects(Kind::Job), Vec::<Value>::new());
    assert_eq!(world.standin.objects(Kind::Secret), Vec::<Value>::new());
}

#[tokio::test]
async fn a_name_that_was_used_again_is_not_hit() {
    let world = World::new(Settings::default());
    let old = world.submit(job("a", LONG)).await.unwrap();
    world
        .system
        .cancel(std::slice::from_ref(&old))
        .await
        .unwrap();
    let new = world.submit(job("a", LONG)).await.unwrap();
    assert_ne!(old, new);
    world
        .system
        .cancel(std::slice::from_ref(&old))
        .await
        .unwrap();
    world
        .until(&new, |state| *state == BatchState::Running)
        .await;
}

#[tokio::test]
async fn why_a_pod_is_refused_is_told() {
    let world = World::new(Settings {
        container_memory_max_mib: Some(128),
        quota: Some(json!({"requests.cpu": "2"})),
        ..Settings::default()
    });
    let mut big = job("big", LONG);
    big.resources.memory_mib = 256;
    let big = world.submit(big).await.unwrap();
    world
        .until_queued_for(&big, "maximum memory usage per Container")
        .await;
    let mut wide = job("wide", LONG);
    wide.resources.cores = 3;
    let wide = world.submit(wide).await.unwrap();
    world.until_queued_for(&wide, "exceeded quota").await;
    let mut classy = job("classy", LONG);
    classy.ce.queue = Some("nosuch".into());
    let classy = world.submit(classy).await.unwrap();
    world.until_queued_for(&classy, "no PriorityClass").await;
}

#[tokio::test]
async fn a_pod_that_waits_says_why() {
    let world = World::new(Settings::default());
    let mut nowhere = job("nowhere", LONG);
    nowhere.ce.constraint = Some("pool=none".into());
    let nowhere = world.submit(nowhere).await.unwrap();
    world
        .until_queued_for(&nowhere, "didn't match Pod's node affinity/selector")
        .await;
    let system = system_with(&world.standin, |settings| {
        settings.image = Some("absent:1".into())
    });
    let world = World { system, ..world };
    let absent = world.submit(job("absent", LONG)).await.unwrap();
    world.until_queued_for(&absent, "ImagePullBackOff").await;
}

#[tokio::test]
async fn a_pilot_that_was_preempted_says_so() {
    let world = World::new(Settings::default());
    let id = world.submit(job("a", LONG)).await.unwrap();
    world
        .until(&id, |state| *state == BatchState::Running)
        .await;
    let pods = world.standin.objects(Kind::Pod);
    world
        .standin
        .preempt(pods[0]["metadata"]["name"].as_str().unwrap());
    let detail = world.until_ended(&id).await;
    assert!(
        detail.contains("preempted by a pod of higher priority"),
        "{detail}"
    );
}

#[tokio::test]
async fn a_walltime_that_is_over_ends_a_pilot() {
    let world = World::new(Settings::default());
    let mut short = job("short", LONG);
    short.walltime_s = 1;
    let id = world.submit(short).await.unwrap();
    let detail = world.until_ended(&id).await;
    assert!(detail.contains("DeadlineExceeded"), "{detail}");
}

#[tokio::test]
async fn nodes_of_an_allocation_are_different_ones() {
    let nodes = ["n1", "n2", "n3"].map(|name| node(name, "2", json!({})));
    let world = World::new(Settings {
        nodes: nodes.to_vec(),
        ..Settings::default()
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let script = format!("cat >{path}/$FAIRWAY_NODE; [ $FAIRWAY_NODE = 0 ]");
    let mut wide = job("wide", &script);
    wide.nodes = 2;
    wide.avoid = vec!["n2".into()];
    let id = world.submit(wide).await.unwrap();
    let detail = world.until_ended(&id).await;
    assert!(
        detail.starts_with("Failed") && detail.contains("exit code 1"),
        "{detail}"
    );
    for node in ["0", "1"] {
        let read = std::fs::read_to_string(folder.path().join(node)).unwrap();
        assert_eq!(read, "{\"secret\": \"hush\"}");
    }
    let pods = world.standin.objects(Kind::Pod);
    let places: Vec<_> = pods
        .iter()
        .map(|pod| pod["spec"]["nodeName"].as_str())
        .collect();
    assert_eq!(
        (places.len(), places.contains(&Some("n2"))),
        (2, false),
        "{places:?}"
    );
    assert_ne!(places[0], places[1]);
}

#[tokio::test]
async fn a_field_that_the_cluster_does_not_know_is_refused() {
    let world = World::new(Settings::default());
    let patch = json!({"spec": {"hostNetwrk": true}});
    let system = system_with(&world.standin, |s| s.pod_template_patch = Some(patch));
    let error = system
        .submit(&[job("a", LONG)])
        .await
        .remove(0)
        .unwrap_err();
    assert!(
        matches!(&error, AdapterError::Refused(why) if why.contains("unknown field")),
        "{error}"
    );
}

#[tokio::test]
async fn the_quota_stands_for_nodes_that_may_not_be_seen() {
    let world = World::new(Settings {
        sees_cluster: false,
        quota: Some(json!({"requests.cpu": "3", "pods": "10"})),
        ..Settings::default()
    });
    let ce = serde_json::from_value(json!({"name": "ce"})).unwrap();
    let state = world
        .system
        .publish(&[ce], Timestamp(0))
        .await
        .unwrap()
        .remove(0);
    assert_eq!(
        (state.status, state.cores_total),
        (CeStatus::Production, Some(3))
    );
    assert_eq!((state.own_running_max, state.node_cores), (Some(10), None));
    let system = system_with(&world.standin, |s| s.namespace = Some("absent".into()));
    let ce = serde_json::from_value(json!({"name": "ce"})).unwrap();
    let state = system.publish(&[ce], Timestamp(0)).await.unwrap().remove(0);
    assert_eq!(state.reason.as_deref(), Some("there is no such namespace"));
}

#[tokio::test]
async fn pods_that_wait_for_room_are_a_demand() {
    let standin = Standin::start(Settings::default());
    for (name, class) in [("spark-1", "none"), ("spark-2", "exclude")] {
        standin.add(
            Kind::Pod,
            json!({
                "metadata": {"name": name, "namespace": NAMESPACE, "annotations": {
                    "ryax.tech/bebida": class, "ryax.tech/duration": "30m",
                }},
                "spec": {
                    "nodeSelector": {"pool": "hpc"},
                    "containers": [{"name": "main", "image": IMAGE, "resources": {
                        "requests": {"cpu": "2"},
                    }}],
                },
                "status": {"phase": "Pending"},
            }),
        );
    }
    let pods = PendingPods::new(&KubernetesSettings {
        kubeconfig: Some(standin.kubeconfig().to_str().unwrap().to_owned()),
        ..KubernetesSettings::default()
    });
    let demand = pods.read().await.unwrap();
    assert_eq!(demand.waiting.len(), 1);
    let waiting = &demand.waiting[0];
    assert_eq!((waiting.cores, waiting.duration_s), (2, Some(1800)));
    assert!(demand.handed_over.is_empty() && !demand.runs_elsewhere);
    for (node, hold) in [("n1", "fw-x-h1"), ("n2", "fw-x-h2")] {
        let labels = json!({"pool": "other", HOLD_LABEL: hold});
        standin.add(Kind::Node, standin::node(node, "8", labels));
    }
    for (name, node) in [("busy", "n2"), ("elsewhere", "gridnode1")] {
        standin.add(
            Kind::Pod,
            json!({
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": {"nodeName": node, "containers": [{"name": "main"}]},
                "status": {"phase": "Running"},
            }),
        );
    }
    let demand = pods.read().await.unwrap();
    let held: Vec<_> = demand.handed_over.into_iter().collect();
    assert_eq!(
        held,
        [("fw-x-h1".to_owned(), false), ("fw-x-h2".to_owned(), true)]
    );
    assert!(demand.runs_elsewhere);
    standin.take_away();
    assert!(matches!(
        pods.read().await,
        Err(AdapterError::Unreachable(_))
    ));
}
