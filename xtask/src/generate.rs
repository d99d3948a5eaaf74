//! Documents that are made from the code, so that they cannot drift from it.

use anyhow::{Context, bail};

use crate::run::{cargo, output, root};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Change nothing; fail if a document is not what the code makes
    #[arg(long)]
    check: bool,
}

/// Each document with what `fairway` prints it for.
const DOCUMENTS: &[(&str, &[&str])] = &[
    ("docs/openapi.json", &["reference", "openapi"]),
    ("docs/reference/cli.md", &["reference", "cli"]),
    (
        "docs/reference/configuration.md",
        &["reference", "configuration"],
    ),
    ("docs/reference/classad.md", &["reference", "classad"]),
    ("docs/reference/jdl.md", &["reference", "jdl"]),
    (
        "docs/reference/jdl.schema.json",
        &["reference", "jdl-schema"],
    ),
    ("docs/reference/problems.md", &["reference", "problems"]),
];

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut stale = Vec::new();
    for (path, arguments) in DOCUMENTS {
        let mut fairway = cargo();
        fairway
            .args(["run", "--quiet", "--package", "fairway-cli", "--"])
            .args(*arguments);
        // The help texts are folded to the width of the terminal.
        let made = output(fairway.env("COLUMNS", "100"))?;
        let file = root().join(path);
        let kept = std::fs::read_to_string(&file).unwrap_or_default();
        if made == kept {
            continue;
        }
        if args.check {
            stale.push(*path);
            continue;
        }
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&file, made).with_context(|| format!("cannot write {path}"))?;
        println!("wrote {path}");
    }
    if !stale.is_empty() {
        bail!(
            "not what the code makes: {}. Run: cargo xtask generate",
            stale.join(", ")
        );
    }
    Ok(())
}
