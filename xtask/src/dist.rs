//! The static pilot program: worker nodes need nothing but it.

use crate::run::{cargo, output, target};

pub(crate) fn run() -> anyhow::Result<()> {
    let version = output(std::process::Command::new("rustc").arg("-vV"))?;
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .unwrap_or_default();
    crate::run::run(
        cargo()
            .args([
                "build",
                "--profile",
                "pilot",
                "--package",
                "fairway-pilot",
                // glibc's own resolver needs shared libraries at run time.
                "--features",
                "static-dns",
                "--target",
                host,
            ])
            // With an explicit target the flag reaches the program and not the build scripts.
            .env("RUSTFLAGS", "-C target-feature=+crt-static"),
    )?;
    let program = target().join(host).join("pilot/fairway-pilot");
    let bytes = std::fs::metadata(&program)?.len();
    println!("{}: {:.1} MB", program.display(), bytes as f64 / 1e6);
    Ok(())
}
