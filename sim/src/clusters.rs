//! The file that describes the clusters of a simulation.

use fairway_model::{
    AdapterSettings, Ce, CeId, GroupName, LocalSettings, PilotLimits, PilotShape, PilotSharing,
    Resources, Site, SiteName, SupplySettings, UserName,
};
use fairway_sched::Settings;
use serde::Deserialize;

use crate::SimError;
use crate::numbers::Distribution;

/// What stands for "as much as there is" where a description says nothing of memory, in MiB.
pub(crate) const MEMORY_UNTOLD_MIB: u64 = 1 << 40;

/// Seconds of a pilot's walltime that are not a task's: the way to the first task, and tidying up.
const PILOT_MARGIN_S: u64 = 30;

/// Where pilots come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PilotSupply {
    /// From batch systems, as provisioning asks for them.
    #[default]
    Batch,
    /// One pilot holds each node from the first moment on: nothing but the policy is studied.
    Standing,
}

/// All clusters, and how time passes.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Clusters {
    /// Where pilots come from.
    pub pilots: PilotSupply,
    /// The scheduler's clock ticks so often, in seconds; in production every second. What ticks
    /// do (charging core-seconds, noting who is not needed) is by so much coarser.
    pub tick_s: u64,
    /// Batch systems are looked at so often, in seconds.
    pub look_s: u64,
    /// Pilots are planned so often while there is work, in seconds.
    pub plan_s: u64,
    /// The operator's settings.
    pub scheduler: SchedulerSettings,
    /// The clusters.
    #[serde(rename = "cluster")]
    pub list: Vec<Cluster>,
}

impl Default for Clusters {
    fn default() -> Self {
        Self {
            pilots: PilotSupply::Batch,
            tick_s: 60,
            look_s: 60,
            plan_s: 15,
            scheduler: SchedulerSettings::default(),
            list: Vec::new(),
        }
    }
}

/// The operator's settings of the scheduler that matter here, as in the server's configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SchedulerSettings {
    /// See [`Settings::losses_max`].
    pub losses_max: u32,
    /// See [`Settings::remaining_min_s`].
    pub remaining_min_s: u64,
    /// See [`Settings::grants_max`].
    pub grants_max: u32,
    /// See [`Settings::fast_fail_s`].
    pub fast_fail_s: u64,
    /// See [`Settings::fast_fails_max`].
    pub fast_fails_max: u32,
    /// See [`Settings::ramp_min`].
    pub ramp_min: u32,
    /// See [`Settings::recall_after_s`].
    pub recall_after_s: u64,
    /// See [`Settings::pilot_queued_max_s`].
    pub pilot_queued_max_s: u64,
    /// See [`Settings::pilots_max`].
    pub pilots_max: Option<u32>,
}

impl Default for SchedulerSettings {
    fn default() -> Self {
        let usual = Settings::default();
        Self {
            losses_max: usual.losses_max,
            remaining_min_s: usual.remaining_min_s,
            grants_max: usual.grants_max,
            fast_fail_s: usual.fast_fail_s,
            fast_fails_max: usual.fast_fails_max,
            ramp_min: usual.ramp_min,
            recall_after_s: usual.recall_after_s,
            pilot_queued_max_s: usual.pilot_queued_max_s,
            pilots_max: usual.pilots_max,
        }
    }
}

/// One cluster: equal nodes behind one batch system.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// Its name: that of the site; its one CE is called `main`.
    pub name: SiteName,
    /// Nodes that pilots may have.
    pub nodes: u32,
    /// Cores of a node.
    pub cores: u32,
    /// Memory of a node in MiB; 0: enough for anything.
    #[serde(default)]
    pub memory_mib: u64,
    /// GPUs of a node.
    #[serde(default)]
    pub gpus: u32,
    /// Tasks run so many times as fast as their runtimes say.
    #[serde(default = "one")]
    pub speed: f64,
    /// How long a pilot waits in the batch system beyond what it waits for free cores: other
    /// people's work.
    #[serde(default)]
    pub delay: Distribution,
    /// What its pilots are like.
    #[serde(default)]
    pub pilot: PilotSettings,
    /// What goes wrong here.
    #[serde(default)]
    pub faults: Faults,
    /// How many pilots there may be; as many as the nodes hold if not set.
    #[serde(default)]
    pub limits: Option<PilotLimits>,
    /// When pilots are asked for.
    #[serde(default)]
    pub supply: SupplySettings,
    /// Whose tasks one pilot may run.
    #[serde(default)]
    pub sharing: PilotSharing,
    /// Who may use it; everybody if empty.
    #[serde(default)]
    pub users: Vec<UserName>,
    /// Groups that may use it; everybody if empty (and `users` is).
    #[serde(default)]
    pub groups: Vec<GroupName>,
    /// Software tags that it publishes.
    #[serde(default)]
    pub tags: Vec<String>,
}

const fn one() -> f64 {
    1.0
}

