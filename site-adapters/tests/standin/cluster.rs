//! What happens behind the API server: admission, the Job controller, the scheduler and the
//! garbage collector.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::kubelet::Kubelet;
use super::status::{self, Refusal, set_condition};
use super::store::{Kind, Store, name, now};
use super::{NAMESPACE, Settings, Shared};

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(10);
/// The finalizer of pods that their Job has not counted yet.
const TRACKING: &str = "batch.kubernetes.io/job-tracking";
const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// Runs until it is told to stop, and leaves no process.
pub(super) fn live(shared: &Shared, files: &Path, stopped: &watch::Receiver<bool>) {
    let mut kubelet = Kubelet::new(files, shared.settings.pretend);
    let mut retries = Retries::default();
    while !*stopped.borrow() {
        let begin = Instant::now();
        let before = {
            let mut store = shared.store();
            let before = store.version();
            if std::mem::take(&mut store.is_new) || kubelet.is_busy() || retries.is_due() {
                kubelet.step(&mut store);
                control_jobs(&mut store, &shared.settings, &mut retries);
                schedule(&mut store);
            }
            before != store.version()
        };
        if before {
            shared.announce();
        }
        // Those who ask are not kept waiting for long, however many objects there are.
        std::thread::sleep(LOOK.max(begin.elapsed() * 4));
    }
    kubelet.end_all();
}

/// When a pod that was refused is tried again, by the Job's uid.
#[derive(Default)]
struct Retries(HashMap<String, (Instant, Duration)>);

impl Retries {
    fn is_due(&self) -> bool {
        self.0.values().any(|(at, _)| *at <= Instant::now())
    }

    fn may_try(&self, job: &str) -> bool {
        self.0.get(job).is_none_or(|(at, _)| *at <= Instant::now())
    }

    fn refused(&mut self, job: &str) {
        let gap = self
            .0
            .get(job)
            .map_or(Duration::from_secs(1), |(_, gap)| *gap * 2);
        self.0.insert(job.to_owned(), (Instant::now() + gap, gap));
    }
}

/// What the validation of a Job finds: fields, and what is wrong with each.
pub(super) fn wrong_with(job: &Value) -> Vec<(String, String)> {
    let mut wrong = Vec::new();
    let mut note = |field: &str, words: String| wrong.push((field.to_owned(), words));
    let is_label = |text: &str| {
        text.len() <= 63
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    let name = name(job);
    if name.is_empty()
        || name
            .chars()
            .any(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c)))
    {
        note(
            "metadata.name",
            format!(
                "Invalid value: \"{name}\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character"
            ),
        );
    }
    let pod = &job["spec"]["template"]["spec"];
    if let Some(deadline) = pod["activeDeadlineSeconds"].as_u64()
        && !(1..=0x7fff_ffff).contains(&deadline)
    {
        note(
            "spec.template.spec.activeDeadlineSeconds",
            format!("Invalid value: {deadline}: must be between 1 and 2147483647, inclusive"),
        );
    }
    for (_, value) in pod["nodeSelector"].as_object().into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        if !is_label(value) {
            note(
                "spec.template.spec.nodeSelector",
                format!(
                    "Invalid value: \"{value}\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
                ),
            );
        }
    }
    if !matches!(pod["restartPolicy"].as_str(), Some("Never" | "OnFailure")) {
        note(
            "spec.template.spec.restartPolicy",
            "Required value: valid values: \"OnFailure\", \"Never\"".to_owned(),
        );
    }
    wrong
}

/// A quota on the number of Jobs is the only one that refuses the Job itself.
pub(super) fn admit_job(store: &Store, name: &str) -> Result<(), Refusal> {
    let used = store.all(Kind::Job).count();
    for quota in store.all(Kind::Quota) {
        let Some(hard) = quota["spec"]["hard"]["count/jobs.batch"].as_str() else {
            continue;
        };
        if used >= hard.parse::<usize>().unwrap() {
            let words = format!(
                "requested: count/jobs.batch=1, used: count/jobs.batch={used}, limited: count/jobs.batch={hard}"
            );
            return Err(status::over_quota(Kind::Job, name, &words));
        }
    }
    Ok(())
}

pub(super) fn set_defaults(job: &mut Value) {
    let spec = &mut job["spec"];
    for (field, default) in [
        ("parallelism", json!(1)),
        ("completions", json!(1)),
        ("completionMode", json!("NonIndexed")),
        ("suspend", json!(false)),
    ] {
        if spec[field].is_null() {
            spec[field] = default;
        }
    }
    if spec["backoffLimit"].is_null() {
        let per_index = !spec["backoffLimitPerIndex"].is_null();
        spec["backoffLimit"] = if per_index { 0x7fff_ffff } else { 6 }.into();
    }
    job["status"] = json!({});
}

