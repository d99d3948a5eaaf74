//! Text → tokens. Blanks and comments (`//`, `/* */`, and in job descriptions `#` to
//! the end of the line) are skipped here; the places of the comments are kept.
//!
//! Works on bytes: everything that means something is ASCII, and no byte of a longer
//! character is.

use std::borrow::Cow;

use super::Span;
use super::parser::Manners;
use crate::diagnostic::Report;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Token<'a> {
    Word(&'a str),
    /// `'name'`: an attribute's name that may hold any character.
    QuotedName(Quoted<'a>),
    String(Quoted<'a>),
    /// Its magnitude; a sign is an operator. 2^63 is allowed for `-9223372036854775808`.
    Integer(u64),
    Real(f64),
    Mark(Mark),
    End,
}

/// What stands between quotes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Quoted<'a> {
    body: &'a str,
    escaped: bool,
}

impl<'a> Quoted<'a> {
    /// Its text, with escapes resolved.
    pub(crate) fn text(self) -> Cow<'a, str> {
        if self.escaped {
            Cow::Owned(unescape(self.body))
        } else {
            Cow::Borrowed(self.body)
        }
    }
}

macro_rules! marks {
    ($($name:ident $text:literal,)*) => {
        /// An operator or a bracket.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Mark {
            $($name,)*
        }

        impl Mark {
            pub(crate) fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

marks! {
    MetaEqual "=?=",
    MetaNotEqual "=!=",
    ShiftRightLogical ">>>",
    ShiftLeft "<<",
    ShiftRight ">>",
    LessEqual "<=",
    GreaterEqual ">=",
    Equal "==",
    NotEqual "!=",
    And "&&",
    Or "||",
    Elvis "?:",
    Less "<",
    Greater ">",
    Assign "=",
    Not "!",
    BitAnd "&",
    BitOr "|",
    BitXor "^",
    BitNot "~",
    Plus "+",
    Minus "-",
    Multiply "*",
    Divide "/",
    Modulo "%",
    Question "?",
    Colon ":",
    Dot ".",
    Comma ",",
    Semicolon ";",
    OpenParenthesis "(",
    CloseParenthesis ")",
    OpenBracket "[",
    CloseBracket "]",
    OpenBrace "{",
    CloseBrace "}",
    Backslash "\\",
    At "@",
    Dollar "$",
    Backquote "`",
}

impl Mark {
    /// The longest mark that these bytes begin with.
    fn of(first: u8, second: u8, third: u8) -> Option<Self> {
        Some(match (first, second, third) {
            (b'=', b'?', b'=') => Self::MetaEqual,
            (b'=', b'!', b'=') => Self::MetaNotEqual,
            (b'=', b'=', _) => Self::Equal,
            (b'=', ..) => Self::Assign,
            (b'>', b'>', b'>') => Self::ShiftRightLogical,
            (b'>', b'>', _) => Self::ShiftRight,
            (b'>', b'=', _) => Self::GreaterEqual,
            (b'>', ..) => Self::Greater,
            (b'<', b'<', _) => Self::ShiftLeft,
            (b'<', b'=', _) => Self::LessEqual,
            (b'<', ..) => Self::Less,
            (b'!', b'=', _) => Self::NotEqual,
            (b'!', ..) => Self::Not,
            (b'&', b'&', _) => Self::And,
            (b'&', ..) => Self::BitAnd,
            (b'|', b'|', _) => Self::Or,
            (b'|', ..) => Self::BitOr,
            (b'?', b':', _) => Self::Elvis,
            (b'?', ..) => Self::Question,
            (b'^', ..) => Self::BitXor,
            (b'~', ..) => Self::BitNot,
            (b'+', ..) => Self::Plus,
            (b'-', ..) => Self::Minus,
            (b'*', ..) => Self::Multiply,
            (b'/', ..) => Self::Divide,
            (b'%', ..) => Self::Modulo,
            (b':', ..) => Self::Colon,
            (b'.', ..) => Self::Dot,
            (b',', ..) => Self::Comma,
            (b';', ..) => Self::Semicolon,
            (b'(', ..) => Self::OpenParenthesis,
            (b')', ..) => Self::CloseParenthesis,
            (b'[', ..) => Self::OpenBracket,
            (b']', ..) => Self::CloseBracket,
            (b'{', ..) => Self::OpenBrace,
            (b'}', ..) => Self::CloseBrace,
            (b'\\', ..) => Self::Backslash,
            (b'@', ..) => Self::At,
            (b'$', ..) => Self::Dollar,
            (b'`', ..) => Self::Backquote,
            _ => return None,
        })
    }
}

pub(crate) struct Lexer<'a> {
    source: &'a str,
    at: usize,
    manners: Manners,
    /// A quote was left open: from then on, strings end with their line. Otherwise
    /// each further one could be looked for up to the end of the text.
    quote_open: bool,
    comments: Vec<Span>,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(source: &'a str, manners: Manners) -> Self {
        let mark = if manners == Manners::Jdl {
            BYTE_ORDER_MARK
        } else {
            ""
        };
        Self {
            source,
            at: if source.starts_with(mark) {
                mark.len()
            } else {
                0
            },
            manners,
            quote_open: false,
            comments: Vec::new(),
        }
    }

    pub(crate) fn source(&self) -> &'a str {
        self.source
    }

    pub(crate) fn seek(&mut self, at: usize) {
        self.at = at;
    }

    /// The places of the comments so far, in order; after [`Lexer::seek`] some come twice.
    pub(crate) fn into_comments(self) -> Vec<Span> {
        self.comments
    }

    /// The byte `ahead` of the present place; 0 behind the end.
    fn peek(&self, ahead: usize) -> u8 {
        let byte = self.source.as_bytes().get(self.at + ahead);
        byte.copied().unwrap_or(0)
    }

    /// The next token and its place. What is not a token is reported and skipped.
    pub(crate) fn next(&mut self, report: &mut Report) -> (Token<'a>, Span) {
        loop {
            self.skip_blanks(report);
            let start = self.at;
            if start >= self.source.len() {
                return (Token::End, Span::new(start, start));
            }
            let token = match self.peek(0) {
                b'a'..=b'z' | b'A'..=b'Z' | b'_' => Some(self.word()),
                b'0'..=b'9' => Some(self.number(report)),
                b'.' if self.peek(1).is_ascii_digit() => Some(self.number(report)),
                b'"' => Some(Token::String(self.quoted(b'"', report))),
                b'\'' => Some(Token::QuotedName(self.quoted(b'\'', report))),
                first => self.mark(first, report),
            };
            if let Some(token) = token {
                return (token, Span::new(start, self.at));
            }
        }
    }

    fn skip_blanks(&mut self, report: &mut Report) {
        loop {
            match (self.peek(0), self.peek(1)) {
                (b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c, _) => self.at += 1,
                (b'/', b'/') => self.skip_line(),
                (b'#', _) if self.manners == Manners::Jdl => {
                    let span = Span::new(self.at, self.at + 1);
                    let help = "begin a comment with `//`";
                    report.forgive(span, "`#` does not begin a comment in a ClassAd", help);
                    self.skip_line();
                }
                (b'/', b'*') => self.skip_comment(report),
                (0x80.., _) => {
                    let rest = &self.source[self.at..];
                    let blanks = rest.len() - rest.trim_start().len();
                    if blanks == 0 {
                        return;
                    }
                    self.at += blanks;
                }
                _ => return,
            }
        }
    }

    /// A comment up to the end of its line.
    fn skip_line(&mut self) {
        let rest = &self.source[self.at..];
        let end = self.at + rest.find('\n').unwrap_or(rest.len());
        self.comments.push(Span::new(self.at, end));
        self.at = end;
    }

    fn skip_comment(&mut self, report: &mut Report) {
        let start = self.at;
        let body = &self.source[start + 2..];
        match body.find("*/") {
            Some(end) => self.at += end + 4,
            None => {
                let span = Span::new(start, start + 2);
                report.error_with(span, "this comment never ends", "close it with `*/`");
                self.at = self.source.len();
            }
        }
        self.comments.push(Span::new(start, self.at));
    }

    /// How many bytes from `ahead` on are of a kind.
    fn run(&self, ahead: usize, is: impl Fn(&u8) -> bool) -> usize {
        let rest = self.source.as_bytes().get(self.at + ahead..);
        rest.unwrap_or_default()
            .iter()
            .take_while(|b| is(b))
            .count()
    }

    fn word(&mut self) -> Token<'a> {
        let start = self.at;
        self.at += self.run(0, |b| b.is_ascii_alphanumeric() || *b == b'_');
        Token::Word(&self.source[start..self.at])
    }

    /// Decimal; with a fraction or an exponent it is a real.
    fn number(&mut self, report: &mut Report) -> Token<'a> {
        let start = self.at;
        let digits = |ahead| self.run(ahead, u8::is_ascii_digit);
        let whole = digits(0);
        let mut end = whole;
        let mut broken = false;
        if self.peek(end) == b'.' {
            let fraction = digits(end + 1);
            // `1.txt` is no number, but may be a text that lacks its quotes.
            let lenient = self.manners == Manners::Jdl && self.peek(end + 1).is_ascii_alphabetic();
            if fraction > 0 || !lenient {
                broken = fraction == 0;
                end += 1 + fraction;
            }
        }
        if matches!(self.peek(end), b'e' | b'E') {
            let sign = usize::from(matches!(self.peek(end + 1), b'+' | b'-'));
            let exponent = digits(end + 1 + sign);
            if exponent > 0 {
                end += 1 + sign + exponent;
            }
        }
        self.at += end;
        let text = &self.source[start..self.at];
        let span = Span::new(start, self.at);
        if broken {
            let help = format!("write `{}.0`", text.trim_end_matches('.'));
            report.error_with(span, "a digit is missing behind the point", help);
        } else if whole > 1 && text.starts_with('0') && end == whole {
            let help = format!("write `{}`", decimal(text));
            report.error_with(span, "a number does not begin with 0", help);
        }
        if end > whole {
            return Token::Real(text.parse().unwrap_or(f64::NAN));
        }
        match text.parse() {
            Ok(number) if number <= 1 << 63 => Token::Integer(number),
            _ => {
                let help = "the largest is 9223372036854775807; a real number has a `.`";
                report.error_with(span, "this integer is too large", help);
                Token::Integer(0)
            }
        }
    }

    /// What stands in quotes. May hold raw newlines.
    fn quoted(&mut self, quote: u8, report: &mut Report) -> Quoted<'a> {
        let start = self.at;
        let rest = &self.source[start + 1..];
        let line_end = || rest.find('\n').unwrap_or(rest.len());
        let body = if self.quote_open {
            &rest[..line_end()]
        } else {
            rest
        };
        let bytes = body.as_bytes();
        let mut escaped = false;
        let mut end = 0;
        loop {
            let plain = |b: &u8| *b != quote && *b != b'\\';
            end += bytes[end..].iter().take_while(|b| plain(b)).count();
            match bytes.get(end) {
                Some(b'\\') => {
                    escaped = true;
                    end = (end + 2).min(bytes.len());
                }
                Some(_) => break,
                None => {
                    let line = line_end();
                    self.quote_open = true;
                    let kind = if quote == b'"' { "string" } else { "name" };
                    report.error_with(
                        Span::new(start, start + 1 + line),
                        format!("this {kind} never ends"),
                        format!("close it with `{}`", char::from(quote)),
                    );
                    self.at = start + 1 + line;
                    let body = &body[..line];
                    return Quoted {
                        body,
                        escaped: false,
                    };
                }
            }
        }
        self.at = start + end + 2;
        let body = &body[..end];
        if escaped && names_nul(body) {
            report.error_with(
                Span::new(start, self.at),
                "the character with the number 0 cannot be in a string",
                "remove the `\\0`",
            );
        }
        Quoted { body, escaped }
    }

    fn mark(&mut self, first: u8, report: &mut Report) -> Option<Token<'a>> {
        if let Some(mark) = Mark::of(first, self.peek(1), self.peek(2)) {
            self.at += mark.text().len();
            return Some(Token::Mark(mark));
        }
        let start = self.at;
        let first = self.source[start..].chars().next().unwrap_or_default();
        self.at += first.len_utf8();
        let help = match first {
            '#' => "begin a comment with `//`",
            _ if "“”„«»‘’".contains(first) => {
                "strings stand in straight double quotes: \""
            }
            _ => "a text must stand in double quotes",
        };
        report.error_with(
            Span::new(start, self.at),
            format!("`{}` means nothing here", first.escape_debug()),
            help,
        );
        None
    }
}

