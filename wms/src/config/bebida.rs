//! Holding jobs: batch jobs that hold an HPC site's nodes for the pods of a Kubernetes cluster
//! that wait for room (BeBiDa).

use fairway_model::{CeId, KubernetesSettings, Site};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Holding jobs at one CE, for the waiting pods of one cluster. Pods are read with their
/// `ryax.tech/` annotations: time-critical ones are answered at once, those with a deadline in
/// time for it, others when more than `threshold` of them wait.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BebidaConfig {
    /// Where the holding jobs are sent to. There can be one set for each site.
    pub ce: CeId,
    /// The cluster whose pods are watched; its `namespace` alone, or all of it if that is not set.
    #[serde(default)]
    pub kubernetes: KubernetesSettings,
    /// Pods that are in no hurry are answered when more than so many of them wait.
    #[serde(default)]
    pub threshold: u64,
    /// Holding jobs at a time, at most.
    #[serde(default = "holds_max")]
    pub holds_max: u32,
    /// Cores of one holding job, on one node.
    pub cores: u32,
    /// Memory of one holding job in MiB; 0 leaves it to the batch system's default.
    #[serde(default)]
    pub memory_mib: u64,
    /// The longest walltime of one, in seconds; also where the pods tell no duration.
    #[serde(default = "walltime_max_s")]
    pub walltime_max_s: u64,
    /// One that nobody uses is ended after so many seconds.
    #[serde(default = "idle_s")]
    pub idle_s: u64,
    /// What the holding job runs: the site's hand-over of its node to the cluster. `{name}` in a
    /// word is the holding job's name: a hand-over that sets it as the label `fairway-hold` of
    /// the node makes known when the node is not used any more. It is to give the node back
    /// when it gets SIGTERM.
    #[serde(default = "program")]
    pub program: Vec<String>,
}

const fn holds_max() -> u32 {
    4
}

const fn walltime_max_s() -> u64 {
    3600
}

const fn idle_s() -> u64 {
    120
}

fn program() -> Vec<String> {
    vec!["sleep".into(), "infinity".into()]
}

impl BebidaConfig {
    /// Notes what makes no sense. `before` are the sets that stand before it, `sites` the sites
    /// of the settings; others may be registered later.
    pub(super) fn check(&self, before: &[Self], sites: &[Site], wrong: &mut Vec<String>) {
        let ce = &self.ce;
        if before.iter().any(|other| other.ce.site == ce.site) {
            wrong.push(format!(
                "bebida: there are two sets for the site `{}`",
                ce.site
            ));
        }
        let site = sites.iter().find(|site| site.name == ce.site);
        if site.is_some_and(|site| site.ces.iter().all(|known| known.name != ce.ce)) {
            wrong.push(format!("bebida: the CE `{ce}` does not exist"));
        }
        if self.program.first().is_none_or(String::is_empty) {
            wrong.push(format!("bebida: `{ce}` has no program"));
        }
        for (name, value) in [
            ("cores", u64::from(self.cores)),
            ("holds_max", u64::from(self.holds_max)),
            ("walltime_max_s", self.walltime_max_s),
        ] {
            if value == 0 {
                wrong.push(format!("bebida: {name} of `{ce}` must be at least 1"));
            }
        }
    }
}
