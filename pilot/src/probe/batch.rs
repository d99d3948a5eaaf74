//! What the batch system says of the allocation, by the variables that it sets. Pure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the batch system says. Some of it only repeats what was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    /// Cores of this node.
    pub(super) cores: Option<u32>,
    /// Memory of this node.
    pub(super) memory_mib: Option<u64>,
    /// From now to the end of the allocation.
    pub(super) remaining: Option<Duration>,
    /// What the batch system calls this node.
    pub(super) node: Option<String>,
}

/// What there is to read from.
pub(super) struct Sources<'a> {
    /// A variable of the environment.
    pub(super) variable: &'a dyn Fn(&str) -> Option<String>,
    /// The content of a file.
    pub(super) file: &'a dyn Fn(&str) -> Option<String>,
    /// What the machine calls itself.
    pub(super) host: &'a str,
    pub(super) now: SystemTime,
}

impl Sources<'_> {
    fn number(&self, name: &str) -> Option<u64> {
        let number = (self.variable)(name)?.trim().parse().ok();
        number.filter(|number| *number > 0)
    }

    fn cores(&self, name: &str) -> Option<u32> {
        u32::try_from(self.number(name)?).ok()
    }

    fn has(&self, name: &str) -> bool {
        (self.variable)(name).is_some_and(|value| !value.is_empty())
    }

    /// This node in a file that the variable names, which has a line with a node's name for each
    /// of its places: how it is called there, and how many lines there are.
    fn places(&self, variable: &str) -> Option<(String, u32)> {
        let text = (self.file)(&(self.variable)(variable)?)?;
        let short = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
        let host = short(self.host);
        let mut lines = text.lines().map(str::trim).filter(|it| short(it) == host);
        let name = lines.next()?.to_owned();
        Some((name, u32::try_from(lines.count() + 1).ok()?))
    }
}

/// Asks the batch system that started the pilot. `whole_node` is whether the node was asked for
/// as a whole: what merely repeats the number of cores in the request then says nothing.
pub(super) fn ask(sources: &Sources<'_>, whole_node: bool) -> Batch {
    // Slurm comes first: it can be made to set the variables of PBS beside its own.
    if sources.has("SLURM_JOB_ID") {
        slurm(sources, whole_node)
    } else if sources.has("OAR_JOB_ID") {
        oar(sources)
    } else if sources.has("PBS_JOBID") {
        pbs(sources, whole_node)
    } else {
        // Kubernetes says all in limits that the kernel enforces, and others say nothing.
        Batch::default()
    }
}

fn slurm(sources: &Sources<'_>, whole_node: bool) -> Batch {
    // All that the job has of this node, also if it has several nodes.
    let on_node = sources.cores("SLURM_CPUS_ON_NODE");
    let per_task = sources.cores("SLURM_CPUS_PER_TASK");
    let end = sources.number("SLURM_JOB_END_TIME");
    let end = end.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
    let per_core = sources.number("SLURM_MEM_PER_CPU");
    let of_cores = || per_core?.checked_mul(u64::from(on_node?));
    Batch {
        cores: if whole_node {
            on_node
        } else {
            per_task.or(on_node)
        },
        // 0 stands for all of the node's memory.
        memory_mib: sources.number("SLURM_MEM_PER_NODE").or_else(of_cores),
        remaining: end.map(|end| end.duration_since(sources.now).unwrap_or_default()),
        node: (sources.variable)("SLURMD_NODENAME"),
    }
}

/// OAR's file has a line for each resource, which is a core wherever OAR divides nodes.
fn oar(sources: &Sources<'_>) -> Batch {
    let places = sources.places("OAR_NODEFILE");
    Batch {
        cores: places.as_ref().map(|(_, cores)| *cores),
        memory_mib: None,
        remaining: sources
            .number("OAR_JOB_WALLTIME_SECONDS")
            .map(Duration::from_secs),
        node: places.map(|(name, _)| name),
    }
}

