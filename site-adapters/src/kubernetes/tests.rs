//! What is rendered and parsed, on recordings of a real cluster. How the adapter behaves is in
//! `tests/kubernetes/`, and in the conformance suite.

use std::fmt::Write as _;

use fairway_model::{CeStatus, PilotId, Resources};
use kube::core::Status;
use serde_json::json;

use super::*;
use crate::BatchState;

mod demand;

macro_rules! recorded {
    ($name:literal) => {
        serde_json::from_str(include_str!(concat!(
            "../../tests/fixtures/kubernetes/",
            $name
        )))
        .unwrap()
    };
}

fn pilot_job() -> PilotJob {
    PilotJob {
        pilot: PilotId(7),
        ce: serde_json::from_value(json!({"name": "short"})).unwrap(),
        name: "fw-ab12cd-p7".into(),
        resources: Resources {
            cores: 8,
            memory_mib: 16_000,
            gpus: 0,
        },
        nodes: 1,
        run_as: None,
        reserve_at: None,
        avoid: Vec::new(),
        walltime_s: 7200,
        program: vec!["/fairway-pilot".into()],
        stdin: "{\"secret\": \"hush\"}".into(),
    }
}

fn settings() -> KubernetesSettings {
    KubernetesSettings {
        image: Some("registry.example/fairway-pilot:0.1".into()),
        ..KubernetesSettings::default()
    }
}

fn yaml(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap()
}

/// The API's own types know every field that is rendered.
fn assert_known<T: DeserializeOwned + serde::Serialize>(value: &Value) {
    let typed: T = serde_json::from_value(value.clone()).unwrap();
    assert_eq!(serde_json::to_value(typed).unwrap(), *value);
}

#[test]
fn renders_a_small_pilot() {
    let job = render::job(&pilot_job(), "lyon", &settings()).unwrap();
    assert_known::<Job>(&job);
    insta::assert_snapshot!(yaml(&job));
}

#[test]
fn renders_all_that_can_be_asked_for() {
    let mut job = pilot_job();
    job.nodes = 3;
    job.resources.gpus = 2;
    job.run_as = Some("pilots-alice".into());
    job.avoid = vec!["bad1".into(), "bad2".into()];
    job.program = ["/bin/sh", "-c", "echo $(date) $$"]
        .map(str::to_owned)
        .to_vec();
    job.ce = serde_json::from_value(json!({
        "name": "gpu@long", "queue": "low", "constraint": "pool=hpc, disk=ssd",
        "gpu_type": "NVIDIA-A100",
    }))
    .unwrap();
    let settings = KubernetesSettings {
        image_pull_secrets: vec!["registry".into()],
        service_account: Some("pilots".into()),
        priority_class: Some("unused".into()),
        node_selector: [("kubernetes.io/arch".into(), "amd64".into())].into(),
        tolerations: vec![json!({"key": "nvidia.com/gpu", "operator": "Exists"})],
        affinity: Some(json!({"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]},
                {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["b"]}]},
            ]},
        }})),
        pod_template_patch: Some(json!({
            "metadata": {"annotations": {"site": "lyon"}},
            "spec": {
                "hostNetwork": true,
                "terminationGracePeriodSeconds": null,
                "volumes": [{"name": "cvmfs", "hostPath": {"path": "/cvmfs"}}],
                "containers": [{
                    "name": "pilot",
                    "volumeMounts": [{"name": "cvmfs", "mountPath": "/cvmfs"}],
                    "resources": {"limits": {"ephemeral-storage": "20Gi"}},
                }],
            },
        })),
        ..settings()
    };
    let job = render::job(&job, "lyon", &settings).unwrap();
    assert_known::<Job>(&job);
    insta::assert_snapshot!(yaml(&job));
}

#[test]
fn renders_the_secret() {
    let secret = render::secret(&pilot_job(), "lyon", "716335e4-da13");
    insta::assert_snapshot!(yaml(&secret));
}

#[test]
fn the_document_is_in_the_secret_only() {
    let job = render::job(&pilot_job(), "lyon", &settings()).unwrap();
    assert!(!job.to_string().contains("hush"));
}

#[test]
fn a_whole_node_is_one_without_another_pilot() {
    let mut job = pilot_job();
    job.ce.shape.whole_node = true;
    let job = render::job(&job, "lyon", &settings()).unwrap();
    let rules = &job["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"];
    assert!(rules.to_string().contains(render::MANAGED_BY), "{rules}");
}

