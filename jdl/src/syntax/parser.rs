//! Tokens → syntax tree. After an error the parser goes on with the next
//! attribute, so that one reading tells all that is wrong.

use super::lexer::{Lexer, Token};
use super::print::is_reserved;
use super::{Ad, BinaryOp, DEPTH_MAX, Expr, Name, Node, Span, TEXT_BYTES_MAX, UnaryOp};
use crate::Value;
use crate::diagnostic::Report;
use crate::eval::functions::{Function, time};

/// How much is forgiven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manners {
    /// The language as it is defined.
    Strict,
    /// As job descriptions are written: without outer brackets, with dotted
    /// names and with texts that lack their quotes.
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
        let span = parser.span;
        parser
            .report
            .error(span, format!("the expression ends before {found}"));
        return None;
    }
    Some(expr)
}

/// Reads one ad; what cannot be read is missing in it, and reported.
pub(crate) fn document(text: &str, manners: Manners, report: &mut Report) -> Ad {
    let mut ads = read_ads(text, manners, 1, report);
    ads.pop().unwrap_or_default()
}

/// Reads all ads of a text. Several stand in brackets one after the other, with or
/// without `;` between them; without brackets, the text is one ad. At least one ad
/// comes back; what cannot be read is missing, and reported.
pub(crate) fn documents(text: &str, manners: Manners, report: &mut Report) -> Vec<Ad> {
    read_ads(text, manners, ADS_MAX, report)
}

fn read_ads(text: &str, manners: Manners, ads_max: usize, report: &mut Report) -> Vec<Ad> {
    if !check_size(text, report) {
        return vec![Ad::new()];
    }
    let mut parser = Parser::new(text, manners, report);
    if !parser.at("[") {
        if manners == Manners::Strict {
            parser.expected("`[`", "an ad is written `[ name = expression; … ]`");
            return vec![Ad::new()];
        }
        return vec![parser.attributes(false)];
    }
    let mut ads = Vec::new();
    while parser.at("[") && ads.len() < ads_max {
        ads.push(parser.bracketed());
    }
    parser.check_end(ads_max);
    ads
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
}

impl<'a, 'r> Parser<'a, 'r> {
    fn new(text: &'a str, manners: Manners, report: &'r mut Report) -> Self {
        let mut parser = Self {
            lexer: Lexer::new(text),
            manners,
            report,
            token: Token::End,
            span: Span::default(),
            last: Span::default(),
            depth: 0,
        };
        parser.advance();
        parser
    }

    fn advance(&mut self) {
        self.last = self.span;
        (self.token, self.span) = self.lexer.next(self.report);
    }

    fn at(&self, mark: &str) -> bool {
        matches!(self.token, Token::Mark(m) if m == mark)
    }

    fn take(&mut self, mark: &str) -> bool {
        let there = self.at(mark);
        if there {
            self.advance();
        }
        there
    }

    fn rewind(&mut self, at: Span) {
        self.lexer.seek(at.start as usize);
        self.advance();
    }

    /// The present token in words.
    fn found(&self) -> String {
        match &self.token {
            Token::End => "the end of the text".into(),
            Token::String(_) => "a string".into(),
            Token::Mark(m) => format!("`{}`", m.escape_default()),
            _ => {
                let text: String = self.span.of(self.lexer.source()).chars().take(40).collect();
                format!("`{text}`")
            }
        }
    }

    fn expected(&mut self, what: &str, help: &str) -> Told {
        let message = format!("expected {what}, found {}", self.found());
        let (span, hint) = (self.span, self.runaway_string());
        let help = hint.unwrap_or_else(|| help.to_owned());
        self.report.error_with(span, message, help);
        Told
    }

    /// Told behind the value that lacks it, which may be lines before the present token.
    fn missing_semicolon(&mut self) -> Told {
        let end = self.last.end as usize;
        let message = format!("expected `;` after the value, found {}", self.found());
        let hint = self.runaway_string();
        let help = hint.unwrap_or_else(|| "end every attribute with `;`".to_owned());
        self.report.error_with(Span::new(end, end), message, help);
        Told
    }

    /// If the token before is a string over several lines, its closing quote was
    /// probably forgotten and it swallowed what follows.
    fn runaway_string(&self) -> Option<String> {
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
        self.take("[");
        let ad = self.attributes(true);
        if self.take("]") {
            while self.take(";") {}
        } else {
            self.report
                .error_with(bracket, "this `[` is never closed", "end the text with `]`");
        }
        ad
    }

