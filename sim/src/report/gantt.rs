//! Who ran where and when: each attempt if there are few, and else, for each group of nodes and
//! stretch of time, the user who used most of it.

use std::collections::BTreeMap;

use fairway_model::Timestamp;

use super::plot::{LEFT, RIGHT, Times, WIDTH};
use super::svg::{Drawing, colour, rectangle};
use crate::record::gantt::{Bar, Gantt};
use crate::record::metrics::Outcome;

const TOP: f64 = 8.0;
const BOTTOM: f64 = 44.0;
const HEIGHT: f64 = 340.0;

/// Fillings of a cell are told apart so finely.
const LEVELS: u64 = 4;

/// Colour and level of a filling, with all that has them.
type Layers = BTreeMap<(&'static str, u64), String>;

/// The chart of one policy. `places`: the colours of users, by their numbers.
pub(super) fn chart(outcome: &Outcome, places: &BTreeMap<u32, usize>, end_s: f64) -> String {
    let title = format!("Who ran where under {}", outcome.policy);
    let mut drawing = Drawing::new(&title, WIDTH, HEIGHT);
    let times = Times::until(end_s);
    let bottom = HEIGHT - BOTTOM;
    let gantt = &outcome.gantt;
    times.draw(&mut drawing, TOP, bottom);
    let layers = if gantt.is_exact() {
        bars(gantt, places, times, bottom)
    } else {
        cells(gantt, places, times, bottom)
    };
    for ((fill, level), data) in layers {
        let opacity = (level + 1) as f64 / LEVELS as f64;
        let style = format!("fill=\"{fill}\" fill-opacity=\"{opacity}\"");
        drawing.path(&style, &data);
    }
    drawing.line("axis", (LEFT, bottom), (WIDTH - RIGHT, bottom));
    let label = match gantt.nodes_per_row {
        _ if gantt.is_exact() => "nodes and their cores".to_owned(),
        1 => "nodes".to_owned(),
        several => format!("groups of {several} nodes"),
    };
    drawing.upright((14.0, (TOP + bottom) / 2.0), &label);
    let rows = gantt.cores.len();
    drawing.text((LEFT - 6.0, TOP + 10.0), "end", "1");
    if rows > 1 {
        drawing.text((LEFT - 6.0, bottom - 2.0), "end", &rows.to_string());
    }
    drawing.finish()
}

/// Every attempt on lanes of its node: as many lanes as cores, the first that are free.
fn bars(gantt: &Gantt, places: &BTreeMap<u32, usize>, times: Times, bottom: f64) -> Layers {
    let all: u32 = gantt.cores.iter().sum();
    let lane = (bottom - TOP) / f64::from(all.max(1));
    let mut first = Vec::with_capacity(gantt.cores.len());
    let mut sum = 0;
    for cores in &gantt.cores {
        first.push(sum);
        sum += cores;
    }
    let mut sorted: Vec<Bar> = gantt.bars.clone();
    sorted.sort_by_key(|bar| (bar.from, bar.node, bar.user));
    let mut free_at = vec![Timestamp(i64::MIN); all as usize];
    let mut layers = Layers::new();
    for bar in sorted {
        let from = first.get(bar.node as usize).copied().unwrap_or(0) as usize;
        let cores = gantt.cores.get(bar.node as usize).copied().unwrap_or(0) as usize;
        let free = (from..from + cores).filter(|&it| free_at[it] <= bar.from);
        let lanes: Vec<usize> = free.take(bar.cores as usize).collect();
        let data = layers
            .entry((colour(places.get(&bar.user).copied()), LEVELS - 1))
            .or_default();
        let x = |at: Timestamp| times.x(at.since(gantt.begin).as_secs_f64());
        let width = (x(bar.to) - x(bar.from)).max(0.5);
        // Lanes next to each other are one rectangle.
        for run in lanes.chunk_by(|a, b| a + 1 == *b) {
            let y = TOP + run[0] as f64 * lane;
            let gap = (lane * 0.1).min(1.0);
            let height = lane * run.len() as f64 - gap;
            rectangle(data, (x(bar.from), y), (width, height));
        }
        for taken in lanes {
            free_at[taken] = bar.to;
        }
    }
    layers
}

/// The grid, with equal cells in a row joined.
fn cells(gantt: &Gantt, places: &BTreeMap<u32, usize>, times: Times, bottom: f64) -> Layers {
    let height = (bottom - TOP) / gantt.rows().max(1) as f64;
    let width_s = gantt.grid.width_ms() as f64 / 1000.0;
    let mut layers = Layers::new();
    for row in 0..gantt.rows() {
        let offered = gantt.row_cores(row).saturating_mul(gantt.grid.width_ms());
        let looks = gantt.grid.stretches().iter().map(|column| {
            let (user, used) = column.0.get(row)?.most()?;
            let level = (used * LEVELS / offered.max(1)).min(LEVELS - 1);
            Some((colour(places.get(&user).copied()), level))
        });
        let looks: Vec<_> = looks.collect();
        let mut column = 0;
        for run in looks.chunk_by(|a, b| a == b) {
            let x = times.x(column as f64 * width_s);
            let to = times.x((column + run.len()) as f64 * width_s);
            column += run.len();
            if let Some(look) = run[0] {
                let data = layers.entry(look).or_default();
                let y = TOP + row as f64 * height;
                rectangle(data, (x, y), (to - x, height));
            }
        }
    }
    layers
}
