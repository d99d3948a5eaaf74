//! What a site's CEs publish: from nodes, what their pods ask for, quotas and limits. Pure.
//!
//! Kubernetes has no queues. A CE is a set of nodes (the site's `node_selector` with the CE's
//! `constraint`) and a priority class (its `queue`).

use std::collections::{BTreeMap, BTreeSet};

use fairway_model::{Ce, CeState, CeStatus, KubernetesSettings};
use k8s_openapi::api::core::v1::{LimitRange, Node, ResourceQuota, Taint, Toleration};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::parse::{Load, mib, milli};
use super::render;

/// Labels of nodes that are published at most.
const FEATURES_MAX: usize = 100;
/// Taints of this family say how a node is; others say whom it is for.
const CONDITION_TAINTS: &str = "node.kubernetes.io/";

/// What was seen of the cluster.
#[derive(Default)]
pub(super) struct Seen {
    /// Such as `v1.36.2`.
    pub(super) version: String,
    /// Why the namespace takes no pods, if it takes none.
    pub(super) closed: Option<String>,
    /// `None` if we may not list them.
    pub(super) nodes: Option<Vec<Node>>,
    /// What every pod that is not over takes.
    pub(super) loads: Vec<Load>,
    pub(super) quotas: Vec<ResourceQuota>,
    pub(super) ranges: Vec<LimitRange>,
    /// Pods of the namespace that run, and that wait.
    pub(super) counts: (u32, u32),
    /// Priority classes that were asked for and do not exist.
    pub(super) absent_classes: BTreeSet<String>,
}

/// Writes what is known of `ce` into `state`.
pub(super) fn publish(seen: &Seen, settings: &KubernetesSettings, ce: &Ce, state: &mut CeState) {
    state.lrms.1 = seen.version.trim_start_matches('v').to_owned();
    state.status = CeStatus::Production;
    state.reason = None;
    state.jobs_running = Some(seen.counts.0);
    state.jobs_waiting = Some(seen.counts.1);
    let closed = |state: &mut CeState, why: String| {
        state.status = CeStatus::Closed;
        state.reason = Some(why);
    };
    if let Some(nodes) = &seen.nodes {
        match Capacity::of(nodes, &seen.loads, settings, ce) {
            Ok(capacity) => capacity.publish(state),
            Err(why) => closed(state, why),
        }
    }
    for quota in &seen.quotas {
        apply_quota(quota, render::gpu_resource(settings), state);
    }
    for range in &seen.ranges {
        apply_range(range, state);
    }
    if let Some(class) = render::priority_class(settings, ce.queue.as_deref())
        && seen.absent_classes.contains(class)
    {
        closed(state, format!("there is no priority class {class:?}"));
    }
    if let Some(why) = &seen.closed {
        closed(state, why.clone());
    }
}

/// What the nodes of a CE have.
#[derive(Default)]
struct Capacity {
    nodes: u32,
    nodes_free: u32,
    nodes_offline: u32,
    /// Nodes that run what they have and take nothing new.
    nodes_cordoned: u32,
    cores: u64,
    cores_free: u64,
    cores_used: u64,
    cores_offline: u64,
    gpus: u64,
    node_cores: u64,
    node_memory_mib: u64,
    architectures: BTreeSet<String>,
    systems: BTreeSet<String>,
    features: BTreeSet<String>,
}

impl Capacity {
    fn of(
        nodes: &[Node],
        loads: &[Load],
        settings: &KubernetesSettings,
        ce: &Ce,
    ) -> Result<Self, String> {
        let selector = render::node_selector(settings, ce.constraint.as_deref())
            .map_err(|error| error.to_string())?;
        let tolerations: Vec<Toleration> = settings
            .tolerations
            .iter()
            .map(|toleration| serde_json::from_value(toleration.clone()))
            .collect::<Result<_, _>>()
            .map_err(|error| format!("a toleration of the site cannot be read: {error}"))?;
        let mut used: BTreeMap<&str, u64> = BTreeMap::new();
        for load in loads {
            if let Some(node) = &load.node {
                *used.entry(node).or_default() += load.cpu_milli;
            }
        }
        let mut capacity = Self::default();
        for node in nodes {
            let labels = node.metadata.labels.as_ref();
            let is_chosen = selector.iter().all(|(label, value)| {
                labels
                    .and_then(|labels| labels.get(label))
                    .map(String::as_str)
                    == value.as_str()
            });
            let is_for_others = untolerated(node, &tolerations)
                .any(|taint| !taint.key.starts_with(CONDITION_TAINTS));
            if is_chosen && !is_for_others {
                let name = node.metadata.name.as_deref().unwrap_or_default();
                capacity.add(
                    node,
                    used.get(name).copied().unwrap_or(0),
                    &tolerations,
                    render::gpu_resource(settings),
                );
            }
        }
        Ok(capacity)
    }

