//! What is told to the author of a text: what is wrong, where, and what to write instead.

use std::fmt;
use std::fmt::Write as _;

use crate::syntax::Span;

/// Most remarks on one text; more would not be read.
pub const DIAGNOSTICS_MAX: usize = 50;

/// Longest piece of a source line that is shown, in characters.
const SHOWN_COLUMNS_MAX: usize = 100;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The text is as it should be; something that it asks for is not done.
    Notice,
    /// Forgiven; the text is accepted.
    Warning,
    /// The text is refused.
    Error,
}

impl Severity {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A remark on a text. `Display` gives the rendered form.
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

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rendered)
    }
}

/// The remarks on one text as they are found, rendered when they are handed out.
#[derive(Debug, Default)]
pub(crate) struct Report {
    remarks: Vec<Remark>,
    /// Whether nothing is forgiven: what would be a warning is an error.
    strict: bool,
}

#[derive(Debug)]
struct Remark {
    severity: Severity,
    span: Option<Span>,
    message: String,
    help: Option<String>,
}

impl Report {
    /// A report that forgives nothing, or one that does.
    pub(crate) fn new(strict: bool) -> Self {
        Self {
            remarks: Vec::new(),
            strict,
        }
    }

    pub(crate) fn error(&mut self, span: impl Into<Option<Span>>, message: impl Into<String>) {
        self.push(Severity::Error, span.into(), message.into(), None);
    }

    pub(crate) fn error_with(
        &mut self,
        span: impl Into<Option<Span>>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let (span, help) = (span.into(), Some(help.into()));
        self.push(Severity::Error, span, message.into(), help);
    }

    pub(crate) fn warn(
        &mut self,
        span: impl Into<Option<Span>>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let (span, help) = (span.into(), Some(help.into()));
        let severity = if self.strict {
            Severity::Error
        } else {
            Severity::Warning
        };
        self.push(severity, span, message.into(), help);
    }

    /// What everybody writes though it is not in the language: told only if nothing
    /// is forgiven.
    pub(crate) fn forgive(
        &mut self,
        span: impl Into<Option<Span>>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        if self.strict {
            self.error_with(span, message, help);
        }
    }

    /// What is asked for and not done.
    pub(crate) fn notice(
        &mut self,
        span: impl Into<Option<Span>>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let (span, help) = (span.into(), Some(help.into()));
        self.push(Severity::Notice, span, message.into(), help);
    }

    /// The worst go first when there is no room for all. What several jobs of one text
    /// have in common is told once.
    fn push(
        &mut self,
        severity: Severity,
        span: Option<Span>,
        message: String,
        help: Option<String>,
    ) {
        let is_told = |remark: &Remark| remark.span == span && remark.message == message;
        if self.remarks.iter().any(is_told) {
            return;
        }
        if self.remarks.len() >= DIAGNOSTICS_MAX {
            let mildest = self
                .remarks
                .iter()
                .enumerate()
                .rev()
                .min_by_key(|(_, remark)| remark.severity);
            match mildest {
                Some((place, remark)) if remark.severity < severity => {
                    self.remarks.remove(place);
                }
                _ => return,
            }
        }
        self.remarks.push(Remark {
            severity,
            span,
            message,
            help,
        });
    }

    /// Whether a further error would not be told.
    pub(crate) fn is_full(&self) -> bool {
        let mut all = self.remarks.iter();
        self.remarks.len() >= DIAGNOSTICS_MAX && all.all(|r| r.severity == Severity::Error)
    }

    /// Whether there is no room for more remarks of the milder kinds.
    pub(crate) fn is_crowded(&self) -> bool {
        self.remarks.len() >= DIAGNOSTICS_MAX
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.remarks
            .iter()
            .any(|remark| remark.severity == Severity::Error)
    }

    /// How many remarks there are, for [`Report::truncate`].
    pub(crate) fn len(&self) -> usize {
        self.remarks.len()
    }

