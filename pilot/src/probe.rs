//! What the pilot may use on this machine, and for how long: the batch system's own
//! variables, then what the kernel enforces (affinity, cgroups), then what there is.

mod batch;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use fairway_api::pilot::Bootstrap;
use fairway_model::Resources;

/// What was found. Reading the environment and the system is all here; deciding is in
/// [`Findings::resources`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Findings {
    /// Cores that the batch system granted.
    batch_cores: Option<u32>,
    /// Cores that the pilot may be scheduled on.
    affinity_cores: Option<u32>,
    /// Whole cores that cgroup quotas allow.
    quota_cores: Option<u32>,
    batch_memory_mib: Option<u64>,
    cgroup_memory_mib: Option<u64>,
    machine_memory_mib: Option<u64>,
}

impl Findings {
    fn resources(&self, asked: Resources, whole_node: bool) -> Resources {
        let least_cores = [self.batch_cores, self.affinity_cores, self.quota_cores];
        let cores = least_cores.into_iter().flatten().min();
        let least_memory = [
            self.batch_memory_mib,
            self.cgroup_memory_mib,
            self.machine_memory_mib,
        ];
        let memory_mib = least_memory.into_iter().flatten().min();
        let no_more_cores = |found: u32| {
            if whole_node {
                found
            } else {
                asked.cores.min(found)
            }
        };
        Resources {
            cores: cores.map_or(asked.cores, no_more_cores).max(1),
            memory_mib: match (asked.memory_mib, memory_mib) {
                (0, found) => found.unwrap_or(0),
                (asked, Some(found)) if !whole_node => asked.min(found),
                (asked, found) => found.unwrap_or(asked),
            },
            gpus: asked.gpus,
        }
    }
}

/// What the pilot has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Allocation {
    /// Never more than was asked for, unless that was a whole node. Memory 0 in what was asked
    /// for means all that is found.
    pub(crate) resources: Resources,
    /// What was asked for, or less if the batch system says so.
    pub(crate) remaining: Duration,
    /// The node, as the batch system calls it if it says so, or else as it calls itself.
    pub(crate) host: String,
}

/// Looks for what the pilot has.
pub(crate) fn allocation(bootstrap: &Bootstrap) -> Allocation {
    let host = own_name();
    let batch = batch::ask(
        &batch::Sources {
            variable: &|name| std::env::var(name).ok(),
            file: &|path| fs::read_to_string(path).ok(),
            host: &host,
            now: SystemTime::now(),
        },
        bootstrap.whole_node,
    );
    let cgroups = cgroup_folders(&fs::read_to_string("/proc/self/cgroup").unwrap_or_default());
    let findings = Findings {
        batch_cores: batch.cores,
        affinity_cores: rustix::thread::sched_getaffinity(None)
            .ok()
            .map(|set| set.count()),
        quota_cores: cgroups
            .iter()
            .filter_map(|folder| cgroup_cores(folder))
            .min(),
        batch_memory_mib: batch.memory_mib,
        cgroup_memory_mib: cgroups
            .iter()
            .filter_map(|folder| cgroup_memory_mib(folder))
            .min(),
        machine_memory_mib: fs::read_to_string("/proc/meminfo")
            .ok()
            .and_then(|text| machine_memory_mib(&text)),
    };
    tracing::debug!(?findings, ?batch, "looked for resources");
    let asked = Duration::from_secs(bootstrap.walltime_s);
    Allocation {
        resources: findings.resources(bootstrap.resources, bootstrap.whole_node),
        remaining: batch.remaining.map_or(asked, |told| told.min(asked)),
        host: batch.node.unwrap_or(host),
    }
}

/// What the machine calls itself.
fn own_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

fn machine_memory_mib(meminfo: &str) -> Option<u64> {
    let total = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = total.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kib / 1024)
}

/// Folders of the cgroups that the pilot is in, with all those above: a limit anywhere
/// on the way up counts. `/proc/self/cgroup` holds `id:controllers:path` lines
/// (cgroups(7)); version 2 has no controllers in its line.
fn cgroup_folders(text: &str) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let roots: &[&str] = if controllers.is_empty() {
            &["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        } else if controllers
            .split(',')
            .any(|controller| controller == "memory")
        {
            &["/sys/fs/cgroup/memory"]
        } else if controllers.split(',').any(|controller| controller == "cpu") {
            &["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"]
        } else {
            continue;
        };
        for root in roots {
            let path = Path::new(path.trim_start_matches('/'));
            folders.extend(path.ancestors().map(|part| Path::new(root).join(part)));
        }
    }
    folders
}

