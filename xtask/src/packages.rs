//! What the tests need beyond the Rust toolchain, from Debian's packages.

use std::path::Path;
use std::process::Command;

use anyhow::bail;

use crate::run::run;

/// A Debian package, and a program or file by which one sees that it is there.
struct Package {
    name: &'static str,
    /// Its path; `*` stands for a version.
    program: &'static str,
}

const NEEDED: &[Package] = &[
    Package {
        name: "munge",
        program: "/usr/sbin/munged",
    },
    Package {
        name: "slurmctld",
        program: "/usr/sbin/slurmctld",
    },
    Package {
        name: "slurmd",
        program: "/usr/sbin/slurmd",
    },
    Package {
        name: "slurm-client",
        program: "/usr/bin/sbatch",
    },
    Package {
        name: "procps",
        program: "/usr/bin/pgrep",
    },
    Package {
        name: "postgresql",
        program: "/usr/lib/postgresql/*/bin/initdb",
    },
    Package {
        name: "oar-server",
        program: "/usr/lib/oar/Almighty",
    },
    Package {
        name: "oar-server-pgsql",
        program: "/usr/share/doc/oar-server-pgsql",
    },
    Package {
        name: "oar-node",
        program: "/usr/share/oar/oar-node",
    },
    Package {
        name: "oar-user",
        program: "/usr/bin/oarsub",
    },
    Package {
        name: "oar-user-pgsql",
        program: "/usr/share/doc/oar-user-pgsql",
    },
    Package {
        name: "oar-restful-api",
        program: "/usr/lib/cgi-bin/oarapi/oarapi.cgi",
    },
    Package {
        name: "libjson-perl",
        program: "/usr/share/perl5/JSON.pm",
    },
    Package {
        name: "libyaml-perl",
        program: "/usr/share/perl5/YAML.pm",
    },
    Package {
        name: "apache2-bin",
        program: "/usr/sbin/apache2",
    },
    Package {
        name: "apache2-utils",
        program: "/usr/bin/htpasswd",
    },
    Package {
        name: "libapache2-mod-fcgid",
        program: "/usr/lib/apache2/modules/mod_fcgid.so",
    },
    Package {
        name: "openssh-server",
        program: "/usr/sbin/sshd",
    },
    Package {
        name: "python3-venv",
        program: "/usr/lib/*/ensurepip/__init__.py",
    },
];

impl Package {
    fn is_there(&self) -> bool {
        match self.program.split_once('*') {
            None => Path::new(self.program).exists(),
            Some((folder, rest)) => std::fs::read_dir(folder).is_ok_and(|versions| {
                let mut versions = versions.flatten();
                versions.any(|it| it.path().join(rest.trim_start_matches('/')).exists())
            }),
        }
    }
}

/// Installs what is missing, as root; otherwise says what is missing and fails.
pub(crate) fn ensure() -> anyhow::Result<()> {
    let missing = NEEDED.iter().filter(|it| !it.is_there());
    let missing: Vec<&str> = missing.map(|it| it.name).collect();
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
