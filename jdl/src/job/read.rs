//! From a text to a [`JobSpec`]: the order of the steps, and the remarks on what
//! is unknown, misspelt or not done yet.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use serde_json::Value as Json;

use super::attributes::{ATTRIBUTES, Attribute, Origin};
use super::parameters::{self, Bindings, GLITE_MARK, Parameters};
use super::{ATTRIBUTES_MAX, Dialect, INPUTS_MAX, JobSpec, lower, needs, schema, task};
use crate::diagnostic::Report;
use crate::syntax::parser::{self, Manners};
use crate::syntax::{Node, TEXT_BYTES_MAX};
use crate::{Ad, Expr, Value, eval};

/// Of a job with computed values, so many tasks from the first on are checked,
/// and the last. Listed values are all checked.
const CHECKED_MAX: u32 = 1000;

/// Reads and checks a description; `None` after errors that leave nothing to go on with.
pub(super) fn read(text: &str, report: &mut Report) -> Option<JobSpec> {
    if text.contains('\0') {
        report.error_with(
            None,
            "the text holds NUL bytes",
            "send a text, not binary data",
        );
        return None;
    }
    let mut ad = parser::document(text, Manners::Jdl, report);
    if ad.len() > ATTRIBUTES_MAX {
        let message = format!("the description has {} attributes", ad.len());
        report.error_with(None, message, format!("it may have {ATTRIBUTES_MAX}"));
    }
    if ad.is_empty() && report.has_errors() || ad.len() > ATTRIBUTES_MAX {
        return None;
    }
    if !check_type(&ad, report) {
        return None;
    }
    let broken = report.has_errors();
    lower::quote_bare_texts(&mut ad, text, report);
    let dialect = dialect(&ad);
    check_job_type(&ad, dialect, report);
    remark_on_names(&ad, report);
    let parametric = is_parametric(&ad, dialect, report);
    let parameters = if parametric {
        Parameters::read(&ad, dialect, report)
    } else {
        None
    };
    let spec = check(ad, dialect, parameters, broken, report);
    spec.filter(|_| !report.has_errors())
}

/// The ad of the first task.
fn filled(ad: &Ad, parameters: Option<&Parameters>, dialect: Dialect) -> Ad {
    let bindings = match parameters {
        Some(parameters) => parameters.bindings(0, None),
        None => Bindings::plain(dialect, None),
    };
    let mut first = ad.clone();
    for (name, expr) in ad.iter() {
        first.replace(name, bindings.fill(expr));
    }
    first
}

/// Checks everything, also after errors, so that all are told at once. If the
/// text is `broken`, what is missing may be what could not be read.
fn check(
    ad: Ad,
    dialect: Dialect,
    parameters: Option<Parameters>,
    broken: bool,
    report: &mut Report,
) -> Option<JobSpec> {
    let first = filled(&ad, parameters.as_ref(), dialect);
    let mut lowered = lower::lower(&first, report);
    if broken {
        lowered.entry("Executable").or_insert_with(lower::unread);
    }
    let lowered = Json::Object(lowered);
    schema::check(&lowered, &first, report);
    let Json::Object(mut lowered) = lowered else {
        return None;
    };
    lowered.remove("Parameters"); // may be as long as the text, and is in `parameters`
    let marked = marked(&ad, dialect, parameters.is_some());
    let varying: Vec<&'static Attribute> = ATTRIBUTES
        .iter()
        .filter(|attribute| depends_on(&ad, attribute.name, &marked))
        .collect();
    let name = job_name(&ad);
    let mut spec = JobSpec {
        dialect,
        name,
        ad,
        lowered,
        parameters,
        marked,
        varying,
        needs: None,
    };
    let needs = {
        let mut builder = task::Builder {
            lowered: &spec.lowered,
            varied: serde_json::Map::new(),
            ad: &first,
            report,
        };
        let needs = Arc::new(builder.needs());
        builder.task(Arc::clone(&needs), None);
        needs
    };
    if report.has_errors() {
        return None;
    }
    let differ = spec.parameters.is_some()
        && needs::SOURCES
            .iter()
            .any(|name| depends_on(&spec.ad, name, &spec.marked));
    if !differ {
        spec.needs = Some(needs);
    }
    check_tasks(&spec, report);
    Some(spec)
}

