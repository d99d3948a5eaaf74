//! What a task needs of a site.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fairway_model::{CustomResources, Resources, Timestamp};

use super::Needs;
use super::attributes::UNITS_MAX;
use super::task::Builder;
use crate::eval::functions::Function;
use crate::syntax::{BinaryOp, Expr, Name, Node, ScopeWord, Span, UnaryOp};
use crate::{Ad, Value, eval};

/// The attributes that needs are made from; those that Requirements and Rank
/// refer to come on top.
pub(super) const SOURCES: &[&str] = &[
    "Requirements",
    "Rank",
    "CpuNumber",
    "SMPGranularity",
    "HostNumber",
    "NodeNumber",
    "WholeNodes",
    "WholeNode",
    "CustomResources",
    "GPUNumber",
    "NumberOfProcessors",
    "MinNumberOfProcessors",
    "MaxNumberOfProcessors",
    "CPUCores",
    "Memory",
    "MaxRAM",
    "MinRAM",
    "MemorySize",
    "WallTime",
    "MaxWallTime",
    "TTL",
    "CPUTime",
    "MaxCPUTime",
    "Deadline",
    "ExpectedDuration",
    "TimeCritical",
    "Site",
    "Sites",
    "BannedSites",
    "BannedSite",
    "GridCE",
    "Platform",
    "SystemConfig",
    "Tags",
    "Tag",
    "Packages",
    "SubmitTo",
    "SignificantAttributes",
    "RetryCount",
    "ShallowRetryCount",
    "DefaultNodeRetryCount",
    "DefaultNodeShallowRetryCount",
    "Priority",
    "QoS",
    "QueueName",
    "Preemptible",
    "Suspendable",
];

