//! What an expression is worth.

use std::fmt;
use std::sync::Arc;

use crate::Ad;
use crate::syntax::print;

/// A value of the ClassAd language. `Display` prints it as a literal that reads back as itself.
#[derive(Clone, Debug)]
pub enum Value {
    /// Not known: an attribute that is not there.
    Undefined,
    /// Makes no sense: a wrong type, a division by zero.
    Error,
    /// A truth value.
    Boolean(bool),
    /// A 64-bit integer.
    Integer(i64),
    /// A double.
    Real(f64),
    /// A text.
    String(Arc<str>),
    /// A moment: seconds since the epoch, and the offset from UTC in seconds that it is shown with.
    AbsTime {
        /// Seconds since 1970-01-01T00:00:00Z.
        seconds: i64,
        /// Offset from UTC in seconds.
        offset: i32,
    },
    /// A span in seconds.
    RelTime(f64),
    /// A list.
    List(Arc<[Value]>),
    /// An ad.
    Ad(Arc<Ad>),
}

impl Value {
    /// The name of its type, as HTCondor's library and its tests have it.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Undefined => "undefined",
            Self::Error => "error",
            Self::Boolean(_) => "boolean",
            Self::Integer(_) => "integer",
            Self::Real(_) => "real",
            Self::String(_) => "string",
            Self::AbsTime { .. } => "abstime",
            Self::RelTime(_) => "reltime",
            Self::List(_) => "list",
            Self::Ad(_) => "classad",
        }
    }

    /// The truth that the value stands for where one is asked for: a boolean, or a
    /// number that is not zero. Only such a value of Requirements is a match.
    pub fn is_true(&self) -> bool {
        match self {
            Self::Boolean(truth) => *truth,
            Self::Integer(number) => *number != 0,
            Self::Real(number) => *number != 0.0,
            _ => false,
        }
    }

    /// The value as a number, if it is one (a boolean counts as 0 or 1).
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Boolean(truth) => Some(f64::from(u8::from(*truth))),
            Self::Integer(number) => Some(*number as f64),
            Self::Real(number) => Some(*number),
            _ => None,
        }
    }

    /// The value as HTCondor's library prints it, in one line: reals with sixteen digits
    /// and an exponent, spans as `relTime("1+02:03:04")`, attributes of an ad ordered by
    /// the length of their names. For comparing with the library; `Display` loses less.
    pub fn unparse(&self) -> String {
        print::Printed(self, print::Style::Library).to_string()
    }

    /// The value's text, if it is a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }
}

/// The same value of the same type. Two NaNs are the same, so that what is
/// printed and read back is equal to what it was.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Undefined, Self::Undefined) | (Self::Error, Self::Error) => true,
            (Self::Boolean(a), Self::Boolean(b)) => a == b,
            (Self::Integer(a), Self::Integer(b)) => a == b,
            (Self::Real(a), Self::Real(b)) | (Self::RelTime(a), Self::RelTime(b)) => {
                a == b || (a.is_nan() && b.is_nan())
            }
            (Self::String(a), Self::String(b)) => a == b,
            (
                Self::AbsTime { seconds, offset },
                Self::AbsTime {
                    seconds: other_seconds,
                    offset: other_offset,
                },
            ) => seconds == other_seconds && offset == other_offset,
            (Self::List(a), Self::List(b)) => a == b,
            (Self::Ad(a), Self::Ad(b)) => a == b,
            _ => false,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print::value(f, print::Style::of(f), self)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Boolean(truth)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text.into())
    }
}
