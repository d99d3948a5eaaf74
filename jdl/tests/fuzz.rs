//! A short run of the fuzz targets on texts that are made from good ones by chance.
//!
//! `FAIRWAY_TEST_SEED` sets the seed, which is printed; `FAIRWAY_TEST_INPUTS` the number
//! of inputs for each target. A text that broke something goes into `jdl/fuzz/corpus/`.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![expect(clippy::print_stderr, reason = "a seed is to be seen")]

use std::fs;
use std::path::Path;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

#[expect(unreachable_pub, reason = "a library for cargo-fuzz")]
#[path = "../fuzz/src/lib.rs"]
mod targets;

/// Inputs for each target.
const INPUTS: u64 = 1500;

/// Longest input that is grown further, in bytes.
const INPUT_BYTES_MAX: usize = 1 << 14;

/// What means something in a text.
const WORDS: &[&str] = &[
    "[",
    "]",
    "{",
    "}",
    "(",
    ")",
    ";",
    ",",
    "=",
    "==",
    "=?=",
    "?",
    ":",
    "?:",
    ".",
    "-",
    "!",
    "&&",
    "||",
    "<<",
    "\"",
    "'",
    "\\",
    "#",
    "//",
    "/*",
    "*/",
    "\n",
    "\r\n",
    "\t",
    "\0",
    "\u{feff}",
    "é",
    "\u{1e}",
    "1",
    "0",
    "9223372036854775807",
    "1e308",
    "0.5",
    "1K",
    "true",
    "undefined",
    "error",
    "is",
    "other",
    "parent",
    "a",
    "b",
    "eval(",
    "strcat(",
    "regexp(",
    "absTime(",
    "_PARAM_",
    "%s",
    "%n",
    "Parameters = 3;",
    "ParameterStart = 1;",
    "ParameterStep = 2;",
    "Executable = \"x\";",
    "Nodes = ",
    "Dependencies = ",
    "Requirements = ",
    "Type = \"Collection\";",
    "Type = \"dag\";",
];

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// Every file that the tests and the targets have.
fn corpus() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts = Vec::new();
    for folder in ["fuzz/corpus", "tests/good", "tests/bad", "benches"] {
        let mut files: Vec<_> = fs::read_dir(root.join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .collect();
        files.sort();
        texts.extend(files.iter().map(|file| fs::read(file).unwrap()));
    }
    texts
}

fn changed(text: &mut Vec<u8>, corpus: &[Vec<u8>], chance: &mut StdRng) {
    let place = |text: &Vec<u8>, chance: &mut StdRng| chance.random_range(0..=text.len());
    let (mut start, mut end) = (place(text, chance), place(text, chance));
    if start > end {
        (start, end) = (end, start);
    }
    match chance.random_range(0..8) {
        0 => drop(text.drain(start..end)),
        1 => {
            let part = text[start..end].to_vec();
            let at = place(text, chance);
            text.splice(at..at, part);
        }
        2 => {
            if let Some(byte) = text.get_mut(start) {
                *byte ^= 1 << chance.random_range(0..8);
            }
        }
        3 => {
            let other = corpus.choose(chance).unwrap();
            let (from, to) = (place(other, chance), place(other, chance));
            let part = other[from.min(to)..from.max(to)].to_vec();
            text.splice(start..end, part);
        }
        4 => {
            let word = WORDS
                .choose(chance)
                .unwrap()
                .repeat(chance.random_range(1..300));
            text.splice(start..start, word.into_bytes());
        }
        _ => {
            let word = WORDS.choose(chance).unwrap();
            text.splice(start..start, word.bytes());
        }
    }
}

/// The seed, if none is set: a run that fails must fail again.
const SEED: u64 = 20_260_101;

/// Tries a target on texts of the corpus, and on each with more and more changes.
fn run(target: fn(&[u8])) {
    let seed = number("FAIRWAY_TEST_SEED", SEED);
    eprintln!("FAIRWAY_TEST_SEED={seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let corpus = corpus();
    for text in &corpus {
        target(text);
    }
    let mut text = Vec::new();
    for input in 0..number("FAIRWAY_TEST_INPUTS", INPUTS) {
        if input % 8 == 0 || text.len() > INPUT_BYTES_MAX {
            text = corpus.choose(&mut chance).unwrap().clone();
        }
        changed(&mut text, &corpus, &mut chance);
        let shown = String::from_utf8_lossy(&text).into_owned();
        if std::panic::catch_unwind(|| target(&text)).is_err() {
            panic!("input {input} of seed {seed}:\n{shown}");
        }
    }
}

#[test]
fn parse() {
    run(targets::parse);
}

#[test]
fn evaluate() {
    run(targets::evaluate);
}

#[test]
fn expand() {
    run(targets::expand);
}

#[test]
fn json() {
    run(targets::json);
}
