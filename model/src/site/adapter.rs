//! How a site's batch system is reached.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which adapter serves a site, with its settings. No secret is among them: credentials are
/// named by a [`SecretRef`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum AdapterSettings {
    /// Processes on the server's own machine.
    Local(LocalSettings),
    /// Slurm through its command line or `slurmrestd`.
    Slurm(SlurmSettings),
    /// OpenPBS, PBS Pro or TORQUE through its command line.
    Pbs(PbsSettings),
    /// OAR through its command line or its REST API.
    Oar(OarSettings),
    /// Kubernetes: each pilot is a Job.
    Kubernetes(Box<KubernetesSettings>),
    /// Whatever the site's own agent reaches: it calls the server, nobody calls the site.
    Agent(AgentSettings),
}

impl AdapterSettings {
    /// The kind of batch system, as in the settings.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Local(_) => "local",
            Self::Slurm(_) => "slurm",
            Self::Pbs(_) => "pbs",
            Self::Oar(_) => "oar",
            Self::Kubernetes(_) => "kubernetes",
            Self::Agent(_) => "agent",
        }
    }

    /// The same kind without anything that tells how the site is reached.
    #[must_use]
    pub fn without_access(&self) -> Self {
        match self {
            Self::Local(_) => Self::Local(LocalSettings::default()),
            Self::Slurm(_) => Self::Slurm(SlurmSettings::default()),
            Self::Pbs(_) => Self::Pbs(PbsSettings::default()),
            Self::Oar(_) => Self::Oar(OarSettings::default()),
            Self::Kubernetes(_) => Self::Kubernetes(Box::default()),
            Self::Agent(_) => Self::Agent(AgentSettings::default()),
        }
    }
}

/// Processes on the server's own machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LocalSettings {
    /// Cores to give away; all that the machine has if not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores: Option<u32>,
}

/// Where a secret is to be read, each time that it is needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SecretRef {
    /// In this file; what surrounds it in blanks is left out.
    File(String),
    /// In this variable of the server's (or agent's) environment.
    Env(String),
}

/// Commands are run on another machine, over SSH.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SshSettings {
    /// Whom to log in to: `user@host`, `host`, or a name from the user's `ssh_config`.
    pub host: String,
    /// Another file than the user's `ssh_config`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
}

/// An HTTP API in place of commands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RestSettings {
    /// Its base URL.
    pub url: String,
    /// Who to be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The token (Slurm: a JWT) or password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretRef>,
    /// File with certificates to trust instead of the machine's, in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
}

/// Slurm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SlurmSettings {
    /// Run the commands on another machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssh: Option<SshSettings>,
    /// Use `slurmrestd` in place of commands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rest: Option<RestSettings>,
    /// Folder of `sbatch`, `squeue` …; the search path if not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bin_dir: Option<String>,
    /// `SLURM_CONF` for the commands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conf: Option<String>,
    /// Folder on the worker nodes that pilots start in and write their log to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub work_dir: Option<String>,
}

/// Which PBS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PbsDialect {
    /// OpenPBS and PBS Pro: JSON answers, `select`, history.
    #[default]
    Openpbs,
    /// TORQUE: text answers, `nodes=N:ppn=P`.
    Torque,
}

/// OpenPBS, PBS Pro or TORQUE.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PbsSettings {
    /// Which of them.
    pub dialect: PbsDialect,
    /// Run the commands on another machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssh: Option<SshSettings>,
    /// Folder of `qsub`, `qstat` …; the search path if not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bin_dir: Option<String>,
    /// The PBS server to talk to; the commands' default if not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Variables for the commands, such as `PBS_CONF_FILE` or `SLURM_CONF`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Folder on the worker nodes that pilots start in and write their log to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub work_dir: Option<String>,
}

/// OAR.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OarSettings {
    /// Run the commands on another machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssh: Option<SshSettings>,
    /// Use OAR's REST API in place of commands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rest: Option<RestSettings>,
    /// Folder of `oarsub`, `oarstat` …; the search path if not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bin_dir: Option<String>,
    /// Folder that pilots start in and write their log to, which the machine that jobs are
    /// submitted from and the worker nodes share. It cannot be left out: the pilots' scripts are
    /// there until they start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub work_dir: Option<String>,
    /// Levels of the site's resource hierarchy that make one node, such as `cluster=1/host` if all
    /// nodes of a job are to be of one cluster; `host` if not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_level: Option<String>,
    /// The level that makes one core; `core` if not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub core_level: Option<String>,
}

/// Kubernetes. Without `kubeconfig` it is the cluster that the server itself runs in, or else
/// what `KUBECONFIG` and `~/.kube/config` say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KubernetesSettings {
    /// File that tells how the cluster is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<String>,
    /// Which context of it; its current one if not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// The namespace of the pilots; the context's if not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The pilots' image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Names of secrets to pull the image with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<String>,
    /// The pilots' service account; the namespace's default if not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// The pilots' priority class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_class: Option<String>,
    /// Labels that a node must have.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints to tolerate, as in a pod's `tolerations`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>)]
    pub tolerations: Vec<serde_json::Value>,
    /// As a pod's `affinity`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub affinity: Option<serde_json::Value>,
    /// The extended resource that GPUs are; `nvidia.com/gpu` if not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_resource: Option<String>,
    /// Merged last over the pilots' pod template (RFC 7396), for what the site needs of its
    /// own: volumes, host network, a runtime class.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub pod_template_patch: Option<serde_json::Value>,
}

/// A site that lets nobody in: its agent calls the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AgentSettings {
    /// The kind of batch system behind the agent, for people to read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_system: Option<String>,
}
