//! Outcomes as one page that needs nothing else: no script, no file, no network.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use fairway_model::UserName;

use super::svg::escaped;
use super::table::ROWS;
use super::{gantt, number, picture, plot, span};
use crate::record::metrics::Outcome;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1b1b;--paper:#fff;--faint:#d8d8d8;--soft:#f4f4f4}
@media(prefers-color-scheme:dark){:root{--ink:#e6e6e6;--paper:#161616;--faint:#3c3c3c;--soft:#222}}
body{font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--paper);
max-width:980px;margin:2em auto;padding:0 1em}
h1{font-size:1.5em}h2{font-size:1.2em;margin-top:2em}h3{font-size:1em;margin:1.2em 0 .3em}
table{border-collapse:collapse}th,td{padding:.15em .8em;text-align:right}
th:first-child,td:first-child{text-align:left}thead th{border-bottom:2px solid var(--faint)}
tbody.group tr:first-child td{border-top:1px solid var(--faint)}
.scroll{overflow-x:auto}svg{max-width:100%;height:auto;display:block}
svg text{font:12px system-ui,sans-serif;fill:var(--ink)}
svg .grid{stroke:var(--faint);stroke-width:1}svg .axis{stroke:var(--ink);stroke-width:1}
.key{display:flex;flex-wrap:wrap;gap:.2em 1.2em;margin:.4em 0}
.key span::before{content:'';display:inline-block;width:.9em;height:.9em;margin-right:.4em;
background:var(--c);vertical-align:-.1em}
p.note{background:var(--soft);padding:.4em .8em}";

/// So many users are in the table of users at most.
const USERS_MAX: usize = 20;

/// A page about outcomes of the same workload. `about`: what was simulated, in sentences.
pub fn html(title: &str, about: &[String], outcomes: &[Outcome]) -> String {
    let end_s = plot::end_s(outcomes);
    let mut page = String::new();
    let title = escaped(title);
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width\"/>\n<title>{title}</title>\n\
         <style>\n{STYLE}\n</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    );
    for sentence in about {
        let _ = writeln!(page, "<p class=\"note\">{}</p>", escaped(sentence));
    }
    numbers(&mut page, outcomes);
    over_time(&mut page, outcomes);
    users(&mut page, outcomes);
    for outcome in outcomes {
        one(&mut page, outcome, end_s);
    }
    page.push_str("</body>\n</html>\n");
    page
}

fn numbers(page: &mut String, outcomes: &[Outcome]) {
    page.push_str(
        "<h2>Policies side by side</h2>\n<div class=\"scroll\"><table>\n<thead><tr><th>policy</th>",
    );
    for outcome in outcomes {
        let _ = write!(page, "<th>{}</th>", escaped(&outcome.policy));
    }
    page.push_str("</tr></thead>\n");
    for group in ROWS {
        page.push_str("<tbody class=\"group\">\n");
        for (label, value) in *group {
            let _ = write!(page, "<tr><td>{}</td>", escaped(label));
            for outcome in outcomes {
                let _ = write!(page, "<td>{}</td>", escaped(&value(outcome)));
            }
            page.push_str("</tr>\n");
        }
        page.push_str("</tbody>\n");
    }
    page.push_str("</table></div>\n");
    page.push_str(
        "<p>Wait: from the submission of a task to its first start. Bounded slowdown: \
         response / max(runtime, 10 s), at least 1. Share error: ½ Σ |usage share − target share| \
         over the users with work; 0 is ideal. Jain's index: (Σx)² / (n Σx²) of usage / target; \
         1 is ideal.</p>\n",
    );
    for outcome in outcomes {
        if let Some(stopped) = &outcome.stopped {
            let text = format!("{}: {stopped}.", outcome.policy);
            let _ = writeln!(page, "<p class=\"note\">{}</p>", escaped(&text));
        }
    }
}

fn key<'a>(page: &mut String, entries: impl Iterator<Item = (&'a str, &'a str)>) {
    page.push_str("<div class=\"key\">");
    for (colour, name) in entries {
        let name = escaped(name);
        let _ = write!(page, "<span style=\"--c:{colour}\">{name}</span>");
    }
    page.push_str("</div>\n");
}

fn over_time(page: &mut String, outcomes: &[Outcome]) {
    page.push_str("<h2>Over time</h2>\n");
    key(page, plot::key(outcomes));
    page.push_str("<h3>Utilisation</h3>\n");
    page.push_str(&plot::utilisation(outcomes).finish());
    page.push_str("<h3>Share error</h3>\n");
    page.push_str(&plot::share_error(outcomes).finish());
}

fn users(page: &mut String, outcomes: &[Outcome]) {
    let Some(first) = outcomes.first() else {
        return;
    };
    let mut most: Vec<_> = first.users.iter().collect();
    most.sort_by(|a, b| b.core_s.total_cmp(&a.core_s).then(a.user.cmp(&b.user)));
    let shown = most.len().min(USERS_MAX);
    let _ = write!(
        page,
        "<h2>Users</h2>\n<p>Mean wait and mean bounded slowdown of each; {}.</p>\n\
         <div class=\"scroll\"><table>\n<thead><tr><th>user</th><th>tasks</th><th>core-hours</th>",
        match most.len() - shown {
            0 => "those who used most first".to_owned(),
            more => format!("the {shown} who used most, {more} more are not shown"),
        }
    );
    for outcome in outcomes {
        let _ = write!(page, "<th>{}</th>", escaped(&outcome.policy));
    }
    page.push_str("</tr></thead>\n<tbody class=\"group\">\n");
    for user in most.into_iter().take(USERS_MAX) {
        let name = escaped(user.user.as_str());
        let hours = number(user.core_s / 3600.0);
        let _ = write!(
            page,
            "<tr><td>{name}</td><td>{}</td><td>{hours}</td>",
            user.tasks
        );
        for outcome in outcomes {
            let found = outcome.users.iter().find(|it| it.user == user.user);
            let text = found.map_or_else(String::new, |it| {
                format!("{}, {}", span(it.wait_mean_s), number(it.slowdown_mean))
            });
            let _ = write!(page, "<td>{text}</td>");
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table></div>\n");
}

fn one(page: &mut String, outcome: &Outcome, end_s: f64) {
    let _ = writeln!(page, "<h2>{}</h2>", escaped(&outcome.policy));
    key(page, picture::users(outcome));
    // Outcomes that were read from JSON do not tell.
    if !outcome.gantt.is_empty() {
        where_it_ran(page, outcome, end_s);
    }
    page.push_str("<h3>Shares</h3>\n");
    page.push_str(&plot::shares(outcome, end_s).finish());
}

fn where_it_ran(page: &mut String, outcome: &Outcome, end_s: f64) {
    page.push_str("<h3>Who ran where</h3>\n");
    if !outcome.gantt.is_exact() {
        page.push_str(
            "<p>Each field has the colour of the user who used most of it; the fainter, the less \
             was used.</p>\n",
        );
    }
    page.push_str(&gantt::chart(outcome, &places(outcome), end_s));
}

/// The colours of users by their numbers in the chart.
fn places(outcome: &Outcome) -> BTreeMap<u32, usize> {
    let numbers: BTreeMap<&UserName, u32> = outcome.gantt.users.iter().zip(0..).collect();
    let shown = outcome.shown.iter().enumerate();
    shown
        .filter_map(|(place, name)| Some((*numbers.get(name)?, place)))
        .collect()
}
