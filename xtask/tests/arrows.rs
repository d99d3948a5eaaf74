//! Holds the dependency arrows between the crates, as drawn in `ARCHITECTURE.md`.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Each crate with all that it may depend on, of ours.
const ARROWS: &[(&str, &[&str])] = &[
    ("fairway-model", &[]),
    ("fairway-jdl", &["fairway-model"]),
    ("fairway-sched", &["fairway-model", "fairway-jdl"]),
    (
        "fairway-sim",
        &["fairway-model", "fairway-jdl", "fairway-sched"],
    ),
    ("fairway-api", &["fairway-model"]),
    ("fairway-migrations", &[]),
    ("fairway-site-adapters", &["fairway-model"]),
    (
        "fairway-site-agent",
        &["fairway-model", "fairway-api", "fairway-site-adapters"],
    ),
    (
        "fairway-wms",
        &[
            "fairway-model",
            "fairway-jdl",
            "fairway-sched",
            "fairway-sim",
            "fairway-api",
            "fairway-migrations",
            "fairway-site-adapters",
        ],
    ),
    ("fairway-pilot", &["fairway-model", "fairway-api"]),
    (
        "fairway-cli",
        &[
            "fairway-model",
            "fairway-api",
            "fairway-jdl",
            "fairway-sim",
            "fairway-wms",
            "fairway-site-agent",
            "fairway-pilot",
        ],
    ),
    (
        "fairway-bench",
        &["fairway-model", "fairway-api", "fairway-sim"],
    ),
    ("xtask", &[]),
];

/// What the pure crates must not depend on: no I/O, no async runtime, no random source.
const PURE: &[&str] = &["fairway-model", "fairway-jdl", "fairway-sched"];
const IMPURE: &[&str] = &[
    "tokio",
    "reqwest",
    "axum",
    "sea-orm",
    "rand",
    "async-trait",
    "futures",
];

#[test]
fn dependencies_follow_the_arrows() {
    let allowed: BTreeMap<&str, BTreeSet<&str>> = ARROWS
        .iter()
        .map(|(name, may)| (*name, may.iter().copied().collect()))
        .collect();
    let mut wrong = Vec::new();
    for (name, dependencies) in dependencies() {
        let Some(may) = allowed.get(name.as_str()) else {
            wrong.push(format!(
                "{name} has no arrows: draw them here and in ARCHITECTURE.md"
            ));
            continue;
        };
        for dependency in dependencies {
            let ours = allowed.contains_key(dependency.as_str());
            if ours && !may.contains(dependency.as_str()) {
                wrong.push(format!("{name} must not depend on {dependency}"));
            }
            if PURE.contains(&name.as_str()) && IMPURE.contains(&dependency.as_str()) {
                wrong.push(format!(
                    "{name} is pure: it must not depend on {dependency}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The direct dependencies of each crate of the workspace, those for tests left out.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(!packages.is_empty());
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap().iter();
            let direct = dependencies.filter(|it| it["kind"] != "dev");
            let names = direct.map(|it| it["name"].as_str().unwrap().to_owned());
            (
                package["name"].as_str().unwrap().to_owned(),
                names.collect(),
            )
        })
        .collect()
}