/// What some editors put in front of a text.
const BYTE_ORDER_MARK: &str = "\u{feff}";

fn decimal(text: &str) -> &str {
    match text.trim_start_matches('0') {
        "" => "0",
        number => number,
    }
}

/// Whether one of the escapes stands for the character with the number 0.
fn names_nul(body: &str) -> bool {
    let count = |chars: &mut dyn Iterator<Item = char>| chars.filter(|c| *c == '\0').count();
    count(&mut unescaped(body)) > count(&mut body.chars())
}

/// Resolves `\n`, `\"`, `\101` and the like; before another character the backslash is dropped.
pub(crate) fn unescape(body: &str) -> String {
    unescaped(body).collect()
}

fn unescaped(body: &str) -> impl Iterator<Item = char> {
    let mut chars = body.chars().peekable();
    std::iter::from_fn(move || {
        let c = chars.next()?;
        if c != '\\' {
            return Some(c);
        }
        Some(match chars.next() {
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some(first @ '0'..='7') => {
                // Up to three digits, the first of three at most 3: one byte.
                let mut code = first as u32 - '0' as u32;
                for _ in 1..if first <= '3' { 3 } else { 2 } {
                    let Some(digit) = chars.peek().and_then(|c| c.to_digit(8)) else {
                        break;
                    };
                    code = code * 8 + digit;
                    chars.next();
                }
                char::from_u32(code).unwrap_or_default()
            }
            Some(c) => c,
            None => '\\',
        })
    })
}
