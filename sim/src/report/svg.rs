//! The little of SVG that plots need, with numbers kept short.

use std::fmt::Write as _;

/// Colours that people with any kind of colour blindness tell apart (Okabe and Ito: "Color
/// universal design", 2008), without black: it is the text's.
pub(super) const COLOURS: [&str; 7] = [
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442",
];

/// What all others get.
pub(super) const OTHERS: &str = "#999999";

/// The colour of a policy's line: there are eight kinds, and no others.
pub(super) fn line_colour(place: usize) -> &'static str {
    COLOURS
        .iter()
        .chain([&OTHERS])
        .nth(place % LINE_COLOURS)
        .unwrap_or(&OTHERS)
}

/// So many lines have colours of their own.
pub(super) const LINE_COLOURS: usize = COLOURS.len() + 1;

/// The colour of a place in an order.
pub(super) fn colour(place: Option<usize>) -> &'static str {
    place
        .and_then(|it| COLOURS.get(it))
        .copied()
        .unwrap_or(OTHERS)
}

/// Text without what has a meaning in XML.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            c if c.is_control() => {}
            c => safe.push(c),
        }
    }
    safe
}

/// A coordinate: a tenth of a pixel is enough.
pub(super) fn short(value: f64) -> String {
    let text = format!("{value:.1}");
    match text.strip_suffix(".0") {
        Some("-0") => "0".into(),
        Some(whole) => whole.to_owned(),
        None => text,
    }
}

/// A drawing.
pub(super) struct Drawing {
    body: String,
    width: f64,
    height: f64,
    title: String,
}

impl Drawing {
    pub(super) fn new(title: &str, width: f64, height: f64) -> Self {
        Self {
            body: String::new(),
            width,
            height,
            title: escaped(title),
        }
    }

    pub(super) fn line(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        let [x1, y1, x2, y2] = [x1, y1, x2, y2].map(short);
        let _ = writeln!(
            self.body,
            r#"<line class="{class}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>"#
        );
    }

    /// `anchor`: `start`, `middle` or `end`.
    pub(super) fn text(&mut self, (x, y): (f64, f64), anchor: &str, text: &str) {
        let (x, y, text) = (short(x), short(y), escaped(text));
        let _ = writeln!(
            self.body,
            r#"<text x="{x}" y="{y}" text-anchor="{anchor}">{text}</text>"#
        );
    }

    /// Text from bottom to top.
    pub(super) fn upright(&mut self, (x, y): (f64, f64), text: &str) {
        let (x, y, text) = (short(x), short(y), escaped(text));
        let _ = writeln!(
            self.body,
            r#"<text transform="translate({x} {y}) rotate(-90)" text-anchor="middle">{text}</text>"#
        );
    }

    pub(super) fn path(&mut self, style: &str, data: &str) {
        if !data.is_empty() {
            let _ = writeln!(self.body, r#"<path {style} d="{data}"/>"#);
        }
    }

    /// Width and height in pixels.
    pub(super) fn size(&self) -> (f64, f64) {
        (self.width, self.height)
    }

    /// Everything, as an element of a page.
    pub(super) fn finish(self) -> String {
        format!(
            "<svg viewBox=\"0 0 {w} {h}\" width=\"{w}\" height=\"{h}\" role=\"img\" \
             xmlns=\"http://www.w3.org/2000/svg\"><title>{title}</title>\n{body}</svg>\n",
            w = short(self.width),
            h = short(self.height),
            title = self.title,
            body = self.body,
        )
    }
}

/// A rectangle as a piece of a path.
pub(super) fn rectangle(data: &mut String, (x, y): (f64, f64), (width, height): (f64, f64)) {
    let [x, y, width, height] = [x, y, width, height].map(short);
    let _ = write!(data, "M{x} {y}h{width}v{height}h-{width}z");
}

/// Points as a path, with gaps where there is none. Of points at one height only the first and the
/// last are drawn.
pub(super) fn polyline(points: impl Iterator<Item = Option<(f64, f64)>>) -> String {
    let mut data = String::new();
    let mut runs: Vec<(f64, f64)> = Vec::new();
    for point in points.chain(std::iter::once(None)) {
        match point {
            None => draw(&mut data, &std::mem::take(&mut runs)),
            Some((x, y)) => match runs[..] {
                [.., (_, before), (_, last)] if before == y && last == y => {
                    let end = runs.len() - 1;
                    runs[end] = (x, y);
                }
                _ => runs.push((x, y)),
            },
        }
    }
    data
}

fn draw(data: &mut String, points: &[(f64, f64)]) {
    for (place, &(x, y)) in points.iter().enumerate() {
        let command = if place == 0 { 'M' } else { 'L' };
        let _ = write!(data, "{command}{} {}", short(x), short(y));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_gaps_and_no_more_points_than_they_need() {
        let points = [(0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (2.0, 3.5)].map(Some);
        let drawn = polyline(points.into_iter().chain([None, Some((4.0, 0.0))]));
        assert_eq!(drawn, "M0 1L2 1L2 3.5M4 0");
    }
}