/// Checks the tasks after the first one, up to the first that is wrong.
fn check_tasks(spec: &JobSpec, report: &mut Report) {
    let Some(parameters) = spec.parameters.as_ref() else {
        return;
    };
    if spec.varying.is_empty() {
        return;
    }
    let count = parameters.count();
    let checked = if parameters.has_lists() {
        count
    } else {
        count.min(CHECKED_MAX)
    };
    let last = (checked < count).then_some(count - 1);
    for index in (1..checked).chain(last) {
        let mut found = Report::default();
        let needs = spec.needs.clone();
        spec.with_task(index, None, &mut found, |builder, _| {
            let mut varied = builder.varied.clone();
            varied
                .entry("Executable") // the schema asks for it
                .or_insert_with(lower::unread);
            schema::check(&Json::Object(varied), builder.ad, builder.report);
            let needs = needs.unwrap_or_else(|| Arc::new(builder.needs()));
            builder.task(needs, None)
        });
        if found.has_errors() {
            report.append(found);
            report.error_with(
                None,
                format!(
                    "task {index} of the job is wrong: {}",
                    parameters.told(index)
                ),
                "change that value, or where it is used",
            );
            return;
        }
    }
    if spec.inputs().len() > INPUTS_MAX {
        let place = spec.ad.get("InputSandbox").map(Expr::span);
        report.error_with(
            place,
            "the tasks name too many different input files",
            format!("a job may have {INPUTS_MAX}; pack them"),
        );
    }
}

/// Without values filled in: the name is that of all tasks.
fn job_name(ad: &Ad) -> String {
    let text = |name: &str| {
        let expr = ad.get(name)?;
        let value = eval(expr, ad, None);
        let text = value.as_str()?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    };
    let executable = || Some(text("Executable")?.rsplit('/').next()?.to_owned());
    let name = text("JobName").or_else(|| text("Name"));
    name.or_else(executable).unwrap_or_default()
}

// What kind of job it is.

fn check_type(ad: &Ad, report: &mut Report) -> bool {
    let text = ad
        .get("Type")
        .and_then(Expr::literal)
        .and_then(Value::as_str);
    let kind = text.unwrap_or("Job").trim();
    let place = ad.get("Type").map(Expr::span);
    if ["collection", "dag"].contains(&&*kind.to_ascii_lowercase()) {
        let help = "submit each of its jobs by itself, or make a parametric job";
        report.error_with(
            place,
            format!("jobs of `Type` \"{kind}\" are not supported yet"),
            help,
        );
        return false;
    }
    if !kind.eq_ignore_ascii_case("job") {
        let message = format!("`Type` must be \"Job\", not \"{kind}\"");
        report.error_with(place, message, "remove it, or write `Type = \"Job\";`");
        return false;
    }
    true
}

/// The words of `JobType`, in lower case.
fn job_types(ad: &Ad) -> Vec<String> {
    let word = |expr: &Expr| Some(expr.literal()?.as_str()?.trim().to_ascii_lowercase());
    match ad.get("JobType") {
        Some(expr) => match expr.node() {
            Node::List(items) => items.iter().filter_map(word).collect(),
            _ => word(expr).into_iter().collect(),
        },
        None => Vec::new(),
    }
}

fn check_job_type(ad: &Ad, dialect: Dialect, report: &mut Report) {
    if dialect == Dialect::Dirac {
        return; // any word, for the submitter's own use
    }
    let place = ad.get("JobType").map(Expr::span);
    for word in job_types(ad) {
        match &*word {
            "normal" | "parametric" | "" => {}
            "mpich" | "interactive" | "checkpointable" | "partitionable" => {
                let help = "`Normal` and `Parametric` jobs can run";
                report.error_with(place, format!("`{word}` jobs are not supported"), help);
            }
            _ => {
                let help = "write `Normal` or `Parametric`, or leave it out";
                report.error_with(place, format!("`{word}` is not a type of jobs"), help);
            }
        }
    }
}

