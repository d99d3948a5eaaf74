//! Text → tokens. Comments (`//`, `/* */`, and `#` to the end of the line) and
//! blanks are dropped here.

use std::borrow::Cow;

use super::Span;
use crate::diagnostic::Report;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token<'a> {
    Word(&'a str),
    /// `'name'`: an attribute's name that may hold any character.
    QuotedName(Cow<'a, str>),
    String(Cow<'a, str>),
    /// Its magnitude; a sign is an operator. 2^63 is allowed for `-9223372036854775808`.
    Integer(u64),
    Real(f64),
    /// An operator or a bracket.
    Mark(&'static str),
    End,
}

/// All operators and brackets, longer ones before their beginnings.
const MARKS: [&str; 40] = [
    "=?=", "=!=", ">>>", "<<", ">>", "<=", ">=", "==", "!=", "&&", "||", "?:", "<", ">", "=", "!",
    "&", "|", "^", "~", "+", "-", "*", "/", "%", "?", ":", ".", ",", ";", "(", ")", "[", "]", "{",
    "}", "\\", "@", "$", "`",
];

pub(crate) struct Lexer<'a> {
    source: &'a str,
    at: usize,
    /// A quote was left open: from then on, strings end with their line. Otherwise
    /// each further one could be looked for up to the end of the text.
    quote_open: bool,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(source: &'a str) -> Self {
        Self {
            source,
            at: 0,
            quote_open: false,
        }
    }

    pub(crate) fn source(&self) -> &'a str {
        self.source
    }

    pub(crate) fn seek(&mut self, at: usize) {
        self.at = at;
    }

    /// The next token and its place. What is not a token is reported and skipped.
    pub(crate) fn next(&mut self, report: &mut Report) -> (Token<'a>, Span) {
        loop {
            self.skip_blanks(report);
            let start = self.at;
            let rest = &self.source[start..];
            let Some(first) = rest.chars().next() else {
                return (Token::End, Span::new(start, start));
            };
            let token = match first {
                'a'..='z' | 'A'..='Z' | '_' => Some(self.word()),
                '0'..='9' => self.number(report),
                '.' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => self.number(report),
                '"' => Some(Token::String(self.quoted('"', report))),
                '\'' => Some(Token::QuotedName(self.quoted('\'', report))),
                _ => self.mark(first, report),
            };
            if let Some(token) = token {
                return (token, Span::new(start, self.at));
            }
        }
    }

    fn skip_blanks(&mut self, report: &mut Report) {
        loop {
            let rest = &self.source[self.at..];
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if trimmed.starts_with('#') || trimmed.starts_with("//") {
                self.at += trimmed.find('\n').unwrap_or(trimmed.len());
            } else if let Some(comment) = trimmed.strip_prefix("/*") {
                let span = Span::new(self.at, self.at + 2);
                match comment.find("*/") {
                    Some(end) => self.at += end + 4,
                    None => {
                        report.error_with(span, "this comment never ends", "close it with `*/`");
                        self.at = self.source.len();
                    }
                }
            } else {
                return;
            }
        }
    }

    fn word(&mut self) -> Token<'a> {
        let rest = &self.source[self.at..];
        let length = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        self.at += length;
        Token::Word(&rest[..length])
    }

    /// Decimal; with a fraction or an exponent it is a real.
    fn number(&mut self, report: &mut Report) -> Option<Token<'a>> {
        let start = self.at;
        let rest = &self.source[start..];
        let bytes = rest.as_bytes();
        let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
        let digits = |mut at: usize| {
            while is_digit(at) {
                at += 1;
            }
            at
        };
        let whole = digits(0);
        let mut end = whole;
        if bytes.get(end) == Some(&b'.') {
            let name_follows =
                |b: &u8| b.is_ascii_alphabetic() && !b"eE".contains(b) || *b == b'_' || *b == b'.';
            // `1.` is a number, `1.x` a selection.
            if !bytes.get(end + 1).is_some_and(name_follows) {
                end = digits(end + 1);
            }
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            if is_digit(end + 1 + sign) {
                end = digits(end + 1 + sign);
            }
        }
        self.at += end;
        let text = &rest[..end];
        let span = Span::new(start, self.at);
        if end > whole {
            return Some(Token::Real(text.parse().unwrap_or(f64::NAN)));
        }
        if text.len() > 1 && text.starts_with('0') {
            let help = format!("write `{}`", text.trim_start_matches('0'));
            report.error_with(span, "a number does not begin with 0", help);
            return Some(Token::Integer(0));
        }
        match text.parse() {
            Ok(number) if number <= 1 << 63 => Some(Token::Integer(number)),
            _ => {
                let help = "the largest is 9223372036854775807; a real number has a `.`";
                report.error_with(span, "this integer is too large", help);
                Some(Token::Integer(0))
            }
        }
    }

    /// What stands in quotes, with escapes resolved. May hold raw newlines.
    fn quoted(&mut self, quote: char, report: &mut Report) -> Cow<'a, str> {
        let start = self.at;
        let rest = &self.source[start + 1..];
        let line_end = || rest.find('\n').unwrap_or(rest.len());
        let body = if self.quote_open {
            &rest[..line_end()]
        } else {
            rest
        };
        let mut escaped = false;
        let mut plain = true;
        let end = body.find(|c: char| {
            if escaped {
                escaped = false;
                return false;
            }
            if c == '\\' {
                (escaped, plain) = (true, false);
            }
            c == quote
        });
        let Some(end) = end else {
            let line = line_end();
            self.quote_open = true;
            let kind = if quote == '"' { "string" } else { "name" };
            report.error_with(
                Span::new(start, start + 1 + line),
                format!("this {kind} never ends"),
                format!("close it with `{quote}`"),
            );
            self.at = start + 1 + line;
            return Cow::Borrowed(&body[..line]);
        };
        self.at = start + end + 2;
        let body = &body[..end];
        if plain {
            Cow::Borrowed(body)
        } else {
            Cow::Owned(unescape(body))
        }
    }

    fn mark(&mut self, first: char, report: &mut Report) -> Option<Token<'a>> {
        let rest = &self.source[self.at..];
        if let Some(mark) = MARKS.iter().find(|mark| rest.starts_with(**mark)) {
            self.at += mark.len();
            return Some(Token::Mark(mark));
        }
        let start = self.at;
        self.at += first.len_utf8();
        let help = if "“”„«»‘’".contains(first) {
            "strings stand in straight double quotes: \""
        } else {
            "a text must stand in double quotes"
        };
        report.error_with(
            Span::new(start, self.at),
            format!("`{}` means nothing here", first.escape_debug()),
            help,
        );
        None
    }
}

/// Resolves `\n`, `\"`, `\101` and the like; before another character the backslash is dropped.
pub(crate) fn unescape(body: &str) -> String {
    let mut text = String::with_capacity(body.len());
    let mut chars = body.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            text.push(c);
            continue;
        }
        match chars.next() {
            Some('b') => text.push('\u{8}'),
            Some('f') => text.push('\u{c}'),
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some('t') => text.push('\t'),
            Some(first @ '0'..='7') => {
                // Up to three digits, the first of three at most 3: one byte.
                let digits_max = if first <= '3' { 3 } else { 2 };
                let mut code = first as u32 - '0' as u32;
                for _ in 1..digits_max {
                    match chars.peek().and_then(|c| c.to_digit(8)) {
                        Some(digit) => {
                            code = code * 8 + digit;
                            chars.next();
                        }
                        None => break,
                    }
                }
                text.extend(char::from_u32(code).filter(|c| *c != '\0'));
            }
            Some(c) => text.push(c),
            None => text.push('\\'),
        }
    }
    text
}
