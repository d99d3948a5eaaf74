//! What Kubernetes is told: the Job of a pilot, and the Secret with its bootstrap document. Pure.

use fairway_model::KubernetesSettings;
use serde_json::{Map, Value, json};

use crate::{AdapterError, PilotJob};

/// Jobs, pods and Secrets of Fairway have this label, with the value [`MANAGER`].
pub(super) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// See [`MANAGED_BY`].
pub(super) const MANAGER: &str = "fairway";
/// Holds the pilot's job name, on its Job, its pods and its Secret.
pub(super) const PILOT_LABEL: &str = "fairway-pilot";
/// Where the bootstrap document is mounted.
const BOOTSTRAP_FOLDER: &str = "/run/fairway";
/// Its file name there, and its key in the Secret.
const BOOTSTRAP_FILE: &str = "bootstrap";
/// The pilot's own program reads the document from a file and needs no shell in its image.
const PILOT_PROGRAM: &str = "fairway-pilot";
/// Time between the warning (SIGTERM) and the end, in seconds: enough to hand tasks back.
const GRACE_S: u64 = 30;
/// A Job whose pod is not over so long after its walltime, its wait included, is ended by the
/// cluster itself, in seconds: the last resort if no server looks after it any more.
const FUSE_S: u64 = 24 * 3600;
/// A Job that is over is removed by the cluster after so many seconds, if the server does not do
/// so before: longer than an outage of the server should be.
const TTL_S: u64 = 24 * 3600;
/// Whom pilots run as, in the containers: nobody's account.
const USER: u32 = 65532;
/// The longest name that can also be the value of a label.
const NAME_BYTES_MAX: usize = 63;

/// Whether `text` can name a Job and be the value of its labels (a label of RFC 1123).
pub(super) fn is_job_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Whether `text` can be the value of a label.
fn is_label_value(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && text.bytes().all(inner)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
}

/// The Job of a pilot.
///
/// # Errors
/// `Refused` for what cannot be said to Kubernetes.
pub(super) fn job(
    job: &PilotJob,
    site: &str,
    settings: &KubernetesSettings,
) -> Result<Value, AdapterError> {
    check(job)?;
    let Some(image) = &settings.image else {
        return refuse("the site's settings name no image for the pilots".to_owned());
    };
    let labels = labels(job, site);
    let mut template = json!({
        "metadata": {"labels": labels},
        "spec": pod(job, settings, image)?,
    });
    if let Some(patch) = &settings.pod_template_patch {
        merge(&mut template, patch, None);
    }
    let mut spec = json!({
        // The decision about another pilot is the server's.
        "backoffLimit": 0,
        "activeDeadlineSeconds": job.walltime_s.saturating_add(FUSE_S),
        "ttlSecondsAfterFinished": TTL_S,
        "completions": 1,
        "parallelism": 1,
        "template": template,
    });
    if job.nodes > 1 {
        spec["completionMode"] = "Indexed".into();
        spec["completions"] = job.nodes.into();
        spec["parallelism"] = job.nodes.into();
        // One pilot that fails must not end its neighbours.
        if let Some(spec) = spec.as_object_mut() {
            spec.remove("backoffLimit");
        }
        spec["backoffLimitPerIndex"] = 0.into();
        spec["maxFailedIndexes"] = job.nodes.into();
    }
    Ok(json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": job.name, "labels": labels},
        "spec": spec,
    }))
}

/// The Secret with the bootstrap document of a Job; it goes when the Job goes.
pub(super) fn secret(job: &PilotJob, site: &str, job_uid: &str) -> Value {
    let mut data = Map::new();
    data.insert(BOOTSTRAP_FILE.to_owned(), job.stdin.clone().into());
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": job.name,
            "labels": labels(job, site),
            "ownerReferences": [{
                "apiVersion": "batch/v1",
                "kind": "Job",
                "name": job.name,
                "uid": job_uid,
            }],
        },
        "immutable": true,
        "type": "Opaque",
        "stringData": data,
    })
}

/// The labels that a node must have for a CE: the site's and the CE's `constraint`, which is
/// written `label=value,label=value`.
///
/// # Errors
/// `Refused` if it is written otherwise.
pub(super) fn node_selector(
    settings: &KubernetesSettings,
    constraint: Option<&str>,
) -> Result<Map<String, Value>, AdapterError> {
    let mut selector: Map<String, Value> = settings
        .node_selector
        .iter()
        .map(|(label, value)| (label.clone(), value.clone().into()))
        .collect();
    for pair in constraint.unwrap_or_default().split(',') {
        let pair = pair.trim();
        match pair.split_once('=') {
            Some((label, value)) => {
                selector.insert(label.trim().to_owned(), value.trim().into());
            }
            None if pair.is_empty() => {}
            None => {
                return refuse(format!(
                    "the constraint {pair:?} is not written label=value"
                ));
            }
        }
    }
    Ok(selector)
}