    fn add(&mut self, node: &Node, used_milli: u64, tolerations: &[Toleration], gpu: &str) {
        let status = node.status.as_ref();
        let allocatable =
            |resource: &str| -> Option<&Quantity> { status?.allocatable.as_ref()?.get(resource) };
        let cpu_milli = allocatable("cpu").and_then(milli).unwrap_or(0);
        let cores = cpu_milli / 1000;
        self.nodes += 1;
        self.cores += cores;
        self.cores_used += used_milli.min(cpu_milli).div_ceil(1000);
        self.gpus += allocatable(gpu).and_then(milli).unwrap_or(0) / 1000;
        self.node_cores = self.node_cores.max(cores);
        let memory_mib = allocatable("memory").and_then(mib).unwrap_or(0);
        self.node_memory_mib = self.node_memory_mib.max(memory_mib);
        self.describe(node);
        let is_cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true);
        let is_shut = untolerated(node, tolerations).next().is_some();
        if !is_ready(node) || is_cordoned || is_shut {
            self.nodes_offline += 1;
            self.cores_offline += cores;
            if is_ready(node) && is_cordoned {
                self.nodes_cordoned += 1;
            }
            return;
        }
        self.cores_free += cpu_milli.saturating_sub(used_milli) / 1000;
        if used_milli == 0 {
            self.nodes_free += 1;
        }
    }

    fn describe(&mut self, node: &Node) {
        let labels = node.metadata.labels.iter().flatten();
        for (label, value) in labels {
            // Each node has another name; and the old names say nothing new.
            if label != "kubernetes.io/hostname" && !label.starts_with("beta.kubernetes.io/") {
                self.features.insert(format!("{label}={value}"));
            }
        }
        let info = node.status.as_ref().and_then(|s| s.node_info.as_ref());
        if let Some(info) = info {
            let architecture = match info.architecture.as_str() {
                "amd64" => "x86_64",
                "arm64" => "aarch64",
                other => other,
            };
            for (all, one) in [
                (&mut self.architectures, architecture),
                (&mut self.systems, info.os_image.as_str()),
            ] {
                if !one.is_empty() {
                    all.insert(one.to_owned());
                }
            }
        }
    }

    fn publish(self, state: &mut CeState) {
        let (status, reason) = self.status();
        state.status = status;
        state.reason = reason;
        state.nodes_total = Some(self.nodes);
        state.nodes_free = Some(self.nodes_free);
        state.nodes_offline = Some(self.nodes_offline);
        state.cores_total = Some(clamp(self.cores));
        state.cores_free = Some(clamp(self.cores_free));
        state.cores_used = Some(clamp(self.cores_used));
        state.cores_offline = Some(clamp(self.cores_offline));
        state.gpus_total = Some(clamp(self.gpus));
        state.node_cores = Some(clamp(self.node_cores));
        state.node_memory_mib = Some(self.node_memory_mib);
        state.architecture = the_one(self.architectures);
        state.operating_system = the_one(self.systems);
        state.features = self.features.into_iter().take(FEATURES_MAX).collect();
    }

    fn status(&self) -> (CeStatus, Option<String>) {
        let (status, reason) = if self.nodes == 0 {
            (CeStatus::Closed, "no node is meant for these pilots")
        } else if self.nodes_offline < self.nodes {
            return (CeStatus::Production, None);
        } else if self.nodes_cordoned > 0 {
            (CeStatus::Draining, "all nodes are cordoned or not ready")
        } else {
            (CeStatus::Closed, "no node is ready")
        };
        (status, Some(reason.to_owned()))
    }
}

