//! Outcomes side by side, for people.

mod gantt;
mod html;
mod picture;
mod plot;
mod svg;
mod table;

pub use html::html;
pub use picture::{Picture, pictures};
pub use table::table;

/// A span of time as people read it: `0.4 s`, `59 s`, `12 min`, `3.4 h`, `12 d`.
pub(crate) fn span(seconds: f64) -> String {
    let (value, unit) = if seconds < 60.0 {
        (seconds, "s")
    } else if seconds < 3600.0 {
        (seconds / 60.0, "min")
    } else if seconds < 2.0 * 86_400.0 {
        (seconds / 3600.0, "h")
    } else {
        (seconds / 86_400.0, "d")
    };
    format!("{} {unit}", number(value))
}

/// A number with three digits that count, or all of them if there are more before the point.
pub(crate) fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    let digits = match value.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.digits$}")
}

/// A part of a whole.
pub(crate) fn percent(part: f64) -> String {
    format!("{:.1} %", part * 100.0)
}

/// A measure from 0 to 1.
pub(crate) fn measure(value: Option<f64>) -> String {
    value.map_or_else(|| "–".into(), |value| format!("{value:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_numbers_are_short() {
        let spans = [0.0, 0.444, 59.4, 720.0, 12_345.0, 400_000.0].map(span);
        assert_eq!(
            spans,
            ["0 s", "0.44 s", "59.4 s", "12.0 min", "3.43 h", "4.63 d"]
        );
        assert_eq!(number(123_456.7), "123457");
        assert_eq!(number(9.999), "10.0");
    }
}
