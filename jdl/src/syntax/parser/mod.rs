//! Tokens → syntax tree. After an error the parser goes on with the next
//! attribute, so that one reading tells all that is wrong.

use std::borrow::Cow;

use super::lexer::{Lexer, Mark, Token};
use super::{Ad, DEPTH_MAX, Expr, Name, Node, Span, TEXT_BYTES_MAX};
use crate::diagnostic::Report;

mod expressions;

/// How much is forgiven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manners {
    /// The language as HTCondor's library reads it.
    Strict,
    /// As job descriptions are written: without outer brackets, with `#` before
    /// comments, with dotted names and with texts that lack their quotes.
    Jdl,
}

/// Most ads that one text holds.
const ADS_MAX: usize = 10_000;

/// What was said already; the text is left as it is.
struct Told;
type Parsed<T> = Result<T, Told>;

/// Reads one expression; `None` after an error.
pub(crate) fn expression(text: &str, report: &mut Report) -> Option<Expr> {
    if !check_size(text, report) {
        return None;
    }
    let mut parser = Parser::new(text, Manners::Strict, report);
    let expr = parser.expr().ok()?;
    if parser.token != Token::End {
        let found = parser.found();
        let (span, help) = (parser.span, parser.unit_hint());
        let message = format!("the expression ends before {found}");
        match help {
            Some(help) => parser.report.error_with(span, message, help),
            None => parser.report.error(span, message),
        }
        return None;
    }
    Some(expr)
}

/// Reads one ad; what cannot be read is missing in it, and reported.
pub(crate) fn document(text: &str, manners: Manners, report: &mut Report) -> Ad {
    let mut ads = read_ads(text, manners, 1, report).ads;
    ads.pop().unwrap_or_default()
}

/// Reads all ads of a text. Several stand in brackets one after the other, with or
/// without `;` between them; without brackets, the text is one ad. At least one ad
/// comes back; what cannot be read is missing, and reported.
pub(crate) fn documents(text: &str, manners: Manners, report: &mut Report) -> Vec<Ad> {
    read_ads(text, manners, ADS_MAX, report).ads
}

/// The ads of a text, and what of it is not in them.
pub(crate) struct Reading {
    pub(crate) ads: Vec<Ad>,
    /// Where the comments stand.
    pub(crate) comments: Vec<Span>,
    /// Where the texts stand that lack their quotes.
    pub(crate) bare_words: Vec<Span>,
}
/// As [`documents`], with the places that a formatter needs.
pub(crate) fn read(text: &str, manners: Manners, report: &mut Report) -> Reading {
    read_ads(text, manners, ADS_MAX, report)
}

fn read_ads(text: &str, manners: Manners, ads_max: usize, report: &mut Report) -> Reading {
    if !check_size(text, report) {
        return Reading {
            ads: vec![Ad::new()],
            comments: Vec::new(),
            bare_words: Vec::new(),
        };
    }
    let mut parser = Parser::new(text, manners, report);
    let mut ads = Vec::new();
    if parser.at(Mark::OpenBracket) {
        while parser.at(Mark::OpenBracket) && ads.len() < ads_max {
            ads.push(parser.bracketed());
        }
        parser.check_end(ads_max);
    } else {
        ads.push(parser.unbracketed());
    }
    let mut comments = parser.lexer.into_comments();
    // Where the lexer went back, it came by the same ones again.
    comments.sort_by_key(|comment| comment.start);
    comments.dedup();
    Reading {
        ads,
        comments,
        bare_words: parser.bare_words,
    }
}

fn check_size(text: &str, report: &mut Report) -> bool {
    if text.len() > TEXT_BYTES_MAX {
        report.error_with(
            None,
            format!("the text has {} bytes, too many to be read", text.len()),
            format!(
                "a description may have {TEXT_BYTES_MAX} bytes; put data into the input sandbox"
            ),
        );
        return false;
    }
    true
}