impl Builder<'_> {
    pub(super) fn needs(&mut self) -> Needs {
        self.check_kind(
            "Requirements",
            "true or false",
            "compare what the site publishes: `other.GlueCEInfoTotalCPUs > 8`",
            |value| {
                matches!(
                    value,
                    Value::Boolean(_) | Value::Integer(_) | Value::Real(_)
                )
            },
        );
        self.check_kind(
            "Rank",
            "a number",
            "give what is best the highest value: `other.GlueCEStateFreeCPUs`",
            |value| {
                matches!(
                    value,
                    Value::Integer(_) | Value::Real(_) | Value::Boolean(_)
                )
            },
        );
        let given = self.values.ad.get("Requirements").cloned();
        let requirements = Expr::all(given.into_iter().chain(self.site_clauses()));
        let rank = self.values.ad.get("Rank").cloned();
        let ad = self.referenced(requirements.iter().chain(&rank));
        let walltime_s = self.walltime();
        let (hosts, cores) = self.hosts_and_cores();
        let mut needs = Needs {
            key: String::new(),
            resources: self.resources(cores),
            cores_max: self.cores_max(cores),
            hosts,
            whole_node: self.asks_for_whole_nodes(),
            custom: self.custom(),
            walltime_s,
            deadline: self.deadline(),
            expected_s: self.expected(walltime_s),
            time_critical: self.values.is_true("TimeCritical"),
            ad,
            requirements,
            rank,
            retries_deep: self.retries("RetryCount", "DefaultNodeRetryCount"),
            retries_shallow: self.retries("ShallowRetryCount", "DefaultNodeShallowRetryCount"),
            priority: self.priority(),
            qos: self.values.text("QoS").map(Arc::from),
            queue: self.values.text("QueueName").map(Arc::from),
            tags: self.tags(),
            preemptible: self.values.is_true("Preemptible"),
            suspendable: self.values.is_true("Suspendable"),
        };
        needs.key = key(&needs);
        needs
    }

    /// Refuses an expression that is of a wrong type whatever a site publishes.
    fn check_kind(&mut self, name: &str, kind: &str, help: &str, fits: fn(&Value) -> bool) {
        let Some(expr) = self.values.ad.get(name) else {
            return;
        };
        let value = eval(expr, self.values.ad, None);
        // What depends on the site is not known yet.
        if matches!(value, Value::Undefined | Value::Error) || fits(&value) {
            return;
        }
        let message = format!("`{name}` must be {kind}, not {value}");
        self.report.error_with(expr.span(), message, help);
    }

    /// The largest of these attributes.
    fn most(&self, names: &[&str]) -> Option<u64> {
        let given = names.iter().filter_map(|name| self.values.integer(name));
        given.max()
    }

    /// Hosts of the task, and the fewest cores on each.
    pub(super) fn hosts_and_cores(&self) -> (u32, u32) {
        let each = self.values.integer("SMPGranularity");
        let all = self.most(&[
            "CpuNumber",
            "NodeNumber",
            "NumberOfProcessors",
            "MinNumberOfProcessors",
            "CPUCores",
        ]);
        let all = all.or(each).unwrap_or(1);
        let hosts = self.values.integer("HostNumber");
        let hosts = hosts.unwrap_or_else(|| all.div_ceil(each.unwrap_or(all).max(1)));
        let hosts = hosts.max(1);
        let even = all.div_ceil(hosts);
        let cores = match self.values.has("HostNumber") {
            true => even.max(each.unwrap_or(1)),
            false => each.unwrap_or(even),
        };
        let number = |n| u32::try_from(n).unwrap_or(u32::MAX);
        (number(hosts), number(cores))
    }

    pub(super) fn asks_for_whole_nodes(&self) -> bool {
        let names = ["WholeNodes", "WholeNode"];
        names.into_iter().any(|name| self.values.is_true(name))
    }

    /// The most cores that a task may get if it gets `least` at least; not less than that.
    fn cores_max(&self, least: u32) -> u32 {
        let most = self.values.integer("MaxNumberOfProcessors");
        let most = most.map_or(least, |most| u32::try_from(most).unwrap_or(u32::MAX));
        most.max(least)
    }

    fn resources(&self, cores: u32) -> Resources {
        let memory = self.most(&["Memory", "MaxRAM", "MinRAM", "MemorySize"]);
        let gpus = self.values.integer("GPUNumber").unwrap_or(0);
        Resources {
            cores,
            memory_mib: memory.unwrap_or(0),
            gpus: u32::try_from(gpus).unwrap_or(u32::MAX),
        }
    }

    fn custom(&mut self) -> CustomResources {
        let name = "CustomResources";
        let Some(expr) = self.values.ad.get(name) else {
            return CustomResources::default();
        };
        let amounts = match eval(expr, self.values.ad, None) {
            Value::Ad(ad) => amounts(&ad),
            _ => None,
        };
        amounts.unwrap_or_else(|| {
            self.report.error_with(
                expr.span(),
                format!("`{name}` must be an ad of integers, not {expr:.60}"),
                format!("write `{name} = [ fpga = 1 ];`"),
            );
            CustomResources::default()
        })
    }

    fn walltime(&mut self) -> Option<u64> {
        let asked = ["WallTime", "MaxWallTime", "TTL"]
            .into_iter()
            .filter_map(|name| self.values.integer(name))
            .min();
        if asked.is_some() {
            return asked;
        }
        let names = ["CPUTime", "MaxCPUTime"];
        let name = names.into_iter().find(|name| self.values.has(name))?;
        let cpu = self.values.integer(name)?;
        self.report.notice(
            self.values.place(name),
            format!("`{name}` is taken as walltime: the task is stopped after so many seconds"),
            format!("say it with `WallTime = {cpu};`"),
        );
        Some(cpu)
    }

    fn deadline(&self) -> Option<Timestamp> {
        let seconds = self.values.integer("Deadline")?;
        Some(Timestamp::from_secs(i64::try_from(seconds).ok()?))
    }

    /// How long a task is expected to take; an error if that is longer than it may.
    fn expected(&mut self, walltime_s: Option<u64>) -> Option<u64> {
        let name = "ExpectedDuration";
        let expected_s = self.values.integer(name)?;
        if let Some(walltime_s) = walltime_s.filter(|most| expected_s > *most) {
            self.report.error_with(
                self.values.place(name),
                format!("`{name}` is {expected_s} s, but the walltime is only {walltime_s} s"),
                format!(
                    "write `WallTime = {expected_s};` or more: a task is stopped at its walltime"
                ),
            );
        }
        Some(expected_s)
    }

    fn retries(&self, name: &str, default: &str) -> u32 {
        let retries = self.values.integer(name);
        let retries = retries.or_else(|| self.values.integer(default));
        u32::try_from(retries.unwrap_or(0)).unwrap_or(u32::MAX)
    }

    fn priority(&self) -> u8 {
        let priority = self.values.integer("Priority");
        let priority = priority.and_then(|number| u8::try_from(number).ok());
        priority.unwrap_or(Needs::PRIORITY_DEFAULT)
    }

    /// The software tags, each once.
    fn tags(&self) -> Arc<[Arc<str>]> {
        let tags: BTreeSet<String> = self.choices(&["Tags", "Tag"]).into_iter().collect();
        tags.into_iter().map(Arc::from).collect()
    }

    /// The attributes that the expressions refer to, directly or by way of others, and those
    /// that the job calls significant.
    fn referenced<'e>(&self, roots: impl Iterator<Item = &'e Expr>) -> Ad {
        let ad = self.values.ad;
        let mut found = BTreeMap::new();
        for root in roots {
            follow(ad, root, &mut found);
        }
        for (name, _) in self.values.texts("SignificantAttributes") {
            let name = name.trim().to_ascii_lowercase();
            // These two are there already, in a form of their own.
            if !["requirements", "rank"].contains(&&*name)
                && let Some(expr) = ad.find(&name)
            {
                follow(ad, expr, &mut found);
                found.insert(name, expr.clone());
            }
        }
        let mut result = Ad::new();
        for (name, expr) in found {
            result.insert(&name, expr);
        }
        result
    }

    /// What DIRAC says by attributes (and gLite by SubmitTo), as Requirements.
    fn site_clauses(&self) -> Vec<Expr> {
        let mut clauses = Vec::new();
        clauses.extend(one_of("GlueSiteUniqueID", self.choices(&["Site", "Sites"])));
        let banned = self.choices(&["BannedSites", "BannedSite"]);
        if !banned.is_empty() {
            clauses.push(not(member_of(other("GlueSiteUniqueID"), banned)));
        }
        clauses.extend(one_of("GlueCEUniqueID", self.choices(&["GridCE"])));
        clauses.extend(one_of("GlueCEUniqueID", self.choices(&["SubmitTo"])));
        clauses.extend(one_of(
            "GlueHostArchitecturePlatformType",
            self.choices(&["Platform", "SystemConfig"]),
        ));
        for tag in self.choices(&["Tags", "Tag", "Packages"]) {
            let tags = other("GlueHostApplicationSoftwareRunTimeEnvironment");
            clauses.push(member(tag.as_str().into(), tags));
        }
        clauses
    }

    /// The texts of the attributes, none if `ANY` is among them. DIRAC also takes
    /// several in one text, with commas.
    fn choices(&self, names: &[&str]) -> Vec<String> {
        let choices: Vec<String> = names
            .iter()
            .flat_map(|name| self.values.texts(name))
            .flat_map(|(text, _)| text.split(','))
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty())
            .collect();
        if choices.iter().any(|text| text.eq_ignore_ascii_case("any")) {
            return Vec::new();
        }
        choices
    }
}

