//! What this machine is.

use std::fs;
use std::num::NonZero;

/// Cores that the server may use: its affinity and cgroup are respected.
pub(super) fn cores() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    u32::try_from(cores).unwrap_or(u32::MAX)
}

/// Memory in MiB, if the kernel tells.
pub(super) fn memory_mib() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib >> 10)
}

/// Processor architecture as `uname -m` prints it.
pub(super) fn architecture() -> String {
    rustix::system::uname()
        .machine()
        .to_string_lossy()
        .into_owned()
}

/// Name and version of the distribution, e.g. `Debian 12`.
pub(super) fn operating_system() -> Option<String> {
    name_and_version(&fs::read_to_string("/etc/os-release").ok()?)
}

/// Name and version from the text of `/etc/os-release`.
fn name_and_version(text: &str) -> Option<String> {
    let value = |key: &str| {
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(value.trim().trim_matches(['"', '\'']))
    };
    let name = value("NAME")?.trim_end_matches(" GNU/Linux");
    Some(match value("VERSION_ID") {
        Some(version) => format!("{name} {version}"),
        None => name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_distribution() {
        let debian = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\n\
                      VERSION_ID=\"12\"\n";
        assert_eq!(name_and_version(debian).as_deref(), Some("Debian 12"));
        assert_eq!(name_and_version("NAME=Arch\n").as_deref(), Some("Arch"));
        assert_eq!(name_and_version(""), None);
    }
}