/// The extended resource that GPUs are.
pub(super) fn gpu_resource(settings: &KubernetesSettings) -> &str {
    settings.gpu_resource.as_deref().unwrap_or("nvidia.com/gpu")
}

/// The priority class of a CE's pilots: its queue, or else the site's.
pub(super) fn priority_class<'a>(
    settings: &'a KubernetesSettings,
    queue: Option<&'a str>,
) -> Option<&'a str> {
    queue.or(settings.priority_class.as_deref())
}

fn refuse<T>(why: String) -> Result<T, AdapterError> {
    Err(AdapterError::Refused(why))
}

/// Refuses what Kubernetes has no word for: better than a pilot without it.
fn check(job: &PilotJob) -> Result<(), AdapterError> {
    if !is_job_name(&job.name) {
        return refuse(format!(
            "the job name {:?} may hold only small letters, digits and -, at most \
             {NAME_BYTES_MAX}, and not begin or end with -",
            job.name
        ));
    }
    if job.program.is_empty() {
        return refuse("no pilot program is set".to_owned());
    }
    if job.reserve_at.is_some() || job.ce.reservation.is_some() {
        return refuse("Kubernetes gives no reservations".to_owned());
    }
    for (what, is_set) in [
        ("account", job.ce.account.is_some()),
        ("qos", job.ce.qos.is_some()),
        ("types", !job.ce.types.is_empty()),
        ("options", !job.ce.options.is_empty()),
    ] {
        if is_set {
            return refuse(format!(
                "Kubernetes has nothing that is like a CE's `{what}`; use pod_template_patch of \
                 the site"
            ));
        }
    }
    Ok(())
}

fn labels(job: &PilotJob, site: &str) -> Value {
    let mut labels = json!({
        MANAGED_BY: MANAGER,
        "app.kubernetes.io/name": PILOT_PROGRAM,
        PILOT_LABEL: job.name,
    });
    // For people who look at the cluster. Not every name can be a label's value.
    for (label, value) in [("fairway-site", site), ("fairway-ce", job.ce.name.as_str())] {
        if is_label_value(value) {
            labels[label] = value.into();
        }
    }
    labels
}

fn pod(job: &PilotJob, settings: &KubernetesSettings, image: &str) -> Result<Value, AdapterError> {
    let mut pod = json!({
        "restartPolicy": "Never",
        // Counts from the start on the node, unlike the Job's.
        "activeDeadlineSeconds": job.walltime_s.max(1),
        "terminationGracePeriodSeconds": GRACE_S,
        // Payloads have no business with the cluster's API.
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container(job, settings, image)],
        "volumes": [
            {
                "name": "bootstrap",
                "secret": {"secretName": job.name, "defaultMode": 0o440},
            },
            {"name": "tmp", "emptyDir": {}},
        ],
    });
    let mut selector = node_selector(settings, job.ce.constraint.as_deref())?;
    if let Some(kind) = job.ce.gpu_type.as_ref().filter(|_| job.resources.gpus > 0) {
        // The label that the vendor's discovery of features sets.
        selector.insert(
            format!("{}.product", gpu_resource(settings)),
            kind.clone().into(),
        );
    }
    if !selector.is_empty() {
        pod["nodeSelector"] = selector.into();
    }
    if !settings.tolerations.is_empty() {
        pod["tolerations"] = settings.tolerations.clone().into();
    }
    if let Some(class) = priority_class(settings, job.ce.queue.as_deref()) {
        pod["priorityClassName"] = class.into();
    }
    let account = job.run_as.as_ref().or(settings.service_account.as_ref());
    if let Some(account) = account {
        pod["serviceAccountName"] = account.clone().into();
    }
    if !settings.image_pull_secrets.is_empty() {
        let secrets = settings.image_pull_secrets.iter();
        pod["imagePullSecrets"] = secrets.map(|name| json!({"name": name})).collect();
    }
    if let Some(affinity) = affinity(job, settings) {
        pod["affinity"] = affinity;
    }
    Ok(pod)
}

fn container(job: &PilotJob, settings: &KubernetesSettings, image: &str) -> Value {
    let mut resources = Map::new();
    resources.insert("cpu".into(), job.resources.cores.max(1).to_string().into());
    if job.resources.memory_mib > 0 {
        resources.insert(
            "memory".into(),
            format!("{}Mi", job.resources.memory_mib).into(),
        );
    }
    if job.resources.gpus > 0 {
        resources.insert(
            gpu_resource(settings).to_owned(),
            job.resources.gpus.to_string().into(),
        );
    }
    let mut env = vec![json!({"name": "HOME", "value": "/tmp"})];
    if job.nodes > 1 {
        let index = "metadata.annotations['batch.kubernetes.io/job-completion-index']";
        env.push(json!({
            "name": "FAIRWAY_NODE",
            "valueFrom": {"fieldRef": {"fieldPath": index}},
        }));
    }
    json!({
        "name": "pilot",
        "image": image,
        "command": command(&job.program),
        "env": env,
        // Without limits of its own a pod gets the namespace's defaults, which may be smaller
        // than what it asks for.
        "resources": {"requests": resources, "limits": resources},
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "bootstrap", "mountPath": BOOTSTRAP_FOLDER, "readOnly": true},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    })
}

