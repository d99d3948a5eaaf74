//! Names and numbers of things. Each kind has a type of its own, so that one
//! cannot be passed where another is meant.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// Why a text is not an id or a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct IdError {
    text: String,
    expected: &'static str,
}

fn refuse<T>(text: &str, expected: &'static str) -> Result<T, IdError> {
    Err(IdError {
        text: text.chars().take(80).collect(),
        expected,
    })
}

/// What a user submitted in one go: one JDL text. Shown as `12`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(transparent)]
#[schema(example = 12)]
pub struct JobId(pub u64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for JobId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        parse_number(text)
            .map(Self)
            .map_or_else(|| refuse(text, "a job id such as 12"), Ok)
    }
}

/// One unit of user work: the task `index` (from 0) of a job. Shown as `12.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    /// The job that the task belongs to.
    pub job: JobId,
    /// Its place in the job's expansion, from 0.
    pub index: u32,
}

impl TaskId {
    /// The task `index` of `job`.
    pub const fn new(job: JobId, index: u32) -> Self {
        Self { job, index }
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.job, self.index)
    }
}

impl FromStr for TaskId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let parsed = text.split_once('.').and_then(|(job, index)| {
            Some(Self::new(
                JobId(parse_number(job)?),
                u32::try_from(parse_number(index)?).ok()?,
            ))
        });
        parsed.map_or_else(|| refuse(text, "a task id such as 12.0"), Ok)
    }
}

/// A pilot. Shown as `p42`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PilotId(pub u64);

impl fmt::Display for PilotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", self.0)
    }
}

impl FromStr for PilotId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        text.strip_prefix('p')
            .and_then(parse_number)
            .map(Self)
            .map_or_else(|| refuse(text, "a pilot id such as p42"), Ok)
    }
}

/// Digits only: no sign, no blanks, which `u64::from_str` would partly allow.
fn parse_number(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// The number of a try to run a task, from 1. Commands and reports carry it, so
/// that a late word about an earlier try changes nothing.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
)]
#[serde(transparent)]
#[schema(example = 1)]
pub struct Attempt(pub u32);

impl Attempt {
    /// The number of the try after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Longest user, group, site or CE name, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// Whether `text` can name a user, group, site or CE: 1 to 64 ASCII letters,
/// digits, `.`, `_`, `-` or `@`, beginning with a letter or a digit. Such a name
/// is safe in a path, a URL and a batch job's name.
pub fn is_name(text: &str) -> bool {
    text.len() <= NAME_BYTES_MAX
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-@".contains(&b))
}

/// In the API's schema these types are what they are on the wire: texts.
macro_rules! schema_as_text {
    ($name:ident, $example:literal) => {
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .examples([$example])
                    .into()
            }
        }

        impl ToSchema for $name {}
    };
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $expected:literal, $example:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                if is_name(text) { Ok(Self(text.into())) } else { refuse(text, $expected) }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }

        schema_as_text!($name, $example);
    };
}

name_type!(
    /// Who submitted a job.
    UserName, "a user name (1 to 64 letters, digits, . _ - @)", "alice"
);
name_type!(
    /// The group or virtual organisation that a user works for.
    GroupName, "a group name (1 to 64 letters, digits, . _ - @)", "biomed"
);
name_type!(
    /// A place with a batch system.
    SiteName, "a site name (1 to 64 letters, digits, . _ - @)", "lyon"
);
name_type!(
    /// The name of a compute element within its site.
    CeName, "a CE name (1 to 64 letters, digits, . _ - @)", "short"
);

/// A compute element: one queue or partition of one site. Shown as `lyon/short`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CeId {
    /// The site that the CE belongs to.
    pub site: SiteName,
    /// Its name there.
    pub ce: CeName,
}

impl fmt::Display for CeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.site, self.ce)
    }
}

impl FromStr for CeId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let parsed = text.split_once('/').and_then(|(site, ce)| {
            Some(Self {
                site: site.parse().ok()?,
                ce: ce.parse().ok()?,
            })
        });
        parsed.map_or_else(|| refuse(text, "a CE such as lyon/short"), Ok)
    }
}

macro_rules! serde_as_text {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    )*};
}

serde_as_text!(TaskId, PilotId, CeId);
schema_as_text!(TaskId, "12.0");
schema_as_text!(PilotId, "p42");
schema_as_text!(CeId, "lyon/short");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_through_text() {
        assert_eq!("12.7".parse(), Ok(TaskId::new(JobId(12), 7)));
        assert_eq!(TaskId::new(JobId(12), 7).to_string(), "12.7");
        assert_eq!("p42".parse(), Ok(PilotId(42)));
        assert_eq!(
            "lyon/short".parse::<CeId>().unwrap().to_string(),
            "lyon/short"
        );
    }

    #[test]
    fn malformed_ids_are_refused() {
        for text in [
            "",
            "12.",
            ".7",
            "+12.7",
            "12.-1",
            "12.4294967296",
            "1.2.3",
            "12 .7",
        ] {
            assert!(text.parse::<TaskId>().is_err(), "{text}");
        }
        assert!("42".parse::<PilotId>().is_err());
        assert!("+4".parse::<JobId>().is_err());
    }

    #[test]
    fn names_are_safe_in_paths() {
        for text in ["", ".", "..", "a/b", "-rf", "é", "a b", &"x".repeat(65)] {
            assert!(text.parse::<UserName>().is_err(), "{text}");
        }
        assert!("alice@cern.ch".parse::<UserName>().is_ok());
    }
}