/// PBS tells of cores in `NCPUS`, TORQUE in `PBS_NUM_PPN`. Only TORQUE's file has a line for
/// each core; that of PBS has one for each MPI process.
fn pbs(sources: &Sources<'_>, whole_node: bool) -> Batch {
    let places = sources.places("PBS_NODEFILE");
    let cores = || {
        sources
            .cores("NCPUS")
            .or_else(|| sources.cores("PBS_NUM_PPN"))
            .or(places.as_ref().map(|(_, cores)| *cores))
    };
    Batch {
        cores: if whole_node { None } else { cores() },
        memory_mib: None,
        remaining: sources.number("PBS_WALLTIME").map(Duration::from_secs),
        node: places.map(|(name, _)| name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found with these variables and, in any file, these nodes.
    fn asked(variables: &[(&str, &str)], nodes: &str, whole_node: bool) -> Batch {
        let variable = |name: &str| {
            let found = variables.iter().find(|it| it.0 == name)?;
            Some(found.1.to_owned())
        };
        let file = |_: &str| Some(nodes.to_owned()).filter(|nodes| !nodes.is_empty());
        let sources = Sources {
            variable: &variable,
            file: &file,
            host: "node2.cluster.example",
            now: UNIX_EPOCH + Duration::from_secs(1000),
        };
        ask(&sources, whole_node)
    }

    #[test]
    fn slurm_is_understood() {
        let variables = [
            ("SLURM_JOB_ID", "7"),
            ("SLURM_CPUS_PER_TASK", "4"),
            ("SLURM_CPUS_ON_NODE", "16"),
            ("SLURM_MEM_PER_NODE", "2048"),
            ("SLURM_JOB_END_TIME", "1600"),
            ("SLURMD_NODENAME", "n2"),
        ];
        let found = asked(&variables, "", false);
        assert_eq!(
            found,
            Batch {
                cores: Some(4),
                memory_mib: Some(2048),
                remaining: Some(Duration::from_secs(600)),
                node: Some("n2".to_owned()),
            }
        );
        assert_eq!(asked(&variables, "", true).cores, Some(16));
        let per_core = [
            ("SLURM_JOB_ID", "7"),
            ("SLURM_CPUS_ON_NODE", "16"),
            ("SLURM_MEM_PER_CPU", "100"),
        ];
        let found = asked(&per_core, "", false);
        assert_eq!((found.cores, found.memory_mib), (Some(16), Some(1600)));
        let all_memory = [("SLURM_JOB_ID", "7"), ("SLURM_MEM_PER_NODE", "0")];
        assert_eq!(asked(&all_memory, "", false), Batch::default());
        let over = [("SLURM_JOB_ID", "7"), ("SLURM_JOB_END_TIME", "900")];
        assert_eq!(asked(&over, "", false).remaining, Some(Duration::ZERO));
    }

    /// As seen in a job of Debian's Slurm with the plugin that plays PBS.
    #[test]
    fn slurm_is_not_taken_for_the_pbs_that_it_plays() {
        let found = asked(
            &[
                ("PBS_JOBID", "60"),
                ("PBS_NODENUM", "0"),
                ("PBS_NUM_PPN", "64"),
                ("SLURM_JOB_ID", "60"),
                ("SLURM_CPUS_ON_NODE", "2"),
            ],
            "",
            false,
        );
        assert_eq!(found.cores, Some(2));
    }

    /// As seen in a job of OpenPBS: one line for the only MPI process, two cores.
    #[test]
    fn pbs_is_understood() {
        let variables = [
            ("PBS_JOBID", "55.pbshost"),
            ("PBS_ENVIRONMENT", "PBS_BATCH"),
            ("NCPUS", "2"),
            ("OMP_NUM_THREADS", "2"),
            ("PBS_NODEFILE", "/var/spool/pbs/aux/55.pbshost"),
        ];
        let found = asked(&variables, "node2\n", false);
        assert_eq!((found.cores, found.remaining), (Some(2), None));
        assert_eq!(found.node.as_deref(), Some("node2"));
        // A node for oneself has more cores than were asked for.
        assert_eq!(asked(&variables, "node2\n", true).cores, None);
    }

    #[test]
    fn torque_is_understood() {
        let mut variables = vec![
            ("PBS_JOBID", "55.server"),
            ("PBS_WALLTIME", "3600"),
            ("PBS_NODEFILE", "/var/spool/torque/aux/55.server"),
        ];
        let nodes = "node1\nnode1\nnode2\nnode2\nnode2\n";
        let found = asked(&variables, nodes, false);
        assert_eq!(found.cores, Some(3), "this node's lines only");
        assert_eq!(found.remaining, Some(Duration::from_secs(3600)));
        variables.push(("PBS_NUM_PPN", "4"));
        assert_eq!(asked(&variables, nodes, false).cores, Some(4));
    }

    #[test]
    fn oar_is_understood() {
        let variables = [
            ("OAR_JOB_ID", "60"),
            ("OAR_NODEFILE", "/var/lib/oar/60"),
            ("OAR_JOB_WALLTIME", "0:1:0"),
            ("OAR_JOB_WALLTIME_SECONDS", "60"),
        ];
        let nodes = "node1.cluster.example\nnode2.cluster.example\nnode2.cluster.example\n";
        let found = asked(&variables, nodes, false);
        assert_eq!(
            found,
            Batch {
                cores: Some(2),
                memory_mib: None,
                remaining: Some(Duration::from_secs(60)),
                node: Some("node2.cluster.example".to_owned()),
            }
        );
        assert_eq!(asked(&variables, nodes, true), found);
        // Nodes under other names than their own say nothing.
        assert_eq!(asked(&variables, "other\n", false).cores, None);
    }

    #[test]
    fn nonsense_is_not_believed() {
        for value in ["", "0", "-4", "many", "99999999999999999999"] {
            let variables = [
                ("PBS_JOBID", "1"),
                ("NCPUS", value),
                ("PBS_WALLTIME", value),
            ];
            assert_eq!(asked(&variables, "", false), Batch::default(), "{value}");
        }
    }
}
