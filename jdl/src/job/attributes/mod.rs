//! Every attribute that is known, in one table: the JSON Schema, the checks and
//! the documentation of the JDL are all made from it.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use super::Dialect;

mod alien;
mod compound;
mod data;
mod fate;
mod needs;
mod notes;
mod run;

/// What may stand behind an attribute's name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A text.
    Text,
    /// A text, or a list of texts.
    Texts,
    /// An integer in a range.
    Integer {
        /// The smallest that is allowed.
        min: i64,
        /// The largest that is allowed.
        max: i64,
    },
    /// `true` or `false`.
    Boolean,
    /// An expression that is evaluated later, against what sites publish.
    Expression,
    /// An integer, or a list of values.
    Parameters,
    /// A number.
    Number,
    /// An amount of memory or disk: a number of MiB, or a text such as `"8GB"`.
    Size,
    /// A moment: seconds since the epoch, or a text by RFC 3339.
    Moment,
    /// An ad, or a list of ads.
    Ads,
    /// The nodes of a compound job: a list of ads, or an ad of them.
    Nodes,
    /// Pairs of names, or of lists of them.
    Dependencies,
    /// An ad of amounts: integers by name.
    Amounts,
    /// Any value.
    Any,
}

impl Kind {
    /// Whether the expression itself is kept, and not what it is worth.
    pub(super) fn is_kept(self) -> bool {
        matches!(
            self,
            Self::Expression
                | Self::Ads
                | Self::Nodes
                | Self::Dependencies
                | Self::Amounts
                | Self::Any
        )
    }
}

/// What becomes of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It has the effect that its description tells.
    Honoured,
    /// It is read and checked; the text says what is not done.
    NotDone(&'static str),
    /// It is kept with the job and has no effect.
    Noted,
}

/// One known attribute.
#[derive(Debug)]
pub struct Attribute {
    /// Its usual name; names do not distinguish case.
    pub name: &'static str,
    /// What may stand behind it.
    pub kind: Kind,
    /// The systems that have it; none: Fairway's own.
    pub origins: &'static [Dialect],
    /// What becomes of it.
    pub status: Status,
    /// What it says, in Markdown.
    pub doc: &'static str,
    /// Its value where it is not set, if it has one, as the language writes it.
    pub default: Option<&'static str>,
    /// A value, as the language writes it.
    pub example: Option<&'static str>,
    /// The only texts that may stand there, in any case; none: any.
    pub words: &'static [&'static str],
}

const GLITE: &[Dialect] = &[Dialect::Glite];
const DIRAC: &[Dialect] = &[Dialect::Dirac];
const ALIEN: &[Dialect] = &[Dialect::Alien];
const GLITE_DIRAC: &[Dialect] = &[Dialect::Glite, Dialect::Dirac];
const GLITE_ALIEN: &[Dialect] = &[Dialect::Glite, Dialect::Alien];
const ALL: &[Dialect] = &[Dialect::Glite, Dialect::Dirac, Dialect::Alien];
const FAIRWAY: &[Dialect] = &[];

/// Most cores or GPUs that can be asked for.
pub(super) const UNITS_MAX: i64 = 1_000_000;
/// Longest time that can be asked for, in seconds: a hundred years.
const SECONDS_MAX: i64 = 3_155_760_000;
/// Most memory that can be asked for, in MiB: a pebibyte.
pub(super) const MEBIBYTES_MAX: i64 = 1 << 30;
/// Most retries that can be asked for.
const RETRIES_MAX: i64 = 1000;

const CORES: Kind = Kind::Integer {
    min: 1,
    max: UNITS_MAX,
};
const SECONDS: Kind = Kind::Integer {
    min: 1,
    max: SECONDS_MAX,
};
const MEBIBYTES: Kind = Kind::Integer {
    min: 1,
    max: MEBIBYTES_MAX,
};
const RETRIES: Kind = Kind::Integer {
    min: -1,
    max: RETRIES_MAX,
};
const COUNT: Kind = Kind::Integer {
    min: 0,
    max: i64::MAX,
};

impl Attribute {
    const fn new(
        name: &'static str,
        kind: Kind,
        origins: &'static [Dialect],
        doc: &'static str,
    ) -> Self {
        Self {
            name,
            kind,
            origins,
            status: Status::Honoured,
            doc,
            default: None,
            example: None,
            words: &[],
        }
    }

