//! The ClassAd language and the JDL: from text to tasks.
//!
//! - [`syntax`]: text → tokens → syntax tree with spans, and back to text.
//! - [`value`] and [`eval`]: what an expression is worth, in three-valued logic,
//!   against one ad or a pair of ads.
//! - [`job`]: an ad as a job description: dialects, attributes, expansion into tasks.
//! - [`diagnostic`]: what is told to the author of a text, with place and remedy.
//!
//! Nothing here does I/O.

pub mod diagnostic;
pub mod eval;
pub mod job;
pub mod syntax;
pub mod value;

pub use diagnostic::{Diagnostic, Severity};
pub use eval::eval;
pub use job::json;
pub use job::{Dialect, InputName, JobNode, JobSpec, MissingFiles, Needs, ReadOptions, TaskSpec};
pub use syntax::{Ad, Expr};
pub use value::Value;