fn cgroup_cores(folder: &Path) -> Option<u32> {
    let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
    // Version 2: "quota period" or "max period". Version 1: one file each, quota -1 for none.
    let (quota, period) = match read("cpu.max") {
        Some(text) => {
            let (quota, period) = text.trim().split_once(' ')?;
            (quota.parse::<u64>().ok()?, period.parse::<u64>().ok()?)
        }
        None => (
            read("cpu.cfs_quota_us")?.trim().parse().ok()?,
            read("cpu.cfs_period_us")?.trim().parse().ok()?,
        ),
    };
    // Part of a core is still one to work on.
    u32::try_from(quota.checked_div(period)?.max(1)).ok()
}

fn cgroup_memory_mib(folder: &Path) -> Option<u64> {
    let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
    // "max" and, in version 1, a number next to 2^63 both mean no limit.
    let text = read("memory.max").or_else(|| read("memory.limit_in_bytes"))?;
    text.trim()
        .parse()
        .ok()
        .filter(|bytes| *bytes < 1 << 60)
        .map(|bytes: u64| bytes >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_than_asked_and_never_more_than_found() {
        let asked = Resources {
            cores: 8,
            memory_mib: 16_000,
            gpus: 0,
        };
        let nothing = Findings::default();
        assert_eq!(nothing.resources(asked, false), asked);
        assert_eq!(nothing.resources(asked, true), asked);
        let found = Findings {
            batch_cores: Some(6),
            affinity_cores: Some(4),
            quota_cores: Some(32),
            cgroup_memory_mib: Some(8_000),
            machine_memory_mib: Some(64_000),
            ..nothing
        };
        assert_eq!(
            found.resources(asked, false),
            Resources {
                cores: 4,
                memory_mib: 8_000,
                gpus: 0
            }
        );
        let little = Resources {
            cores: 1,
            memory_mib: 0,
            gpus: 1,
        };
        assert_eq!(
            found.resources(little, false),
            Resources {
                cores: 1,
                memory_mib: 8_000,
                gpus: 1
            }
        );
    }

    #[test]
    fn a_whole_node_is_what_it_is() {
        let expected = Resources {
            cores: 8,
            memory_mib: 16_000,
            gpus: 2,
        };
        let found = Findings {
            affinity_cores: Some(64),
            machine_memory_mib: Some(250_000),
            ..Findings::default()
        };
        let more = Resources {
            cores: 64,
            memory_mib: 250_000,
            gpus: 2,
        };
        assert_eq!(found.resources(expected, true), more);
        let found = Findings {
            affinity_cores: Some(4),
            machine_memory_mib: Some(8_000),
            ..found
        };
        let less = Resources {
            cores: 4,
            memory_mib: 8_000,
            gpus: 2,
        };
        assert_eq!(found.resources(expected, true), less);
    }

    #[test]
    fn limits_above_count_in_both_cgroup_versions() {
        let folders = cgroup_folders("0::/user/job_7\n");
        assert!(folders.contains(&PathBuf::from("/sys/fs/cgroup/user")));
        let folders = cgroup_folders("5:cpu,cpuacct:/slurm/job_7\n3:memory:/slurm\n9:pids:/x\n");
        assert!(folders.contains(&PathBuf::from("/sys/fs/cgroup/cpu,cpuacct/slurm/job_7")));
        assert!(folders.contains(&PathBuf::from("/sys/fs/cgroup/memory/slurm")));
        assert!(!folders.iter().any(|folder| folder.ends_with("x")));

        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("cpu.cfs_quota_us", "-1\n");
        write("cpu.cfs_period_us", "100000\n");
        assert_eq!(cgroup_cores(folder.path()), None);
        write("cpu.cfs_quota_us", "350000\n");
        assert_eq!(cgroup_cores(folder.path()), Some(3));
        write("cpu.max", "50000 100000\n");
        assert_eq!(cgroup_cores(folder.path()), Some(1));
        write("cpu.max", "max 100000\n");
        assert_eq!(cgroup_cores(folder.path()), None);
        write("memory.max", "max\n");
        assert_eq!(cgroup_memory_mib(folder.path()), None);
        write("memory.max", "1073741824\n");
        assert_eq!(cgroup_memory_mib(folder.path()), Some(1024));
    }
}
