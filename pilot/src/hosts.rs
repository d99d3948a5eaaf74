//! What a payload that has several nodes finds of them: a file in its folder, and variables.
//!
//! The file is as PBS writes it: a node's name on a line of its own for each core. `mpirun` of Open
//! MPI (`--hostfile`), MPICH and Intel MPI (`-f`) all read it so.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;

use fairway_api::pilot::PayloadHost;

use crate::folders::TMP;

/// The file's name in the payload's folder for temporary files, which no pattern of outputs
/// reaches into.
const HOSTFILE: &str = "fairway-hosts";

/// What the batch system's own programs need to reach the other nodes of the allocation, such as
/// `srun`, `pbsdsh` and `oarsh`. None of it is a secret.
pub(crate) const BATCH_VARIABLES: [&str; 8] = [
    "SLURM_JOB_ID",
    "SLURM_CONF",
    "PBS_JOBID",
    "PBS_CONF_FILE",
    "PBS_ENVIRONMENT",
    "OAR_JOB_ID",
    "OAR_JOBID",
    "OAR_NODEFILE",
];

/// Writes the file. There must be none yet.
pub(crate) fn write(folder: &Path, hosts: &[PayloadHost]) -> io::Result<()> {
    if hosts.is_empty() {
        return Ok(());
    }
    let mut text = String::new();
    for PayloadHost { name, cores } in hosts {
        for _ in 0..*cores {
            let _ = writeln!(text, "{name}");
        }
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(folder.join(TMP).join(HOSTFILE))?;
    file.write_all(text.as_bytes())
}

/// Sets the variables of a payload that has several nodes. Programs on them are many: each is one
/// thread unless the payload says otherwise.
pub(crate) fn set(command: &mut Command, folder: &Path, hosts: &[PayloadHost]) {
    if hosts.is_empty() {
        return;
    }
    let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
    let slots: u64 = hosts.iter().map(|host| u64::from(host.cores)).sum();
    let file = folder.join(TMP).join(HOSTFILE);
    command
        .env("FAIRWAY_NODES", hosts.len().to_string())
        .env("FAIRWAY_HOSTS", names.join(","))
        .env("FAIRWAY_SLOTS", slots.to_string())
        .env("FAIRWAY_HOSTFILE", &file)
        .env("PBS_NODEFILE", &file)
        .env("OMP_NUM_THREADS", "1");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn hosts() -> Vec<PayloadHost> {
        let host = |(name, cores): (&str, u32)| PayloadHost {
            name: name.to_owned(),
            cores,
        };
        [("node2", 2), ("node7", 1)].map(host).into()
    }

    #[test]
    fn a_node_has_a_line_for_each_core() {
        let folder = tempfile::tempdir().unwrap();
        let tmp = folder.path().join(TMP);
        std::fs::create_dir(&tmp).unwrap();
        write(folder.path(), &hosts()).unwrap();
        let text = std::fs::read_to_string(tmp.join(HOSTFILE)).unwrap();
        assert_eq!(text, "node2\nnode2\nnode7\n");
        // What is there under that name is not written over, nor followed.
        assert!(write(folder.path(), &hosts()).is_err());
    }

    #[test]
    fn variables_tell_the_nodes() {
        let mut command = Command::new("true");
        set(&mut command, Path::new("/w/1"), &hosts());
        let set: BTreeMap<_, _> = command
            .get_envs()
            .map(|(name, value)| (name.to_str().unwrap(), value.unwrap().to_str().unwrap()))
            .collect();
        let file = "/w/1/.tmp/fairway-hosts";
        let expected = [
            ("FAIRWAY_HOSTFILE", file),
            ("FAIRWAY_HOSTS", "node2,node7"),
            ("FAIRWAY_NODES", "2"),
            ("FAIRWAY_SLOTS", "3"),
            ("OMP_NUM_THREADS", "1"),
            ("PBS_NODEFILE", file),
        ];
        assert_eq!(set, expected.into());
    }

    #[test]
    fn one_node_finds_nothing_of_it() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &[]).unwrap();
        let mut command = Command::new("true");
        set(&mut command, folder.path(), &[]);
        assert_eq!(command.get_envs().count(), 0);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
