//! Pods that wait for room in a cluster, and what they tell of themselves: the demand that
//! holding jobs on an HPC site answer (BeBiDa).
//!
//! Pods tell it in annotations, all of which may be missing:
//! `ryax.tech/timeCritical` (`true` or `false`), `ryax.tech/deadline` (when it must be done, a
//! moment as in RFC 3339), `ryax.tech/duration` (how long it runs: `90s`, `30m`, `1h30m`, `2d`),
//! `ryax.tech/resources.cores` (a number), and `ryax.tech/bebida: exclude` for pods that are to
//! be left alone.

use std::collections::BTreeMap;

use fairway_model::{KubernetesSettings, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::jiff;
use kube::Api;
use kube::api::ListParams;

use super::client::{Access, Failure};
use super::parse;
use crate::AdapterError;

/// The label that a site's hand-over sets on a node: the name of the holding job that holds it.
pub const HOLD_LABEL: &str = "fairway-hold";

/// What the annotations' names begin with.
const PREFIX: &str = "ryax.tech/";
/// Pods in one answer of a list, and pages of them that are read at most: a backlog of more is
/// more than holding jobs answer anyway.
const PAGE: u32 = 500;
const PAGES_MAX: usize = 20;

/// A pod that waits for room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingPod {
    /// `NAMESPACE/NAME`.
    pub name: String,
    /// Cores that it needs.
    pub cores: u32,
    /// How long it will run, in seconds, if it tells.
    pub duration_s: Option<u64>,
    /// When it must be done, if it tells.
    pub deadline: Option<Timestamp>,
    /// Whether it must run at once.
    pub time_critical: bool,
    /// Since when it waits.
    pub since: Timestamp,
    /// Annotations that could not be understood and count as missing, each in a sentence.
    pub oddities: Vec<String>,
}

/// What holding jobs are decided from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterDemand {
    /// Pods that wait for room.
    pub waiting: Vec<PendingPod>,
    /// The holding jobs whose nodes are in the cluster (by [`HOLD_LABEL`]), and whether a pod runs
    /// on them.
    pub handed_over: BTreeMap<String, bool>,
    /// Whether a pod runs elsewhere.
    pub runs_elsewhere: bool,
}

/// A cluster whose waiting pods are read.
pub struct PendingPods {
    access: Access,
    namespace: Option<String>,
}

impl PendingPods {
    /// The cluster that the settings lead to, and in it their namespace, or all if they name
    /// none. Nothing is asked yet.
    pub fn new(settings: &KubernetesSettings) -> Self {
        Self {
            access: Access::new(settings),
            namespace: settings.namespace.clone(),
        }
    }

    /// What waits now, and what runs on the nodes of holding jobs.
    ///
    /// # Errors
    /// `Unreachable` if the cluster does not answer or does not let us read its pods. Nodes that
    /// we may not list count as none.
    pub async fn read(&self) -> Result<ClusterDemand, AdapterError> {
        let pending = self.pods("Pending").await.map_err(Failure::of_question)?;
        let running = self.pods("Running").await.map_err(Failure::of_question)?;
        let holders = self.holders().await.map_err(Failure::of_question)?;
        let mut demand = ClusterDemand {
            waiting: pending.iter().filter_map(self::pending).collect(),
            handed_over: holders.values().map(|hold| (hold.clone(), false)).collect(),
            runs_elsewhere: false,
        };
        for pod in running.iter().filter(|pod| is_work(pod)) {
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
            match node.and_then(|node| holders.get(node)) {
                Some(hold) => drop(demand.handed_over.insert(hold.clone(), true)),
                None => demand.runs_elsewhere = true,
            }
        }
        Ok(demand)
    }

    async fn pods(&self, phase: &str) -> Result<Vec<Pod>, Failure> {
        let mut params = ListParams::default()
            .fields(&format!("status.phase={phase}"))
            .limit(PAGE);
        let mut pods = Vec::new();
        for _ in 0..PAGES_MAX {
            let page = self
                .access
                .call(|to| {
                    let params = params.clone();
                    async move {
                        let api: Api<Pod> = match &self.namespace {
                            Some(namespace) => Api::namespaced(to.client, namespace),
                            None => Api::all(to.client),
                        };
                        api.list(&params).await
                    }
                })
                .await?;
            pods.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => break,
            }
        }
        Ok(pods)
    }

    /// The holding job of each node that one holds.
    async fn holders(&self) -> Result<BTreeMap<String, String>, Failure> {
        let params = ListParams::default().labels(HOLD_LABEL);
        let params = &params;
        let nodes = self
            .access
            .call(|to| async move { Api::<Node>::all(to.client).list(params).await })
            .await;
        let nodes = match nodes {
            Ok(nodes) => nodes.items,
            Err(failure) if failure.is_forbidden() => Vec::new(),
            Err(failure) => return Err(failure),
        };
        let holder = |node: Node| {
            let hold = node.metadata.labels?.remove(HOLD_LABEL)?;
            Some((node.metadata.name?, hold))
        };
        Ok(nodes.into_iter().filter_map(holder).collect())
    }
}