#[test]
fn refuses_what_cannot_be_said() {
    let mut told = String::new();
    let mut refused = |change: &dyn Fn(&mut PilotJob, &mut KubernetesSettings)| {
        let (mut job, mut settings) = (pilot_job(), settings());
        change(&mut job, &mut settings);
        match render::job(&job, "lyon", &settings) {
            Err(AdapterError::Refused(why)) => writeln!(told, "{why}").unwrap(),
            other => panic!("{other:?}"),
        }
    };
    for name in ["Upper", "", "-a", "a/b", &"a".repeat(64)] {
        refused(&|job, _| name.clone_into(&mut job.name));
    }
    refused(&|job, _| job.program.clear());
    refused(&|job, _| job.reserve_at = Some(Timestamp(0)));
    refused(&|job, _| job.ce.account = Some("physics".into()));
    refused(&|job, _| job.ce.types = vec!["besteffort".into()]);
    refused(&|job, _| job.ce.constraint = Some("ssd".into()));
    refused(&|_, settings| settings.image = None);
    insta::assert_snapshot!(told);
}

#[test]
fn batch_ids_are_names_with_uids() {
    for id in [
        "4000000",
        "no-such-job",
        "--help",
        "; touch x",
        "a/",
        "/1-2",
        "a/b/c",
        "A/1",
    ] {
        assert_eq!(Handle::parse(id), None, "{id}");
    }
    let handle = Handle::parse("fw-ab12cd-p7/716335e4-da13").unwrap();
    assert_eq!(handle.batch_id(), "fw-ab12cd-p7/716335e4-da13");
}

/// A recorded object as if it were ours, with a version and an owner.
fn ours(mut object: Value, version: u64) -> Value {
    object["metadata"]["labels"][render::MANAGED_BY] = render::MANAGER.into();
    object["metadata"]["resourceVersion"] = version.to_string().into();
    object
}

fn job_facts(object: Value) -> parse::JobFacts {
    parse::job(&serde_json::from_value(ours(object, 10)).unwrap()).unwrap()
}

fn pod_of(object: Value) -> Pod {
    serde_json::from_value(ours(object, 10)).unwrap()
}

/// What a poll tells of a Job with one pod, both as recorded.
fn told(job: Value, pod: Option<Value>) -> BatchState {
    let mut memory = Memory::default();
    let job = job_facts(job);
    if let Some(pod) = pod {
        let mut facts = parse::pod(&pod_of(pod)).unwrap();
        // Recordings of Jobs and pods are not always of one pair.
        facts.job_uid.clone_from(&job.uid);
        memory.pod_seen(facts);
    }
    memory.all_jobs(vec![job], 10);
    let mut jobs = memory.tell("", &BTreeSet::new(), 0);
    assert_eq!(jobs.len(), 1);
    jobs.remove(0).state
}

#[test]
fn states_are_told_in_plain_words() {
    let waiting = || recorded!("job-get-no-pod-possible.json");
    let failed = || recorded!("job-get-failed-backoff.json");
    let complete = || recorded!("job-get-complete.json");
    let cases: [(&str, Value, Option<Value>); 20] = [
        ("no pod", waiting(), None),
        ("suspended", recorded!("job-get-suspended.json"), None),
        (
            "no cpu",
            waiting(),
            Some(recorded!("pod-pending-unschedulable-cpu.json")),
        ),
        (
            "no image",
            waiting(),
            Some(recorded!("pod-pending-errimageneverpull.json")),
        ),
        (
            "no pull",
            waiting(),
            Some(recorded!("pod-pending-imagepullbackoff.json")),
        ),
        (
            "no secret",
            waiting(),
            Some(recorded!("pod-pending-createcontainerconfigerror.json")),
        ),
        ("running", waiting(), Some(recorded!("pod-running.json"))),
        (
            "terminating",
            waiting(),
            Some(recorded!("pod-terminating.json")),
        ),
        (
            "over, not counted",
            waiting(),
            Some(recorded!("pod-succeeded.json")),
        ),
        (
            "node lost",
            recorded!("job-on-lost-node-plain.json"),
            Some(recorded!("pod-on-lost-node.json")),
        ),
        (
            "complete",
            complete(),
            Some(recorded!("pod-succeeded.json")),
        ),
        (
            "complete, child killed",
            complete(),
            Some(recorded!("pod-child-oomkilled.json")),
        ),
        (
            "message",
            complete(),
            Some(recorded!("pod-termination-message.json")),
        ),
        (
            "exit code",
            failed(),
            Some(recorded!("pod-failed-exit7.json")),
        ),
        (
            "memory",
            failed(),
            Some(recorded!("pod-failed-oomkilled.json")),
        ),
        (
            "deadline",
            failed(),
            Some(recorded!("pod-failed-deadline.json")),
        ),
        (
            "start",
            failed(),
            Some(recorded!("pod-failed-starterror.json")),
        ),
        (
            "evicted",
            recorded!("job-get-evicted.json"),
            Some(recorded!("pod-failed-evicted.json")),
        ),
        ("indexed", recorded!("job-get-indexed.json"), None),
        ("pod unseen", recorded!("job-get-preempted.json"), None),
    ];
    let mut text = String::new();
    for (case, job, pod) in cases {
        writeln!(text, "{case}: {:?}", told(job, pod)).unwrap();
    }
    insta::assert_snapshot!(text);
}