/// Gives a Job that was just made its selector, and its pods' labels.
pub(super) fn adopt(store: &mut Store, mut job: Value) -> Value {
    let uid = job["metadata"]["uid"].clone();
    let name = name(&job).to_owned();
    job["spec"]["selector"] = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
    let labels = &mut job["spec"]["template"]["metadata"]["labels"];
    labels["batch.kubernetes.io/controller-uid"] = uid;
    labels["batch.kubernetes.io/job-name"] = name.into();
    store.put(Kind::Job, job)
}

/// Marks a pod as to be ended; its grace period begins.
pub(super) fn terminate(pod: &mut Value) {
    if pod["metadata"]["deletionTimestamp"].is_null() {
        let grace = pod["spec"]["terminationGracePeriodSeconds"].as_u64();
        pod["metadata"]["deletionTimestamp"] = now().into();
        pod["metadata"]["deletionGracePeriodSeconds"] = grace.unwrap_or(30).into();
    }
}

fn is_owned_by(object: &Value, uid: &Value) -> bool {
    let owners = object["metadata"]["ownerReferences"].as_array();
    owners.is_some_and(|owners| owners.iter().any(|owner| owner["uid"] == *uid))
}

/// Deletes a Job; returns it if it stays until its pods are gone.
pub(super) fn delete_job(store: &mut Store, name: &str, policy: &str) -> Option<Value> {
    let mut job = store.get(Kind::Job, name)?.clone();
    let uid = job["metadata"]["uid"].clone();
    let pods: Vec<Value> = store
        .all(Kind::Pod)
        .filter(|pod| is_owned_by(pod, &uid))
        .cloned()
        .collect();
    for mut pod in pods {
        if policy == "Orphan" {
            pod["metadata"]["ownerReferences"] = json!([]);
        } else {
            terminate(&mut pod);
        }
        store.put(Kind::Pod, pod);
    }
    if policy == "Foreground" {
        job["metadata"]["deletionTimestamp"] = now().into();
        job["metadata"]["finalizers"] = json!(["foregroundDeletion"]);
        return Some(store.put(Kind::Job, job));
    }
    remove_job(store, name, &uid);
    None
}

/// Removes a Job, and with it the Secrets that belong to it.
fn remove_job(store: &mut Store, name: &str, uid: &Value) {
    store.remove(Kind::Job, name);
    let secrets: Vec<String> = store
        .all(Kind::Secret)
        .filter(|secret| is_owned_by(secret, uid))
        .map(|secret| super::store::name(secret).to_owned())
        .collect();
    for secret in secrets {
        store.remove(Kind::Secret, &secret);
    }
}

fn phase(pod: &Value) -> &str {
    pod["status"]["phase"].as_str().unwrap_or("Pending")
}

fn is_finished(pod: &Value) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

fn control_jobs(store: &mut Store, settings: &Settings, retries: &mut Retries) {
    let mut pods: HashMap<&str, Vec<&Value>> = HashMap::new();
    for pod in store.all(Kind::Pod) {
        let owner = pod["metadata"]["ownerReferences"][0]["uid"].as_str();
        pods.entry(owner.unwrap_or_default()).or_default().push(pod);
    }
    let mut work: Vec<(Value, Vec<Value>)> = Vec::new();
    for job in store.all(Kind::Job) {
        let uid = job["metadata"]["uid"].as_str().unwrap();
        let pods = pods.remove(uid).unwrap_or_default();
        if needs_attention(job, &pods) {
            work.push((job.clone(), pods.into_iter().cloned().collect()));
        }
    }
    // Pods of Jobs that are gone: nobody counts them any more.
    let orphans = pods.into_values().flatten().filter(|pod| is_finished(pod));
    let orphans: Vec<Value> = orphans.cloned().collect();
    for (job, pods) in work {
        control_job(store, settings, retries, job, pods);
    }
    for mut pod in orphans {
        count(&mut pod);
        collect(store, pod);
    }
}