/// Whether a running pod is work, and not one that is on every node.
fn is_work(pod: &Pod) -> bool {
    let owners = pod.metadata.owner_references.iter().flatten();
    let is_everywhere = owners
        .into_iter()
        .any(|owner| matches!(owner.kind.as_str(), "DaemonSet" | "Node"));
    !is_everywhere && parse::is_running(pod)
}

/// What a pod tells of its demand; nothing if it does not wait for room, or is excluded. A pod
/// that has its node already waits for its image or a volume: no further node would help.
pub fn pending(pod: &Pod) -> Option<PendingPod> {
    let has_node = pod.spec.as_ref().is_some_and(|s| s.node_name.is_some());
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
    if phase != Some("Pending") || has_node || pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let annotation = |name: &str| {
        let annotations = pod.metadata.annotations.as_ref()?;
        let value = annotations.get(&format!("{PREFIX}{name}"))?;
        Some(value.trim())
    };
    if annotation("bebida") == Some("exclude") {
        return None;
    }
    let meta = &pod.metadata;
    let mut oddities = Vec::new();
    let cores = read(annotation("resources.cores"), "a number from 1", cores)
        .unwrap_or_else(|odd| odd.note("resources.cores", &mut oddities));
    let requested = parse::load(pod).cpu_milli.div_ceil(1000);
    Some(PendingPod {
        name: format!(
            "{}/{}",
            meta.namespace.as_deref().unwrap_or_default(),
            meta.name.as_deref().unwrap_or_default()
        ),
        cores: cores.unwrap_or(u32::try_from(requested).unwrap_or(u32::MAX).max(1)),
        duration_s: read(
            annotation("duration"),
            "a time such as 90s or 1h30m",
            duration_s,
        )
        .unwrap_or_else(|odd| odd.note("duration", &mut oddities)),
        deadline: read(annotation("deadline"), "a moment as in RFC 3339", moment)
            .unwrap_or_else(|odd| odd.note("deadline", &mut oddities)),
        time_critical: read(annotation("timeCritical"), "true or false", truth)
            .unwrap_or_else(|odd| odd.note("timeCritical", &mut oddities))
            .unwrap_or(false),
        since: meta
            .creation_timestamp
            .as_ref()
            .map_or(Timestamp(0), |at| Timestamp::from_secs(parse::seconds(at))),
        oddities,
    })
}

/// A value that cannot be understood.
struct Odd {
    value: String,
    expected: &'static str,
}

impl Odd {
    fn note<T>(self, name: &str, oddities: &mut Vec<String>) -> Option<T> {
        const CHARS_MAX: usize = 60;
        let value: String = self.value.chars().take(CHARS_MAX).collect();
        oddities.push(format!(
            "{PREFIX}{name} is {value:?}, not {}",
            self.expected
        ));
        None
    }
}

fn read<T>(
    value: Option<&str>,
    expected: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Odd> {
    let Some(value) = value else { return Ok(None) };
    let odd = || Odd {
        value: value.to_owned(),
        expected,
    };
    parse(value).map(Some).ok_or_else(odd)
}

fn cores(text: &str) -> Option<u32> {
    text.parse().ok().filter(|cores| *cores > 0)
}

fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

fn moment(text: &str) -> Option<Timestamp> {
    let moment: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp::from_secs(moment.as_second()))
}

/// A time as numbers with units, `s`, `m`, `h` or `d`: `1h30m`. A number alone is none: it could
/// mean seconds or minutes.
fn duration_s(text: &str) -> Option<u64> {
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..end].parse().ok()?;
        let unit = rest[end..].chars().next()?;
        let factor = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(factor)?)?;
        rest = &rest[end + unit.len_utf8()..];
    }
    (total > 0).then_some(total)
}