struct Parser<'a, 'r> {
    lexer: Lexer<'a>,
    manners: Manners,
    report: &'r mut Report,
    token: Token<'a>,
    span: Span,
    /// Place of the token before.
    last: Span,
    depth: usize,
    bare_words: Vec<Span>,
}

impl<'a, 'r> Parser<'a, 'r> {
    fn new(text: &'a str, manners: Manners, report: &'r mut Report) -> Self {
        let mut parser = Self {
            lexer: Lexer::new(text, manners),
            manners,
            report,
            token: Token::End,
            span: Span::default(),
            last: Span::default(),
            depth: 0,
            bare_words: Vec::new(),
        };
        parser.advance();
        parser
    }

    fn advance(&mut self) {
        self.last = self.span;
        (self.token, self.span) = self.lexer.next(self.report);
    }

    fn at(&self, mark: Mark) -> bool {
        self.token == Token::Mark(mark)
    }

    fn take(&mut self, mark: Mark) -> bool {
        let there = self.at(mark);
        if there {
            self.advance();
        }
        there
    }

    /// Goes back to a token, or on to another place.
    fn rewind(&mut self, at: usize) {
        self.lexer.seek(at);
        self.advance();
    }

    // What is told.

    /// The present token in words.
    fn found(&self) -> String {
        match &self.token {
            Token::End => "the end of the text".into(),
            Token::String(_) => "a string".into(),
            Token::Mark(mark) => format!("`{}`", mark.text()),
            _ => {
                let text: String = self.span.of(self.lexer.source()).chars().take(40).collect();
                format!("`{text}`")
            }
        }
    }

    fn expected(&mut self, what: &str, help: &str) -> Told {
        let message = format!("expected {what}, found {}", self.found());
        let hint = self.runaway_string().or_else(|| self.unit_hint());
        let help = hint.unwrap_or_else(|| help.to_owned());
        self.report.error_with(self.span, message, help);
        Told
    }

    /// Told behind the value that lacks it, which may be lines before the present token.
    fn missing_semicolon(&mut self) -> Told {
        let end = self.last.end as usize;
        let message = format!("expected `;` after the value, found {}", self.found());
        let hint = self.runaway_string().or_else(|| self.unit_hint());
        let help = hint.unwrap_or_else(|| "end every attribute with `;`".to_owned());
        self.report.error_with(Span::new(end, end), message, help);
        Told
    }

    /// If the token before is a string over several lines, its closing quote was
    /// probably forgotten and it swallowed what follows.
    fn runaway_string(&self) -> Option<String> {
        if self.report.is_full() {
            return None; // lines are counted from the beginning for each error
        }
        let source = self.lexer.source();
        let before = self.last.of(source);
        if !before.starts_with('"') || !before.contains('\n') {
            return None;
        }
        let line = source[..self.last.start as usize].matches('\n').count() + 1;
        Some(format!(
            "the string that begins in line {line} goes over several lines: is its closing quote missing?"
        ))
    }

    /// If a word follows a number without a blank, as in `2K` or `0x1F`.
    fn unit_hint(&self) -> Option<String> {
        let source = self.lexer.source();
        let number: f64 = self.last.of(source).parse().ok()?;
        let Token::Word(word) = self.token else {
            return None;
        };
        if self.last.end != self.span.start {
            return None;
        }
        let power = match word.to_ascii_uppercase().as_str() {
            "B" => 0,
            "K" | "KB" => 1,
            "M" | "MB" => 2,
            "G" | "GB" => 3,
            "T" | "TB" => 4,
            _ => return Some("numbers are decimal and have no units".to_owned()),
        };
        Some(format!(
            "numbers have no units; write {}",
            number * 1024_f64.powi(power)
        ))
    }

