//! What `slurmrestd` answers about partitions, nodes and limits. Pure.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::http::Answer;
use super::parse::answer;
use super::shapes::{Number, Words, text};
use crate::AdapterError;
use crate::slurm::limits::{Accounting, Association, Limits, Qos};
use crate::slurm::parse;
use crate::slurm::partition::{Door, Nodes, Partitions, Rules, said};

/// Slurm's release in an answer.
pub(super) fn release(from: &Answer) -> String {
    #[derive(Default, Deserialize)]
    struct Told {
        #[serde(default)]
        meta: Meta,
    }
    #[derive(Default, Deserialize)]
    struct Meta {
        #[serde(default, alias = "Slurm")]
        slurm: Release,
    }
    #[derive(Default, Deserialize)]
    struct Release {
        #[serde(default, deserialize_with = "text")]
        release: String,
    }
    let told: Told = serde_json::from_slice(&from.body).unwrap_or_default();
    told.meta.slurm.release
}

/// The partitions, without their nodes.
pub(super) fn partitions(from: &Answer) -> Result<Partitions, AdapterError> {
    #[derive(Deserialize)]
    struct Told {
        partitions: Vec<Partition>,
    }
    /// Up to 22.05 all in one row, later in groups.
    #[derive(Deserialize)]
    struct Partition {
        name: String,
        #[serde(default)]
        state: Words,
        #[serde(default)]
        partition: Inner,
        #[serde(default)]
        max_time_limit: Number,
        #[serde(default)]
        maximum_nodes_per_job: Number,
        #[serde(default)]
        maximum_cpus_per_node: Number,
        #[serde(default)]
        maximums: Maximums,
        #[serde(default)]
        allowed_accounts: Words,
        #[serde(default)]
        denied_accounts: Words,
        #[serde(default)]
        accounts: Lists,
        #[serde(default)]
        allowed_qos: Words,
        #[serde(default)]
        denied_qos: Words,
        #[serde(default)]
        qos: QosLists,
    }
    #[derive(Default, Deserialize)]
    struct Inner {
        #[serde(default)]
        state: Words,
    }
    #[derive(Default, Deserialize)]
    struct Maximums {
        #[serde(default)]
        cpus_per_node: Number,
        #[serde(default)]
        nodes: Number,
        #[serde(default)]
        time: Number,
    }
    #[derive(Default, Deserialize)]
    struct Lists {
        #[serde(default)]
        allowed: Words,
        #[serde(default)]
        deny: Words,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum QosLists {
        Assigned(String),
        Lists {
            #[serde(default)]
            allowed: Words,
            #[serde(default)]
            deny: Words,
            #[serde(default, deserialize_with = "text")]
            assigned: String,
        },
        Other(IgnoredAny),
    }
    impl Default for QosLists {
        fn default() -> Self {
            Self::Assigned(String::new())
        }
    }
    let door = |allowed: [&Words; 2], denied: [&Words; 2]| {
        let all = |words: [&Words; 2]| [&words[0].0[..], &words[1].0[..]].concat();
        let (allowed, denied) = (all(allowed), all(denied));
        match (allowed.first().map(String::as_str), denied.is_empty()) {
            (None | Some("ALL"), true) => Door::All,
            (None | Some("ALL"), false) => Door::AllBut(denied),
            (Some(_), _) => Door::Only(allowed),
        }
    };
    let told: Told = answer(from)?;
    let mut partitions = Partitions::new();
    for it in told.partitions {
        let nothing = Words::default();
        let (allowed, deny, own) = match &it.qos {
            QosLists::Assigned(own) => (&nothing, &nothing, own.as_str()),
            QosLists::Lists {
                allowed,
                deny,
                assigned,
            } => (allowed, deny, assigned.as_str()),
            QosLists::Other(_) => (&nothing, &nothing, ""),
        };
        let minutes = it.max_time_limit.0.or(it.maximums.time.0);
        let state = it.state.first().or(it.partition.state.first());
        let partition = partitions.entry(it.name).or_default();
        partition.availability = state.unwrap_or("UP").to_ascii_lowercase();
        partition.rules = Rules {
            walltime_max_s: minutes.map(|minutes| minutes * 60),
            nodes_max: (it.maximum_nodes_per_job.small()).or(it.maximums.nodes.small()),
            cores_per_node_max: it
                .maximum_cpus_per_node
                .small()
                .or(it.maximums.cpus_per_node.small()),
            accounts: door(
                [&it.allowed_accounts, &it.accounts.allowed],
                [&it.denied_accounts, &it.accounts.deny],
            ),
            qos: door([&it.allowed_qos, allowed], [&it.denied_qos, deny]),
            own_qos: said(own),
        };
    }
    Ok(partitions)
}

/// Counts the nodes into their partitions, and tells their names.
pub(super) fn nodes(
    from: &Answer,
    partitions: &mut Partitions,
) -> Result<Vec<String>, AdapterError> {
    #[derive(Deserialize)]
    struct Told {
        nodes: Vec<Node>,
    }
    #[derive(Deserialize)]
    struct Node {
        name: String,
        #[serde(default)]
        state: Words,
        #[serde(default)]
        state_flags: Words,
        #[serde(default)]
        cpus: Number,
        #[serde(default)]
        alloc_cpus: Number,
        #[serde(default)]
        real_memory: Number,
        #[serde(default)]
        features: Words,
        #[serde(default, deserialize_with = "text")]
        gres: String,
        #[serde(default, deserialize_with = "text")]
        reason: String,
        #[serde(default)]
        partitions: Words,
        #[serde(default, deserialize_with = "text")]
        architecture: String,
        #[serde(default, deserialize_with = "text")]
        operating_system: String,
    }
    let told: Told = answer(from)?;
    let mut names = Vec::new();
    for node in told.nodes {
        let total = node.cpus.small().unwrap_or(0);
        let used = node.alloc_cpus.small().unwrap_or(0).min(total);
        let flags = Words([node.state.0, node.state_flags.0].concat());
        let (state, is_away) = node_state(&flags);
        let (free, offline) = if is_away {
            (0, total - used)
        } else {
            (total - used, 0)
        };
        let features = node.features.0.join(",");
        let system = parse::short_system(&node.operating_system);
        for name in &node.partitions.0 {
            let Some(partition) = partitions.get_mut(name) else {
                continue;
            };
            partition.add(Nodes {
                count: 1,
                state,
                cores_used: used,
                cores_free: free,
                cores_offline: offline,
                cores_total: total,
                cores_each: total,
                memory_mib_each: node.real_memory.0.unwrap_or(0),
                gres: &node.gres,
                features: &features,
                reason: &node.reason,
            });
            partition.describe(Some(&node.architecture), Some(&system));
        }
        names.push(node.name);
    }
    Ok(names)
}

/// A node's state as `sinfo` would say it, from its state and the flags beside it; and whether
/// what is free of it cannot be had.
fn node_state(flags: &Words) -> (&str, bool) {
    let away = [
        "DOWN",
        "DRAIN",
        "DRAINED",
        "DRAINING",
        "FAIL",
        "NOT_RESPONDING",
        "INVALID_REG",
        "INVALID",
        "UNKNOWN",
        "ERROR",
        "FUTURE",
    ];
    if flags.first_of(&away).is_some() {
        return ("down", true);
    }
    if flags.first_of(&["MAINTENANCE", "MAINT"]).is_some() {
        return ("maint", false);
    }
    let busy = ["RESERVED", "PLANNED", "COMPLETING", "MIXED", "ALLOCATED"];
    if flags.first_of(&busy).is_some() {
        return ("allocated", false);
    }
    (flags.first().unwrap_or("unknown"), false)
}

#[derive(Deserialize)]
struct Tres {
    #[serde(rename = "type", default, deserialize_with = "text")]
    kind: String,
    #[serde(default, deserialize_with = "text")]
    name: String,
    #[serde(default)]
    count: Number,
}

fn count(tres: &[Tres], kind: &str, name: &str) -> Option<u32> {
    let found = tres.iter().find(|it| it.kind == kind && it.name == name);
    found.and_then(|it| it.count.small())
}

/// A value deep within an answer, by the names on the way.
fn at<T: DeserializeOwned + Default>(value: &serde_json::Value, path: &str) -> T {
    let found = value.pointer(path).cloned();
    found
        .and_then(|value| serde_json::from_value(value).ok())
        .unwrap_or_default()
}

/// What the accounting says of `user`, from its associations and the qualities of service. Where
/// it is of several clusters nothing tells which one this is: then nothing is known.
pub(super) fn limits(
    associations: &Answer,
    qualities: &Answer,
    user: &str,
) -> Result<Option<Accounting>, AdapterError> {
    #[derive(Deserialize)]
    struct Told {
        associations: Vec<serde_json::Value>,
    }
    #[derive(Deserialize)]
    struct Qualities {
        #[serde(alias = "QOS")]
        qos: Vec<serde_json::Value>,
    }
    let told: Told = answer(associations)?;
    let mut accounting = Accounting::default();
    let mut clusters: BTreeSet<String> = BTreeSet::new();
    for it in &told.associations {
        if at::<String>(it, "/user") != user {
            continue;
        }
        clusters.insert(at(it, "/cluster"));
        let account: String = at(it, "/account");
        let is_default = at::<Words>(it, "/flags").has("DEFAULT")
            || at::<bool>(it, "/is_default")
            || at::<Number>(it, "/is_default").0 == Some(1);
        if is_default {
            accounting.default_account = Some(account.clone());
        }
        let tres: Vec<Tres> = at_list(it, "/max/tres/per/job");
        accounting.associations.push(Association {
            account,
            partition: said(&at::<String>(it, "/partition")),
            limits: Limits {
                walltime_max_s: minutes(it, "/max/jobs/per/wall_clock"),
                cores_max: count(&tres, "cpu", ""),
                nodes_max: count(&tres, "node", ""),
                gpus_max: count(&tres, "gres", "gpu"),
                node_cores_max: None,
                running_max: at::<Number>(it, "/max/jobs/active").small(),
                jobs_max: at::<Number>(it, "/max/jobs/total").small(),
            },
            qos: at::<Words>(it, "/qos").0,
            // 22.05 tells its name, later releases its number.
            default_qos: said(&at::<String>(it, "/default/qos")),
        });
    }
    if clusters.len() != 1 {
        return Ok(None);
    }
    let told: Qualities = answer(qualities)?;
    for it in &told.qos {
        let tres: Vec<Tres> = at_list(it, "/limits/max/tres/per/job");
        let limits = Limits {
            walltime_max_s: minutes(it, "/limits/max/wall_clock/per/job"),
            cores_max: count(&tres, "cpu", ""),
            nodes_max: count(&tres, "node", ""),
            gpus_max: count(&tres, "gres", "gpu"),
            node_cores_max: None,
            running_max: at::<Number>(it, "/limits/max/jobs/active_jobs/per/user").small(),
            jobs_max: at::<Number>(it, "/limits/max/jobs/per/user").small(),
        };
        let flags: Words = at(it, "/flags");
        let flags: Vec<&str> = flags.0.iter().map(String::as_str).collect();
        accounting
            .qos
            .insert(at(it, "/name"), Qos::new(limits, &flags));
    }
    Ok(Some(accounting))
}

fn at_list(value: &serde_json::Value, path: &str) -> Vec<Tres> {
    at(value, path)
}

fn minutes(value: &serde_json::Value, path: &str) -> Option<u64> {
    at::<Number>(value, path).0.map(|minutes| minutes * 60)
}