/// What all have in common; nothing if two differ.
fn the_one(values: BTreeSet<String>) -> Option<String> {
    let mut values = values.into_iter();
    values.next().filter(|_| values.next().is_none())
}

fn clamp(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|s| s.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Taints of the node that keep pods away which have these tolerations only.
fn untolerated<'a>(
    node: &'a Node,
    tolerations: &'a [Toleration],
) -> impl Iterator<Item = &'a Taint> {
    let taints = node.spec.iter().filter_map(|spec| spec.taints.as_ref());
    taints.flatten().filter(|taint| {
        taint.effect != "PreferNoSchedule"
            && !tolerations
                .iter()
                .any(|toleration| tolerates(toleration, taint))
    })
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let is_same = |wanted: &Option<String>, given: &str| {
        wanted.as_deref().is_none_or(|w| w.is_empty() || w == given)
    };
    let value = taint.value.as_deref().unwrap_or_default();
    is_same(&toleration.effect, &taint.effect)
        && is_same(&toleration.key, &taint.key)
        && (toleration.operator.as_deref() == Some("Exists")
            || toleration.value.as_deref().unwrap_or_default() == value)
}

/// A quota makes the site smaller than its nodes, or stands for them if we may not see them.
fn apply_quota(quota: &ResourceQuota, gpu: &str, state: &mut CeState) {
    // A quota with a scope counts certain pods only; which of them ours are is the cluster's word.
    let spec = quota.spec.as_ref();
    if spec.is_some_and(|spec| spec.scopes.is_some() || spec.scope_selector.is_some()) {
        return;
    }
    let Some(status) = &quota.status else { return };
    let read = |resource: &str| -> Option<(u64, u64)> {
        let hard = milli(status.hard.as_ref()?.get(resource)?)?;
        let used = status.used.as_ref().and_then(|used| used.get(resource));
        Some((hard, used.and_then(milli).unwrap_or(0)))
    };
    let name = quota.metadata.name.as_deref().unwrap_or_default();
    let mut nothing = None;
    // What our pods ask for is also their limit.
    for resource in ["requests.cpu", "cpu", "limits.cpu"] {
        let Some((hard, used)) = read(resource) else {
            continue;
        };
        least(&mut state.cores_total, clamp(hard / 1000));
        least(
            &mut state.cores_free,
            clamp(hard.saturating_sub(used) / 1000),
        );
        least(&mut state.job_cores_max, clamp(hard / 1000));
        if state.cores_used.is_none() {
            state.cores_used = Some(clamp(used.div_ceil(1000)));
        }
        if hard < 1000 {
            nothing = Some(resource);
        }
    }
    for resource in ["pods", "count/pods"] {
        if let Some((hard, _)) = read(resource) {
            least(&mut state.own_running_max, clamp(hard / 1000));
            if hard == 0 {
                nothing = Some(resource);
            }
        }
    }
    for resource in ["count/jobs.batch"] {
        if let Some((hard, _)) = read(resource) {
            least(&mut state.own_jobs_max, clamp(hard / 1000));
            if hard == 0 {
                nothing = Some(resource);
            }
        }
    }
    if let Some((hard, _)) = read(&format!("requests.{gpu}")) {
        least(&mut state.gpus_total, clamp(hard / 1000));
    }
    if let Some(resource) = nothing {
        state.status = CeStatus::Closed;
        state.reason = Some(format!("the quota {name:?} leaves no {resource}"));
    }
}

/// Limits of one container or pod.
fn apply_range(range: &LimitRange, state: &mut CeState) {
    let limits = range.spec.iter().flat_map(|spec| &spec.limits);
    for limit in limits.filter(|limit| matches!(limit.type_.as_str(), "Container" | "Pod")) {
        let max = |resource: &str| limit.max.as_ref()?.get(resource);
        if let Some(cpu) = max("cpu").and_then(milli) {
            least(&mut state.node_cores, clamp(cpu / 1000));
            least(&mut state.job_cores_max, clamp(cpu / 1000));
        }
        if let Some(memory) = max("memory").and_then(mib) {
            least(&mut state.node_memory_mib, memory);
        }
    }
}

/// Makes `value` not more than `limit`.
fn least<T: Ord + Copy>(value: &mut Option<T>, limit: T) {
    *value = Some(value.map_or(limit, |known| known.min(limit)));
}
