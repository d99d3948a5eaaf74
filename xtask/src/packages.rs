//! What the tests need beyond the Rust toolchain, from Debian's packages.

use std::path::Path;
use std::process::Command;

use anyhow::bail;

use crate::run::run;

/// A Debian package, and a file by which one sees that it is there.
struct Package {
    name: &'static str,
    file: &'static str,
}

const NEEDED: &[Package] = &[
    Package {
        name: "munge",
        file: "/usr/sbin/munged",
    },
    Package {
        name: "slurmctld",
        file: "/usr/sbin/slurmctld",
    },
    Package {
        name: "slurmd",
        file: "/usr/sbin/slurmd",
    },
    Package {
        name: "slurm-client",
        file: "/usr/bin/sbatch",
    },
    Package {
        name: "postgresql",
        file: "/usr/share/postgresql-common/pg_wrapper",
    },
];

/// Installs what is missing, as root; otherwise says what is missing and fails.
pub(crate) fn ensure() -> anyhow::Result<()> {
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|it| !Path::new(it.file).exists())
        .map(|it| it.name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if !rustix::process::geteuid().is_root() {
        bail!(
            "the tests need Debian packages that are not installed. Run as root: apt-get install {names}"
        );
    }
    println!("installing {names}");
    run(Command::new("apt-get").args(["update", "-qq"]))?;
    run(Command::new("apt-get")
        .env("DEBIAN_FRONTEND", "noninteractive")
        // The services of these packages are not needed: the test beds start their own.
        .env("RUNLEVEL", "1")
        .args(["install", "-y", "-qq", "--no-install-recommends"])
        .args(missing))
}
