//! The nodes of a compound job as they are written.
//!
//! A list of ads, or an ad of named nodes; a node is the description itself, or holds
//! it as `Description`, or names the file that it is in.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Member, word};
use crate::diagnostic::Report;
use crate::syntax::{Name, Node, Span};
use crate::{Ad, Expr};

/// Most nodes of one job.
pub const NODES_MAX: usize = 100_000;

/// Longest name of a node, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// What is told of a node that is written wrongly.
const NODE_HELP: &str = "write `[ Executable = \"program\"; … ]`";

/// The nodes with what they say themselves. `None` if there is nothing to go on with.
pub(in crate::job) fn read(
    root: &Ad,
    count_files: bool,
    report: &mut Report,
) -> Option<Vec<Member>> {
    let nodes = root.get("Nodes")?;
    let written: Vec<(Option<(&str, Span)>, &Expr)> = match nodes.node() {
        Node::List(items) => items.iter().map(|item| (None, item)).collect(),
        Node::Record(record) => record
            .iter()
            .filter(|(name, _)| !name.eq_ignore_ascii_case("Dependencies"))
            .map(|(name, expr)| {
                (
                    Some((name, record.name_span(name).unwrap_or_default())),
                    expr,
                )
            })
            .collect(),
        _ => {
            let help = "list the jobs: `Nodes = { [ … ], [ … ] };`, or name them: `Nodes = [ a = [ … ]; b = [ … ] ];`";
            report.error_with(nodes.span(), "`Nodes` must hold the jobs", help);
            return None;
        }
    };
    if written.is_empty() {
        let help = "list at least one job: `Nodes = { [ Executable = \"program\" ] };`";
        report.error_with(nodes.span(), "`Nodes` holds no job", help);
        return None;
    }
    if written.len() > NODES_MAX {
        report.error_with(
            root.name_span("Nodes"),
            format!("the job has {} nodes", written.len()),
            format!("a job may have {NODES_MAX}; split it into several"),
        );
        return None;
    }
    let mut taken = HashMap::with_capacity(written.len());
    let mut members = Vec::with_capacity(written.len());
    for (index, (name, expr)) in written.into_iter().enumerate() {
        let member = member(index, name, expr, count_files, report);
        let Some(member) = member else { continue };
        check_name(&member, report);
        if let Some(before) = taken.insert(member.name.to_ascii_lowercase(), index) {
            report.error_with(
                member.place,
                format!(
                    "two nodes are called `{}`: number {before} and number {index}, counted from 0",
                    member.name
                ),
                "give each node a name of its own: `NodeName = \"…\";`",
            );
        }
        members.push(member);
    }
    Some(members)
}

fn member(
    index: usize,
    name: Option<(&str, Span)>,
    expr: &Expr,
    count_files: bool,
    report: &mut Report,
) -> Option<Member> {
    let Node::Record(record) = expr.node() else {
        let message = match name {
            Some((name, _)) => format!("the node `{name}` must be an ad, not {expr:.40}"),
            None => "a node must be an ad".to_owned(),
        };
        report.error_with(expr.span(), message, NODE_HELP);
        return None;
    };
    let own = description(record, expr.span(), count_files, report)?;
    let named = |ad: &Ad| {
        let expr = ad.get("NodeName")?;
        Some((word(expr)?.to_owned(), expr.span()))
    };
    let (name, place) = match name {
        Some((name, place)) => (name.to_owned(), place),
        None => named(record)
            .or_else(|| named(&own))
            .unwrap_or_else(|| (format!("Node_{index}"), expr.span())),
    };
    Some(Member {
        name: name.into(),
        place,
        ad: Ad::new(),
        own,
    })
}

/// The ad that describes the node's job.
fn description(
    record: &Arc<Ad>,
    place: Span,
    count_files: bool,
    report: &mut Report,
) -> Option<Ad> {
    let mut own = match (record.get("Description"), record.get("File")) {
        (Some(inner), Some(file)) if !matches!(inner.node(), Node::Name(_)) => {
            let help = "keep the one that is meant";
            let message = "a node has a `Description` or a `File`, not both";
            report.error_with(file.span(), message, help);
            return None;
        }
        (Some(inner), _) => {
            let Node::Record(inner) = inner.node() else {
                let message = "the `Description` of a node must be an ad";
                report.error_with(inner.span(), message, NODE_HELP);
                return None;
            };
            remark_on_wrapper(record, report);
            Ad::clone(inner)
        }
        (None, Some(file)) => from_file(record, file, count_files, report)?,
        (None, None) => Ad::clone(record),
    };
    if own.get("Nodes").is_some() {
        report.error_with(
            own.name_span("Nodes"),
            "a node cannot be a compound job itself",
            "put its nodes into the job around it, or submit it as a job of its own",
        );
        return None;
    }
    if let Some(retries) = record.get("node_retry_count")
        && own.get("RetryCount").is_none()
    {
        let span = record.name_span("node_retry_count").unwrap_or(place);
        own.put(Name::new("RetryCount"), span, retries.clone());
        own.remove("node_retry_count");
    }
    own.remove("NodeType");
    Some(own)
}

/// A node whose description was not put in for its file name.
fn from_file(record: &Ad, file: &Expr, count_files: bool, report: &mut Report) -> Option<Ad> {
    let Some(name) = word(file).filter(|name| !name.is_empty()) else {
        let help = "write the path in quotes: `File = \"job.jdl\";`";
        report.error_with(file.span(), "`File` must name a JDL file", help);
        return None;
    };
    if !count_files {
        report.error_with(
            file.span(),
            format!("the description of this node is in `{name}`, which is not read here"),
            "submit it with `fairway submit`, which reads the file, or write `Description = [ … ];`",
        );
        return None;
    }
    let message = format!("`{name}` is not looked at; the node counts as one job");
    let help = "check that file by itself";
    report.warn(file.span(), message, help);
    let mut ad = record.clone();
    let span = ad.name_span("File").unwrap_or_default();
    ad.remove("File");
    ad.put(
        Name::new("Executable"),
        span,
        Expr::at(Node::Literal(name.into()), file.span()),
    );
    Some(ad)
}

/// What stands beside a `Description` and means nothing there.
fn remark_on_wrapper(record: &Ad, report: &mut Report) {
    const KNOWN: [&str; 6] = [
        "Description",
        "NodeName",
        "NodeType",
        "Type",
        "node_retry_count",
        "File",
    ];
    for (name, _) in record.iter() {
        if !KNOWN.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            report.warn(
                record.name_span(name),
                format!("`{name}` means nothing beside `Description`"),
                "put it into the `Description`",
            );
        }
    }
}

/// Nodes are named on command lines and in the names of folders.
fn check_name(member: &Member, report: &mut Report) {
    let name = &*member.name;
    let fits = !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name != "."
        && name != ".."
        && !name.contains(|c: char| c == '/' || c.is_control());
    if !fits {
        report.error_with(
            member.place,
            "this cannot be the name of a node",
            format!("a name has 1 to {NAME_BYTES_MAX} bytes, without `/` and control characters"),
        );
    }
}