fn is_parametric(ad: &Ad, dialect: Dialect, report: &mut Report) -> bool {
    let says_so = job_types(ad).iter().any(|word| word == "parametric");
    let has_parameters = ad.get("Parameters").is_some();
    if dialect == Dialect::Dirac {
        let named = |(name, _): (&str, &Expr)| parameters::sequence_name(name).is_some();
        return has_parameters || ad.iter().any(named);
    }
    if says_so && !has_parameters {
        report.error_with(
            ad.get("JobType").map(Expr::span),
            "a parametric job needs `Parameters`",
            "write how many tasks: `Parameters = 10;`, or list values: `Parameters = { \"a\", \"b\" };`",
        );
    }
    if !says_so && has_parameters {
        report.warn(
            ad.name_span("Parameters"),
            "`Parameters` makes this a parametric job",
            "write `JobType = \"Parametric\";`",
        );
    }
    has_parameters
}

/// Whose attributes and placeholders prevail. Without any evidence: gLite.
fn dialect(ad: &Ad) -> Dialect {
    let mut score = 0_i32; // above zero: DIRAC
    for (name, expr) in ad.iter() {
        score += match Attribute::named(name).map(|attribute| attribute.origin) {
            Some(Origin::Glite) if !["Type", "Name"].contains(&name) => -1,
            Some(Origin::Dirac) => 1,
            _ if parameters::sequence_name(name).is_some() => 3,
            _ => 0,
        };
        if holds_text(expr, &|text| text.contains(GLITE_MARK)) {
            score -= 3;
        } else if holds_text(expr, &|text| has_percent_mark(text)) {
            score += 1;
        }
    }
    let says_parametric = job_types(ad).iter().any(|word| word == "parametric");
    if says_parametric {
        score -= 3;
    } else if ad.get("Parameters").is_some() {
        score += 2; // gLite asks for the job type
    }
    if score > 0 {
        Dialect::Dirac
    } else {
        Dialect::Glite
    }
}

fn has_percent_mark(text: &str) -> bool {
    ["%s", "%n", "%j"].iter().any(|mark| text.contains(mark))
        || text.contains("%(") && text.contains(")s")
}

/// Whether a text or name in the expression passes the test.
fn holds_text(expr: &Expr, test: &impl Fn(&str) -> bool) -> bool {
    let here = match expr.node() {
        Node::Literal(Value::String(text)) => test(text),
        Node::Name(name) | Node::Absolute(name) | Node::Select(_, name) => test(&name.text),
        Node::Record(ad) => ad.iter().any(|(_, expr)| holds_text(expr, test)),
        _ => false,
    };
    here || expr
        .children()
        .into_iter()
        .any(|child| holds_text(child, test))
}

/// The attributes (in lower case) that hold placeholders.
fn marked(ad: &Ad, dialect: Dialect, parametric: bool) -> BTreeSet<String> {
    let test = |text: &str| match dialect {
        Dialect::Glite => parametric && text.contains(GLITE_MARK),
        Dialect::Dirac if parametric => has_percent_mark(text),
        Dialect::Dirac => text.contains("%j"),
    };
    ad.iter()
        .filter(|(_, expr)| holds_text(expr, &test))
        .map(|(name, _)| name.to_ascii_lowercase())
        .collect()
}

/// Whether an attribute holds a placeholder, or refers to one that does.
fn depends_on(ad: &Ad, name: &str, marked: &BTreeSet<String>) -> bool {
    if marked.is_empty() {
        return false;
    }
    let mut seen = HashSet::new();
    let mut open = vec![name.to_ascii_lowercase()];
    while let Some(name) = open.pop() {
        let Some(expr) = ad.find(&name) else { continue };
        if marked.contains(&name) {
            return true;
        }
        if seen.insert(name) {
            open.extend(needs::names(expr, ad));
        }
    }
    false
}