#[test]
fn a_pod_that_is_preempted_is_remembered_after_it_is_gone() {
    let mut memory = Memory::default();
    let job = job_facts(recorded!("job-get-preempted.json"));
    for line in include_str!("../../tests/fixtures/kubernetes/watch-pod-preempted.ndjson").lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let mut pod = event["object"].clone();
        pod["metadata"]["labels"][render::MANAGED_BY] = render::MANAGER.into();
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let facts = parse::pod(&pod).unwrap();
        if event["type"] == "DELETED" {
            memory.pod_deleted(facts);
        } else {
            memory.pod_seen(facts);
        }
    }
    memory.all_jobs(vec![job], 2000);
    let jobs = memory.tell("pilot-", &BTreeSet::new(), 0);
    insta::assert_debug_snapshot!(jobs[0].state);
}

#[test]
fn the_end_of_a_job_waits_for_the_last_word_about_its_pod() {
    let job = job_facts(recorded!("job-get-preempted.json"));
    let pod = |stage: &str| {
        let mut pod = parse::pod(&pod_of(match stage {
            "running" => recorded!("pod-running.json"),
            _ => recorded!("pod-failed-exit7.json"),
        }));
        let pod_facts = pod.as_mut().unwrap();
        pod_facts.uid = "one".into();
        pod_facts.job_uid.clone_from(&job.uid);
        pod.unwrap()
    };
    let mut memory = Memory::default();
    memory.job_seen(job.clone());
    memory.pod_seen(pod("running"));
    let told = |memory: &mut Memory, now_s| memory.tell("", &BTreeSet::new(), now_s)[0].clone();
    assert_eq!(told(&mut memory, 100).state, BatchState::Running);
    assert!(
        matches!(told(&mut memory, 110).state, BatchState::Ended { .. }),
        "not for ever"
    );
    memory.pod_seen(pod("over"));
    let BatchState::Ended { detail } = told(&mut memory, 101).state else {
        panic!("its pod is over as well");
    };
    assert!(detail.contains("exit code 7"), "{detail}");
}

#[test]
fn a_refused_pod_is_told_from_its_event() {
    let mut memory = Memory::default();
    let mut job = job_facts(recorded!("job-get-no-pod-possible.json"));
    let events: k8s_openapi::List<Event> = recorded!("events-psa-failedcreate.json");
    let (uid, why) = parse::refused_pod(&events.items[0]).unwrap();
    job.uid.clone_from(&uid);
    let made_s = job.created_s;
    memory.job_seen(job);
    assert!(memory.has_podless(made_s + 60));
    memory.pod_refused(&uid, why);
    let BatchState::Queued { reason } = &memory.tell("", &BTreeSet::new(), 0)[0].state else {
        panic!("it cannot run");
    };
    assert!(reason.contains("violates PodSecurity"), "{reason}");
    assert_eq!(memory.stuck("", made_s + 60), []);
    let (handle, why) = memory.stuck("", made_s + 600).remove(0);
    assert_eq!(handle.uid, uid);
    assert!(why.starts_with("its pod is refused"), "{why}");
}

#[test]
fn a_quota_that_is_used_up_is_a_queue() {
    let mut memory = Memory::default();
    let job = job_facts(recorded!("job-get-no-pod-possible.json"));
    let (uid, made_s) = (job.uid.clone(), job.created_s);
    memory.job_seen(job);
    memory.pod_refused(
        &uid,
        "Error creating: pods \"x\" is forbidden: exceeded quota: p".into(),
    );
    assert_eq!(memory.stuck("", made_s + 86_400), []);
}