    fn check_end(&mut self, ads_max: usize) {
        if self.token == Token::End {
            return;
        }
        let help = match (self.at("["), ads_max) {
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
            while self.take(";") {}
            if self.token == Token::End || (bracketed && self.at("]")) {
                return ad;
            }
            if self.attribute(&mut ad).is_err() {
                self.recover(bracketed);
            }
        }
    }

    fn attribute(&mut self, ad: &mut Ad) -> Parsed<()> {
        let (name, span) = self.attribute_name()?;
        if !self.take("=") {
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
        if !(self.take(";") || self.at("]") || self.token == Token::End) {
            return Err(self.missing_semicolon());
        }
        Ok(())
    }

    /// A name; in a job description one with dots too (`Parameters.A`).
    fn attribute_name(&mut self) -> Parsed<(Name, Span)> {
        let mut span = self.span;
        let mut text = match &self.token {
            Token::Word(word) => (*word).to_owned(),
            Token::QuotedName(name) => name.clone().into_owned(),
            _ => return Err(self.expected("an attribute's name", "write `Name = value;`")),
        };
        self.advance();
        while self.manners == Manners::Jdl && self.at(".") {
            self.advance();
            let Token::Word(word) = self.token else {
                return Err(self.expected("a name after `.`", "write `Name = value;`"));
            };
            text.push('.');
            text.push_str(word);
            span = span.to(self.span);
            self.advance();
        }
        Ok((Name::new(&text), span))
    }

    /// Goes to where the next attribute may begin: behind a `;`, or to a name
    /// with `=` at the beginning of a line.
    fn recover(&mut self, bracketed: bool) {
        let mut open = 0_u32;
        loop {
            match self.token {
                Token::End => return,
                Token::Mark("[" | "{" | "(") => open += 1,
                Token::Mark("]") if open == 0 && bracketed => return,
                Token::Mark("]" | "}" | ")") => open = open.saturating_sub(1),
                Token::Mark(";") if open == 0 => return,
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
        let (start, remarks) = (self.span, self.report.len());
        let nested = matches!(self.token, Token::String(_) | Token::Mark("{" | "[" | "("));
        let result = self.expr();
        let ended = self.token == Token::End || self.at(";") || self.at(",");
        if nested || (result.is_ok() && (ended || self.at("}") || self.at("]"))) {
            return result;
        }
        match bare_word(&self.lexer.source()[start.start as usize..]) {
            Some(word) => {
                self.report.truncate(remarks);
                let span = Span::new(start.start as usize, start.start as usize + word.len());
                self.lexer.seek(span.end as usize);
                self.advance();
                self.last = span;
                self.report.warn(
                    span,
                    format!("`{word}` is taken as a text"),
                    format!("write it in quotes: \"{word}\""),
                );
                Ok(Expr::at(Node::Literal(word.into()), span))
            }
            None => result,
        }
    }

    // Expressions.

    fn expr(&mut self) -> Parsed<Expr> {
        self.nested(|parser| {
            let condition = parser.or()?;
            if parser.take("?:") {
                let otherwise = parser.expr()?;
                let span = condition.span().to(otherwise.span());
                return Ok(Expr::at(Node::Default(condition, otherwise), span));
            }
            if !parser.take("?") {
                return Ok(condition);
            }
            if parser.take(":") {
                let otherwise = parser.expr()?;
                let span = condition.span().to(otherwise.span());
                return Ok(Expr::at(Node::Default(condition, otherwise), span));
            }
            let yes = parser.expr()?;
            if !parser.take(":") {
                return Err(parser.expected("`:`", "a choice is written `condition ? a : b`"));
            }
            let no = parser.expr()?;
            let span = condition.span().to(no.span());
            Ok(Expr::at(Node::Conditional(condition, yes, no), span))
        })
    }

    fn or(&mut self) -> Parsed<Expr> {
        let operands = self.operands("||", Self::and, |expr| match expr.node() {
            Node::Or(inner) => Some(inner),
            _ => None,
        })?;
        Ok(joined(operands, Node::Or))
    }

    fn and(&mut self) -> Parsed<Expr> {
        let operands = self.operands(
            "&&",
            |parser| parser.binary(0),
            |expr| match expr.node() {
                Node::And(inner) => Some(inner),
                _ => None,
            },
        )?;
        Ok(joined(operands, Node::And))
    }

    /// Operands with `mark` between them. A first operand that is such a chain
    /// itself becomes part of this one: `(a && b) && c` means `a && b && c`.
    fn operands(
        &mut self,
        mark: &str,
        mut read: impl FnMut(&mut Self) -> Parsed<Expr>,
        inner: impl Fn(&Expr) -> Option<&[Expr]>,
    ) -> Parsed<Vec<Expr>> {
        let first = read(self)?;
        if !self.at(mark) {
            return Ok(vec![first]);
        }
        let mut operands = match inner(&first) {
            Some(inner) => inner.to_vec(),
            None => vec![first],
        };
        while self.take(mark) {
            operands.push(read(self)?);
        }
        Ok(operands)
    }

    /// Binary operators that bind more tightly than `&&`, by precedence climbing.
    fn binary(&mut self, tightness_min: u8) -> Parsed<Expr> {
        let mut left = self.unary()?;
        let mut length = 0;
        while let Some(op) = self.binary_op().filter(|op| op.tightness() > tightness_min) {
            // A chain makes a tree as deep as it is long.
            length += 1;
            if self.depth + length > DEPTH_MAX {
                return Err(self.too_deep());
            }
            self.advance();
            self.depth += length;
            let right = self.binary(op.tightness());
            self.depth -= length;
            let right = right?;
            let span = left.span().to(right.span());
            left = Expr::at(Node::Binary(op, left, right), span);
        }
        Ok(left)
    }

    fn binary_op(&self) -> Option<BinaryOp> {
        Some(match self.token {
            Token::Mark(mark) => match mark {
                "*" => BinaryOp::Multiply,
                "/" => BinaryOp::Divide,
                "%" => BinaryOp::Modulo,
                "+" => BinaryOp::Add,
                "-" => BinaryOp::Subtract,
                "<<" => BinaryOp::ShiftLeft,
                ">>" => BinaryOp::ShiftRight,
                ">>>" => BinaryOp::ShiftRightLogical,
                "<" => BinaryOp::Less,
                "<=" => BinaryOp::LessEqual,
                ">=" => BinaryOp::GreaterEqual,
                ">" => BinaryOp::Greater,
                "==" => BinaryOp::Equal,
                "!=" => BinaryOp::NotEqual,
                "=?=" => BinaryOp::Is,
                "=!=" => BinaryOp::IsNot,
                "&" => BinaryOp::BitAnd,
                "^" => BinaryOp::BitXor,
                "|" => BinaryOp::BitOr,
                _ => return None,
            },
            Token::Word(word) if word.eq_ignore_ascii_case("is") => BinaryOp::Is,
            Token::Word(word) if word.eq_ignore_ascii_case("isnt") => BinaryOp::IsNot,
            _ => return None,
        })
    }

    fn unary(&mut self) -> Parsed<Expr> {
        let op = match self.token {
            Token::Mark("-") => UnaryOp::Negate,
            Token::Mark("+") => UnaryOp::Plus,
            Token::Mark("!") => UnaryOp::Not,
            Token::Mark("~") => UnaryOp::BitNot,
            _ => return self.postfix(),
        };
        let start = self.span;
        self.advance();
        if op == UnaryOp::Negate && self.token == Token::Integer(1 << 63) {
            let span = start.to(self.span);
            self.advance();
            return Ok(Expr::at(Node::Literal(Value::Integer(i64::MIN)), span));
        }
        let operand = self.nested(Self::unary)?;
        let span = start.to(operand.span());
        // A negative number is one literal, not an operation.
        let node = match (op, operand.literal()) {
            (UnaryOp::Negate, Some(Value::Integer(number))) => {
                Node::Literal(Value::Integer(number.wrapping_neg()))
            }
            (UnaryOp::Negate, Some(Value::Real(number))) => Node::Literal(Value::Real(-number)),
            _ => Node::Unary(op, operand),
        };
        Ok(Expr::at(node, span))
    }

    fn postfix(&mut self) -> Parsed<Expr> {
        let mut expr = self.primary()?;
        let mut length = 0;
        loop {
            length += 1;
            if self.depth + length > DEPTH_MAX {
                return Err(self.too_deep());
            }
            if self.at(".") {
                self.advance();
                let name = match &self.token {
                    Token::Word(word) => Name::new(word),
                    Token::QuotedName(name) => Name::new(name),
                    _ => return Err(self.expected("a name after `.`", "write `ad.name`")),
                };
                let span = expr.span().to(self.span);
                self.advance();
                expr = Expr::at(Node::Select(expr, name), span);
            } else if self.at("[") {
                self.advance();
                let index = self.expr()?;
                let span = expr.span().to(self.span);
                if !self.take("]") {
                    return Err(self.expected("`]`", "write `list[number]` or `ad[\"name\"]`"));
                }
                expr = Expr::at(Node::Subscript(expr, index), span);
            } else {
                return Ok(expr);
            }
        }
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let span = self.span;
        let node = match self.token.clone() {
            Token::Integer(number) => {
                let Ok(number) = i64::try_from(number) else {
                    let help = "the largest is 9223372036854775807";
                    self.report
                        .error_with(span, "this integer is too large", help);
                    return Err(Told);
                };
                self.literal(Value::Integer(number))
            }
            Token::Real(number) => self.literal(Value::Real(number)),
            Token::String(text) => self.literal(Value::String(text.into())),
            Token::QuotedName(name) => {
                self.advance();
                Node::Name(Name::new(&name))
            }
            Token::Word(word) => return self.word(word, span),
            Token::Mark("(") => {
                self.advance();
                let inner = self.expr()?;
                if !self.take(")") {
                    return Err(self.expected("`)`", "close the parenthesis"));
                }
                return Ok(inner);
            }
            Token::Mark("{") => {
                self.advance();
                let items = self.list("}")?;
                Node::List(items.into())
            }
            Token::Mark("[") => {
                self.advance();
                let ad = self.nested(|parser| Ok(parser.attributes(true)))?;
                if !self.take("]") {
                    return Err(self.expected("`]`", "close the ad"));
                }
                Node::Record(ad.into())
            }
            Token::Mark(".") => {
                self.advance();
                let Token::Word(word) = self.token else {
                    return Err(self.expected("a name after `.`", "write `.name`"));
                };
                self.advance();
                Node::Absolute(Name::new(word))
            }
            _ => {
                return Err(self.expected("a value", "write a number, a \"text\" or an expression"));
            }
        };
        Ok(Expr::at(node, span.to(self.last)))
    }

    fn literal(&mut self, value: Value) -> Node {
        self.advance();
        Node::Literal(value)
    }

    fn word(&mut self, word: &'a str, span: Span) -> Parsed<Expr> {
        self.advance();
        if self.at("(") {
            self.advance();
            let arguments = self.list(")")?;
            return Ok(Expr::at(call(word, arguments), span.to(self.last)));
        }
        let node = if word.eq_ignore_ascii_case("true") {
            Node::Literal(Value::Boolean(true))
        } else if word.eq_ignore_ascii_case("false") {
            Node::Literal(Value::Boolean(false))
        } else if word.eq_ignore_ascii_case("undefined") {
            Node::Literal(Value::Undefined)
        } else if word.eq_ignore_ascii_case("error") {
            Node::Literal(Value::Error)
        } else if is_reserved(word) {
            self.rewind(span);
            return Err(self.expected("a value", "`is` and `isnt` stand between two values"));
        } else {
            Node::Name(Name::new(word))
        };
        Ok(Expr::at(node, span))
    }

    /// Items up to `close`; a comma after the last one is forgiven in job descriptions.
    fn list(&mut self, close: &'static str) -> Parsed<Vec<Expr>> {
        let mut items = Vec::new();
        while !self.take(close) {
            items.push(if close == "}" {
                self.value()?
            } else {
                self.expr()?
            });
            let comma = self.span;
            if self.take(",") {
                if self.at(close) {
                    if self.manners == Manners::Strict || close == ")" {
                        return Err(self.expected("a value", "remove the comma before it"));
                    }
                    self.report
                        .warn(comma, "there is a comma after the last item", "remove it");
                }
            } else if !self.at(close) {
                let what = format!("`,` or `{close}`");
                return Err(self.expected(&what, "put a comma between the items"));
            }
        }
        Ok(items)
    }
}

fn joined(mut operands: Vec<Expr>, node: fn(Box<[Expr]>) -> Node) -> Expr {
    match (operands.pop(), operands.first().map(Expr::span)) {
        (Some(last), Some(first)) => {
            let span = first.to(last.span());
            operands.push(last);
            Expr::at(node(operands.into()), span)
        }
        (Some(only), None) => only,
        (None, _) => Expr::at(Node::Literal(Value::Error), Span::default()),
    }
}

/// A call. Those that stand for a value which has no other literal are that value.
fn call(name: &str, arguments: Vec<Expr>) -> Node {
    let function = Function::named(name);
    if let [argument] = &*arguments
        && let Some(value) = argument.literal()
    {
        let folded = match (function.map_or("", Function::name), value) {
            ("abstime", Value::String(text)) => time::parse_abs(text),
            ("reltime", Value::Real(seconds)) => Some(Value::RelTime(*seconds)),
            ("real", Value::String(text)) => match &*text.to_ascii_uppercase() {
                "INF" => Some(Value::Real(f64::INFINITY)),
                "-INF" => Some(Value::Real(f64::NEG_INFINITY)),
                "NAN" => Some(Value::Real(f64::NAN)),
                _ => None,
            },
            _ => None,
        };
        if let Some(value) = folded {
            return Node::Literal(value);
        }
    }
    Node::Call(Name::new(name), function, arguments.into())
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
