//! Text → the same text, laid out: one attribute a line, indented by its depth, with
//! blanks around `=` and operators and `;` at the end. Comments, blank lines between
//! attributes, the spelling of names and literals and the line breaks within an
//! expression stay as they are.
//!
//! Works on tokens, so that nothing of the text is lost; what the parser finds in the
//! text beforehand tells that it is one.

use super::Span;
use super::lexer::{Lexer, Mark, Token};
use super::parser::{self, Manners};
use crate::Diagnostic;
use crate::diagnostic::Report;

/// Longest line that a list or an ad may stand in as a whole, in characters.
const COLUMNS_MAX: usize = 100;

/// Blanks that a level is indented by.
const INDENT: usize = 4;

/// Lays a text out that holds one ad or several.
///
/// The result means the same, and laying it out again changes nothing.
///
/// # Errors
/// Every diagnostic, at least one of them an error: what cannot be read is not touched.
pub fn format(text: &str) -> Result<String, Vec<Diagnostic>> {
    let mut report = Report::default();
    let reading = parser::read(text, Manners::Jdl, &mut report);
    if report.has_errors() {
        return Err(report.into_diagnostics(text));
    }
    let pieces = pieces(text, &reading.bare_words, &reading.comments);
    let mut writer = Writer::new(&pieces);
    writer.document();
    Ok(writer.finish())
}

/// A token or a comment, with what stood before it.
#[derive(Clone, Copy)]
struct Piece<'t> {
    text: &'t str,
    kind: Kind,
    /// How many line ends stood before it.
    lines_before: usize,
    /// Whether anything stood between it and the piece before.
    apart: bool,
    /// The place of the next piece that is no comment, itself if it is none.
    next: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Comment,
    Mark(Mark),
    /// An operator in letters: `is`, `isnt`.
    Operator,
    Number,
    /// Anything else that stands for itself.
    Word,
}

impl Kind {
    fn is(self, mark: Mark) -> bool {
        self == Self::Mark(mark)
    }

    /// Whether an operand ends here, so that what follows is no sign and no list.
    fn ends_operand(self) -> bool {
        match self {
            Self::Mark(mark) => matches!(
                mark,
                Mark::CloseBracket | Mark::CloseBrace | Mark::CloseParenthesis
            ),
            Self::Number | Self::Word => true,
            Self::Comment | Self::Operator => false,
        }
    }
}

fn pieces<'t>(text: &'t str, bare_words: &[Span], comments: &[Span]) -> Vec<Piece<'t>> {
    let mut lexer = Lexer::new(text, Manners::Jdl);
    let mut report = Report::default();
    let mut bare_words = bare_words.iter().peekable();
    let mut found: Vec<(Span, Kind)> = comments.iter().map(|span| (*span, Kind::Comment)).collect();
    loop {
        let (token, mut span) = lexer.next(&mut report);
        let mut kind = match token {
            Token::End => break,
            Token::Mark(mark) => Kind::Mark(mark),
            Token::Word(word) if is_operator(word) => Kind::Operator,
            Token::Integer(_) | Token::Real(_) => Kind::Number,
            _ => Kind::Word,
        };
        if let Some(bare) = bare_words.next_if(|bare| bare.start == span.start) {
            (span, kind) = (*bare, Kind::Word);
            lexer.seek(bare.end as usize);
        }
        found.push((span, kind));
    }
    found.sort_by_key(|(span, _)| span.start);
    let mut end = 0;
    let piece = |(span, kind): (Span, Kind)| {
        let before = &text[end..span.start as usize];
        end = span.end as usize;
        Piece {
            text: span.of(text).trim_end(),
            kind,
            lines_before: before.matches('\n').count(),
            apart: !before.is_empty(),
            next: 0,
        }
    };
    let mut pieces: Vec<Piece<'t>> = found.into_iter().map(piece).collect();
    let mut next = pieces.len();
    for (i, piece) in pieces.iter_mut().enumerate().rev() {
        if piece.kind != Kind::Comment {
            next = i;
        }
        piece.next = next;
    }
    pieces
}

