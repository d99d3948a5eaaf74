//! What Kubernetes answers about Jobs, pods and events: the few facts that are kept of each, and
//! what they mean in plain words. Pure.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateTerminated, ContainerStatus, Event, Pod, PodCondition, PodSpec,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::render::{MANAGED_BY, MANAGER, PILOT_LABEL};

/// How much of a message is kept.
const CHARS_MAX: usize = 300;

/// What is kept of a Job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct JobFacts {
    pub(super) uid: String,
    pub(super) name: String,
    /// Grows with each change.
    pub(super) version: u64,
    /// In seconds since the epoch.
    pub(super) created_s: i64,
    pub(super) suspended: bool,
    /// How it ended, if it did.
    pub(super) end: Option<JobEnd>,
}

/// How a Job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct JobEnd {
    pub(super) succeeded: bool,
    /// The Job's own reason, such as `BackoffLimitExceeded`.
    pub(super) reason: String,
}

/// What is kept of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PodFacts {
    pub(super) uid: String,
    pub(super) job_uid: String,
    pub(super) job_name: String,
    /// Grows with each change.
    pub(super) version: u64,
    pub(super) stage: Stage,
    /// What ends it now, or ended it, as far as it is known.
    pub(super) detail: String,
    pub(super) load: Load,
}

/// Where a pod is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has not started.
    Waiting {
        reason: String,
        /// Since when it is in a state that will not heal by itself, in seconds since the epoch.
        stuck_since_s: Option<i64>,
    },
    /// Its container runs.
    Running,
    /// It is over, or its object is gone.
    Over,
}

/// What a pod takes of its node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// Where it was put, if it was.
    pub(super) node: Option<String>,
    /// In thousandths of a core.
    pub(super) cpu_milli: u64,
}

/// The facts of a Job of ours.
pub(super) fn job(job: &Job) -> Option<JobFacts> {
    let meta = &job.metadata;
    if label(meta, MANAGED_BY) != Some(MANAGER) {
        return None;
    }
    let conditions = job.status.as_ref()?.conditions.as_deref();
    let end = conditions.unwrap_or_default().iter().find_map(|condition| {
        // Other conditions (Suspended, FailureTarget, SuccessCriteriaMet …) are no end yet.
        let succeeded = match condition.type_.as_str() {
            "Complete" => true,
            "Failed" => false,
            _ => return None,
        };
        (condition.status == "True").then(|| JobEnd {
            succeeded,
            reason: condition.reason.clone().unwrap_or_default(),
        })
    });
    Some(JobFacts {
        uid: meta.uid.clone()?,
        name: meta.name.clone()?,
        version: version(meta),
        created_s: meta.creation_timestamp.as_ref().map_or(0, seconds),
        suspended: job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true),
        end,
    })
}

/// The facts of a pod of ours.
pub(super) fn pod(pod: &Pod) -> Option<PodFacts> {
    let meta = &pod.metadata;
    if label(meta, MANAGED_BY) != Some(MANAGER) {
        return None;
    }
    let owner = meta
        .owner_references
        .iter()
        .flatten()
        .find(|owner| owner.kind == "Job")?;
    Some(PodFacts {
        uid: meta.uid.clone()?,
        job_uid: owner.uid.clone(),
        job_name: owner.name.clone(),
        version: version(meta),
        stage: stage(pod),
        detail: ending(pod),
        load: load(pod),
    })
}

/// The Job that a `FailedCreate` event speaks of, and why its pod is refused.
pub(super) fn refused_pod(event: &Event) -> Option<(String, String)> {
    if event.reason.as_deref() != Some("FailedCreate") {
        return None;
    }
    let message = event.message.as_deref().unwrap_or_default();
    let uid = event.involved_object.uid.clone()?;
    Some((uid, cut(message)))
}

/// What a pod takes: the sum of its containers, or the most that one of those before them takes.
pub(super) fn load(pod: &Pod) -> Load {
    let Some(spec) = &pod.spec else {
        return Load::default();
    };
    Load {
        node: spec.node_name.clone(),
        cpu_milli: cpu_milli(spec),
    }
}

/// Whether a pod is over, by its phase.
pub(super) fn is_over(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether a pod's phase is that it runs.
pub(super) fn is_running(pod: &Pod) -> bool {
    phase(pod) == "Running"
}

/// Whether a pod is one of Fairway's.
pub(super) fn is_ours(pod: &Pod) -> bool {
    label(&pod.metadata, MANAGED_BY) == Some(MANAGER) && label(&pod.metadata, PILOT_LABEL).is_some()
}

/// A quantity in thousandths of its unit; `None` if it cannot be read. They are written `2`,
/// `1800m`, `0.5`, `24684096Ki`, `900Gi`, `1e3`.
pub(super) fn milli(quantity: &Quantity) -> Option<u64> {
    let text = quantity.0.as_str();
    let (number, factor) = match text.strip_suffix('m') {
        Some(number) => (number, 1.0),
        None => {
            let (number, factor) = scaled(text);
            (number, factor * 1000.0)
        }
    };
    let value: f64 = number.parse().ok()?;
    let milli = (value * factor).round();
    // Beyond 2^53 a unit more or less does not matter.
    (milli.is_finite() && milli >= 0.0).then_some(milli as u64)
}

/// A quantity of bytes, in MiB.
pub(super) fn mib(quantity: &Quantity) -> Option<u64> {
    Some(milli(quantity)? / 1000 / (1 << 20))
}

fn scaled(text: &str) -> (&str, f64) {
    const SUFFIXES: [(&str, f64); 12] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    SUFFIXES
        .into_iter()
        .find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, factor)))
        .unwrap_or((text, 1.0))
}

