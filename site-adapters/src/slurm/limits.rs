//! What Slurm lets us ask for: the partition's limits, and those of our
//! association and quality of service where there is an accounting. Pure.
//!
//! A limit of the same kind may be set in several places. Slurm takes the first that is set, in
//! the order partition's QoS, job's QoS, association; the partition's own limits hold besides.

use std::collections::BTreeMap;

use fairway_model::{Ce, CeState, CeStatus};

use super::partition::Partition;
use crate::{AdapterError, PilotJob};

/// Limits of a job and of all our jobs, as they are written in one place. `None`: not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) walltime_max_s: Option<u64>,
    pub(super) cores_max: Option<u32>,
    /// Cores of a job on each of its nodes.
    pub(super) node_cores_max: Option<u32>,
    pub(super) nodes_max: Option<u32>,
    pub(super) gpus_max: Option<u32>,
    pub(super) running_max: Option<u32>,
    pub(super) jobs_max: Option<u32>,
}

/// A user in an account: what Slurm's accounting calls an association.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Association {
    pub(super) account: String,
    /// The only partition that it is for.
    pub(super) partition: Option<String>,
    pub(super) limits: Limits,
    /// The qualities of service that may be asked for.
    pub(super) qos: Vec<String>,
    pub(super) default_qos: Option<String>,
}

/// A quality of service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Qos {
    pub(super) limits: Limits,
    /// Its jobs may run longer than the partition's limit.
    pub(super) over_walltime: bool,
    /// Its jobs may have more nodes than the partition's limit.
    pub(super) over_nodes: bool,
    /// Its limits come before those of the partition's QoS.
    pub(super) over_partition_qos: bool,
}

/// What the accounting says of us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Accounting {
    pub(super) default_account: Option<String>,
    pub(super) associations: Vec<Association>,
    pub(super) qos: BTreeMap<String, Qos>,
}

impl Qos {
    /// With what its flags say about the limits of others.
    pub(super) fn new(limits: Limits, flags: &[&str]) -> Self {
        let has = |flag: &str| flags.iter().any(|it| it.eq_ignore_ascii_case(flag));
        Self {
            limits,
            over_walltime: has("PartitionTimeLimit") || has("PARTITION_TIME_LIMIT"),
            over_nodes: has("PartitionMaxNodes") || has("PARTITION_MAXIMUM_NODE"),
            over_partition_qos: has("OverPartQOS") || has("OVERRIDE_PARTITION_QOS"),
        }
    }
}

impl Limits {
    /// These, and where there is none those of `other`.
    fn or(&self, other: &Self) -> Self {
        Self {
            walltime_max_s: self.walltime_max_s.or(other.walltime_max_s),
            cores_max: self.cores_max.or(other.cores_max),
            node_cores_max: self.node_cores_max.or(other.node_cores_max),
            nodes_max: self.nodes_max.or(other.nodes_max),
            gpus_max: self.gpus_max.or(other.gpus_max),
            running_max: self.running_max.or(other.running_max),
            jobs_max: self.jobs_max.or(other.jobs_max),
        }
    }

    /// Refuses a job that is over one of them, with the values of both sides.
    pub(super) fn check(&self, job: &PilotJob) -> Result<(), AdapterError> {
        let nodes = u64::from(job.nodes.max(1));
        let cores = u64::from(job.resources.cores.max(1));
        let asked = [
            ("s of walltime", job.walltime_s, self.walltime_max_s),
            ("cores on a node", cores, self.node_cores_max.map(u64::from)),
            ("nodes", nodes, self.nodes_max.map(u64::from)),
            ("cores in all", nodes * cores, self.cores_max.map(u64::from)),
            (
                "GPUs in all",
                nodes * u64::from(job.resources.gpus),
                self.gpus_max.map(u64::from),
            ),
        ];
        for (what, asked, most) in asked {
            if let Some(most) = most.filter(|most| asked > *most) {
                return Err(AdapterError::Refused(format!(
                    "{asked} {what} asked for, and partition {}, account and QoS allow {most}",
                    job.ce.queue()
                )));
            }
        }
        Ok(())
    }