fn is_operator(word: &str) -> bool {
    ["is", "isnt"]
        .iter()
        .any(|operator| operator.eq_ignore_ascii_case(word))
}

/// Writes the pieces one by one. The functions follow the grammar, which the parser
/// has found to be kept.
struct Writer<'p> {
    pieces: &'p [Piece<'p>],
    at: usize,
    out: String,
    /// Levels that the present line is indented by.
    indent: usize,
    /// Levels that the present expression began with.
    base: usize,
    /// Whether all goes on in one line.
    flat: bool,
    /// The last piece of the present attribute.
    last: Option<Kind>,
    /// Whether that was an operator before its only operand.
    prefix: bool,
}

impl<'p> Writer<'p> {
    fn new(pieces: &'p [Piece<'p>]) -> Self {
        Self {
            pieces,
            at: 0,
            out: String::new(),
            indent: 0,
            base: 0,
            flat: false,
            last: None,
            prefix: false,
        }
    }

    fn finish(mut self) -> String {
        self.out.truncate(self.out.trim_end().len());
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        self.out
    }

    fn peek(&self) -> Option<Piece<'p>> {
        self.pieces.get(self.at).copied()
    }

    fn at(&self, mark: Mark) -> bool {
        self.peek().is_some_and(|piece| piece.kind.is(mark))
    }

    fn at_comment(&self) -> bool {
        self.peek().is_some_and(|piece| piece.kind == Kind::Comment)
    }

    /// Ends the line, unless nothing stands on it.
    fn line(&mut self) {
        self.out.truncate(self.out.trim_end_matches(' ').len());
        if !self.out.is_empty() && !self.out.ends_with('\n') {
            self.out.push('\n');
        }
        self.out.push_str(&" ".repeat(self.indent * INDENT));
    }

    // Ads.

    fn document(&mut self) {
        while let Some(piece) = self.peek() {
            match piece.kind {
                Kind::Comment => {
                    self.blank_line(piece);
                    self.comment();
                }
                Kind::Mark(Mark::Semicolon) => self.at += 1,
                Kind::Mark(Mark::OpenBracket) => {
                    self.blank_line(piece);
                    self.line();
                    self.broken_ad();
                }
                _ => self.attributes(),
            }
        }
    }

    fn attributes(&mut self) {
        let mut first = self.out.ends_with('[');
        while let Some(piece) = self.peek() {
            if piece.kind.is(Mark::CloseBracket) {
                return;
            }
            if piece.kind.is(Mark::Semicolon) {
                self.at += 1;
                continue;
            }
            if !first {
                self.blank_line(piece);
            }
            first = false;
            if piece.kind == Kind::Comment {
                self.comment();
            } else {
                self.attribute();
            }
        }
    }

    fn attribute(&mut self) {
        self.line();
        self.named_value();
        self.out.push(';');
        if self
            .behind_comments()
            .is_some_and(|p| p.kind.is(Mark::Semicolon))
        {
            self.comments_until(Mark::Semicolon);
            self.at += 1;
        }
        self.comments_behind();
    }

    /// `name = value`; what stands between name and value goes on in their line.
    fn named_value(&mut self) {
        self.last = None;
        let flat = std::mem::replace(&mut self.flat, true);
        while self.peek().is_some() && self.last != Some(Kind::Mark(Mark::Assign)) {
            self.piece();
        }
        self.flat = flat;
        self.value(&[Mark::Semicolon, Mark::CloseBracket]);
    }

    // Values.

    /// An expression, up to one of the marks that does not belong to it.
    fn value(&mut self, ends: &[Mark]) {
        let outer = std::mem::replace(&mut self.base, self.indent);
        let ends_at = |piece: Piece<'_>| ends.iter().any(|end| piece.kind.is(*end));
        while self.behind_comments().is_some_and(|piece| !ends_at(piece)) {
            self.piece();
        }
        self.indent = std::mem::replace(&mut self.base, outer);
    }

    /// A piece of an expression, or all of a group in brackets.
    fn piece(&mut self) {
        let Some(piece) = self.peek() else { return };
        let ends_operand = self.last.is_some_and(Kind::ends_operand);
        let begins_value = matches!(self.last, None | Some(Kind::Mark(Mark::Assign)));
        if piece.lines_before > 0 && !self.flat && !begins_value || self.out.ends_with('\n') {
            self.indent = self.base + usize::from(self.last.is_some());
            self.line();
        } else if self.is_apart(piece) {
            self.out.push(' ');
        }
        match piece.kind {
            Kind::Comment => {
                self.out.push_str(piece.text);
                self.at += 1;
                if !piece.text.starts_with("/*") {
                    self.out.push('\n');
                }
                return;
            }
            Kind::Mark(Mark::OpenParenthesis) => self.inline(Mark::CloseParenthesis),
            Kind::Mark(Mark::OpenBracket) if ends_operand => self.inline(Mark::CloseBracket),
            Kind::Mark(Mark::OpenBracket) => self.group(Self::flat_ad, Self::broken_ad),
            Kind::Mark(Mark::OpenBrace) => self.group(Self::flat_list, Self::broken_list),
            _ => {
                self.out.push_str(piece.text);
                self.at += 1;
                self.last = Some(piece.kind);
            }
        }
        let sign = [Mark::Minus, Mark::Plus, Mark::Not, Mark::BitNot];
        self.prefix = !ends_operand && sign.iter().any(|mark| piece.kind.is(*mark));
    }

    /// Whether a blank stands before a piece.
    fn is_apart(&self, piece: Piece<'_>) -> bool {
        let Some(last) = self.last else { return false };
        let opened = last.is(Mark::OpenParenthesis) || last.is(Mark::OpenBracket);
        if self.prefix {
            // `- 2[0]` negates an item of 2, which `-2[0]` does not.
            return piece.kind == Kind::Number && piece.apart;
        }
        match piece.kind {
            _ if opened || last.is(Mark::Dot) => false,
            Kind::Mark(Mark::CloseParenthesis | Mark::CloseBracket | Mark::Comma) => false,
            Kind::Mark(Mark::OpenParenthesis | Mark::OpenBracket | Mark::Dot) => {
                !last.ends_operand()
            }
            _ => true,
        }
    }

    /// What stands in parentheses, or a subscript.
    fn inline(&mut self, close: Mark) {
        let open = self.pieces[self.at];
        self.out.push_str(open.text);
        self.at += 1;
        (self.last, self.prefix) = (Some(open.kind), false);
        while self
            .behind_comments()
            .is_some_and(|piece| !piece.kind.is(close))
        {
            self.piece();
        }
        while self.at_comment() {
            self.piece();
        }
        if self.out.ends_with('\n') {
            self.line();
        }
        self.close(close);
    }

    fn close(&mut self, close: Mark) {
        self.out.push_str(close.text());
        self.at += 1;
        (self.last, self.prefix) = (Some(Kind::Mark(close)), false);
    }

    /// A list or an ad: in one line if it was and fits, else with its parts on lines.
    fn group(&mut self, flat: fn(&mut Self), broken: fn(&mut Self)) {
        let (at, length, indent) = (self.at, self.out.len(), self.indent);
        if self.flat || self.is_in_one_line() {
            let outer = std::mem::replace(&mut self.flat, true);
            flat(self);
            self.flat = outer;
            if self.flat || self.line_fits() {
                return;
            }
            self.out.truncate(length);
            (self.at, self.indent) = (at, indent);
        }
        let base = self.base;
        self.prefix = false;
        broken(self);
        self.base = base;
    }

    /// Whether the present line is not too long. Looks at its end only: no character
    /// has more than four bytes.
    fn line_fits(&self) -> bool {
        let mut tail = self.out.len().saturating_sub(4 * COLUMNS_MAX);
        while !self.out.is_char_boundary(tail) {
            tail += 1;
        }
        let line = match self.out[tail..].rfind('\n') {
            Some(end) => tail + end + 1,
            None if tail == 0 => 0,
            None => return false,
        };
        self.out[line..].chars().count() < COLUMNS_MAX
    }

    /// Whether the group that begins here has neither a line end nor a comment in it.
    fn is_in_one_line(&self) -> bool {
        let mut open = 0_usize;
        for (i, piece) in self.pieces[self.at..].iter().enumerate() {
            if i > 0 && piece.lines_before > 0
                || piece.kind == Kind::Comment
                || piece.text.contains('\n')
            {
                return false;
            }
            match piece.kind {
                Kind::Mark(Mark::OpenBracket | Mark::OpenBrace | Mark::OpenParenthesis) => {
                    open += 1;
                }
                Kind::Mark(Mark::CloseBracket | Mark::CloseBrace | Mark::CloseParenthesis) => {
                    open -= 1;
                }
                _ => {}
            }
            if open == 0 {
                break;
            }
        }
        true
    }

    fn flat_list(&mut self) {
        self.out.push('{');
        self.at += 1;
        while self.peek().is_some() && !self.at(Mark::CloseBrace) {
            self.out.push(' ');
            self.last = None;
            self.value(&[Mark::Comma, Mark::CloseBrace]);
            if self.at(Mark::Comma) {
                self.out.push(',');
                self.at += 1;
            }
        }
        self.out.push(' ');
        self.close(Mark::CloseBrace);
    }

    fn broken_list(&mut self) {
        self.out.push('{');
        self.at += 1;
        self.indent += 1;
        let indent = self.indent;
        self.comments_behind();
        while self
            .behind_comments()
            .is_some_and(|p| !p.kind.is(Mark::CloseBrace))
        {
            self.own_comments();
            self.line();
            self.last = None;
            self.value(&[Mark::Comma, Mark::CloseBrace]);
            self.indent = indent;
            if self
                .behind_comments()
                .is_some_and(|p| p.kind.is(Mark::Comma))
            {
                self.out.push(',');
                self.comments_until(Mark::Comma);
                self.at += 1;
            }
            self.comments_behind();
        }
        self.own_comments();
        self.indent = indent - 1;
        self.line();
        self.close(Mark::CloseBrace);
    }

    fn flat_ad(&mut self) {
        self.out.push('[');
        self.at += 1;
        let mut mark = " ";
        while self.peek().is_some() && !self.at(Mark::CloseBracket) {
            if self.at(Mark::Semicolon) {
                self.at += 1;
                continue;
            }
            self.out.push_str(mark);
            mark = "; ";
            self.named_value();
        }
        self.out.push(' ');
        self.close(Mark::CloseBracket);
    }

    fn broken_ad(&mut self) {
        self.out.push('[');
        self.at += 1;
        self.indent += 1;
        let indent = self.indent;
        self.comments_behind();
        self.attributes();
        self.indent = indent - 1;
        self.line();
        self.close(Mark::CloseBracket);
    }

    // Comments.

    /// A comment on a line of its own.
    fn comment(&mut self) {
        if let Some(piece) = self.peek() {
            self.line();
            self.out.push_str(piece.text);
            self.at += 1;
            self.out.push('\n');
        }
    }

    /// The next piece that is no comment.
    fn behind_comments(&self) -> Option<Piece<'p>> {
        self.pieces.get(self.peek()?.next).copied()
    }

    fn own_comments(&mut self) {
        while self.at_comment() {
            self.comment();
        }
    }

    /// The comments before a mark that is written already.
    fn comments_until(&mut self, mark: Mark) {
        self.comments_behind();
        while !self.at(mark) && self.at_comment() {
            self.comment();
        }
    }

    /// Comments that stand behind something in its line.
    fn comments_behind(&mut self) {
        while let Some(piece) = self.peek() {
            if piece.kind != Kind::Comment || piece.lines_before > 0 {
                return;
            }
            if self.out.ends_with('\n') {
                self.comment();
                continue;
            }
            self.out.push(' ');
            self.out.push_str(piece.text);
            self.at += 1;
            if !piece.text.starts_with("/*") {
                self.out.push('\n');
            }
        }
    }

    /// A blank line, if there was one.
    fn blank_line(&mut self, before: Piece<'_>) {
        if before.lines_before > 1 && !self.out.trim_end().is_empty() {
            self.out.truncate(self.out.trim_end().len());
            self.out.push_str("\n\n");
        }
    }
}
