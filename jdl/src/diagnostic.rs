//! What is told to the author of a text.

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Noticed; the text is accepted.
    Warning,
    /// The text is refused.
    Error,
}

/// A remark on a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What to write instead, if that can be told.
    pub help: Option<String>,
    /// Line of the place, from 1; 0 where there is none.
    pub line: u32,
    /// Column of the place in characters, from 1; 0 where there is none.
    pub column: u32,
    /// The remark as a compiler would print it: place, source line, caret, help.
    pub rendered: String,
}