/// The container's command: the pilot with its document, or any other program with the document
/// as its standard input. Kubernetes replaces `$(NAME)`; `$$` is a dollar sign.
fn command(program: &[String]) -> Vec<String> {
    let file = format!("{BOOTSTRAP_FOLDER}/{BOOTSTRAP_FILE}");
    let is_pilot = |word: &String| word.rsplit('/').next() == Some(PILOT_PROGRAM);
    let words = match program {
        [one] if is_pilot(one) => vec![one.clone(), "--bootstrap".to_owned(), file],
        _ => {
            // `exec`, so that signals reach the program itself.
            let script = format!("exec \"$@\" <{file}");
            let shell = ["/bin/sh", "-c", &script, "fairway"].map(str::to_owned);
            shell
                .into_iter()
                .chain(program.iter().cloned())
                .collect::<Vec<_>>()
        }
    };
    words.iter().map(|word| word.replace('$', "$$")).collect()
}

/// The site's affinity, and what follows from nodes to avoid, from several nodes, and from nodes
/// that are wanted whole (that is: without another pilot).
fn affinity(job: &PilotJob, settings: &KubernetesSettings) -> Option<Value> {
    const HOST: &str = "kubernetes.io/hostname";
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    let mut affinity = settings.affinity.clone().unwrap_or_else(|| json!({}));
    if !job.avoid.is_empty() {
        let avoid = json!({"key": HOST, "operator": "NotIn", "values": job.avoid});
        let terms = array_at(
            &mut affinity,
            &["nodeAffinity", REQUIRED, "nodeSelectorTerms"],
        );
        if terms.is_empty() {
            terms.push(json!({}));
        }
        // A node needs to meet only one of them, so it must be in each.
        for term in terms {
            array_at(term, &["matchExpressions"]).push(avoid.clone());
        }
    }
    let apart_from = if job.ce.shape.whole_node {
        Some((MANAGED_BY, MANAGER))
    } else if job.nodes > 1 {
        Some((PILOT_LABEL, job.name.as_str()))
    } else {
        None
    };
    if let Some((label, value)) = apart_from {
        array_at(&mut affinity, &["podAntiAffinity", REQUIRED]).push(json!({
            "labelSelector": {"matchLabels": {label: value}},
            "topologyKey": HOST,
        }));
    }
    let is_empty = affinity.as_object().is_some_and(Map::is_empty);
    (!is_empty).then_some(affinity)
}

/// The array at `path`, made if it is not there.
fn array_at<'a>(value: &'a mut Value, path: &[&str]) -> &'a mut Vec<Value> {
    let mut place = value;
    for key in path {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[*key];
    }
    if !place.is_array() {
        *place = json!([]);
    }
    match place {
        Value::Array(items) => items,
        _ => unreachable!("it was made an array just above"),
    }
}

/// Merges `patch` over `target` as RFC 7396 says. Lists are replaced, except those whose items
/// Kubernetes tells apart by a key: an item of the same key is merged, another one added. So
/// a volume can be added without writing the whole pod again.
fn merge(target: &mut Value, patch: &Value, field: Option<&str>) {
    match (patch, &mut *target) {
        (Value::Object(patch), _) => {
            if !target.is_object() {
                *target = json!({});
            }
            for (name, value) in patch {
                if value.is_null() {
                    if let Some(target) = target.as_object_mut() {
                        target.remove(name);
                    }
                } else {
                    merge(&mut target[name.as_str()], value, Some(name));
                }
            }
        }
        (Value::Array(additions), Value::Array(items)) if field.and_then(key_of).is_some() => {
            let key = field.and_then(key_of).unwrap_or_default();
            for addition in additions {
                let same = items
                    .iter_mut()
                    .find(|item| addition.get(key).is_some() && item.get(key) == addition.get(key));
                match same {
                    Some(item) => merge(item, addition, None),
                    None => items.push(addition.clone()),
                }
            }
        }
        _ => *target = patch.clone(),
    }
}

/// What tells the items of a pod's lists apart.
fn key_of(list: &str) -> Option<&'static str> {
    match list {
        "containers" | "initContainers" | "volumes" | "env" => Some("name"),
        "volumeMounts" => Some("mountPath"),
        _ => None,
    }
}