    /// Writes them into `state`.
    pub(super) fn publish(&self, state: &mut CeState) {
        state.walltime_max_s = self.walltime_max_s;
        state.job_cores_max = self.cores_max;
        state.job_nodes_max = self.nodes_max;
        state.own_running_max = self.running_max;
        state.own_jobs_max = self.jobs_max;
    }
}

/// What holds for our jobs at `ce`. `accounting` is `None` if there is none, or none that limits.
///
/// # Errors
/// Why our jobs are not let in at all, in words.
pub(super) fn of(
    ce: &Ce,
    partition: &Partition,
    accounting: Option<&Accounting>,
) -> Result<Limits, String> {
    let rules = &partition.rules;
    let closed = |what: &str, name: &str, why: String| {
        format!("{what} {name} and partition {}: {why}", ce.queue())
    };
    let account = ce
        .account
        .as_deref()
        .or(accounting.and_then(|it| it.default_account.as_deref()));
    let association = match (accounting, account) {
        (Some(accounting), Some(account)) => Some(accounting.association(account, ce.queue())?),
        _ => None,
    };
    // Without an accounting an account is a name that nobody looks at.
    if let (Some(_), Some(account)) = (accounting, account)
        && let Some(why) = rules.accounts.refuses(account)
    {
        return Err(closed("account", account, why));
    }
    let qos_name = ce
        .qos
        .as_deref()
        .or(association.and_then(|it| it.default_qos.as_deref()));
    if let (Some(_), Some(name)) = (accounting, qos_name)
        && let Some(why) = rules.qos.refuses(name)
    {
        return Err(closed("QoS", name, why));
    }
    let known = |name: Option<&str>| accounting?.qos.get(name?);
    let (qos, partition_qos) = (known(qos_name), known(rules.own_qos.as_deref()));

    let nothing = Limits::default();
    let limits_of = |qos: Option<&Qos>| qos.map_or_else(Limits::default, |qos| qos.limits.clone());
    let first = if qos.is_some_and(|qos| qos.over_partition_qos) {
        limits_of(qos).or(&limits_of(partition_qos))
    } else {
        limits_of(partition_qos).or(&limits_of(qos))
    };
    let mut limits = first.or(association.map_or(&nothing, |it| &it.limits));
    limits.node_cores_max = least(limits.node_cores_max, rules.cores_per_node_max);
    if !qos.is_some_and(|qos| qos.over_walltime) {
        limits.walltime_max_s = least(limits.walltime_max_s, rules.walltime_max_s);
    }
    if !qos.is_some_and(|qos| qos.over_nodes) {
        limits.nodes_max = least(limits.nodes_max, rules.nodes_max);
    }
    Ok(limits)
}

fn least<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

impl Accounting {
    /// Ours in `account`: the one for the partition before the one for all.
    fn association(&self, account: &str, partition: &str) -> Result<&Association, String> {
        let ours = || self.associations.iter().filter(|it| it.account == account);
        ours()
            .find(|it| it.partition.as_deref() == Some(partition))
            .or_else(|| ours().find(|it| it.partition.is_none()))
            .ok_or_else(|| {
                let accounts: Vec<&str> = self
                    .associations
                    .iter()
                    .map(|it| it.account.as_str())
                    .collect();
                format!(
                    "there is no association with account {account}, only with {}",
                    accounts.join(", ")
                )
            })
    }
}

/// Publishes what is known of `ce`'s partition and of what we may do there.
pub(super) fn publish(
    ce: &Ce,
    partition: &Partition,
    accounting: Option<&Accounting>,
    state: &mut CeState,
) {
    partition.publish(state);
    match of(ce, partition, accounting) {
        Ok(limits) => limits.publish(state),
        Err(why) => {
            state.walltime_max_s = partition.rules.walltime_max_s;
            state.job_nodes_max = partition.rules.nodes_max;
            if state.status == CeStatus::Production {
                state.status = CeStatus::Closed;
                state.reason = Some(why);
            }
        }
    }
}
