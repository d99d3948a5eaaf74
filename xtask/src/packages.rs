//! What the tests need beyond the Rust toolchain, from Debian's packages.

use std::path::Path;
use std::process::Command;

use anyhow::bail;

use crate::run::run;

/// A Debian package, and a file by which one sees that it is there.
struct Package {
    name: &'static str,
    /// Its path; `*` stands for a version or an architecture.
    file: &'static str,
}

const fn package(name: &'static str, file: &'static str) -> Package {
    Package { name, file }
}

const NEEDED: &[Package] = &[
    package("munge", "/usr/sbin/munged"),
    package("slurmctld", "/usr/sbin/slurmctld"),
    package("slurmd", "/usr/sbin/slurmd"),
    package("slurm-client", "/usr/bin/sbatch"),
    package("slurmdbd", "/usr/sbin/slurmdbd"),
    package(
        "slurm-wlm-mysql-plugin",
        "/usr/lib/*/slurm-wlm/accounting_storage_mysql.so",
    ),
    package("slurmrestd", "/usr/sbin/slurmrestd"),
    package("slurm-wlm-jwt-plugin", "/usr/lib/*/slurm-wlm/auth_jwt.so"),
    package("slurm-wlm-torque", "/usr/bin/qsub"),
    package("mariadb-server", "/usr/sbin/mariadbd"),
    package("postgresql", "/usr/lib/postgresql/*/bin/initdb"),
    package("oar-server", "/usr/lib/oar/Almighty"),
    package("oar-server-pgsql", "/usr/share/doc/oar-server-pgsql"),
    package("oar-node", "/usr/share/oar/oar-node"),
    package("oar-user", "/usr/bin/oarsub"),
    package("oar-user-pgsql", "/usr/share/doc/oar-user-pgsql"),
    package("oar-restful-api", "/usr/lib/cgi-bin/oarapi/oarapi.cgi"),
    package("libjson-perl", "/usr/share/perl5/JSON.pm"),
    package("libyaml-perl", "/usr/share/perl5/YAML.pm"),
    package("apache2-bin", "/usr/sbin/apache2"),
    package("apache2-utils", "/usr/bin/htpasswd"),
    package(
        "libapache2-mod-fcgid",
        "/usr/lib/apache2/modules/mod_fcgid.so",
    ),
    package("openssh-server", "/usr/sbin/sshd"),
    package("openssh-client", "/usr/bin/ssh"),
    package("sudo", "/usr/bin/sudo"),
    package("curl", "/usr/bin/curl"),
    package("procps", "/usr/bin/pgrep"),
    package("python3-venv", "/usr/lib/*/ensurepip/__init__.py"),
];

impl Package {
    fn is_there(&self) -> bool {
        match self.file.split_once('*') {
            None => Path::new(self.file).exists(),
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