    /// One level deeper, if that is allowed.
    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= DEPTH_MAX {
            return Err(self.too_deep());
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    fn too_deep(&mut self) -> Told {
        self.report.error_with(
            self.span,
            "this is nested too deeply",
            format!("at most {DEPTH_MAX} levels are read; name parts as attributes of their own"),
        );
        Told
    }

    // Ads.

    /// An ad in brackets, and the `;` behind it.
    fn bracketed(&mut self) -> Ad {
        let bracket = self.span;
        self.take(Mark::OpenBracket);
        let ad = self.attributes(true);
        if self.take(Mark::CloseBracket) {
            while self.take(Mark::Semicolon) {}
        } else {
            self.report
                .error_with(bracket, "this `[` is never closed", "end the text with `]`");
        }
        ad
    }

    fn unbracketed(&mut self) -> Ad {
        let help = "an ad is written `[ name = expression; … ]`";
        if self.manners == Manners::Strict {
            self.expected("`[`", help);
            return Ad::new();
        }
        let message = "the text has no brackets around it";
        self.report.forgive(self.span, message, help);
        self.attributes(false)
    }

    fn check_end(&mut self, ads_max: usize) {
        if self.token == Token::End {
            return;
        }
        let help = match (self.at(Mark::OpenBracket), ads_max) {
            (true, 1) => "one file describes one job; remove what follows".to_owned(),
            (true, _) => format!("a text may hold {ads_max} ads; split it"),
            (false, _) => "remove what follows, or give it brackets of its own".to_owned(),
        };
        self.report
            .error_with(self.span, "there is more text after the closing `]`", help);
    }

    fn attributes(&mut self, bracketed: bool) -> Ad {
        let mut ad = Ad::new();
        loop {
            while self.take(Mark::Semicolon) {}
            if self.token == Token::End || (bracketed && self.at(Mark::CloseBracket)) {
                return ad;
            }
            if self.attribute(&mut ad).is_err() {
                self.recover(bracketed);
            }
        }
    }

    fn attribute(&mut self, ad: &mut Ad) -> Parsed<()> {
        let (name, span) = self.attribute_name()?;
        if !self.take(Mark::Assign) {
            return Err(self.expected("`=` after the attribute's name", "write `Name = value;`"));
        }
        let expr = self.value()?;
        if ad.put(name, span, expr).is_some() {
            self.report.warn(
                span,
                format!("`{}` is set twice", span.of(self.lexer.source())),
                "the last value is taken; remove the other",
            );
        }
        let ended = self.at(Mark::CloseBracket) || self.token == Token::End;
        if !(self.take(Mark::Semicolon) || ended) {
            return Err(self.missing_semicolon());
        }
        Ok(())
    }

    /// A name; in a job description one with dots too (`Parameters.A`).
    fn attribute_name(&mut self) -> Parsed<(Name, Span)> {
        let mut span = self.span;
        let mut name: Cow<'_, str> = match self.token {
            Token::Word(word) => word.into(),
            Token::QuotedName(name) => name.text(),
            _ => return Err(self.expected("an attribute's name", "write `Name = value;`")),
        };
        self.advance();
        while self.manners == Manners::Jdl && self.at(Mark::Dot) {
            self.advance();
            let Token::Word(word) = self.token else {
                return Err(self.expected("a name after `.`", "write `Name = value;`"));
            };
            name.to_mut().extend([".", word]);
            span = span.to(self.span);
            self.advance();
        }
        Ok((Name::new(&name), span))
    }

    /// Goes to where the next attribute may begin: behind a `;`, or to a name
    /// with `=` at the beginning of a line.
    fn recover(&mut self, bracketed: bool) {
        let mut open = 0_u32;
        loop {
            match self.token {
                Token::End => return,
                Token::Mark(Mark::OpenBracket | Mark::OpenBrace | Mark::OpenParenthesis) => {
                    open += 1;
                }
                Token::Mark(Mark::CloseBracket) if open == 0 && bracketed => return,
                Token::Mark(Mark::CloseBracket | Mark::CloseBrace | Mark::CloseParenthesis) => {
                    open = open.saturating_sub(1);
                }
                Token::Mark(Mark::Semicolon) if open == 0 => return,
                Token::Word(_) if self.begins_attribute() => return,
                _ => {}
            }
            self.advance();
        }
    }

