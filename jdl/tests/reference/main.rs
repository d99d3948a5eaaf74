//! The language against HTCondor's own library, value for value and type for type:
//! expressions made by chance from a seed, corners picked by hand, and pairs of ads.
//!
//! Needs the library's Python bindings; see [`oracle::Oracle::find`]. The seed is
//! printed; `FAIRWAY_TEST_SEED` and `FAIRWAY_TEST_CASES` set another seed and number, to look
//! further than every run does.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![expect(clippy::print_stderr, reason = "a seed is to be seen")]

mod differences;
mod generator;
mod oracle;

use fairway_jdl::eval::DIFFERENCES;
use fairway_jdl::{Ad, Expr, Value, eval};
use generator::Chance;
use oracle::Oracle;
use serde_json::Value as Json;

/// Expressions picked by hand, one a line: what is easily got wrong.
const CORNERS: &str = include_str!("corners.txt");
const CASES: usize = 8000;
const PAIRS: usize = 1000;
/// Most disagreements that are shown.
const SHOWN: usize = 60;

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap(),
        Err(_) => default,
    }
}

/// The seed, if none is set: a run that fails must fail again.
const SEED: u64 = 20_260_101;

fn seed() -> u64 {
    let seed = number("FAIRWAY_TEST_SEED", SEED);
    eprintln!("FAIRWAY_TEST_SEED={seed}");
    seed
}

#[test]
fn expressions_made_by_chance_have_the_values_of_the_library() {
    let Some(mut oracle) = Oracle::find() else {
        return;
    };
    let mut chance = Chance::new(seed());
    let cases = number("FAIRWAY_TEST_CASES", CASES as u64);
    let mut trial = Trial::new(&mut oracle);
    for case in 0..cases {
        if case % 10 == 9 {
            trial.compare(&generator::tokens(&mut chance), generator::MY, None);
            continue;
        }
        let depth = 1 + chance.below(3);
        let expr = generator::expression(&mut chance, depth);
        let target = (case % 3 == 0).then_some(generator::TARGET);
        trial.compare(&expr, generator::MY, target);
    }
    trial.finish();
}

#[test]
fn corners_have_the_values_of_the_library() {
    let Some(mut oracle) = Oracle::find() else {
        return;
    };
    let mut trial = Trial::new(&mut oracle);
    for expr in CORNERS.lines() {
        trial.compare(expr, generator::MY, None);
        trial.compare(expr, generator::MY, Some(generator::TARGET));
    }
    trial.finish();
}

#[test]
fn deliberate_differences_are_as_they_are_told() {
    let Some(mut oracle) = Oracle::find() else {
        return;
    };
    for difference in DIFFERENCES {
        let theirs = oracle
            .value(difference.example, "[ ]", Some("[ ]"))
            .unwrap();
        let told = match theirs["type"].as_str() {
            Some("string") => Value::from(theirs["text"].as_str().unwrap()).to_string(),
            _ => theirs["text"].as_str().unwrap_or("refused").to_owned(),
        };
        let ours = match Expr::parse(difference.example) {
            Ok(expr) => eval(&expr, &Ad::new(), Some(&Ad::new())).to_string(),
            Err(_) => "refused".to_owned(),
        };
        assert_eq!(ours, difference.ours, "{}", difference.example);
        if difference.theirs != "…" {
            assert_eq!(told, difference.theirs, "{}", difference.example);
        }
    }
}