    /// Takes back the remarks made since [`Report::len`] was `len`.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.remarks.truncate(len);
    }

    /// Takes over the errors of another report on the same text.
    pub(crate) fn append(&mut self, other: Self) {
        for remark in other.remarks {
            if remark.severity == Severity::Error {
                self.push(remark.severity, remark.span, remark.message, remark.help);
            }
        }
    }

    /// All remarks, in the order of their places.
    pub(crate) fn into_diagnostics(mut self, source: &str) -> Vec<Diagnostic> {
        self.remarks
            .sort_by_key(|remark| remark.span.map_or(u32::MAX, |span| span.start));
        self.remarks
            .into_iter()
            .map(|remark| render(source, remark))
            .collect()
    }
}

fn render(source: &str, remark: Remark) -> Diagnostic {
    let Remark {
        severity,
        span,
        message,
        help,
    } = remark;
    let mut rendered = format!("{}: {message}\n", severity.name());
    let (mut line, mut column) = (0, 0);
    if let Some(span) = span {
        let place = Place::of(source, span);
        (line, column) = (place.line, place.column);
        place.draw(&mut rendered);
    }
    if let Some(help) = &help {
        let _ = writeln!(rendered, "  = help: {help}");
    }
    rendered.truncate(rendered.trim_end().len());
    Diagnostic {
        severity,
        message,
        help,
        line,
        column,
        rendered,
    }
}

/// Where a span begins, with the line around it.
struct Place<'a> {
    line: u32,
    column: u32,
    text: &'a str,
    carets: usize,
}

impl<'a> Place<'a> {
    fn of(source: &'a str, span: Span) -> Self {
        let start = floor_boundary(source, span.start as usize);
        let end = floor_boundary(source, (span.end as usize).max(start));
        let line_start = source[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = source[start..]
            .find('\n')
            .map_or(source.len(), |at| start + at);
        let lines = source[..line_start].bytes().filter(|b| *b == b'\n').count();
        Self {
            line: u32::try_from(lines + 1).unwrap_or(u32::MAX),
            column: u32::try_from(source[line_start..start].chars().count() + 1)
                .unwrap_or(u32::MAX),
            text: source[line_start..line_end].trim_end_matches('\r'),
            carets: source[start..end.min(line_end)].chars().count().max(1),
        }
    }

    /// The source line with carets below. Of a long line only the part around
    /// the place is shown; what could confuse a terminal is replaced.
    fn draw(&self, out: &mut String) {
        let caret = self.column as usize - 1;
        let skipped = if caret > SHOWN_COLUMNS_MAX * 3 / 4 {
            caret - SHOWN_COLUMNS_MAX / 2
        } else {
            0
        };
        let mut shown: String = self
            .text
            .chars()
            .skip(skipped)
            .take(SHOWN_COLUMNS_MAX)
            .map(|c| match c {
                '\t' => ' ',
                c if c.is_control() => '\u{fffd}',
                c => c,
            })
            .collect();
        if skipped > 0 {
            shown.replace_range(..shown.chars().next().map_or(0, char::len_utf8), "…");
        }
        let carets = self
            .carets
            .min(SHOWN_COLUMNS_MAX.saturating_sub(caret - skipped))
            .max(1);
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let _ = writeln!(
            out,
            " {margin}--> line {}, column {}\n {margin} |\n {number} | {}\n {margin} | {}{}",
            self.line,
            self.column,
            shown.trim_end(),
            " ".repeat(caret - skipped),
            "^".repeat(carets),
        );
    }
}

fn floor_boundary(source: &str, at: usize) -> usize {
    let mut at = at.min(source.len());
    while !source.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The one of `known` that a name is probably meant to be; names do not distinguish case.
pub(crate) fn nearest<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let name = name.to_ascii_lowercase();
    let distance_max = match name.len() {
        0..=3 => return None,
        4..=7 => 1,
        8..=64 => 2,
        _ => return None,
    };
    known
        .filter(|known| known.len().abs_diff(name.len()) <= distance_max)
        .map(|known| (edit_distance(&name, &known.to_ascii_lowercase()), known))
        .filter(|(distance, _)| *distance <= distance_max)
        .min()
        .map(|(_, known)| known)
}

/// Levenshtein's distance of two short texts, by bytes.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let cost = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
