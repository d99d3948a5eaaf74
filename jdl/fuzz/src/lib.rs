//! What is tried on arbitrary bytes. Each target panics if something is not as it must
//! be: `cargo fuzz run parse` in `jdl/`, or the short seeded run of `jdl/tests/fuzz.rs`.

use fairway_jdl::{Ad, Expr, JobSpec, eval, json, syntax};
use fairway_model::{JobId, TaskId};

/// How many tasks of a job are expanded, from its beginning and its end.
const TASKS_MAX: u32 = 20;

/// What is read is printed so that it reads back; what is laid out stays as it is.
pub fn parse(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(expr) = Expr::parse(&text) {
        let printed = expr.to_string();
        assert_eq!(Expr::parse(&printed).as_ref(), Ok(&expr), "{printed}");
    }
    if let Ok(ads) = Ad::parse_all(&text) {
        for ad in ads {
            assert_eq!(Ad::parse(&ad.to_string()).as_ref(), Ok(&ad), "{ad}");
        }
    }
    if let Ok(laid_out) = syntax::format(&text) {
        let again = syntax::format(&laid_out);
        assert_eq!(again.as_ref(), Ok(&laid_out), "{text}");
    }
}

/// Evaluation ends, and its value is printed so that it reads back.
pub fn evaluate(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    // An ad to look at, if there is one behind the expression.
    let (text, ad) = text
        .split_once('\u{1e}')
        .unwrap_or((&text, "[ a = 1; b = { a, \"x\" } ]"));
    let (Ok(expr), Ok(ad)) = (Expr::parse(text), Ad::parse(ad)) else {
        return;
    };
    let value = eval(&expr, &ad, Some(&ad));
    assert_eq!(eval(&expr, &ad, Some(&ad)), value, "{text}");
    value.unparse();
    let printed = value.to_string();
    if printed.len() < syntax::TEXT_BYTES_MAX
        && let Ok(again) = Expr::parse(&printed)
    {
        assert_eq!(again, Expr::from(value), "{text}");
    }
}

/// A job that is accepted has the tasks that it counts.
pub fn expand(bytes: &[u8]) {
    let Ok((spec, _)) = JobSpec::read_bytes(bytes) else {
        return;
    };
    let count = spec.task_count();
    assert!(count > 0);
    let first = 0..count.min(TASKS_MAX);
    let last = count.saturating_sub(TASKS_MAX).max(first.end)..count;
    for index in first.chain(last) {
        let job = JobId(1);
        spec.task(TaskId { job, index });
        spec.needs(index);
    }
}

/// An ad survives the way through JSON.
pub fn json(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(ad) = Ad::parse(&text) {
        let written = json::to_json(&ad);
        assert_eq!(json::from_json(&written).as_ref(), Ok(&ad), "{written}");
    }
    if let Ok(value) = text.parse()
        && let Ok(ad) = json::from_json(&value)
    {
        let written = json::to_json(&ad);
        assert_eq!(json::from_json(&written).as_ref(), Ok(&ad), "{written}");
    }
}