/// The amounts of an ad; `None` if there is something else in it.
fn amounts(ad: &Ad) -> Option<CustomResources> {
    ad.iter()
        .map(|(name, expr)| match eval(expr, ad, None) {
            Value::Integer(amount) if (0..=UNITS_MAX).contains(&amount) => {
                Some((name.to_owned(), u32::try_from(amount).ok()?))
            }
            _ => None,
        })
        .collect()
}

fn one_of(name: &str, choices: Vec<String>) -> Option<Expr> {
    match &*choices {
        [] => None,
        [only] => {
            let wanted = only.as_str().into();
            Some(made(Node::Binary(BinaryOp::Equal, other(name), wanted)))
        }
        _ => Some(member_of(other(name), choices)),
    }
}

fn made(node: Node) -> Expr {
    Expr::at(node, Span::default())
}

fn other(name: &str) -> Expr {
    made(Node::Select(
        made(Node::Name(Name::new("other"))),
        Name::new(name),
    ))
}

fn member(item: Expr, list: Expr) -> Expr {
    let name = Name::new("member");
    let function = Function::named(&name.key);
    made(Node::Call(name, function, [item, list].into()))
}

fn member_of(item: Expr, choices: Vec<String>) -> Expr {
    let list = choices.iter().map(|choice| Expr::from(choice.as_str()));
    member(item, made(Node::List(list.collect())))
}