#[test]
fn pairs_of_ads_match_and_rank_as_in_the_library() {
    let Some(mut oracle) = Oracle::find() else {
        return;
    };
    let mut chance = Chance::new(seed());
    let mut wrong = Vec::new();
    for _ in 0..PAIRS {
        let (left, right) = (generator::side(&mut chance), generator::side(&mut chance));
        let Some(theirs) = oracle.pair(&left, &right) else {
            continue;
        };
        let ads = (Ad::parse(&left).unwrap(), Ad::parse(&right).unwrap());
        let accepts = |my: &Ad, other: &Ad| {
            my.get("Requirements")
                .is_some_and(|expr| eval(expr, my, Some(other)).is_true())
        };
        let (left_accepts, right_accepts) = (accepts(&ads.0, &ads.1), accepts(&ads.1, &ads.0));
        let rank = |my: &Ad, other: &Ad| eval(my.get("Rank").unwrap(), my, Some(other));
        let same = theirs["left_accepts"] == left_accepts
            && theirs["right_accepts"] == right_accepts
            && theirs["match"] == (left_accepts && right_accepts)
            && agree(&rank(&ads.0, &ads.1), &theirs["left_rank"])
            && agree(&rank(&ads.1, &ads.0), &theirs["right_rank"]);
        if !same {
            wrong.push(format!(
                "{left}\n{right}\n  ours {left_accepts} {right_accepts}\n  theirs {theirs}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Expressions compared, and how they differed.
struct Trial<'o> {
    oracle: &'o mut Oracle,
    compared: usize,
    crashes: usize,
    wrong: Vec<String>,
}

impl<'o> Trial<'o> {
    fn new(oracle: &'o mut Oracle) -> Self {
        Self {
            oracle,
            compared: 0,
            crashes: 0,
            wrong: Vec::new(),
        }
    }

    fn compare(&mut self, expr: &str, my: &str, target: Option<&str>) {
        let Some(theirs) = self.oracle.value(expr, my, target) else {
            self.crashes += 1;
            eprintln!("the library crashed over {expr}");
            return;
        };
        self.compared += 1;
        let my = Ad::parse(my).unwrap();
        let target = target.map(|text| Ad::parse(text).unwrap());
        let ours = Expr::parse(expr).map(|expr| eval(&expr, &my, target.as_ref()));
        let same = match &ours {
            // How the bindings tell that an evaluation failed.
            Ok(Value::Error) if theirs["type"] == "failure" => true,
            Err(_) => theirs["refused"] == true,
            Ok(value) => theirs["refused"] != true && agree(value, &theirs),
        };
        let deliberate =
            || differences::are_deliberate(expr, target.is_some(), ours.as_ref().ok(), &theirs);
        if !same && !deliberate() {
            let ours = match ours {
                Ok(value) => format!("{}  {}", value.type_name(), value),
                Err(errors) => format!("refused: {}", errors[0].message),
            };
            let pair = if target.is_some() { " (pair)" } else { "" };
            self.wrong.push(format!(
                "{expr}{pair}\n    ours   {ours}\n    theirs {theirs}"
            ));
        }
    }

    fn finish(self) {
        eprintln!(
            "{} expressions compared, {} disagreements, {} crashes of the library",
            self.compared,
            self.wrong.len(),
            self.crashes
        );
        let shown: Vec<&str> = self.wrong.iter().take(SHOWN).map(String::as_str).collect();
        assert!(self.wrong.is_empty(), "{}", shown.join("\n"));
        assert!(
            self.crashes * 100 <= self.compared,
            "the library crashes too often"
        );
    }
}

/// Whether a value is the one that the library gives.
fn agree(ours: &Value, theirs: &Json) -> bool {
    if theirs["type"] != ours.type_name() {
        return false;
    }
    match ours {
        Value::List(items) => {
            let others = theirs["items"].as_array().unwrap();
            let pairs = items.iter().zip(others);
            items.len() == others.len() && pairs.into_iter().all(|(item, other)| agree(item, other))
        }
        // An ad keeps its expressions; how the library prints them is not how we do.
        Value::Ad(ad) => {
            let text = theirs["text"].as_str().unwrap();
            Ad::parse(text).is_ok_and(|other| other == **ad)
        }
        Value::String(text) => theirs["text"] == **text,
        value => theirs["text"] == value.unparse(),
    }
}
