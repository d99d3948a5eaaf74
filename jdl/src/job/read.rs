//! From a text to a [`JobSpec`]: the order of the steps.

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexSet;

use super::compound::{self, Member, dependencies, inherit::Shared, members};
use super::description::{Description, Draft};
use super::dialect::{Evidence, job_types};
use super::parameters::{self, Parameters, TASKS_MAX};
use super::remarks::remark_on_names;
use super::{
    ATTRIBUTES_MAX, Dialect, INPUTS_MAX, JobSpec, MissingFiles, Needs, ReadOptions, depends, lower,
};
use crate::diagnostic::Report;
use crate::syntax::parser::{self, Manners};
use crate::syntax::{Node, Span};
use crate::{Ad, Expr, Value, eval};

/// What a text describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Job,
    Collection,
    Dag,
}

/// Reads and checks a description; `None` after errors.
pub(super) fn read(text: &str, options: &ReadOptions, report: &mut Report) -> Option<JobSpec> {
    if text.contains('\0') {
        report.error_with(
            None,
            "the text holds NUL bytes",
            "send a text, not binary data",
        );
        return None;
    }
    let ad = together(parser::documents(text, Manners::Jdl, report), report);
    if ad.len() > ATTRIBUTES_MAX {
        let message = format!("the description has {} attributes", ad.len());
        report.error_with(None, message, format!("it may have {ATTRIBUTES_MAX}"));
        return None;
    }
    if ad.is_empty() && report.has_errors() {
        return None;
    }
    let kind = kind(&ad, report)?;
    let reader = Reader {
        text,
        options,
        broken: report.has_errors(),
    };
    let spec = match kind {
        Kind::Job => reader.job(ad, report),
        Kind::Collection | Kind::Dag => reader.compound(ad, kind, report),
    };
    spec.filter(|_| !report.has_errors())
}

/// Several ads in one text are read as the collection of them.
fn together(mut ads: Vec<Ad>, report: &mut Report) -> Ad {
    if ads.len() < 2 {
        return ads.pop().unwrap_or_default();
    }
    let place = |ad: &Ad| ad.iter().find_map(|(name, _)| ad.name_span(name));
    report.notice(
        ads.get(1).and_then(place),
        format!(
            "the text holds {} descriptions: they become one collection",
            ads.len()
        ),
        "write them to files of their own to submit them as jobs of their own",
    );
    let nodes = ads.into_iter().map(|ad| {
        let place = place(&ad).unwrap_or_default();
        Expr::at(Node::Record(ad.into()), place)
    });
    let mut collection = Ad::new();
    collection.insert("Type", Kind::Collection.word());
    collection.insert(
        "Nodes",
        Expr::at(Node::List(nodes.collect()), Span::default()),
    );
    collection
}

struct Reader<'a> {
    text: &'a str,
    options: &'a ReadOptions,
    /// Not all of the text could be read.
    broken: bool,
}