#[test]
fn a_pod_that_cannot_start_gets_five_minutes() {
    let mut memory = Memory::default();
    let job = job_facts(recorded!("job-get-no-pod-possible.json"));
    let mut pod = parse::pod(&pod_of(recorded!("pod-pending-errimageneverpull.json"))).unwrap();
    pod.job_uid.clone_from(&job.uid);
    let start_s = job.created_s;
    memory.job_seen(job);
    memory.pod_seen(pod);
    assert_eq!(memory.stuck("", start_s + 100), []);
    assert_eq!(memory.stuck("", start_s + 1000).len(), 1);
    assert_eq!(memory.stuck("somebody-elses-", start_s + 1000), []);
}

#[test]
fn a_job_that_is_over_is_deleted_once_nobody_asks_for_it() {
    let mut memory = Memory::default();
    let job = job_facts(recorded!("job-get-complete.json"));
    let handle = Handle {
        name: job.name.clone(),
        uid: job.uid.clone(),
    };
    memory.job_seen(job);
    let (none, known) = (BTreeSet::new(), BTreeSet::from([handle.clone()]));
    assert_eq!(memory.done_with(&none), [], "its end was not told yet");
    assert_eq!(memory.tell("other-", &none, 0), []);
    assert_eq!(memory.done_with(&none), [], "not told to the right one yet");
    assert_eq!(memory.tell("pilot-", &known, 0).len(), 1);
    assert_eq!(memory.done_with(&known), []);
    assert_eq!(memory.done_with(&none), std::slice::from_ref(&handle));
    memory.job_dropped(&handle, None);
    assert_eq!(memory.done_with(&none), []);
    // Whoever still asks is told for a while.
    assert_eq!(memory.tell("pilot-", &none, 10), []);
    assert_eq!(memory.tell("pilot-", &known, 20).len(), 1);
    assert_eq!(memory.tell("pilot-", &known, 20_000), []);
}

#[test]
fn a_list_that_is_older_than_what_we_did_undoes_nothing() {
    let mut memory = Memory::default();
    let mut job = job_facts(recorded!("job-get-no-pod-possible.json"));
    job.version = 20;
    memory.job_seen(job.clone());
    memory.all_jobs(Vec::new(), 15);
    assert!(matches!(
        memory.tell("", &BTreeSet::new(), 0)[0].state,
        BatchState::Queued { .. }
    ));
    memory.all_jobs(Vec::new(), 25);
    let handle = Handle {
        name: job.name,
        uid: job.uid,
    };
    let told = memory.tell("", &BTreeSet::from([handle]), 0);
    assert!(
        matches!(told[0].state, BatchState::Ended { .. }),
        "{told:?}"
    );
}

#[test]
fn refusals_and_silence_are_told_apart() {
    let mut text = String::new();
    for (name, status) in [
        ("403 rbac", recorded!("err-403-rbac.json")),
        ("403 quota", recorded!("err-403-quota-jobs.json")),
        ("403 anonymous", recorded!("err-403-anonymous.json")),
        ("401", recorded!("err-401-bad-token.json")),
        ("404 job", recorded!("err-404-job.json")),
        ("404 namespace", recorded!("err-404-namespace-create.json")),
        ("409 exists", recorded!("err-409-alreadyexists.json")),
        (
            "409 conflict",
            recorded!("err-409-delete-precondition.json"),
        ),
        ("410", recorded!("err-410-continue-expired.json")),
        ("422", recorded!("err-422-invalid.json")),
        ("400 strict", recorded!("err-400-strict-unknown-field.json")),
        ("429", recorded!("err-429-eviction-pdb.json")),
        ("504", recorded!("err-504-future-rv.json")),
    ] {
        let status: Box<Status> = Box::new(status);
        let failure = || Failure::Api(status.clone());
        let is: Vec<&str> = [
            (failure().is_forbidden(), "forbidden"),
            (failure().is_absent(), "absent"),
            (failure().already_exists(), "exists"),
            (failure().is_conflict(), "conflict"),
            (failure().is_expired(), "expired"),
        ]
        .into_iter()
        .filter_map(|(holds, word)| holds.then_some(word))
        .collect();
        let error = failure().of_change().to_string();
        let error: String = error.chars().take(120).collect();
        writeln!(text, "{name}: {is:?} {error}").unwrap();
    }
    insta::assert_snapshot!(text);
}

#[test]
fn words_that_may_quote_a_secret_are_left_out() {
    let status: Status = recorded!("err-422-invalid.json");
    let error = Failure::Api(Box::new(status)).without_words().of_change();
    assert_eq!(error, AdapterError::Refused("Invalid (422)".into()));
}

