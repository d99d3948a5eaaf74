//! What the pilot may use on this machine, and for how long: the batch system's own
//! variables, then what the kernel enforces (affinity, cgroups), then what there is.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
    fn resources(&self, asked: Resources) -> Resources {
        let least_cores = [self.batch_cores, self.affinity_cores, self.quota_cores];
        let cores = least_cores.into_iter().flatten().min();
        let least_memory = [
            self.batch_memory_mib,
            self.cgroup_memory_mib,
            self.machine_memory_mib,
        ];
        let memory_mib = least_memory.into_iter().flatten().min();
        Resources {
            cores: cores
                .map_or(asked.cores, |found| asked.cores.min(found))
                .max(1),
            memory_mib: match (asked.memory_mib, memory_mib) {
                (0, found) => found.unwrap_or(0),
                (asked, found) => found.map_or(asked, |found| asked.min(found)),
            },
            gpus: asked.gpus,
        }
    }
}

/// What the pilot has: never more than was asked for. Memory 0 in what was asked for
/// means all that is found.
pub(crate) fn resources(asked: Resources) -> Resources {
    let cgroups = cgroup_folders(&fs::read_to_string("/proc/self/cgroup").unwrap_or_default());
    let findings = Findings {
        batch_cores: batch_cores(variable),
        affinity_cores: rustix::thread::sched_getaffinity(None)
            .ok()
            .map(|set| set.count()),
        quota_cores: cgroups
            .iter()
            .filter_map(|folder| cgroup_cores(folder))
            .min(),
        batch_memory_mib: batch_memory_mib(variable),
        cgroup_memory_mib: cgroups
            .iter()
            .filter_map(|folder| cgroup_memory_mib(folder))
            .min(),
        machine_memory_mib: fs::read_to_string("/proc/meminfo")
            .ok()
            .and_then(|text| machine_memory_mib(&text)),
    };
    tracing::debug!(?findings, "looked for resources");
    findings.resources(asked)
}

/// Time left of the allocation: what was asked for, or less if the batch system says so.
pub(crate) fn remaining(walltime_s: u64) -> Duration {
    let asked = Duration::from_secs(walltime_s);
    let end = variable("SLURM_JOB_END_TIME").and_then(|text| text.parse().ok());
    let Some(end) = end.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds)) else {
        return asked;
    };
    asked.min(end.duration_since(SystemTime::now()).unwrap_or_default())
}

/// The machine's name.
pub(crate) fn host() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Slurm's word: cores for each task of the job, or else cores on this node.
fn batch_cores(variable: impl Fn(&str) -> Option<String>) -> Option<u32> {
    let number = |name| variable(name)?.parse().ok().filter(|cores| *cores > 0);
    number("SLURM_CPUS_PER_TASK").or_else(|| number("SLURM_CPUS_ON_NODE"))
}

/// Slurm's word, in MiB; 0 stands for all of the node's memory.
fn batch_memory_mib(variable: impl Fn(&str) -> Option<String>) -> Option<u64> {
    variable("SLURM_MEM_PER_NODE")?
        .parse()
        .ok()
        .filter(|mib| *mib > 0)
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
        assert_eq!(nothing.resources(asked), asked);
        let found = Findings {
            batch_cores: Some(6),
            affinity_cores: Some(4),
            quota_cores: Some(32),
            cgroup_memory_mib: Some(8_000),
            machine_memory_mib: Some(64_000),
            ..nothing
        };
        assert_eq!(
            found.resources(asked),
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
            found.resources(little),
            Resources {
                cores: 1,
                memory_mib: 8_000,
                gpus: 1
            }
        );
    }

    #[test]
    fn slurm_is_understood() {
        let variables = |name: &str| match name {
            "SLURM_CPUS_ON_NODE" => Some("16".to_owned()),
            "SLURM_MEM_PER_NODE" => Some("2048".to_owned()),
            _ => None,
        };
        assert_eq!(batch_cores(variables), Some(16));
        assert_eq!(
            batch_cores(|name| Some(if name.ends_with("TASK") { "2" } else { "9" }.into())),
            Some(2)
        );
        assert_eq!(batch_memory_mib(variables), Some(2048));
        assert_eq!(batch_memory_mib(|_| Some("0".into())), None);
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