// Remarks on names.

fn remark_on_names(ad: &Ad, report: &mut Report) {
    let used = used_names(ad);
    for (name, expr) in ad.iter() {
        if parameters::sequence_name(name).is_some() {
            continue;
        }
        let place = ad.name_span(name);
        match Attribute::named(name) {
            Some(attribute) => remark_on_known(attribute, expr, ad, report),
            None if used.contains(&name.to_ascii_lowercase()) => {}
            None => {
                let help = match suggestion(name) {
                    Some(known) => format!("did you mean `{known}`?"),
                    None => "it is kept, and means nothing: no other attribute uses it".into(),
                };
                report.warn(place, format!("`{name}` is not a known attribute"), help);
            }
        }
    }
}

fn remark_on_known(attribute: &Attribute, expr: &Expr, ad: &Ad, report: &mut Report) {
    let place = ad.name_span(attribute.name);
    let is_empty = match (expr.literal(), expr.node()) {
        (Some(Value::String(text)), _) => text.trim().is_empty(),
        (Some(Value::Boolean(truth)), _) => !truth,
        (_, Node::List(items)) => items.is_empty(),
        _ => false,
    };
    if is_empty {
        return;
    }
    let name = attribute.name;
    if let Some(not_yet) = attribute.not_yet {
        let message = format!("`{name}` is read but not acted upon");
        report.warn(place, message, format!("for now, {not_yet}"));
    }
    if name == "OutputData" {
        let help = "name the files in `OutputSandbox` too; the server keeps them";
        report.warn(place, "`OutputData` is not stored as data yet", help);
    }
}

/// The names (in lower case) that known attributes refer to, directly or by way of others.
fn used_names(ad: &Ad) -> HashSet<String> {
    let known = |name: &&str| Attribute::named(name).is_some();
    let names = ad.iter().map(|(name, _)| name).filter(known);
    let mut open: Vec<String> = names.map(str::to_ascii_lowercase).collect();
    let mut used = HashSet::new();
    while let Some(name) = open.pop() {
        if let Some(expr) = ad.find(&name)
            && used.insert(name)
        {
            open.extend(needs::names(expr, ad));
        }
    }
    used
}

/// The known attribute that a name is probably meant to be.
fn suggestion(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let distance_max = match name.len() {
        0..=3 => return None,
        4..=7 => 1,
        8..=64 => 2,
        _ => return None,
    };
    ATTRIBUTES
        .iter()
        .map(|attribute| {
            let distance = edit_distance(&name, &attribute.name.to_ascii_lowercase());
            (distance, attribute.name)
        })
        .filter(|(distance, _)| *distance <= distance_max)
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein's distance of two short texts, by bytes.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let cost = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

// Bytes.

/// The text that bytes stand for; `None` if they are none.
pub(super) fn decode(bytes: &[u8], report: &mut Report) -> Option<String> {
    if bytes.len() > TEXT_BYTES_MAX {
        let message = format!("the text has {} bytes, too many to be read", bytes.len());
        let help = format!("a description may have {TEXT_BYTES_MAX} bytes");
        report.error_with(None, message, help);
        return None;
    }
    let refuse = |report: &mut Report, what: &str| {
        let help = "save it as plain text in UTF-8";
        report.error_with(None, format!("this is not a text but {what}"), help);
        None
    };
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return refuse(report, "UTF-16");
    }
    let is_binary = |b: &&u8| **b < 0x20 && !b"\t\n\r\x0c\x0b\x1a\x1b\x08".contains(b);
    if let Some(byte) = bytes.iter().find(is_binary) {
        return refuse(report, &format!("binary data (byte 0x{byte:02x})"));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text.to_owned()),
        Err(_) => {
            let help = "save it in UTF-8 to be sure of what letters with accents become";
            report.warn(None, "the text is not UTF-8; it is read as Latin-1", help);
            Some(bytes.iter().copied().map(char::from).collect())
        }
    }
}