    fn begins_attribute(&self) -> bool {
        let source = self.lexer.source();
        let before = source[..self.span.start as usize].trim_end_matches([' ', '\t']);
        let after = source[self.span.end as usize..].trim_start_matches([' ', '\t']);
        (before.is_empty() || before.ends_with('\n'))
            && after.starts_with('=')
            && !["==", "=?=", "=!="].iter().any(|op| after.starts_with(op))
    }

    /// An expression; in a job description also a text that lacks its quotes.
    fn value(&mut self) -> Parsed<Expr> {
        if self.manners == Manners::Strict {
            return self.expr();
        }
        let (start, remarks) = (self.span.start as usize, self.report.len());
        let nested = matches!(
            self.token,
            Token::String(_)
                | Token::Mark(Mark::OpenBrace | Mark::OpenBracket | Mark::OpenParenthesis)
        );
        let result = self.expr();
        if nested || (result.is_ok() && self.at_value_end()) {
            return result;
        }
        let Some(word) = bare_word(&self.lexer.source()[start..]) else {
            return result;
        };
        self.report.truncate(remarks);
        let span = Span::new(start, start + word.len());
        self.rewind(start + word.len());
        self.last = span;
        self.bare_words.push(span);
        self.report.warn(
            span,
            format!("`{word}` is taken as a text"),
            format!("write it in quotes: \"{word}\""),
        );
        Ok(Expr::at(Node::Literal(word.into()), span))
    }

    fn at_value_end(&self) -> bool {
        use Mark::{CloseBrace, CloseBracket, Comma, Semicolon};
        matches!(
            self.token,
            Token::End | Token::Mark(Semicolon | Comma | CloseBrace | CloseBracket)
        )
    }
}

/// The word that `text` begins with, if it can be a text that lacks its quotes:
/// it goes up to a blank or a separator.
fn bare_word(text: &str) -> Option<&str> {
    let end = text
        .find(|c: char| c.is_whitespace() || ";,{}[]\"'".contains(c))
        .unwrap_or(text.len());
    let rest = text[end..].trim_start();
    let ended = rest.is_empty() || rest.starts_with([';', ',', '}', ']', '#']);
    let word = &text[..end];
    let simple = word
        .chars()
        .all(|c| c.is_alphanumeric() || "_./:%()@+-*~|$".contains(c));
    (ended && simple && !word.is_empty()).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<String>, usize) {
        let mut report = Report::default();
        let ads = documents(text, Manners::Jdl, &mut report);
        let ads = ads.iter().map(ToString::to_string).collect();
        (ads, report.into_diagnostics(text).len())
    }

    #[test]
    fn a_text_holds_one_ad_or_several() {
        let table: [(&str, &[&str], usize); 7] = [
            ("", &["[ ]"], 0),
            ("a = 1", &["[ a = 1 ]"], 0),
            ("[a = 1];\n", &["[ a = 1 ]"], 0),
            (
                "[a = 1]; # next\n[b = 2]\n[];",
                &["[ a = 1 ]", "[ b = 2 ]", "[ ]"],
                0,
            ),
            ("[a = 1] b = 2", &["[ a = 1 ]"], 1),
            ("[a = 1] [b = 2", &["[ a = 1 ]", "[ b = 2 ]"], 1),
            ("[a = ; b = 1] [c = 2]", &["[ b = 1 ]", "[ c = 2 ]"], 1),
        ];
        for (text, ads, remarks) in table {
            let (read, told) = read(text);
            assert_eq!(
                (read, told),
                (ads.iter().map(ToString::to_string).collect(), remarks),
                "{text}"
            );
        }
    }
}
