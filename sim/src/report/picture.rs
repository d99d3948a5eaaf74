//! Plots as pictures of their own: with the key, the style and the ground that a page would give.

use std::fmt::Write as _;

use super::plot::{self, WIDTH};
use super::svg::{Drawing, OTHERS, colour, escaped, short};
use crate::record::metrics::Outcome;

const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#1b1b1b}\
.grid{stroke:#d8d8d8;stroke-width:1}.axis{stroke:#1b1b1b;stroke-width:1}";

/// Of a row of the key, in pixels.
const ROW: f64 = 20.0;
/// About so wide is a letter.
const LETTER: f64 = 7.0;

/// A plot as a file.
#[derive(Clone, Debug)]
pub struct Picture {
    /// A name for the file, without its ending: letters, digits, `-`.
    pub name: String,
    /// SVG.
    pub svg: String,
}

/// The plots over time: of all outcomes side by side, and the shares under each.
pub fn pictures(outcomes: &[Outcome]) -> Vec<Picture> {
    let mut all = vec![
        Picture {
            name: "utilisation".into(),
            svg: framed(plot::utilisation(outcomes), plot::key(outcomes)),
        },
        Picture {
            name: "share-error".into(),
            svg: framed(plot::share_error(outcomes), plot::key(outcomes)),
        },
    ];
    let end_s = plot::end_s(outcomes);
    for (place, outcome) in outcomes.iter().enumerate() {
        all.push(Picture {
            name: format!("shares-{}-{}", place + 1, plain(&outcome.policy)),
            svg: framed(plot::shares(outcome, end_s), users(outcome)),
        });
    }
    all
}

/// Whose colour is which, in the plots of one outcome.
pub(super) fn users(outcome: &Outcome) -> impl Iterator<Item = (&str, &str)> {
    let shown = outcome.shown.iter().enumerate();
    let shown = shown.map(|(place, name)| (colour(Some(place)), name.as_str()));
    let others = (outcome.users.len() > outcome.shown.len()).then_some((OTHERS, "all others"));
    shown.chain(others)
}

/// A policy's name with only what every file system takes.
fn plain(name: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    name.chars().map(letter).collect()
}

/// A drawing below its key, on white.
fn framed<'a>(drawing: Drawing, key: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut entries = String::new();
    let (mut x, mut y) = (plot::LEFT, 4.0);
    for (colour, name) in key {
        let width = 32.0 + LETTER * name.chars().count() as f64;
        if x + width > WIDTH && x > plot::LEFT {
            (x, y) = (plot::LEFT, y + ROW);
        }
        let (text_x, text_y, name) = (short(x + 16.0), short(y + 11.0), escaped(name));
        let (x_text, y_text) = (short(x), short(y));
        let _ = writeln!(
            entries,
            "<rect x=\"{x_text}\" y=\"{y_text}\" width=\"12\" height=\"12\" fill=\"{colour}\"/>\
             <text x=\"{text_x}\" y=\"{text_y}\">{name}</text>"
        );
        x += width;
    }
    let below = y + ROW;
    let (width, height) = drawing.size();
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w} {h}\" width=\"{w}\" \
         height=\"{h}\">\n<style>{STYLE}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         {entries}<g transform=\"translate(0 {below})\">\n{drawing}</g>\n</svg>\n",
        w = short(width),
        h = short(height + below),
        below = short(below),
        drawing = drawing.finish(),
    )
}
