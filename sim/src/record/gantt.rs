//! Which user's tasks ran where and when: exactly while there are few, and always on a grid of
//! bounded size.

use fairway_model::{Timestamp, UserName};

use super::series::{Series, Stretch};

/// More bars are not drawn one by one.
pub(crate) const BARS_MAX: usize = 2000;

/// More nodes than that are not drawn one by one.
pub(crate) const NODES_DRAWN_MAX: u32 = 64;

/// Most rows and columns of the grid.
const ROWS_MAX: u32 = 48;
const COLUMNS_MAX: usize = 256;

/// So many users are kept of a cell at most; what others use counts as nobody's.
const USERS_MAX: usize = 8;

/// One attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bar {
    pub(crate) node: u32,
    pub(crate) user: u32,
    pub(crate) cores: u32,
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
}

/// Who used how much of some nodes in a stretch of time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    pub(crate) users: Vec<(u32, u64)>,
    pub(crate) others_core_ms: u64,
}

impl Cell {
    fn add(&mut self, user: u32, core_ms: u64) {
        if let Some(known) = self.users.iter_mut().find(|it| it.0 == user) {
            known.1 += core_ms;
        } else if self.users.len() < USERS_MAX {
            self.users.push((user, core_ms));
        } else {
            self.others_core_ms += core_ms;
        }
    }

    /// Who used most, and what all used.
    pub(crate) fn most(&self) -> Option<(u32, u64)> {
        let all: u64 = self.users.iter().map(|it| it.1).sum();
        let first = self.users.iter().max_by_key(|it| (it.1, u32::MAX - it.0))?;
        Some((first.0, all + self.others_core_ms))
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Column(pub(crate) Vec<Cell>);

impl Column {
    fn cell(&mut self, row: usize) -> &mut Cell {
        if self.0.len() <= row {
            self.0.resize_with(row + 1, Cell::default);
        }
        &mut self.0[row]
    }
}

impl Stretch for Column {
    fn join(&mut self, next: Self) {
        for (row, cell) in next.0.into_iter().enumerate() {
            let into = self.cell(row);
            into.others_core_ms += cell.others_core_ms;
            for (user, core_ms) in cell.users {
                into.add(user, core_ms);
            }
        }
    }
}

/// The whole chart.
#[derive(Clone, Debug)]
pub(crate) struct Gantt {
    pub(crate) begin: Timestamp,
    /// The names of users, by number.
    pub(crate) users: Vec<UserName>,
    /// Empty if there were too many.
    pub(crate) bars: Vec<Bar>,
    full: bool,
    pub(crate) grid: Series<Column>,
    /// Cores of each node, in their order.
    pub(crate) cores: Vec<u32>,
    pub(crate) nodes_per_row: u32,
}

impl Default for Gantt {
    /// Of no nodes.
    fn default() -> Self {
        Self::new(Timestamp::default(), Vec::new())
    }
}

impl Gantt {
    /// Whether there is nothing to draw on.
    pub(crate) fn is_empty(&self) -> bool {
        self.cores.is_empty()
    }

    pub(crate) fn new(begin: Timestamp, cores: Vec<u32>) -> Self {
        let nodes = u32::try_from(cores.len()).unwrap_or(u32::MAX);
        Self {
            begin,
            users: Vec::new(),
            bars: Vec::new(),
            full: false,
            grid: Series::new(begin, COLUMNS_MAX),
            cores,
            nodes_per_row: nodes.div_ceil(ROWS_MAX).max(1),
        }
    }

    pub(crate) fn add(&mut self, bar: Bar) {
        self.full |= self.bars.len() >= BARS_MAX;
        if self.full {
            self.bars = Vec::new();
        } else {
            self.bars.push(bar);
        }
        let row = (bar.node / self.nodes_per_row) as usize;
        self.grid.spread(bar.from, bar.to, |column, ms| {
            column.cell(row).add(bar.user, ms * u64::from(bar.cores));
        });
    }

    /// Whether all bars are known.
    pub(crate) fn is_exact(&self) -> bool {
        !self.full && self.cores.len() <= NODES_DRAWN_MAX as usize
    }

    /// Cores of the nodes of a row.
    pub(crate) fn row_cores(&self, row: usize) -> u64 {
        let rows = self.cores.chunks(self.nodes_per_row as usize);
        let cores = rows
            .skip(row)
            .map(|nodes| nodes.iter().map(|&c| u64::from(c)).sum());
        cores.take(1).next().unwrap_or(0)
    }

    /// How many rows there are.
    pub(crate) fn rows(&self) -> usize {
        self.cores.len().div_ceil(self.nodes_per_row as usize)
    }
}
