//! Regular expressions, as PCRE reads them without its UTF option: bytes are characters.
//!
//! They run in linear time, except for patterns with look-around or back-references:
//! those run by backtracking within a limit, beyond which the value is ERROR.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use indexmap::{Equivalent, IndexMap};

use super::{Call, Entry, Fault, Outcome, Val, entry, made, string_lists, text_of, text_or};
use crate::eval::{SIZE_PER_STEP, TEXT_BYTES_MAX};

pub(super) const TABLE: &[Entry] = &[
    entry("regexp", 2, 3, regexp),
    entry("regexpMember", 2, 3, regexp_member),
    entry("regexps", 3, 4, |c| substitute(c, false, false)),
    entry("replace", 3, 4, |c| substitute(c, true, false)),
    entry("replaceAll", 3, 4, |c| substitute(c, true, true)),
    entry("stringList_regexpMember", 2, 4, string_list_regexp_member),
];

/// Largest compiled pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 1 << 18;

/// Most steps back in one match of a pattern that needs them.
const BACKTRACKS_MAX: usize = 20_000;

/// Steps of the evaluation that a pattern takes, which may have to be compiled.
const PATTERN_STEPS: usize = 100;

/// Steps of the evaluation that a match by backtracking takes.
const BACKTRACKING_STEPS: usize = 500;

/// Most compiled patterns that a thread keeps.
const KEPT_MAX: usize = 64;

enum Regex {
    Linear(regex::bytes::Regex),
    Backtracking(fancy_regex::Regex),
}

/// The places of a match and of its groups.
type Groups = Vec<Option<Range<usize>>>;

impl Regex {
    fn new(pattern: &str, options: &str) -> Option<Self> {
        let pattern = literal_classes(pattern);
        let linear = |unicode| {
            regex::bytes::RegexBuilder::new(&pattern)
                .unicode(unicode)
                .case_insensitive(options.contains('i'))
                .multi_line(options.contains('m'))
                .dot_matches_new_line(options.contains('s'))
                .ignore_whitespace(options.contains('x'))
                .size_limit(PATTERN_BYTES_MAX)
                .build()
                .map(Self::Linear)
        };
        // A character beyond ASCII in a class needs the Unicode mode.
        linear(false).or_else(|_| linear(true)).ok().or_else(|| {
            fancy_regex::RegexBuilder::new(&pattern)
                .case_insensitive(options.contains('i'))
                .multi_line(options.contains('m'))
                .dot_matches_new_line(options.contains('s'))
                .ignore_whitespace(options.contains('x'))
                .delegate_size_limit(PATTERN_BYTES_MAX)
                .backtrack_limit(BACKTRACKS_MAX)
                .build()
                .map(Self::Backtracking)
                .ok()
        })
    }

    /// Counts what a match takes.
    fn begin(&self, call: &Call<'_, '_>) -> Result<(), Fault> {
        match self {
            Self::Backtracking(_) if !call.evaluator.spend(BACKTRACKING_STEPS) => Err(Fault::Error),
            _ => Ok(()),
        }
    }

    fn is_match(&self, text: &str, call: &Call<'_, '_>) -> Result<bool, Fault> {
        self.begin(call)?;
        match self {
            Self::Linear(regex) => Ok(regex.is_match(text.as_bytes())),
            Self::Backtracking(regex) => regex.is_match(text).map_err(|_| Fault::Error),
        }
    }

    /// The first match from the byte `at` on.
    fn groups(&self, text: &str, at: usize, call: &Call<'_, '_>) -> Result<Option<Groups>, Fault> {
        self.begin(call)?;
        match self {
            Self::Linear(regex) => {
                let found = regex.captures_at(text.as_bytes(), at);
                Ok(found.map(|c| c.iter().map(|group| group.map(|g| g.range())).collect()))
            }
            Self::Backtracking(regex) => {
                let found = regex
                    .captures_from_pos(text, at)
                    .map_err(|_| Fault::Error)?;
                Ok(found.map(|c| c.iter().map(|group| group.map(|g| g.range())).collect()))
            }
        }
    }
}

/// In a class, PCRE takes `[`, `&&`, `--` and `~~` for the characters that they are.
fn literal_classes(pattern: &str) -> String {
    let mut translated = String::with_capacity(pattern.len());
    let mut chars = pattern.chars().peekable();
    let mut inside = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                translated.push(c);
                translated.extend(chars.next());
                continue;
            }
            '[' if inside && chars.peek() != Some(&':') => translated.push('\\'),
            '[' if inside => {
                // `[:alpha:]`, up to its own bracket.
                translated.push(c);
                for c in chars.by_ref() {
                    translated.push(c);
                    if c == ']' {
                        break;
                    }
                }
                continue;
            }
            '&' | '~' if inside => translated.push('\\'),
            '[' => {
                inside = true;
                translated.push(c);
                translated.extend(chars.next_if_eq(&'^'));
                translated.extend(chars.next_if_eq(&']').map(|_| "\\]"));
                continue;
            }
            ']' => inside = false,
            _ => {}
        }
        translated.push(c);
    }
    translated
}

/// What a compiled pattern is found by.
#[derive(PartialEq, Eq, Hash)]
struct Key<T> {
    pattern: T,
    options: T,
}

impl Equivalent<Key<String>> for Key<&str> {
    fn equivalent(&self, key: &Key<String>) -> bool {
        self.pattern == key.pattern && self.options == key.options
    }
}