fn seen() -> publish::Seen {
    let nodes: k8s_openapi::List<Node> = recorded!("nodes-list.json");
    publish::Seen {
        version: "v1.36.2".into(),
        nodes: Some(nodes.items),
        loads: vec![Load {
            node: Some("gridnode1".into()),
            cpu_milli: 300,
        }],
        counts: (2, 1),
        ..publish::Seen::default()
    }
}

fn published(seen: &publish::Seen, settings: &KubernetesSettings, ce: Value) -> CeState {
    let ce: Ce = serde_json::from_value(ce).unwrap();
    let id = "lyon/short".parse().unwrap();
    let mut state = CeState::unreachable(id, "kubernetes", Timestamp(0), String::new());
    publish::publish(seen, settings, &ce, &mut state);
    state
}

#[test]
fn publishes_what_the_nodes_have() {
    let state = published(&seen(), &settings(), json!({"name": "short"}));
    insta::assert_snapshot!(serde_json::to_string_pretty(&state).unwrap());
}

#[test]
fn nodes_for_others_count_for_those_who_tolerate_their_taint() {
    let tolerant = KubernetesSettings {
        tolerations: vec![json!({"key": "nvidia.com/gpu", "operator": "Exists"})],
        ..settings()
    };
    let ce = json!({"name": "gpu", "constraint": "node.kubernetes.io/instance-type=gpu8"});
    let state = published(&seen(), &tolerant, ce.clone());
    assert_eq!((state.cores_total, state.gpus_total), (Some(190), Some(8)));
    assert_eq!(
        (state.cores_free, state.cores_offline),
        (Some(127), Some(63))
    );
    assert_eq!(state.status, CeStatus::Production);
    let state = published(&seen(), &settings(), ce);
    assert_eq!(
        state.status,
        CeStatus::Draining,
        "the other one is cordoned"
    );
    let state = published(
        &seen(),
        &settings(),
        json!({"name": "x", "constraint": "pool=x"}),
    );
    assert_eq!(state.status, CeStatus::Closed);
}

#[test]
fn a_node_that_is_lost_closes_its_ce() {
    let seen = publish::Seen {
        nodes: Some(vec![recorded!("node-unreachable.json")]),
        ..seen()
    };
    let state = published(&seen, &settings(), json!({"name": "short"}));
    assert_eq!(state.status, CeStatus::Closed);
    assert_eq!(
        (state.nodes_offline, state.cores_offline),
        (Some(1), Some(1))
    );
}

#[test]
fn without_nodes_the_quota_is_the_site() {
    let seen = publish::Seen {
        nodes: None,
        quotas: vec![recorded!("resourcequota-status.json")],
        ranges: vec![recorded!("limitrange-get.json")],
        ..seen()
    };
    let state = published(&seen, &settings(), json!({"name": "short"}));
    assert_eq!((state.cores_total, state.cores_free), (Some(8), Some(1)));
    assert_eq!(
        (state.own_running_max, state.own_jobs_max),
        (Some(30), Some(40))
    );
    assert_eq!(state.node_memory_mib, Some(4096));
    assert_eq!(state.status, CeStatus::Production);
}

#[test]
fn a_quota_of_nothing_and_an_absent_class_close_a_ce() {
    let mut quota: Value = recorded!("resourcequota-status.json");
    quota["status"]["hard"]["requests.cpu"] = "0".into();
    let seen = publish::Seen {
        quotas: vec![serde_json::from_value(quota).unwrap()],
        absent_classes: ["low".to_owned()].into(),
        ..seen()
    };
    let state = published(&seen, &settings(), json!({"name": "short"}));
    assert_eq!(state.status, CeStatus::Closed);
    assert!(state.reason.unwrap().contains("requests.cpu"));
    let state = published(&seen, &settings(), json!({"name": "short", "queue": "low"}));
    assert_eq!(
        state.reason.as_deref(),
        Some("there is no priority class \"low\"")
    );
}

#[test]
fn quantities_are_read_in_all_their_forms() {
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
    for (text, milli) in [
        ("2", Some(2000)),
        ("1800m", Some(1800)),
        ("0.5", Some(500)),
        ("1e3", Some(1_000_000)),
        ("24684096Ki", Some(24_684_096 * 1024 * 1000)),
        ("1k", Some(1_000_000)),
        ("-1", None),
        ("many", None),
        ("", None),
    ] {
        assert_eq!(parse::milli(&Quantity(text.into())), milli, "{text}");
    }
    assert_eq!(parse::mib(&Quantity("900Gi".into())), Some(921_600));
    assert_eq!(parse::mib(&Quantity("264068368833".into())), Some(251_835));
}