/// What the pilots of a cluster are like.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PilotSettings {
    /// Cores that one asks for; a whole node if not set.
    pub cores: Option<u32>,
    /// GPUs that one asks for; all of the node's if it asks for all cores.
    pub gpus: Option<u32>,
    /// Nodes of one allocation.
    pub nodes: u32,
    /// Its walltime, in seconds.
    pub walltime_s: u64,
    /// From the moment at which the batch system starts it to its first call, in seconds.
    pub start_s: u64,
    /// It leaves after so many seconds without work.
    pub idle_s: u64,
}

impl Default for PilotSettings {
    fn default() -> Self {
        Self {
            cores: None,
            gpus: None,
            nodes: 1,
            walltime_s: 24 * 3600,
            start_s: 5,
            idle_s: 120,
        }
    }
}

/// What goes wrong.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// An attempt fails by itself with this probability, at any time of its run.
    pub task_failure: f64,
    /// Mean time between two failures of a pilot, in hours; 0: they never fail.
    pub pilot_mtbf_hours: f64,
    /// So many nodes are black holes: what starts there fails after a second.
    pub black_holes: u32,
}

impl Clusters {
    /// Reads the text of a cluster file.
    ///
    /// # Errors
    /// What is wrong in it, with its place, and what to write.
    pub fn read(text: &str) -> Result<Self, SimError> {
        let clusters: Self = toml::from_str(text).map_err(|error| SimError::Text {
            what: "cluster file",
            reason: error.to_string(),
        })?;
        clusters.check().map_err(|reason| SimError::Text {
            what: "cluster file",
            reason,
        })?;
        Ok(clusters)
    }

    fn check(&self) -> Result<(), String> {
        if self.list.is_empty() {
            return Err(
                "no cluster is described; write one as `[[cluster]]` with `name`, \
                        `nodes` and `cores`"
                    .into(),
            );
        }
        let periods = [
            ("tick_s", self.tick_s),
            ("look_s", self.look_s),
            ("plan_s", self.plan_s),
        ];
        for (name, value) in periods {
            if !(1..=86_400).contains(&value) {
                return Err(format!("`{name}` must be 1 to 86400 seconds, not {value}"));
            }
        }
        for (place, cluster) in self.list.iter().enumerate() {
            let named = |reason| format!("cluster `{}`: {reason}", cluster.name);
            cluster.check().map_err(named)?;
            if self.list[..place].iter().any(|it| it.name == cluster.name) {
                return Err(named("there are two of this name".into()));
            }
        }
        Ok(())
    }

    /// Cores in all.
    pub fn cores(&self) -> u64 {
        let cores = |it: &Cluster| u64::from(it.nodes) * u64::from(it.cores);
        self.list.iter().map(cores).sum()
    }

    /// The scheduler's settings.
    pub(crate) fn settings(&self) -> Settings {
        let own = &self.scheduler;
        Settings {
            // No heartbeats are simulated: a pilot that is lost is found to be so by a look.
            pilot_silence_max_s: u64::from(u32::MAX),
            losses_max: own.losses_max,
            remaining_min_s: own.remaining_min_s,
            grants_max: own.grants_max,
            fast_fail_s: own.fast_fail_s,
            fast_fails_max: own.fast_fails_max,
            look_every_s: self.look_s,
            published_age_max_s: Settings::default().published_age_max_s.max(3 * self.look_s),
            pilots_max: own.pilots_max,
            ramp_min: own.ramp_min,
            recall_after_s: own.recall_after_s,
            pilot_queued_max_s: own.pilot_queued_max_s,
            ..Settings::default()
        }
    }
}

impl Cluster {
    fn check(&self) -> Result<(), String> {
        let within = |name: &str, value: u32, max: u32| {
            (1..=max)
                .contains(&value)
                .then_some(())
                .ok_or_else(|| format!("`{name}` must be 1 to {max}, not {value}"))
        };
        within("nodes", self.nodes, 1_000_000)?;
        within("cores", self.cores, 100_000)?;
        within("pilot.nodes", self.pilot.nodes, self.nodes)?;
        if let Some(cores) = self.pilot.cores {
            within("pilot.cores", cores, self.cores)?;
        }
        if self.pilot.gpus.is_some_and(|gpus| gpus > self.gpus) {
            return Err(format!(
                "`pilot.gpus` must be at most `gpus`, {}",
                self.gpus
            ));
        }
        if self.pilot.walltime_s <= PILOT_MARGIN_S + self.pilot.start_s {
            return Err(format!(
                "`pilot.walltime_s` must be more than {} seconds: it starts in `pilot.start_s` \
                 and needs {PILOT_MARGIN_S} s to tidy up",
                PILOT_MARGIN_S + self.pilot.start_s
            ));
        }
        if !(self.speed > 0.0 && self.speed.is_finite()) {
            return Err(format!("`speed` must be more than 0, not {}", self.speed));
        }
        if !(0.0..=1.0).contains(&self.faults.task_failure) {
            let given = self.faults.task_failure;
            return Err(format!("`faults.task_failure` must be 0 to 1, not {given}"));
        }
        if self.faults.pilot_mtbf_hours.is_nan() || self.faults.pilot_mtbf_hours < 0.0 {
            return Err("`faults.pilot_mtbf_hours` must be 0 or more".into());
        }
        if self.faults.black_holes > self.nodes {
            return Err("`faults.black_holes` must be at most `nodes`".into());
        }
        self.delay
            .check()
            .map_err(|reason| format!("`delay`: {reason}"))
    }

