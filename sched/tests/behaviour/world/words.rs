//! Short ways to say what tests say often.

use fairway_model::{
    AdapterSettings, Attempt, AttemptEnd, Ce, CeId, LocalSettings, PilotShape, Principal, Role,
    Site, TaskId, UserName,
};
use fairway_sched::Reply;
use fairway_sched::command::{AttemptNews, AttemptReport};

pub(crate) const HOUR_S: u64 = 3600;

pub(crate) fn user(name: &str) -> UserName {
    name.parse().unwrap()
}

pub(crate) fn ce(name: &str) -> CeId {
    name.parse().unwrap()
}

pub(crate) fn principal(name: &str) -> Principal {
    Principal {
        name: user(name),
        group: None,
        role: Role::User,
        sites: Vec::new(),
    }
}

pub(crate) fn site(ces: &[&str]) -> Site {
    let ce = |name: &&str| Ce {
        shape: PilotShape {
            walltime_s: HOUR_S,
            ..PilotShape::default()
        },
        ..Ce::new(name.parse().unwrap())
    };
    Site::new(
        "lyon".parse().unwrap(),
        AdapterSettings::Local(LocalSettings::default()),
        ces.iter().map(ce).collect(),
    )
}

/// A sweep of `tasks` tasks with further attributes.
pub(crate) fn sweep(tasks: u32, more: &str) -> String {
    format!(
        "Executable = \"/bin/work\"; Arguments = \"_PARAM_\"; JobType = \"Parametric\"; \
         Parameters = {tasks}; ParameterStart = 0; ParameterStep = 1; {more}"
    )
}

/// A DAG of the nodes `n0`, `n1` and so on: how many tasks each has, and its parents.
pub(crate) fn dag(nodes: &[(u32, &[usize])], more: &str) -> String {
    let mut members = String::new();
    let mut edges = Vec::new();
    for (place, (tasks, parents)) in nodes.iter().enumerate() {
        let tasks = match tasks {
            1 => "Executable = \"/bin/work\";".to_owned(),
            tasks => sweep(*tasks, ""),
        };
        members += &format!("n{place} = [ description = [ {tasks} {more} ]; ];\n");
        edges.extend(
            parents
                .iter()
                .map(|parent| format!("{{ n{parent}, n{place} }}")),
        );
    }
    if !edges.is_empty() {
        members += &format!("Dependencies = {{ {} }};", edges.join(", "));
    }
    format!("[ Type = \"dag\"; JobName = \"graph\"; Nodes = [ {members} ]; ]")
}

pub(crate) fn report((task, attempt): (TaskId, Attempt), what: AttemptNews) -> AttemptReport {
    AttemptReport {
        task,
        attempt,
        what,
    }
}

pub(crate) fn ended(end: AttemptEnd) -> AttemptNews {
    AttemptNews::Ended {
        end,
        wall_ms: 1000,
        cpu_ms: 900,
        memory_peak_kib: 10_000,
    }
}

pub(crate) fn exit(code: i32) -> AttemptEnd {
    AttemptEnd::Exited { code }
}

pub(crate) fn changed(reply: Reply) -> (u32, Vec<String>) {
    match reply {
        Reply::TasksChanged { changed, left } => (
            changed,
            left.into_iter()
                .map(|(task, why)| format!("{task}: {why}"))
                .collect(),
        ),
        other => panic!("{other:?}"),
    }
}
