//! Values in the many shapes that Slurm's releases give them. Pure.
//!
//! 22.05 writes plain numbers, `null` or -1 for none, a state as one word, and a process's raw
//! wait status. From 23.02 on numbers that may be unset are objects, from 23.11 on states are
//! lists and exit codes objects. A reader that takes all of them needs to know no release.

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

/// A number, if there is one: not `null`, not negative (-1 is no limit, -2 is not set), and
/// neither `infinite` nor unset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "RawNumber")]
pub(super) struct Number(pub(super) Option<u64>);

#[derive(Deserialize)]
#[serde(untagged)]
enum RawNumber {
    Plain(i64),
    Fraction(f64),
    Object {
        #[serde(default = "yes")]
        set: bool,
        #[serde(default)]
        infinite: bool,
        #[serde(default)]
        number: Option<f64>,
    },
    Text(String),
    Other(IgnoredAny),
}

const fn yes() -> bool {
    true
}

impl From<RawNumber> for Number {
    fn from(raw: RawNumber) -> Self {
        // Slurm's numbers are 64 bits wide at most where they are counts of bytes; none here is.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is checked to be a whole number without a sign, and small"
        )]
        let whole = |value: f64| {
            (value >= 0.0 && value.fract() == 0.0 && value < 1e15).then_some(value as u64)
        };
        Self(match raw {
            RawNumber::Plain(value) => u64::try_from(value).ok(),
            RawNumber::Fraction(value) => whole(value),
            RawNumber::Object {
                set: true,
                infinite: false,
                number,
            } => number.and_then(whole),
            RawNumber::Text(text) => text.parse().ok(),
            RawNumber::Object { .. } | RawNumber::Other(_) => None,
        })
    }
}

impl Number {
    pub(super) fn small(self) -> Option<u32> {
        self.0.and_then(|value| u32::try_from(value).ok())
    }
}

/// Words: one, several separated by commas, or a list of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "RawWords")]
pub(super) struct Words(pub(super) Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum RawWords {
    Text(String),
    List(Vec<String>),
    Other(IgnoredAny),
}

impl From<RawWords> for Words {
    fn from(raw: RawWords) -> Self {
        Self(match raw {
            RawWords::Text(text) => text
                .split(',')
                .map(str::trim)
                .filter(|word| !word.is_empty())
                .map(str::to_owned)
                .collect(),
            RawWords::List(words) => words,
            RawWords::Other(_) => Vec::new(),
        })
    }
}

impl Words {
    pub(super) fn has(&self, word: &str) -> bool {
        self.0.iter().any(|it| it.eq_ignore_ascii_case(word))
    }

    pub(super) fn first(&self) -> Option<&str> {
        self.0.first().map(String::as_str)
    }

    /// The first of these words that it has.
    pub(super) fn first_of<'a>(&self, words: &[&'a str]) -> Option<&'a str> {
        words.iter().find(|word| self.has(word)).copied()
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "RawExit")]
pub(super) struct Exit {
    code: u64,
    signal: u64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawExit {
    /// As `wait` gives it.
    Status(u64),
    Object {
        #[serde(default)]
        return_code: Number,
        #[serde(default)]
        signal: Option<RawSignal>,
    },
    Other(IgnoredAny),
}

#[derive(Deserialize)]
struct RawSignal {
    #[serde(default, alias = "signal_id")]
    id: Number,
}

impl From<RawExit> for Exit {
    fn from(raw: RawExit) -> Self {
        match raw {
            RawExit::Status(status) => Self {
                code: status >> 8,
                signal: status & 0x7f,
            },
            RawExit::Object {
                return_code,
                signal,
            } => Self {
                code: return_code.0.unwrap_or(0),
                signal: signal.and_then(|signal| signal.id.0).unwrap_or(0),
            },
            RawExit::Other(_) => Self::default(),
        }
    }
}

impl Exit {
    /// `exit code 3`, `signal 15`, or nothing.
    pub(super) fn words(self) -> String {
        match (self.code, self.signal) {
            (0, 0) => String::new(),
            (code, 0) => format!("exit code {code}"),
            (_, signal) => format!("signal {signal}"),
        }
    }
}

/// A text, empty where there is none or something else.
pub(super) fn text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Raw {
        Text(String),
        Other(IgnoredAny),
    }
    Ok(match Raw::deserialize(from)? {
        Raw::Text(text) => text,
        Raw::Other(_) => String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(json: &str) -> Option<u64> {
        serde_json::from_str::<Number>(json).unwrap().0
    }

    #[test]
    fn numbers_of_all_releases() {
        assert_eq!(number("30"), Some(30));
        assert_eq!(number("\"30\""), Some(30));
        for none in ["null", "-1", "-2", "{}", "[]", "\"UNLIMITED\"", "1e300"] {
            assert_eq!(number(none), None, "{none}");
        }
        let object = |set: bool, infinite: bool| {
            number(&format!(
                "{{\"set\":{set},\"infinite\":{infinite},\"number\":7}}"
            ))
        };
        assert_eq!(object(true, false), Some(7));
        assert_eq!(object(false, false), None);
        assert_eq!(object(true, true), None);
    }

    #[test]
    fn words_and_exits_of_all_releases() {
        let words = |json: &str| serde_json::from_str::<Words>(json).unwrap().0;
        assert_eq!(words("\"a, b\""), ["a", "b"]);
        assert_eq!(words("[\"a\",\"b\"]"), ["a", "b"]);
        assert!(words("null").is_empty() && words("\"\"").is_empty());

        let exit = |json: &str| serde_json::from_str::<Exit>(json).unwrap().words();
        assert_eq!(exit("768"), "exit code 3");
        assert_eq!(exit("139"), "signal 11");
        assert_eq!(exit("0"), "");
        assert_eq!(
            exit("{\"status\":\"ERROR\",\"return_code\":3}"),
            "exit code 3"
        );
        assert_eq!(
            exit(
                "{\"status\":[\"SIGNALED\"],\"return_code\":{\"set\":false,\"number\":0},\
                 \"signal\":{\"id\":{\"set\":true,\"number\":15},\"name\":\"Terminated\"}}"
            ),
            "signal 15"
        );
        assert_eq!(
            exit("{\"status\":\"SIGNALED\",\"return_code\":null,\"signal\":{\"signal_id\":9}}"),
            "signal 9"
        );
    }
}