fn not(operand: Expr) -> Expr {
    made(Node::Unary(UnaryOp::Not, operand))
}

fn follow(ad: &Ad, root: &Expr, found: &mut BTreeMap<String, Expr>) {
    let mut open = vec![root.clone()];
    while let Some(expr) = open.pop() {
        for name in names(&expr, ad) {
            let Some(expr) = ad.find(&name) else { continue };
            if found.insert(name, expr.clone()).is_none() {
                open.push(expr.clone());
            }
        }
    }
}

/// The names (in lower case) that an expression may look up in its own ad. One that
/// takes the ad as a whole, or makes names at run time, may look up any.
pub(super) fn names(expr: &Expr, ad: &Ad) -> Vec<String> {
    let mut names = Vec::new();
    let mut open = vec![expr];
    let mut whole = false;
    while let Some(expr) = open.pop() {
        match expr.node() {
            Node::Name(name) => match name.word {
                Some(ScopeWord::Other) | None => names.push(name.key.to_string()),
                Some(_) => whole = true,
            },
            Node::Absolute(name) => names.push(name.key.to_string()),
            Node::Select(base, name) => match base.node() {
                Node::Name(Name {
                    word: Some(word), ..
                }) => {
                    if *word != ScopeWord::Other {
                        names.push(name.key.to_string());
                    }
                }
                _ => open.push(base),
            },
            Node::Call(name, _, arguments) => {
                whole |= ["eval", "unparse"].contains(&&*name.key);
                open.extend(arguments.iter());
            }
            Node::Record(record) => open.extend(record.iter().map(|(_, expr)| expr)),
            _ => open.extend(expr.children()),
        }
    }
    if whole {
        names.extend(ad.iter().map(|(name, _)| name.to_ascii_lowercase()));
    }
    names
}

/// Everything, with names in lower case: they do not distinguish case, so that
/// `other.X` and `other.x` are one need.
fn key(needs: &Needs) -> String {
    let Resources {
        cores,
        memory_mib,
        gpus,
    } = needs.resources;
    let mut key = format!(
        "cores={cores} memory={memory_mib} gpus={gpus} walltime={} retries={}/{}",
        needs
            .walltime_s
            .map_or_else(|| "any".to_owned(), |seconds| seconds.to_string()),
        needs.retries_deep,
        needs.retries_shallow,
    );
    if needs.cores_max > cores {
        key.push_str(&format!(" cores_max={}", needs.cores_max));
    }
    if needs.hosts > 1 {
        key.push_str(&format!(" hosts={}", needs.hosts));
    }
    if needs.whole_node {
        key.push_str(" whole-node");
    }
    if !needs.custom.is_empty() {
        // Quoted, since a name may hold anything.
        let custom: BTreeMap<&str, u32> = needs.custom.iter().collect();
        key.push_str(&format!(" custom={custom:?}"));
    }
    if let Some(deadline) = needs.deadline {
        key.push_str(&format!(" deadline={deadline}"));
    }
    if let Some(expected_s) = needs.expected_s {
        key.push_str(&format!(" expected={expected_s}"));
    }
    if needs.time_critical {
        key.push_str(" time-critical");
    }
    if needs.priority != Needs::PRIORITY_DEFAULT {
        key.push_str(&format!(" priority={}", needs.priority));
    }
    if needs.preemptible {
        key.push_str(" preemptible");
    }
    if needs.suspendable {
        key.push_str(" suspendable");
    }
    // Quoted, since a name may hold anything.
    for (label, name) in [("qos", &needs.qos), ("queue", &needs.queue)] {
        if let Some(name) = name {
            key.push_str(&format!(" {label}={name:?}"));
        }
    }
    if !needs.tags.is_empty() {
        key.push_str(&format!(" tags={:?}", needs.tags));
    }
    for (label, expr) in [("requirements", &needs.requirements), ("rank", &needs.rank)] {
        if let Some(expr) = expr {
            key.push_str(&format!(" {label}={expr:#}"));
        }
    }
    if !needs.ad.is_empty() {
        key.push_str(&format!(" ad={:#}", needs.ad));
    }
    key
}