/// A moment in seconds since the epoch.
pub(super) fn seconds(time: &Time) -> i64 {
    time.0.as_second()
}

fn version(meta: &ObjectMeta) -> u64 {
    let version = meta.resource_version.as_deref().unwrap_or_default();
    version.parse().unwrap_or(0)
}

fn label<'a>(meta: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    Some(meta.labels.as_ref()?.get(name)?.as_str())
}

fn phase(pod: &Pod) -> &str {
    let status = pod.status.as_ref();
    status
        .and_then(|status| status.phase.as_deref())
        .unwrap_or_default()
}

fn cpu_milli(spec: &PodSpec) -> u64 {
    let cpu = |container: &k8s_openapi::api::core::v1::Container| {
        let requests = container.resources.as_ref()?.requests.as_ref()?;
        milli(requests.get("cpu")?)
    };
    let together = spec.containers.iter().filter_map(cpu).sum();
    let before = spec.init_containers.iter().flatten().filter_map(cpu).max();
    before.unwrap_or(0).max(together)
}

fn stage(pod: &Pod) -> Stage {
    match phase(pod) {
        "Succeeded" | "Failed" => Stage::Over,
        "Running" => Stage::Running,
        // `Pending`, and `Unknown`, which no cluster says any more.
        _ => waiting(pod),
    }
}

/// What a pod waits for.
fn waiting(pod: &Pod) -> Stage {
    if let Some(unscheduled) = condition(pod, "PodScheduled").filter(|c| c.status == "False") {
        return Stage::Waiting {
            reason: said(
                unscheduled.reason.as_deref(),
                unscheduled.message.as_deref(),
            ),
            stuck_since_s: None,
        };
    }
    let waiting = container(pod)
        .and_then(|status| status.state.as_ref()?.waiting.as_ref())
        .filter(|waiting| waiting.reason.is_some());
    let Some(waiting) = waiting else {
        return Stage::Waiting {
            reason: "its pod is pending".to_owned(),
            stuck_since_s: None,
        };
    };
    let start = pod.status.as_ref().and_then(|s| s.start_time.as_ref());
    let is_stuck = matches!(
        waiting.reason.as_deref(),
        Some(
            "ErrImageNeverPull"
                | "ErrImagePull"
                | "ImagePullBackOff"
                | "ImageInspectError"
                | "InvalidImageName"
                | "CreateContainerConfigError"
                | "CreateContainerError"
        )
    );
    Stage::Waiting {
        reason: said(waiting.reason.as_deref(), waiting.message.as_deref()),
        stuck_since_s: start.filter(|_| is_stuck).map(seconds),
    }
}

/// What there is to say of a pod's end, or of what ends it now. Empty if that is nothing.
fn ending(pod: &Pod) -> String {
    let mut words = Vec::new();
    if let Some(status) = &pod.status
        && let Some(reason) = &status.reason
    {
        words.push(said(Some(plain(reason)), status.message.as_deref()));
    }
    if let Some(disruption) = condition(pod, "DisruptionTarget").filter(|c| c.status == "True") {
        let reason = disruption.reason.as_deref().map(plain);
        words.push(said(reason, disruption.message.as_deref()));
    }
    let terminated = container(pod).and_then(|status| {
        let terminated = |state: &ContainerState| state.terminated.clone();
        terminated(status.state.as_ref()?)
    });
    words.extend(terminated.as_ref().map(container_end));
    words.retain(|word| !word.is_empty());
    words.join("; ")
}

/// How a container ended. The reason counts beside the exit code: a payload that was killed for
/// lack of memory leaves the reason `OOMKilled` with the exit code 0 of the pilot.
fn container_end(end: &ContainerStateTerminated) -> String {
    let code = end.exit_code;
    let message = end.message.as_deref();
    match end.reason.as_deref().unwrap_or_default() {
        "Completed" | "Error" | "" => said(Some(&format!("exit code {code}")), message),
        "OOMKilled" => format!("out of memory (OOMKilled), exit code {code}"),
        "StartError" | "ContainerCannotRun" => {
            said(Some("the program could not be started"), message)
        }
        other => said(Some(&format!("{other}, exit code {code}")), message),
    }
}

/// A reason of Kubernetes in plain words, where there are some.
fn plain(reason: &str) -> &str {
    match reason {
        "Evicted" | "TerminationByKubelet" => "evicted by its node",
        "DeadlineExceeded" => "its walltime was over (DeadlineExceeded)",
        "PreemptionByScheduler" => "preempted by a pod of higher priority",
        "EvictionByEvictionAPI" => "evicted, as when a node is drained",
        "DeletionByTaintManager" => "its node was lost, or must be left",
        "DeletionByPodGC" => "its node is gone",
        other => other,
    }
}

fn said(reason: Option<&str>, message: Option<&str>) -> String {
    let words = [reason, message].into_iter().flatten().map(str::trim);
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    cut(&words.join(": "))
}

fn cut(text: &str) -> String {
    let text = text.replace(char::is_control, " ");
    text.trim().chars().take(CHARS_MAX).collect()
}

fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// The pilot's container, which is the first unless the site's patch says otherwise.
fn container(pod: &Pod) -> Option<&ContainerStatus> {
    let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
    let pilot = containers.iter().find(|status| status.name == "pilot");
    pilot.or_else(|| containers.first())
}