/// Whether a Job is not as its pods are.
fn needs_attention(job: &Value, pods: &[&Value]) -> bool {
    let status = &job["status"];
    let number = |field: &str| status[field].as_u64().unwrap_or(0);
    let live = pods.iter().filter(|pod| !is_finished(pod));
    let ready = live.clone().filter(|pod| phase(pod) == "Running").count() as u64;
    let wanted = job["spec"]["parallelism"].as_u64().unwrap_or(1);
    let live = live.count() as u64;
    let is_uncounted =
        |pod: &&&Value| is_finished(pod) && pod["metadata"]["finalizers"] == json!([TRACKING]);
    !job["metadata"]["deletionTimestamp"].is_null()
        || pods.iter().any(|pod| is_uncounted(&pod))
        || pods
            .iter()
            .any(|pod| is_finished(pod) && !pod["metadata"]["deletionTimestamp"].is_null())
        || (number("active"), number("ready")) != (live, ready)
        || (status["conditions"].is_null()
            && (live == 0 || live + number("succeeded") + number("failed") < wanted))
}

fn count(pod: &mut Value) -> bool {
    let finalizers = pod["metadata"]["finalizers"].as_array_mut();
    finalizers.is_some_and(|finalizers| {
        let before = finalizers.len();
        finalizers.retain(|finalizer| finalizer != TRACKING);
        finalizers.len() < before
    })
}

/// Keeps a pod that is over, or removes it if it was deleted.
fn collect(store: &mut Store, pod: Value) {
    let name = name(&pod).to_owned();
    let is_deleted = !pod["metadata"]["deletionTimestamp"].is_null();
    store.put(Kind::Pod, pod);
    if is_deleted {
        store.remove(Kind::Pod, &name);
    }
}

fn control_job(
    store: &mut Store,
    settings: &Settings,
    retries: &mut Retries,
    mut job: Value,
    pods: Vec<Value>,
) {
    if !job["metadata"]["deletionTimestamp"].is_null() && pods.is_empty() {
        let uid = job["metadata"]["uid"].clone();
        return remove_job(store, name(&job), &uid);
    }
    let uid = job["metadata"]["uid"].as_str().unwrap().to_owned();
    let mut indexes: Vec<u64> = Vec::new();
    let (mut active, mut ready) = (0_u32, 0_u32);
    for mut pod in pods {
        indexes.extend(
            pod["metadata"]["annotations"][INDEX]
                .as_str()
                .map(|i| i.parse::<u64>().unwrap()),
        );
        if is_finished(&pod) {
            let field = if phase(&pod) == "Succeeded" {
                "succeeded"
            } else {
                "failed"
            };
            if count(&mut pod) {
                let counted = job["status"][field].as_u64().unwrap_or(0);
                job["status"][field] = (counted + 1).into();
            }
            collect(store, pod);
        } else {
            active += 1;
            ready += u32::from(phase(&pod) == "Running");
        }
    }
    let counted = |field: &str| job["status"][field].as_u64().unwrap_or(0);
    let (done, failed) = (counted("succeeded"), counted("failed"));
    let wanted = job["spec"]["parallelism"].as_u64().unwrap_or(1);
    let is_over = !job["status"]["conditions"].is_null();
    let is_indexed = job["spec"]["completionMode"] == "Indexed";
    if job["spec"]["suspend"] != true && job["metadata"]["deletionTimestamp"].is_null() && !is_over
    {
        job["status"]["startTime"] = job["metadata"]["creationTimestamp"].clone();
        let missing = wanted.saturating_sub(done + failed + u64::from(active));
        if missing > 0 && retries.may_try(&uid) {
            for index in (0..wanted)
                .filter(|i| !indexes.contains(i))
                .take(usize::try_from(missing).unwrap())
            {
                let pod = pod_of(&job, is_indexed.then_some(index));
                match admit_pod(store, settings, &pod) {
                    Ok(()) => {
                        store.put(Kind::Pod, pod);
                        active += 1;
                    }
                    Err(why) => {
                        retries.refused(&uid);
                        failed_create(store, &job, &pod, &why);
                        break;
                    }
                }
            }
        }
    }
    job["status"]["ready"] = ready.into();
    match active {
        0 => drop(
            job["status"]
                .as_object_mut()
                .map(|status| status.remove("active")),
        ),
        active => job["status"]["active"] = active.into(),
    }
    if !is_over && active == 0 && done + failed >= wanted {
        let (first, last, reason, message) = match (failed, is_indexed) {
            (0, _) => (
                "SuccessCriteriaMet",
                "Complete",
                "CompletionsReached",
                "Reached expected number of succeeded pods",
            ),
            (_, true) => (
                "FailureTarget",
                "Failed",
                "FailedIndexes",
                "Job has failed indexes",
            ),
            (_, false) => (
                "FailureTarget",
                "Failed",
                "BackoffLimitExceeded",
                "Job has reached the specified backoff limit",
            ),
        };
        for kind in [first, last] {
            set_condition(
                &mut job,
                &json!({
                    "type": kind, "status": "True", "reason": reason, "message": message,
                    "lastTransitionTime": now(), "lastProbeTime": now(),
                }),
            );
        }
        if last == "Complete" {
            job["status"]["completionTime"] = now().into();
        }
    }
    if store.get(Kind::Job, name(&job)).is_some() {
        store.put(Kind::Job, job);
    }
}

