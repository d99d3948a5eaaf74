//! What an expression is worth.

use std::sync::Arc;

use crate::Ad;

/// A value of the ClassAd language.
#[derive(Clone, Debug, PartialEq)]
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