    /// What one node has.
    pub(crate) fn node(&self) -> Resources {
        Resources {
            cores: self.cores,
            memory_mib: match self.memory_mib {
                0 => MEMORY_UNTOLD_MIB,
                told => told,
            },
            gpus: self.gpus,
        }
    }

    /// What one pilot has: its cores, and of the rest as large a part as of the cores.
    pub(crate) fn pilot_resources(&self) -> Resources {
        let node = self.node();
        let cores = self.pilot.cores.unwrap_or(self.cores);
        let part = |all: u64| all / u64::from(self.cores) * u64::from(cores);
        let gpus = if cores == self.cores { self.gpus } else { 0 };
        Resources {
            cores,
            memory_mib: if cores == self.cores {
                node.memory_mib
            } else {
                part(node.memory_mib)
            },
            gpus: self.pilot.gpus.unwrap_or(gpus),
        }
    }

    /// The longest walltime of a task that can run here, in seconds, under standing pilots or not.
    pub(crate) fn task_walltime_max_s(&self, supply: PilotSupply) -> u64 {
        match supply {
            PilotSupply::Standing => u64::MAX,
            PilotSupply::Batch => {
                self.pilot.walltime_s - PILOT_MARGIN_S.max(self.pilot.start_s + 1)
            }
        }
    }

    /// The CE's id.
    pub(crate) fn ce_id(&self) -> Option<CeId> {
        Some(CeId {
            site: self.name.clone(),
            ce: "main".parse().ok()?,
        })
    }

    /// Nodes of one allocation.
    pub(crate) fn nodes_together(&self, supply: PilotSupply) -> u32 {
        match supply {
            PilotSupply::Standing => 1,
            PilotSupply::Batch => self.pilot.nodes,
        }
    }

    /// The site as the scheduler knows it. Its adapter is never called.
    pub(crate) fn site(&self, supply: PilotSupply) -> Option<Site> {
        let resources = self.pilot_resources();
        let per_node = (self.cores / resources.cores.max(1)).max(1);
        let pilots = self.nodes.saturating_mul(per_node);
        let whole = PilotLimits {
            pilots_max: pilots,
            queued_max: pilots,
            ..PilotLimits::default()
        };
        let standing = supply == PilotSupply::Standing;
        let ce = Ce {
            shape: PilotShape {
                cores: resources.cores,
                memory_mib: resources.memory_mib,
                gpus: resources.gpus,
                walltime_s: self.pilot.walltime_s,
                nodes: self.nodes_together(supply),
                whole_node: false,
                custom: Default::default(),
            },
            limits: self.limits.filter(|_| !standing).unwrap_or(whole),
            supply: self.supply,
            pilots: if standing {
                PilotSharing::Shared
            } else {
                self.sharing
            },
            users: self.users.clone(),
            groups: self.groups.clone(),
            tags: self.tags.clone(),
            ..Ce::new("main".parse().ok()?)
        };
        let adapter = AdapterSettings::Local(LocalSettings::default());
        Some(Site::new(self.name.clone(), adapter, vec![ce]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_with_what_to_write() {
        let told = |text: &str| Clusters::read(text).unwrap_err().to_string();
        let cluster = "[[cluster]]\nname = \"a\"\nnodes = 2\ncores = 4\n";
        insta::assert_snapshot!(
            [
                told(""),
                told("tick_s = 0\n[[cluster]]\nname = \"a\"\nnodes = 2\ncores = 4\n"),
                told(&format!("{cluster}core = 3\n")),
                told(&format!("{cluster}pilot = {{ cores = 5 }}\n")),
                told(&format!("{cluster}pilot = {{ walltime_s = 10 }}\n")),
                told(&format!(
                    "{cluster}delay = {{ kind = \"exponential\", mean_s = 0 }}\n"
                )),
                told(&format!("{cluster}{cluster}")),
            ]
            .join("\n---\n")
        );
    }

    #[test]
    fn a_pilot_has_its_part_of_the_node() {
        let text = "[[cluster]]\nname = \"a\"\nnodes = 2\ncores = 8\nmemory_mib = 32000\n\
                    gpus = 2\npilot = { cores = 2 }\n";
        let clusters = Clusters::read(text).unwrap();
        let expected = Resources {
            cores: 2,
            memory_mib: 8000,
            gpus: 0,
        };
        assert_eq!(clusters.list[0].pilot_resources(), expected);
        let site = clusters.list[0].site(PilotSupply::Batch).unwrap();
        assert_eq!(site.ces[0].limits.pilots_max, 8);
    }
}
