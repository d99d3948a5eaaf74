//! Regular expressions. They run in linear time; look-around and back-references,
//! which cannot, make a pattern an ERROR.

use std::cell::RefCell;
use std::collections::HashMap;

use regex::{Regex, RegexBuilder};

use super::{Call, Entry, Fault, Outcome, Val, entry, made};

pub(super) const TABLE: &[Entry] = &[
    entry("regexp", 2, 3, regexp),
    entry("regexpmember", 2, 3, regexp_member),
    entry("regexps", 3, 4, |c| {
        let options = c.text_or(3, "")?;
        substitute(c, &options, options.contains(['f', 'F']))
    }),
    entry("replace", 3, 4, |c| substitute(c, &c.text_or(3, "")?, true)),
    entry("replaceall", 3, 4, |c| {
        let options = c.text_or(3, "")?;
        substitute(c, &format!("{options}g"), true)
    }),
    entry("stringlist_regexpmember", 2, 4, string_list_regexp_member),
];

/// Largest compiled pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Most compiled patterns that a thread keeps.
const KEPT_MAX: usize = 64;

thread_local! {
    /// Compiling takes a hundred times as long as matching, and the same few
    /// patterns come again and again.
    static KEPT: RefCell<HashMap<(String, String), Option<Regex>>> = RefCell::default();
}

fn compiled(pattern: &str, options: &str) -> Result<Regex, Fault> {
    KEPT.with_borrow_mut(|kept| {
        let key = (pattern.to_owned(), options.to_owned());
        if let Some(regex) = kept.get(&key) {
            return regex.clone();
        }
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        let has = |option: char| options.contains([option, option.to_ascii_uppercase()]);
        let regex = RegexBuilder::new(pattern)
            .case_insensitive(has('i'))
            .multi_line(has('m'))
            .dot_matches_new_line(has('s'))
            .ignore_whitespace(has('x'))
            .size_limit(PATTERN_BYTES_MAX)
            .build()
            .ok();
        kept.insert(key, regex.clone());
        regex
    })
    .ok_or(Fault::Error)
}

fn regexp<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let (pattern, text) = (call.text(0)?, call.text(1)?);
    let regex = compiled(&pattern, &call.text_or(2, "")?)?;
    Ok(Val::Bool(regex.is_match(&text)))
}

fn regexp_member<'a>(call: &Call<'_, 'a>) -> Outcome<'a> {
    let (pattern, items) = (call.text(0)?, call.list(1)?);
    let regex = compiled(&pattern, &call.text_or(2, "")?)?;
    let mut unknown = false;
    for item in call.items(&items) {
        match item {
            Val::Text(text) if regex.is_match(&text) => return Ok(Val::Bool(true)),
            Val::Text(_) => {}
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
    let (pattern, text) = (call.text(0)?, call.text(1)?);
    let separators = call.text_or(2, super::string_lists::SEPARATORS)?;
    let regex = compiled(&pattern, &call.text_or(3, "")?)?;
    let found = super::string_lists::items(&text, &separators).any(|item| regex.is_match(item));
    Ok(Val::Bool(found))
}

/// The match rewritten as the third argument says (`\1` is the first group); with
/// `whole`, the text around it too; with the option `g`, every match.
fn substitute<'a>(call: &Call<'_, 'a>, options: &str, whole: bool) -> Outcome<'a> {
    let (pattern, text, template) = (call.text(0)?, call.text(1)?, call.text(2)?);
    let regex = compiled(&pattern, options)?;
    let matches_max = if options.contains(['g', 'G']) {
        usize::MAX
    } else {
        1
    };
    let mut result = String::new();
    let mut rest = 0;
    for captures in regex.captures_iter(&text).take(matches_max) {
        let all = captures.get_match();
        if whole {
            result.push_str(&text[rest..all.start()]);
        }
        rest = all.end();
        expand(&template, &captures, &mut result)?;
        if result.len() > crate::eval::TEXT_BYTES_MAX {
            return Err(Fault::Error);
        }
    }
    if whole {
        result.push_str(&text[rest..]);
    }
    made(result)
}

fn expand(template: &str, captures: &regex::Captures<'_>, out: &mut String) -> Result<(), Fault> {
    let mut chars = template.chars().peekable();
    while let Some(c) = chars.next() {
        match chars.peek().and_then(|next| next.to_digit(10)) {
            Some(group) if c == '\\' => {
                chars.next();
                let group = group as usize;
                if group >= captures.len() {
                    return Err(Fault::Error);
                }
                out.push_str(captures.get(group).map_or("", |found| found.as_str()));
            }
            _ => out.push(c),
        }
    }
    Ok(())
}