fn pod_of(job: &Value, index: Option<u64>) -> Value {
    static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let mut meta = job["spec"]["template"]["metadata"].clone();
    let middle = index.map_or(String::new(), |index| format!("{index}-"));
    meta["generateName"] = format!("{}-{middle}", name(job)).into();
    meta["name"] = format!("{}-{middle}{number:05x}", name(job)).into();
    meta["namespace"] = NAMESPACE.into();
    meta["finalizers"] = json!([TRACKING]);
    meta["ownerReferences"] = json!([{
        "apiVersion": "batch/v1", "kind": "Job", "name": name(job),
        "uid": job["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
    }]);
    if let Some(index) = index {
        meta["annotations"][INDEX] = index.to_string().into();
    }
    json!({
        "metadata": meta,
        "spec": job["spec"]["template"]["spec"],
        "status": {"phase": "Pending", "qosClass": "Guaranteed"},
    })
}

/// A quantity of the few forms that tests use, in thousandths.
fn milli(quantity: &Value) -> u64 {
    let text = quantity.as_str().unwrap_or("0");
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number: u64 = text[..split].parse().unwrap_or(0);
    match &text[split..] {
        "m" => number,
        "Ki" => (number << 10) * 1000,
        "Mi" => (number << 20) * 1000,
        "Gi" => (number << 30) * 1000,
        _ => number * 1000,
    }
}

fn request(pod: &Value, resource: &str) -> u64 {
    milli(&pod["spec"]["containers"][0]["resources"]["requests"][resource])
}

/// What refuses a pod, and not its Job.
fn admit_pod(store: &Store, settings: &Settings, pod: &Value) -> Result<(), String> {
    let spec = &pod["spec"];
    let container = &spec["containers"][0];
    if let Some(class) = spec["priorityClassName"].as_str()
        && store.get(Kind::Class, class).is_none()
    {
        return Err(format!("no PriorityClass with name {class} was found"));
    }
    if let Some(max) = settings.container_memory_max_mib {
        let limit = &container["resources"]["limits"]["memory"];
        if milli(limit) > (max << 20) * 1000 {
            let limit = limit.as_str().unwrap_or_default();
            return Err(format!(
                "maximum memory usage per Container is {max}Mi, but limit is {limit}"
            ));
        }
    }
    if settings.restricted {
        let mut lacks = Vec::new();
        if container["securityContext"]["allowPrivilegeEscalation"] != false {
            lacks.push("allowPrivilegeEscalation != false");
        }
        if container["securityContext"]["capabilities"]["drop"] != json!(["ALL"]) {
            lacks.push("unrestricted capabilities");
        }
        if spec["securityContext"]["runAsNonRoot"] != true {
            lacks.push("runAsNonRoot != true");
        }
        if spec["securityContext"]["seccompProfile"]["type"] != "RuntimeDefault" {
            lacks.push("seccompProfile");
        }
        if spec["volumes"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|v| !v["hostPath"].is_null())
        {
            lacks.push("restricted volume types");
        }
        if !lacks.is_empty() {
            return Err(format!(
                "violates PodSecurity \"restricted:latest\": {}",
                lacks.join(", ")
            ));
        }
    }
    for (resource, hard) in settings
        .quota
        .iter()
        .flat_map(|hard| hard.as_object().unwrap())
    {
        let takes = |pod: &Value| match resource.as_str() {
            "pods" => 1000,
            other => other
                .strip_prefix("requests.")
                .map_or(0, |resource| request(pod, resource)),
        };
        let live = store.all(Kind::Pod).filter(|pod| !is_finished(pod));
        let used: u64 = live.map(takes).sum();
        if takes(pod) > 0 && used + takes(pod) > milli(hard) {
            let (asked, hard) = (takes(pod), hard.as_str().unwrap());
            return Err(format!(
                "exceeded quota: pilots, requested: {resource}={asked}m, used: {resource}={used}m, limited: {resource}={hard}"
            ));
        }
    }
    Ok(())
}

fn failed_create(store: &mut Store, job: &Value, pod: &Value, why: &str) {
    let number = store.version();
    store.put(Kind::Event, json!({
        "metadata": {"name": format!("{}.{number:016x}", name(job)), "namespace": NAMESPACE},
        "involvedObject": {
            "kind": "Job", "namespace": NAMESPACE, "name": name(job), "apiVersion": "batch/v1",
            "uid": job["metadata"]["uid"], "resourceVersion": job["metadata"]["resourceVersion"],
        },
        "reason": "FailedCreate",
        "message": format!("Error creating: pods \"{}\" is forbidden: {why}", name(pod)),
        "source": {"component": "job-controller"},
        "firstTimestamp": now(), "lastTimestamp": now(), "count": 1, "type": "Warning",
        "eventTime": null, "reportingComponent": "job-controller", "reportingInstance": "",
    }));
}

/// Gives waiting pods their nodes.
fn schedule(store: &mut Store) {
    let nodes: Vec<Value> = store.all(Kind::Node).cloned().collect();
    let mut free: BTreeMap<String, u64> = nodes
        .iter()
        .map(|node| {
            (
                name(node).to_owned(),
                milli(&node["status"]["allocatable"]["cpu"]),
            )
        })
        .collect();
    let mut placed: Vec<(String, Value)> = Vec::new();
    let mut waiting = Vec::new();
    for pod in store.all(Kind::Pod).filter(|pod| !is_finished(pod)) {
        match pod["spec"]["nodeName"].as_str() {
            Some(node) => {
                if let Some(free) = free.get_mut(node) {
                    *free = free.saturating_sub(request(pod, "cpu"));
                }
                placed.push((node.to_owned(), pod["metadata"]["labels"].clone()));
            }
            None if pod["metadata"]["deletionTimestamp"].is_null() => waiting.push(pod.clone()),
            None => {}
        }
    }
    // The oldest first.
    waiting.sort_by_key(|pod| {
        pod["metadata"]["uid"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    });
    for mut pod in waiting {
        let mut why = BTreeMap::new();
        let place = nodes.iter().find(|node| {
            let refusal = refusal(node, &pod, free[name(node)], &placed);
            if let Some(refusal) = refusal {
                *why.entry(refusal).or_insert(0) += 1;
            }
            refusal.is_none()
        });
        if let Some(node) = place {
            pod["spec"]["nodeName"] = name(node).into();
            *free.get_mut(name(node)).unwrap() -= request(&pod, "cpu");
            placed.push((name(node).to_owned(), pod["metadata"]["labels"].clone()));
            set_condition(&mut pod, &json!({"type": "PodScheduled", "status": "True"}));
            pod["status"]["startTime"] = now().into();
        } else {
            let why: Vec<String> = why
                .into_iter()
                .map(|(why, n)| format!("{n} {why}"))
                .collect();
            let message = format!("0/{} nodes are available: {}.", nodes.len(), why.join(", "));
            set_condition(
                &mut pod,
                &json!({
                    "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                    "message": message,
                }),
            );
        }
        store.put(Kind::Pod, pod);
    }
}

/// Why a node does not take a pod.
fn refusal(
    node: &Value,
    pod: &Value,
    free: u64,
    placed: &[(String, Value)],
) -> Option<&'static str> {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    let labels = &node["metadata"]["labels"];
    let spec = &pod["spec"];
    if node["spec"]["unschedulable"] == true {
        return Some("node(s) were unschedulable");
    }
    let selector = spec["nodeSelector"].as_object();
    let is_chosen = selector
        .into_iter()
        .flatten()
        .all(|(label, value)| labels[label] == *value);
    let terms = spec["affinity"]["nodeAffinity"][REQUIRED]["nodeSelectorTerms"].as_array();
    let meets = |term: &Value| {
        let expressions = term["matchExpressions"].as_array();
        expressions.into_iter().flatten().all(|expression| {
            let label = &labels[expression["key"].as_str().unwrap_or_default()];
            let is_in = expression["values"]
                .as_array()
                .is_some_and(|v| v.contains(label));
            is_in == (expression["operator"] == "In")
        })
    };
    if !is_chosen || !terms.is_none_or(|terms| terms.iter().any(meets)) {
        return Some("node(s) didn't match Pod's node affinity/selector");
    }
    let apart = spec["affinity"]["podAntiAffinity"][REQUIRED].as_array();
    for rule in apart.into_iter().flatten() {
        let wanted = rule["labelSelector"]["matchLabels"].as_object().unwrap();
        let is_there = placed.iter().any(|(place, labels)| {
            place == name(node) && wanted.iter().all(|(label, value)| labels[label] == *value)
        });
        if is_there {
            return Some("node(s) didn't match pod anti-affinity rules");
        }
    }
    (request(pod, "cpu") > free).then_some("Insufficient cpu")
}