impl Reader<'_> {
    /// The dialect, and how it was seen.
    fn dialect<'a>(&self, ads: impl IntoIterator<Item = &'a Ad>) -> (Dialect, String) {
        match self.options.dialect {
            Some(forced) => (forced, "it is read so on request".into()),
            None => Evidence::of(ads).verdict(),
        }
    }

    fn job(&self, mut ad: Ad, report: &mut Report) -> Option<JobSpec> {
        lower::quote_bare_texts(&mut ad, self.text, report);
        let dialect = self.dialect([&ad]);
        remark_on_names(&ad, &ad, report);
        let name = job_name(&ad);
        let root = ad.clone();
        let depends = depends::read(&root, self.text, false, report);
        let description = self.describe(ad, dialect.0, None, report)?;
        check_inputs([&description], root.get("InputSandbox"), report);
        Some(JobSpec::new(
            dialect,
            name,
            root,
            vec![description],
            Vec::new(),
            depends,
        ))
    }

    fn compound(&self, mut root: Ad, kind: Kind, report: &mut Report) -> Option<JobSpec> {
        lower::quote_bare_texts(&mut root, self.text, report);
        check_compound(&root, kind, report);
        let count_files = self.options.missing_files == MissingFiles::Count;
        let mut members = members::read(&root, count_files, report)?;
        let shared = Shared::of(&root, report);
        for member in &mut members {
            shared.resolve(&mut member.own, report);
            lower::quote_bare_texts(&mut member.own, self.text, report);
            shared.complete(member);
        }
        shared.check_size(report)?;
        let owns = members.iter().map(|member| &member.own);
        let dialect = self.dialect(std::iter::once(&root).chain(owns));
        remark_on_names(&root, &root, report);
        let edges = dependencies::read(&root, &members, report);
        let depends = depends::read(&root, self.text, true, report);
        let (names, descriptions) = self.describe_all(members, dialect.0, &root, report)?;
        let nodes = compound::nodes(names, &descriptions, &edges?);
        let name = text_of(&root, "JobName").or_else(|| text_of(&root, "Name"));
        let name = name.unwrap_or_else(|| kind.word().to_owned());
        Some(JobSpec::new(
            dialect,
            name,
            root,
            descriptions,
            nodes,
            depends,
        ))
    }

    fn describe_all(
        &self,
        members: Vec<Member>,
        dialect: Dialect,
        root: &Ad,
        report: &mut Report,
    ) -> Option<(Vec<Arc<str>>, Vec<Description>)> {
        let mut names = Vec::with_capacity(members.len());
        let mut descriptions = Vec::with_capacity(members.len());
        let mut tasks = 0_u32;
        let count = members.len();
        for member in members {
            check_node_type(&member, report);
            depends::refuse_in_node(&member.name, &member.own, report);
            check_node_account(&member, report);
            remark_on_names(&member.own, &member.ad, report);
            let place = Some(member.place);
            names.push(member.name);
            let Some(description) = self.describe(member.ad, dialect, place, report) else {
                continue;
            };
            tasks = tasks.saturating_add(description.task_count());
            descriptions.push(description);
        }
        if tasks > TASKS_MAX {
            report.error_with(
                root.name_span("Nodes"),
                format!("the nodes would have {tasks} tasks together"),
                format!("a job may have {TASKS_MAX}; split it into several"),
            );
        }
        if descriptions.len() < count || tasks > TASKS_MAX {
            return None;
        }
        share_needs(&mut descriptions);
        check_inputs(&descriptions, root.get("InputSandbox"), report);
        Some((names, descriptions))
    }

    fn describe(
        &self,
        ad: Ad,
        dialect: Dialect,
        place: Option<Span>,
        report: &mut Report,
    ) -> Option<Description> {
        check_job_type(&ad, dialect, report);
        let parametric = is_parametric(&ad, dialect, report);
        let parameters = if parametric {
            Parameters::read(&ad, dialect, report)
        } else {
            None
        };
        let draft = Draft {
            dialect,
            ad,
            broken: self.broken,
            place,
            parameters,
        };
        draft.check(report)
    }
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Collection => "collection",
            Self::Dag => "dag",
        }
    }
}

/// Equal needs become one value, so that tasks of many nodes form one class at no cost.
fn share_needs(descriptions: &mut [Description]) {
    let mut known: HashMap<String, Arc<Needs>> = HashMap::new();
    for description in descriptions {
        let Some(needs) = description.uniform_needs() else {
            continue;
        };
        match known.get(&needs.key) {
            Some(shared) => description.share_needs(Arc::clone(shared)),
            None => {
                known.insert(needs.key.clone(), Arc::clone(needs));
            }
        }
    }
}

fn check_inputs<'d>(
    descriptions: impl IntoIterator<Item = &'d Description>,
    sandbox: Option<&Expr>,
    report: &mut Report,
) {
    if report.has_errors() {
        return;
    }
    let mut inputs = IndexSet::new();
    for description in descriptions {
        description.inputs(&mut inputs);
        if inputs.len() > INPUTS_MAX {
            report.error_with(
                sandbox.map(Expr::span),
                "the tasks name too many different input files",
                format!("a job may have {INPUTS_MAX}; pack them"),
            );
            return;
        }
    }
}

/// Without values filled in: the name is that of all tasks.
fn job_name(ad: &Ad) -> String {
    let executable = || Some(text_of(ad, "Executable")?.rsplit('/').next()?.to_owned());
    let name = text_of(ad, "JobName").or_else(|| text_of(ad, "Name"));
    name.or_else(executable).unwrap_or_default()
}

