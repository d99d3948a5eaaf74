//! Tables: columns set apart by two blanks, a heading, no lines. They stay
//! readable for `awk`, `grep` and `cut`.

use std::fmt::Write as _;

use anstyle::Style;

/// What a cell shows where there is nothing to show.
pub(crate) const NONE: &str = "-";

/// One cell.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    style: Style,
    to_the_right: bool,
}

impl Cell {
    /// A cell with text. Control characters in it (a job's name is its author's choice)
    /// could command the terminal; they are replaced.
    pub(crate) fn new(text: impl ToString) -> Self {
        Self {
            text: harmless(&text.to_string()),
            style: Style::new(),
            to_the_right: false,
        }
    }

    /// A cell with text, or a dash.
    pub(crate) fn maybe(text: Option<impl ToString>) -> Self {
        match text {
            Some(text) => Self::new(text),
            None => Self::new(NONE),
        }
    }

    /// A number: set to the right.
    pub(crate) fn number(number: impl ToString) -> Self {
        Self {
            to_the_right: true,
            ..Self::new(number)
        }
    }

    /// The same in a colour.
    pub(crate) fn styled(self, style: Style) -> Self {
        Self { style, ..self }
    }
}

/// The text with its control characters replaced, line ends included.
pub(crate) fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// A table. A heading that begins with `>` sets its column's title to the right.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table with these columns.
    pub(crate) fn new<const N: usize>(titles: [&str; N]) -> Self {
        let heading = |title: &str| {
            let cell = match title.strip_prefix('>') {
                Some(title) => Cell::number(title),
                None => Cell::new(title),
            };
            cell.styled(Style::new().bold())
        };
        Self {
            rows: vec![titles.into_iter().map(heading).collect()],
        }
    }

    /// Adds a row; it must have as many cells as there are columns.
    pub(crate) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        debug_assert_eq!(N, self.rows[0].len(), "a cell for each column");
        self.rows.push(cells.into());
    }

    /// Takes a column away in which there is nothing in any row.
    pub(crate) fn without_empty(&mut self, title: &str) {
        let (heading, rows) = self.rows.split_at(1);
        let Some(column) = heading[0].iter().position(|cell| cell.text == title) else {
            return;
        };
        let nothing = |cell: &Cell| cell.text.is_empty() || cell.text == NONE;
        if rows.iter().all(|row| nothing(&row[column])) {
            for row in &mut self.rows {
                row.remove(column);
            }
        }
    }

    /// The table as text, with a line end after each row; `empty` if there are no rows.
    pub(crate) fn text_or(&self, empty: &str) -> String {
        if self.rows.len() == 1 {
            return format!("{empty}\n");
        }
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].text.chars().count());
            cells.max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..self.rows[0].len()).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let padding = " ".repeat(width - cell.text.chars().count());
                let (before, after) = if cell.to_the_right {
                    (padding.as_str(), "")
                } else {
                    ("", padding.as_str())
                };
                let style = cell.style;
                // Writing to a String cannot fail.
                let _ = write!(line, "{before}{style}{}{style:#}{after}  ", cell.text);
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Names and values below each other, the values set under each other.
pub(crate) fn facts(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let bold = Style::new().bold();
    facts
        .iter()
        .map(|(name, value)| {
            let padding = " ".repeat(width - name.len());
            format!("{bold}{name}{bold:#}{padding}  {}\n", harmless(value))
        })
        .collect()
}