    const fn not_done(mut self, what: &'static str) -> Self {
        self.status = Status::NotDone(what);
        self
    }

    const fn noted(mut self) -> Self {
        self.status = Status::Noted;
        self
    }

    const fn default(mut self, value: &'static str) -> Self {
        self.default = Some(value);
        self
    }

    const fn example(mut self, value: &'static str) -> Self {
        self.example = Some(value);
        self
    }

    const fn words(mut self, words: &'static [&'static str]) -> Self {
        self.words = words;
        self
    }

    /// The systems that have it, in words.
    pub fn origin(&self) -> String {
        if self.origins.is_empty() {
            return "Fairway".into();
        }
        let names: Vec<String> = self.origins.iter().map(Dialect::to_string).collect();
        names.join(", ")
    }
}

/// The attributes by theme.
static THEMES: [(&str, &[Attribute]); 7] = [
    ("What to run", run::ATTRIBUTES),
    ("What it needs", needs::ATTRIBUTES),
    ("What becomes of it", fate::ATTRIBUTES),
    ("Several tasks and jobs in one text", compound::ATTRIBUTES),
    ("Data", data::ATTRIBUTES),
    ("AliEn", alien::ATTRIBUTES),
    ("Notes", notes::ATTRIBUTES),
];

static NAMED: LazyLock<HashMap<String, &'static Attribute>> = LazyLock::new(|| {
    all()
        .map(|attribute| (attribute.name.to_ascii_lowercase(), attribute))
        .collect()
});

/// All known attributes.
pub(super) fn all() -> impl Iterator<Item = &'static Attribute> {
    THEMES.iter().flat_map(|(_, attributes)| *attributes)
}

/// The known attribute of that name, in any case.
pub fn attribute(name: &str) -> Option<&'static Attribute> {
    NAMED.get(&*crate::syntax::fold(name)).copied()
}

/// All known attributes as Markdown: a table for each theme.
pub fn attributes_reference() -> String {
    let mut page = String::new();
    for (theme, attributes) in &THEMES {
        let _ = writeln!(page, "## {theme}\n");
        page.push_str("| attribute | value | from | what it says | what is done |\n");
        page.push_str("| --- | --- | --- | --- | --- |\n");
        for attribute in *attributes {
            let _ = writeln!(
                page,
                "| `{}` | {} | {} | {} | {} |",
                attribute.name,
                told_kind(attribute),
                attribute.origin(),
                attribute.doc.replace('|', "\\|"),
                told_status(attribute.status),
            );
        }
        page.push('\n');
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

fn told_kind(attribute: &Attribute) -> String {
    let mut kind = match attribute.kind {
        Kind::Integer { min, max: i64::MAX } => format!("integer from {min}"),
        Kind::Integer { min, max } => format!("integer from {min} to {max}"),
        Kind::Text => "text".into(),
        Kind::Texts => "text or list of texts".into(),
        Kind::Boolean => "boolean".into(),
        Kind::Expression => "expression".into(),
        Kind::Parameters => "integer or list of values".into(),
        Kind::Number => "number".into(),
        Kind::Size => "MiB, or a text with a unit".into(),
        Kind::Moment => "seconds since the epoch, or a text by RFC 3339".into(),
        Kind::Ads => "ad or list of ads".into(),
        Kind::Nodes => "list of ads, or ad of ads".into(),
        Kind::Dependencies => "list of pairs".into(),
        Kind::Amounts => "ad of integers".into(),
        Kind::Any => "any".into(),
    };
    if let Some(default) = attribute.default {
        let _ = write!(kind, "; default `{default}`");
    }
    kind
}

fn told_status(status: Status) -> String {
    match status {
        Status::Honoured => "honoured".into(),
        Status::NotDone(what) => format!("accepted with a notice: {what}"),
        Status::Noted => "kept with the job".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Expr;

    #[test]
    fn names_are_unique() {
        assert_eq!(NAMED.len(), all().count());
    }

    #[test]
    fn defaults_and_examples_are_expressions() {
        for attribute in all() {
            for value in attribute.default.iter().chain(&attribute.example) {
                assert!(Expr::parse(value).is_ok(), "{}: {value}", attribute.name);
            }
        }
    }

    #[test]
    fn the_reference_is_a_table_for_each_theme() {
        insta::assert_snapshot!(attributes_reference());
    }
}
