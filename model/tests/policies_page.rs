//! What docs/policies.md shows is what the reader of policies takes.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use fairway_model::{Metric, Policy, PolicyKind};

const PAGE: &str = include_str!("../../docs/policies.md");

/// The TOML blocks, each with its line.
fn blocks() -> Vec<(usize, String)> {
    let mut blocks: Vec<(usize, String)> = Vec::new();
    let mut inside = false;
    for (line, text) in (1..).zip(PAGE.lines()) {
        match (text, inside) {
            ("```toml", _) => {
                inside = true;
                blocks.push((line, String::new()));
            }
            ("```", true) => inside = false,
            (text, true) => {
                let block = &mut blocks.last_mut().unwrap().1;
                block.push_str(text);
                block.push('\n');
            }
            _ => {}
        }
    }
    blocks
}

#[test]
fn every_example_is_a_policy_of_its_own() {
    let blocks = blocks();
    assert!(blocks.len() > 10);
    for (line, block) in blocks {
        let policy = Policy::read(&block);
        let policy = policy.unwrap_or_else(|wrong| panic!("at line {line}: {wrong:#?}"));
        let again = policy.to_toml().unwrap();
        assert_eq!(Policy::read(&again), Ok(policy), "at line {line}");
    }
}

#[test]
fn all_kinds_and_metrics_are_told_of() {
    let names = PolicyKind::ALL.map(PolicyKind::name);
    for name in names.into_iter().chain(Metric::ALL.map(Metric::name)) {
        assert!(PAGE.contains(&format!("| `{name}` |")), "{name}");
    }
}
