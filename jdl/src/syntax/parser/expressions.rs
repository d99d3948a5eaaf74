//! Expressions, by recursive descent and precedence climbing.

use std::borrow::Cow;
use std::sync::Arc;

use super::{Manners, Parsed, Parser};
use crate::Value;
use crate::eval::functions::Function;
use crate::eval::functions::calendar::{parse_moment, parse_span};
use crate::syntax::lexer::{Mark, Quoted, Token};
use crate::syntax::print::is_reserved;
use crate::syntax::{BinaryOp, DEPTH_MAX, Expr, Name, Node, Span, UnaryOp};

impl<'a> Parser<'a, '_> {
    pub(super) fn expr(&mut self) -> Parsed<Expr> {
        self.nested(|parser| {
            let condition = parser.or()?;
            if !parser.take(Mark::Question) {
                return Ok(condition);
            }
            let yes = parser.expr()?;
            if !parser.take(Mark::Colon) {
                return Err(parser.expected("`:`", "a choice is written `condition ? a : b`"));
            }
            let no = parser.expr()?;
            let span = condition.span().to(no.span());
            Ok(Expr::at(Node::Conditional(condition, yes, no), span))
        })
    }

    fn or(&mut self) -> Parsed<Expr> {
        self.chain(Mark::Or, Self::and, Node::Or, |node| match node {
            Node::Or(inner) => Some(inner),
            _ => None,
        })
    }

    fn and(&mut self) -> Parsed<Expr> {
        let read = |parser: &mut Self| parser.binary(0);
        self.chain(Mark::And, read, Node::And, |node| match node {
            Node::And(inner) => Some(inner),
            _ => None,
        })
    }

    /// Operands with `mark` between them. A first operand that is such a chain
    /// itself becomes part of this one: `(a && b) && c` means `a && b && c`.
    fn chain(
        &mut self,
        mark: Mark,
        mut read: impl FnMut(&mut Self) -> Parsed<Expr>,
        node: fn(Box<[Expr]>) -> Node,
        inner: fn(&Node) -> Option<&[Expr]>,
    ) -> Parsed<Expr> {
        let first = read(self)?;
        if !self.at(mark) {
            return Ok(first);
        }
        let start = first.span();
        let mut operands = match inner(first.node()) {
            Some(inner) => inner.to_vec(),
            None => vec![first],
        };
        while self.take(mark) {
            operands.push(read(self)?);
        }
        Ok(Expr::at(node(operands.into()), start.to(self.last)))
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
                Mark::Multiply => BinaryOp::Multiply,
                Mark::Divide => BinaryOp::Divide,
                Mark::Modulo => BinaryOp::Modulo,
                Mark::Plus => BinaryOp::Add,
                Mark::Minus => BinaryOp::Subtract,
                Mark::ShiftLeft => BinaryOp::ShiftLeft,
                Mark::ShiftRight => BinaryOp::ShiftRight,
                Mark::ShiftRightLogical => BinaryOp::ShiftRightLogical,
                Mark::Less => BinaryOp::Less,
                Mark::LessEqual => BinaryOp::LessEqual,
                Mark::GreaterEqual => BinaryOp::GreaterEqual,
                Mark::Greater => BinaryOp::Greater,
                Mark::Equal => BinaryOp::Equal,
                Mark::NotEqual => BinaryOp::NotEqual,
                Mark::MetaEqual => BinaryOp::Is,
                Mark::MetaNotEqual => BinaryOp::IsNot,
                Mark::BitAnd => BinaryOp::BitAnd,
                Mark::BitXor => BinaryOp::BitXor,
                Mark::BitOr => BinaryOp::BitOr,
                _ => return None,
            },
            Token::Word(word) if word.eq_ignore_ascii_case("is") => BinaryOp::Is,
            Token::Word(word) if word.eq_ignore_ascii_case("isnt") => BinaryOp::IsNot,
            _ => return None,
        })
    }

    fn unary(&mut self) -> Parsed<Expr> {
        let op = match self.token {
            Token::Mark(Mark::Minus) => UnaryOp::Negate,
            Token::Mark(Mark::Plus) => UnaryOp::Plus,
            Token::Mark(Mark::Not) => UnaryOp::Not,
            Token::Mark(Mark::BitNot) => UnaryOp::BitNot,
            _ => return self.postfix(),
        };
        let start = self.span;
        self.advance();
        let number = matches!(self.token, Token::Integer(_) | Token::Real(_));
        if op == UnaryOp::Negate && number && start.end == self.span.start {
            let number = self.negative_number(start)?;
            return self.postfix_of(number);
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

    /// The number behind a `-` that it touches.
    fn negative_number(&mut self, minus: Span) -> Parsed<Expr> {
        let value = match self.token {
            Token::Integer(number) => Value::Integer(0_i64.wrapping_sub_unsigned(number)),
            Token::Real(number) => Value::Real(-number),
            _ => return Err(self.expected("a number", "write it behind the `-`")),
        };
        self.advance();
        Ok(Expr::at(Node::Literal(value), minus.to(self.last)))
    }

    fn postfix(&mut self) -> Parsed<Expr> {
        let expr = self.primary()?;
        self.postfix_of(expr)
    }

    /// Selections and subscripts behind an operand, and `?:` behind those, which
    /// binds more tightly than all other operators.
    fn postfix_of(&mut self, mut expr: Expr) -> Parsed<Expr> {
        let mut length = 0;
        loop {
            length += 1;
            if self.depth + length > DEPTH_MAX {
                return Err(self.too_deep());
            }
            if self.take(Mark::Dot) {
                let name = self.selected("write `ad.name`")?;
                let span = expr.span().to(self.last);
                expr = Expr::at(Node::Select(expr, name), span);
            } else if self.take(Mark::OpenBracket) {
                let index = self.expr()?;
                if !self.take(Mark::CloseBracket) {
                    return Err(self.expected("`]`", "write `list[number]` or `ad[\"name\"]`"));
                }
                let span = expr.span().to(self.last);
                expr = Expr::at(Node::Subscript(expr, index), span);
            } else if self.elvis() {
                let otherwise = self.nested(Self::alternative)?;
                let span = expr.span().to(otherwise.span());
                return Ok(Expr::at(Node::Default(expr, otherwise), span));
            } else {
                return Ok(expr);
            }
        }
    }

    /// The name behind a `.`.
    fn selected(&mut self, help: &str) -> Parsed<Name> {
        match self.token {
            Token::Word(word) if !is_reserved(word) => {
                self.advance();
                Ok(Name::new(word))
            }
            Token::QuotedName(_) => Ok(Name::new(&self.quoted_name())),
            _ => Err(self.expected("a name after `.`", help)),
        }
    }

    /// `?:`, also with blanks between.
    fn elvis(&mut self) -> bool {
        if self.take(Mark::Elvis) {
            return true;
        }
        if !self.at(Mark::Question) {
            return false;
        }
        let question = self.span.start as usize;
        self.advance();
        if self.take(Mark::Colon) {
            return true;
        }
        self.rewind(question);
        false
    }

    /// What stands behind `?:`: no operator but the sign of a number.
    fn alternative(&mut self) -> Parsed<Expr> {
        let sign = self.span;
        if !self.at(Mark::Minus) {
            if let Token::Mark(Mark::Not | Mark::Plus | Mark::BitNot) = self.token {
                return Err(self.unbraced());
            }
            return self.postfix();
        }
        self.advance();
        let number = matches!(self.token, Token::Integer(_) | Token::Real(_));
        if !number || sign.end != self.span.start {
            return Err(self.unbraced());
        }
        let number = self.negative_number(sign)?;
        self.postfix_of(number)
    }

    fn unbraced(&mut self) -> super::Told {
        self.expected("a value after `?:`", "put what follows into parentheses")
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let span = self.span;
        let node = match self.token {
            Token::Integer(number) => {
                let Ok(number) = i64::try_from(number) else {
                    let help = "the largest is 9223372036854775807";
                    self.report
                        .error_with(span, "this integer is too large", help);
                    return Err(super::Told);
                };
                self.advance();
                Node::Literal(Value::Integer(number))
            }
            Token::Real(number) => {
                self.advance();
                Node::Literal(Value::Real(number))
            }
            Token::String(_) => Node::Literal(Value::String(self.string())),
            Token::QuotedName(_) => Node::Name(Name::new(&self.quoted_name())),
            Token::Word(word) => return self.word(word, span),
            Token::Mark(Mark::OpenParenthesis) => {
                self.advance();
                let inner = self.expr()?;
                if !self.take(Mark::CloseParenthesis) {
                    return Err(self.expected("`)`", "close the parenthesis"));
                }
                return Ok(inner);
            }
            Token::Mark(Mark::OpenBrace) => {
                self.advance();
                Node::List(self.list(Mark::CloseBrace)?.into())
            }
            Token::Mark(Mark::OpenBracket) => {
                self.advance();
                let ad = self.nested(|parser| Ok(parser.attributes(true)))?;
                if !self.take(Mark::CloseBracket) {
                    return Err(self.expected("`]`", "close the ad"));
                }
                Node::Record(ad.into())
            }
            Token::Mark(Mark::Dot) => {
                self.advance();
                Node::Absolute(self.selected("write `.name`")?)
            }
            _ => {
                return Err(self.expected("a value", "write a number, a \"text\" or an expression"));
            }
        };
        Ok(Expr::at(node, span.to(self.last)))
    }

    /// Strings one behind the other are one.
    fn string(&mut self) -> Arc<str> {
        let next = |token| match token {
            Token::String(part) => Some(part),
            _ => None,
        };
        self.joined(next).into()
    }

    fn quoted_name(&mut self) -> Cow<'a, str> {
        self.joined(|token| match token {
            Token::QuotedName(part) => Some(part),
            _ => None,
        })
    }

    fn joined(&mut self, part: impl Fn(Token<'a>) -> Option<Quoted<'a>>) -> Cow<'a, str> {
        let mut text = Cow::Borrowed("");
        while let Some(part) = part(self.token) {
            if text.is_empty() {
                text = part.text();
            } else {
                text.to_mut().push_str(&part.text());
            }
            self.advance();
            let between = Span::new(self.last.end as usize, self.span.start as usize);
            if !between.of(self.lexer.source()).trim().is_empty() {
                break; // a comment ends the string
            }
        }
        text
    }

    fn word(&mut self, word: &'a str, span: Span) -> Parsed<Expr> {
        self.advance();
        if self.take(Mark::OpenParenthesis) {
            let arguments = self.list(Mark::CloseParenthesis)?;
            let span = span.to(self.last);
            return Ok(Expr::at(self.call(word, arguments, span)?, span));
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
            self.rewind(span.start as usize);
            return Err(self.expected("a value", "`is` and `isnt` stand between two values"));
        } else {
            Node::Name(Name::new(word))
        };
        Ok(Expr::at(node, span))
    }

    /// Items up to `close`.
    fn list(&mut self, close: Mark) -> Parsed<Vec<Expr>> {
        let mut items = Vec::new();
        while !self.take(close) {
            items.push(match close {
                Mark::CloseBrace => self.value()?,
                _ => self.expr()?,
            });
            if self.take(Mark::Comma) {
                if self.at(close) {
                    return Err(self.expected("a value", "remove the comma before it"));
                }
            } else if !self.at(close) {
                let what = format!("`,` or `{}`", close.text());
                return Err(self.expected(&what, "put a comma between the items"));
            }
        }
        Ok(items)
    }

    /// A call. One that stands for a value which has no other literal is that value.
    fn call(&mut self, name: &str, arguments: Vec<Expr>, span: Span) -> Parsed<Node> {
        let function = Function::named(name);
        if self.manners == Manners::Jdl {
            self.check_call(name, function, arguments.len(), span);
        }
        let values: Option<Vec<&Value>> = arguments.iter().map(Expr::literal).collect();
        if let (Some(function), Some(values)) = (function, values)
            && let Some(value) = self.folded(function, &values, span)?
        {
            return Ok(Node::Literal(value));
        }
        Ok(Node::Call(Name::new(name), function, arguments.into()))
    }

    fn folded(
        &mut self,
        function: Function,
        arguments: &[&Value],
        span: Span,
    ) -> Parsed<Option<Value>> {
        Ok(match (function.name(), arguments) {
            ("absTime", [Value::String(text)]) => match parse_moment(text) {
                Some(moment) => Some(moment),
                None => {
                    let help = "write it as \"2026-11-22T15:04:05+01:00\"";
                    return Err(self.no_time(span, "this is no moment", help));
                }
            },
            ("absTime", [Value::Integer(seconds), Value::Integer(offset)]) => {
                let (seconds, offset) = (*seconds, i32::try_from(*offset).ok());
                offset.map(|offset| Value::AbsTime { seconds, offset })
            }
            ("relTime", [Value::String(text)]) if parse_span(text).is_none() => {
                let help = "write it as \"1+02:03:04\": days, hours, minutes, seconds";
                return Err(self.no_time(span, "this is no span of time", help));
            }
            ("relTime", [Value::Real(seconds)]) => Some(Value::RelTime(*seconds)),
            ("real", [Value::String(text)]) => match &*text.to_ascii_uppercase() {
                "INF" => Some(Value::Real(f64::INFINITY)),
                "-INF" => Some(Value::Real(f64::NEG_INFINITY)),
                "NAN" => Some(Value::Real(f64::NAN)),
                _ => None,
            },
            _ => None,
        })
    }

    fn no_time(&mut self, span: Span, message: &str, help: &str) -> super::Told {
        self.report.error_with(span, message, help);
        super::Told
    }

    /// Both are an ERROR when they are evaluated; the author is told before.
    fn check_call(&mut self, name: &str, function: Option<Function>, count: usize, span: Span) {
        let span = Span::new(span.start as usize, span.start as usize + name.len());
        match function {
            None => {
                let help = match Function::like(name) {
                    Some(like) => format!("did you mean `{like}`?"),
                    None => "its value is always `error`".to_owned(),
                };
                self.report
                    .warn(span, format!("there is no function `{name}`"), help);
            }
            Some(function) if !function.takes(count) => {
                let message = format!("`{name}` takes {}, not {count}", function.arity());
                self.report
                    .warn(span, message, "its value is always `error`");
            }
            Some(_) => {}
        }
    }
}