thread_local! {
    /// Compiling takes a hundred times as long as matching, and the same few
    /// patterns come again and again.
    static KEPT: RefCell<IndexMap<Key<String>, Option<Rc<Regex>>, foldhash::fast::RandomState>> =
        RefCell::default();
}

fn compiled(pattern: &str, options: &str, call: &Call<'_, '_>) -> Result<Rc<Regex>, Fault> {
    // Whether or not it is kept: a value must not depend on what was evaluated before.
    if !call.evaluator.spend(PATTERN_STEPS) {
        return Err(Fault::Error);
    }
    KEPT.with_borrow_mut(|kept| {
        let key = Key { pattern, options };
        if let Some(regex) = kept.get(&key) {
            return regex.clone();
        }
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        let regex = Regex::new(pattern, options).map(Rc::new);
        let key = Key {
            pattern: pattern.to_owned(),
            options: options.to_owned(),
        };
        kept.insert(key, regex.clone());
        regex
    })
    .ok_or(Fault::Error)
}

/// Whether a pattern matches a text.
pub(super) fn matches(
    call: &Call<'_, '_>,
    pattern: &str,
    options: &str,
    text: &str,
) -> Result<bool, Fault> {
    compiled(pattern, options, call)?.is_match(text, call)
}

fn regexp<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    // What nearly every pattern is given: two texts.
    let (pattern, text) = (call.value(0), call.value(1));
    if let (Val::Text(pattern), Val::Text(text), 2) = (&pattern, &text, call.len()) {
        return compiled(pattern, "", call)?
            .is_match(text, call)
            .map(Val::Bool);
    }
    let values = call.errors_first()?;
    let (pattern, text) = (text_of(&values, 0)?, text_of(&values, 1)?);
    let options = text_or(&values, 2, "")?;
    matches(call, pattern, options, text).map(Val::Bool)
}

/// Whether a pattern matches an item of a list. A pattern that is none matches nothing.
fn regexp_member<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let values = call.errors_first()?;
    let Val::List(items) = &values[1] else {
        return Err(Fault::Error);
    };
    let regex = compiled(text_of(&values, 0)?, text_or(&values, 2, "")?, call).ok();
    let mut unknown = false;
    for item in call.items(items) {
        match item {
            Val::Text(text) => {
                if let Some(regex) = &regex
                    && regex.is_match(&text, call)?
                {
                    return Ok(Val::Bool(true));
                }
            }
            Val::Undefined => unknown = true,
            _ => return Err(Fault::Error),
        }
    }
    if unknown {
        return Err(Fault::Undefined);
    }
    Ok(Val::Bool(false))
}

fn string_list_regexp_member<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let values = call.values();
    let (pattern, text) = (text_of(&values, 0)?, text_of(&values, 1)?);
    let separators = text_or(&values, 2, string_lists::SEPARATORS)?;
    let options = text_or(&values, 3, "")?;
    let mut items = string_lists::items(text, separators).peekable();
    if items.peek().is_none() {
        return Err(Fault::Undefined);
    }
    let regex = compiled(pattern, options, call)?;
    for item in items {
        if regex.is_match(item, call)? {
            return Ok(Val::Bool(true));
        }
    }
    Ok(Val::Bool(false))
}

/// The match rewritten as the third argument says (`\1` is the first group); with
/// `whole` (or the option `f`), the text around it too; with `all` (`g`), every
/// match, where one of nothing is an error.
fn substitute<'a>(call: &Call<'_, 'a>, whole: bool, all: bool) -> Outcome<'a> {
    let values = call.errors_first()?;
    let options = text_or(&values, 3, "")?;
    let (pattern, text) = (text_of(&values, 0)?, text_of(&values, 1)?);
    let template = text_of(&values, 2)?;
    let regex = compiled(pattern, options, call)?;
    let (whole, all) = (whole || options.contains('f'), all || options.contains('g'));
    let text = text.as_bytes();
    let mut result = Vec::new();
    let mut rest = 0;
    while let Some(groups) = regex.groups(text_of(&values, 1)?, rest, call)? {
        let found = groups[0].clone().ok_or(Fault::Error)?;
        if whole {
            result.extend_from_slice(&text[rest..found.start]);
        }
        rest = found.end;
        let size = result.len();
        expand(template, text, &groups, &mut result)?;
        let affordable = call
            .evaluator
            .spend(1 + (result.len() - size) / SIZE_PER_STEP);
        let fits = result.len() <= TEXT_BYTES_MAX;
        if all && found.is_empty() || !affordable || !fits {
            return Err(Fault::Error);
        }
        if !all {
            break;
        }
    }
    if whole {
        result.extend_from_slice(&text[rest..]);
    }
    made(String::from_utf8_lossy(&result).into_owned())
}

/// Groups behind the last one that took part in the match are not there.
fn expand(template: &str, text: &[u8], groups: &Groups, out: &mut Vec<u8>) -> Result<(), Fault> {
    let count = groups
        .iter()
        .rposition(Option::is_some)
        .map_or(0, |last| last + 1);
    let mut bytes = template.bytes().peekable();
    while let Some(byte) = bytes.next() {
        match bytes.next_if(|next| byte == b'\\' && next.is_ascii_digit()) {
            Some(digit) => {
                let group = usize::from(digit - b'0');
                if group >= count {
                    return Err(Fault::Error);
                }
                out.extend_from_slice(groups[group].clone().map_or(&[][..], |g| &text[g]));
            }
            None => out.push(byte),
        }
    }
    Ok(())
}
