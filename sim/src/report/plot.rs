//! Axes, and the plots over time.

use super::svg::{Drawing, LINE_COLOURS, OTHERS, colour, line_colour, polyline, short};
use crate::record::metrics::{Outcome, Point};

/// The drawing of a plot, and where its axes are, in pixels.
pub(super) const WIDTH: f64 = 960.0;
pub(super) const LEFT: f64 = 64.0;
pub(super) const RIGHT: f64 = 16.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;

/// A time axis that ends at a moment, in the unit that suits it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    end_s: f64,
    unit_s: f64,
    unit: &'static str,
}

impl Times {
    pub(super) fn until(end_s: f64) -> Self {
        let end_s = end_s.max(1.0);
        let (unit_s, unit) = match end_s {
            end if end < 300.0 => (1.0, "seconds"),
            end if end < 3.0 * 3600.0 => (60.0, "minutes"),
            end if end < 4.0 * 86_400.0 => (3600.0, "hours"),
            _ => (86_400.0, "days"),
        };
        Self {
            end_s,
            unit_s,
            unit,
        }
    }

    pub(super) fn x(&self, at_s: f64) -> f64 {
        LEFT + (at_s / self.end_s).clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    /// Draws the axis below `bottom`.
    pub(super) fn draw(&self, drawing: &mut Drawing, top: f64, bottom: f64) {
        let end = self.end_s / self.unit_s;
        let step = round_step(end / 8.0);
        let mut tick = 0.0;
        while tick <= end * 1.0001 {
            let x = self.x(tick * self.unit_s);
            drawing.line("grid", (x, top), (x, bottom));
            drawing.text((x, bottom + 16.0), "middle", &short_number(tick));
            tick += step;
        }
        let middle = (LEFT + WIDTH - RIGHT) / 2.0;
        let label = format!("time since the first submission ({})", self.unit);
        drawing.text((middle, bottom + 34.0), "middle", &label);
    }
}

fn short_number(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The next of 1, 2 and 5 times a power of ten.
fn round_step(at_least: f64) -> f64 {
    let mut power = 1e-3;
    loop {
        for step in [1.0, 2.0, 5.0] {
            if step * power >= at_least {
                return step * power;
            }
        }
        power *= 10.0;
        if power > 1e15 {
            return power;
        }
    }
}

/// A plot of parts from 0 to 1 over time.
struct Parts {
    drawing: Drawing,
    times: Times,
    height: f64,
}

impl Parts {
    fn new(title: &str, label: &str, end_s: f64, height: f64) -> Self {
        let mut drawing = Drawing::new(title, WIDTH, height);
        let times = Times::until(end_s);
        times.draw(&mut drawing, TOP, height - BOTTOM);
        let parts = [0.0, 0.25, 0.5, 0.75, 1.0];
        for part in parts {
            let y = y(part, height);
            drawing.line("grid", (LEFT, y), (WIDTH - RIGHT, y));
            let text = format!("{:.0} %", part * 100.0);
            drawing.text((LEFT - 6.0, y + 4.0), "end", &text);
        }
        drawing.upright((14.0, (TOP + height - BOTTOM) / 2.0), label);
        Self {
            drawing,
            times,
            height,
        }
    }

    /// Steps: each stretch at its height.
    fn steps(&mut self, style: &str, outcome: &Outcome, value: impl Fn(&Point) -> Option<f64>) {
        let (times, height) = (self.times, self.height);
        let ends = |point: &Point| {
            let (from, to) = (
                point.at_s,
                (point.at_s + outcome.stretch_s).min(times.end_s),
            );
            let at = value(point).map(|part| y(part, height));
            [from, to].map(|x| at.map(|y| (times.x(x), y)))
        };
        let data = polyline(outcome.series.iter().flat_map(ends));
        self.drawing.path(style, &data);
    }

    /// The area between two heights.
    fn area(&mut self, fill: &str, outcome: &Outcome, bounds: impl Fn(&Point) -> (f64, f64)) {
        let mut upper = Vec::new();
        let mut lower = Vec::new();
        for point in &outcome.series {
            let (low, high) = bounds(point);
            for at in [point.at_s, point.at_s + outcome.stretch_s] {
                let x = self.times.x(at.min(self.times.end_s));
                upper.push(Some((x, y(high, self.height))));
                lower.push(Some((x, y(low, self.height))));
            }
        }
        lower.reverse();
        let mut data = polyline(upper.into_iter().chain(lower));
        if !data.is_empty() {
            data.push('z');
        }
        self.drawing.path(&format!("fill=\"{fill}\""), &data);
    }
}

fn y(part: f64, height: f64) -> f64 {
    let part = part.clamp(0.0, 1.0);
    TOP + (1.0 - part) * (height - TOP - BOTTOM)
}

fn stroke(colour: &str) -> String {
    format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"")
}

/// When the last of them ended.
pub(super) fn end_s(outcomes: &[Outcome]) -> f64 {
    outcomes.iter().map(|it| it.makespan_s).fold(0.0, f64::max)
}

/// The part of all cores that tasks had.
pub(super) fn utilisation(outcomes: &[Outcome]) -> Drawing {
    lines("Utilisation", "part of all cores", outcomes, |it| {
        Some(it.utilisation)
    })
}

/// The share error of each stretch.
pub(super) fn share_error(outcomes: &[Outcome]) -> Drawing {
    lines("Share error", "share error", outcomes, |it| it.share_error)
}

/// Which policy has which colour.
pub(super) fn key(outcomes: &[Outcome]) -> impl Iterator<Item = (&str, &str)> {
    let names = outcomes.iter().enumerate();
    names.map(|(place, it)| (line_colour(place), it.policy.as_str()))
}

/// One line for each policy.
fn lines(
    title: &str,
    label: &str,
    outcomes: &[Outcome],
    value: fn(&Point) -> Option<f64>,
) -> Drawing {
    let mut plot = Parts::new(title, label, end_s(outcomes), 240.0);
    for (place, outcome) in outcomes.iter().enumerate() {
        // More policies than colours are told apart by dashes.
        let dash = match place / LINE_COLOURS {
            0 => String::new(),
            round => format!(" stroke-dasharray=\"{} 3\"", short(4.0 * round as f64)),
        };
        let style = stroke(line_colour(place)) + &dash;
        plot.steps(&style, outcome, value);
    }
    plot.drawing
}

/// The shares of users, one above the other.
pub(super) fn shares(outcome: &Outcome, end_s: f64) -> Drawing {
    let title = format!("Shares under {}", outcome.policy);
    let mut plot = Parts::new(&title, "part of usage", end_s, 200.0);
    let layers = outcome.shown.len() + 1;
    for layer in 0..layers {
        let fill = if layer < outcome.shown.len() {
            colour(Some(layer))
        } else {
            OTHERS
        };
        plot.area(fill, outcome, |point| {
            let below = point.shares[..layer].iter().sum();
            let own = point.shares.get(layer).copied().unwrap_or_default();
            (below, below + own)
        });
    }
    plot.drawing
}