pub(super) fn text_of(ad: &Ad, name: &str) -> Option<String> {
    let value = eval(ad.get(name)?, ad, None);
    let text = value.as_str()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

// What kind of job it is.

/// `None` for a job with nodes.
fn kind(ad: &Ad, report: &mut Report) -> Option<Kind> {
    let text = ad
        .get("Type")
        .and_then(Expr::literal)
        .and_then(Value::as_str);
    let place = ad.get("Type").map(Expr::span);
    let Some(text) = text.map(str::trim) else {
        return Some(kind_without_type(ad, report));
    };
    match &*text.to_ascii_lowercase() {
        "job" => {
            if let Some(nodes) = ad.name_span("Nodes") {
                let help = "write `Type = \"Collection\";`, or `Type = \"DAG\";` if they depend on each other";
                report.error_with(nodes, "a job of `Type` \"Job\" has no nodes", help);
                return None;
            }
            Some(Kind::Job)
        }
        "collection" => Some(Kind::Collection),
        "dag" => Some(Kind::Dag),
        _ => {
            report.error_with(
                place,
                format!("`Type` must be \"Job\", \"Collection\" or \"DAG\", not \"{text:.40}\""),
                "remove it, or write `Type = \"Job\";`",
            );
            Some(Kind::Job)
        }
    }
}

fn kind_without_type(ad: &Ad, report: &mut Report) -> Kind {
    if ad.get("Nodes").is_none() {
        return Kind::Job;
    }
    let (kind, name) = match dependencies::written(ad).next() {
        Some(_) => (Kind::Dag, "DAG"),
        None => (Kind::Collection, "Collection"),
    };
    report.warn(
        ad.name_span("Nodes"),
        format!("`Nodes` makes this a job of `Type` \"{name}\""),
        format!("write `Type = \"{name}\";`"),
    );
    kind
}

/// What a compound ad must have and must not have.
fn check_compound(root: &Ad, kind: Kind, report: &mut Report) {
    if root.get("Nodes").is_none() {
        report.error_with(
            root.get("Type").map(Expr::span),
            format!("a {} needs `Nodes`", kind.word()),
            "list its jobs: `Nodes = { [ Executable = \"a\" ], [ Executable = \"b\" ] };`",
        );
    }
    if let Some(parameters) = root.name_span("Parameters") {
        report.error_with(
            parameters,
            format!("a {} cannot be parametric as a whole", kind.word()),
            "put `Parameters` into those nodes that are parametric",
        );
    }
    if kind == Kind::Collection
        && let Some(dependencies) = dependencies::written(root).next()
    {
        report.error_with(
            dependencies.span(),
            "the jobs of a collection do not wait for each other",
            "write `Type = \"DAG\";`, or remove the `Dependencies`",
        );
    }
}

/// A node is a job.
fn check_node_type(member: &Member, report: &mut Report) {
    let Some(expr) = member.own.get("Type") else {
        return;
    };
    let text = expr.literal().and_then(Value::as_str).unwrap_or_default();
    if !text.trim().eq_ignore_ascii_case("job") {
        report.error_with(
            expr.span(),
            format!("the node `{}` must be of `Type` \"Job\"", member.name),
            "put the jobs of an inner collection or DAG into the one around it",
        );
    }
}

fn check_node_account(member: &Member, report: &mut Report) {
    if let Some(expr) = member.own.get("Account") {
        report.error_with(
            expr.span(),
            format!(
                "the node `{}` has an `Account` of its own, which is the job's as a whole",
                member.name
            ),
            "write it beside `Nodes`, or submit the node as a job of its own",
        );
    }
}

fn check_job_type(ad: &Ad, dialect: Dialect, report: &mut Report) {
    if dialect != Dialect::Glite {
        return; // any word, for the submitter's own use
    }
    let place = ad.get("JobType").map(Expr::span);
    for word in job_types(ad) {
        let not_done = match &*word {
            "normal" | "parametric" | "" => continue,
            "interactive" => "there is no session: its output can be read while it runs",
            "checkpointable" => "no checkpoints are taken: it runs from its beginning",
            "partitionable" => "it is not partitioned; a parametric job runs in parts",
            "mpich" => "the program is started once, with `CpuNumber` cores: let it call `mpirun`",
            _ => {
                let help = "write `Normal` or `Parametric`, or leave it out";
                report.error_with(place, format!("`{word:.40}` is not a type of jobs"), help);
                continue;
            }
        };
        let message = format!("a job of type `{word}` runs as a normal one");
        report.notice(place, message, not_done);
    }
}

fn is_parametric(ad: &Ad, dialect: Dialect, report: &mut Report) -> bool {
    let says_so = job_types(ad).iter().any(|word| word == "parametric");
    let has_parameters = ad.get("Parameters").is_some();
    if dialect == Dialect::Alien {
        return ad.get("Split").is_some();
    }
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
