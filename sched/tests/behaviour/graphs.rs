//! Jobs in which tasks depend on others.

use std::collections::BTreeSet;

use fairway_jdl::JobNode;
use fairway_model::event::TaskVerb;
use fairway_model::{EventKind, JobId, PilotId, PolicyKind, TaskId, TaskState, TaskState::*};
use fairway_sched::command::{EndedTasks, Selection};
use fairway_sched::{Change, Command, RefusedKind, Reply, explain};

use crate::world::{World, changed, dag, exit, principal};

/// `n0` before `n1` and `n2`, both before `n3`; `n4` for itself.
const DIAMOND: [(u32, &[usize]); 5] = [(1, &[]), (2, &[0]), (1, &[0]), (1, &[1, 2]), (1, &[])];

/// That tasks stand as those do that they depend on, found in the most simple way.
pub(crate) fn check_graph(world: &World, job: JobId) {
    let nodes = world.specs[&job].nodes();
    // The whole may wait for other jobs, and be skipped with them.
    let depends = world.specs[&job].depends().is_some();
    let tasks: Vec<TaskState> = world.rows.tasks_of(job).map(|task| task.state).collect();
    let states = |node: u32| {
        let JobNode { tasks: own, .. } = &nodes[node as usize];
        &tasks[own.start as usize..own.end as usize]
    };
    for (place, node) in (0_u32..).zip(nodes) {
        let ready = node.parents.iter().all(|&parent| {
            let mut states = states(parent).iter();
            states.all(|state| *state == Succeeded)
        });
        let mut before: Vec<u32> = node.parents.to_vec();
        let mut seen = BTreeSet::new();
        while let Some(one) = before.pop() {
            if seen.insert(one) {
                before.extend(&nodes[one as usize].parents);
            }
        }
        let futile = seen.iter().any(|&one| {
            let mut states = states(one).iter();
            states.any(|state| matches!(state, Failed | Cancelled))
        });
        for (index, state) in node.tasks.clone().zip(states(place)) {
            let fits = match state {
                Cancelled => true,
                Blocked => (depends || !ready) && !futile,
                Held => !futile,
                Skipped => depends || futile,
                _ => ready,
            };
            assert!(
                fits,
                "{job}.{index} is {state:?}; ready {ready}, futile {futile}"
            );
        }
    }
}

struct Graph {
    world: World,
    job: JobId,
    pilot: PilotId,
}

impl Graph {
    fn new(nodes: &[(u32, &[usize])], more: &str) -> Self {
        let mut world = World::new(PolicyKind::Fifo, &["short"]);
        let pilot = world.pilot("short", 8);
        let job = world.submit("alice", &dag(nodes, more));
        Self { world, job, pilot }
    }

    /// The states of all tasks, in order.
    fn states(&self) -> Vec<TaskState> {
        self.world.state.check().unwrap();
        let tasks = self.world.rows.tasks_of(self.job);
        tasks.map(|task| task.state).collect()
    }

    /// Runs the only task that waits, or that one of several, to this exit code.
    fn run(&mut self, index: u32, code: i32) {
        let all = self.world.pull(self.pilot, &[]);
        let task = TaskId::new(self.job, index);
        let own = *all.iter().find(|(id, _)| *id == task).unwrap();
        self.world.start(self.pilot, own);
        self.world.end(self.pilot, own, exit(code));
    }

    fn change(&mut self, verb: TaskVerb, from: u32, to: u32) -> (u32, Vec<String>) {
        let row = Selection::Row(self.job, from, to);
        self.world.change(verb, row, "alice")
    }

    /// The sentences of the tasks that were moved, with what became of them.
    fn moves(&self) -> Vec<String> {
        let moved = |event: &fairway_model::Event| match &event.kind {
            EventKind::TasksMoved {
                from,
                to,
                state,
                because,
                ..
            } => Some(format!("{from}..{to} {}: {because}", state.name())),
            _ => None,
        };
        self.world.rows.events.iter().filter_map(moved).collect()
    }

    fn explain(&self, index: u32) -> explain::Explained {
        let task = TaskId::new(self.job, index);
        explain::explain(&self.world.state, task, self.world.now).unwrap()
    }
}

#[test]
fn a_node_starts_when_all_tasks_of_its_parents_have_succeeded() {
    let mut graph = Graph::new(&DIAMOND, "");
    assert_eq!(
        graph.states(),
        [Waiting, Blocked, Blocked, Blocked, Blocked, Waiting]
    );
    assert_eq!(
        graph.explain(4).summary,
        "It waits until all tasks of nodes `n1` (2 blocked) and `n2` (1 blocked) have succeeded."
    );
    graph.run(0, 0);
    assert_eq!(graph.states()[1..5], [Waiting, Waiting, Waiting, Blocked]);
    graph.run(1, 0);
    graph.run(3, 0);
    assert_eq!(
        graph.explain(4).summary,
        "It waits until all tasks of node `n1` (1 leased, 1 succeeded) have succeeded."
    );
    graph.run(2, 0);
    assert_eq!(graph.states()[4], Waiting);
    graph.run(4, 0);
    graph.run(5, 0);
    assert_eq!(graph.states(), [Succeeded; 6]);
    assert!(!graph.world.state.knows_job(graph.job));
    assert_eq!(
        graph.moves(),
        [
            "1..4 waiting: all that it waited for has succeeded",
            "4..5 waiting: all that it waited for has succeeded",
        ]
    );
}

#[test]
fn a_failure_skips_what_depends_on_it_and_nothing_else() {
    let mut graph = Graph::new(&DIAMOND, "RetryCount = 1;");
    graph.run(0, 0);
    graph.run(3, 1);
    assert_eq!(graph.states()[4], Blocked, "one retry is left");
    graph.run(3, 1);
    assert_eq!(graph.states()[3..], [Failed, Skipped, Leased]);
    graph.run(1, 0);
    graph.run(2, 0);
    assert_eq!(
        graph.moves()[1..],
        [format!(
            "4..5 skipped: task {}.3 of node `n2`, which it depends on, failed",
            graph.job
        )]
    );

    // The task itself cannot be queued again before what is in its way.
    let (again, left) = changed(graph.world.retry_row(graph.job, 4..5, "alice").unwrap());
    assert_eq!(again, 0);
    assert_eq!(
        left,
        ["1.4: it depends on node `n2`, which did not succeed: retry that too"]
    );
    graph.world.reload();
    let (again, _) = changed(graph.world.retry(graph.job, "alice").unwrap());
    assert_eq!(
        again, 2,
        "the one that failed, and the one that was skipped"
    );
    assert_eq!(graph.states()[3..5], [Waiting, Blocked]);
    graph.run(3, 0);
    assert_eq!(graph.states()[4], Waiting);
}

#[test]
fn a_job_that_is_over_goes_on_where_it_failed() {
    let mut graph = Graph::new(&[(1, &[]), (1, &[0]), (1, &[1]), (2, &[2])], "");
    graph.run(0, 0);
    graph.run(1, 1);
    assert_eq!(
        graph.states(),
        [Succeeded, Failed, Skipped, Skipped, Skipped]
    );
    assert!(!graph.world.state.knows_job(graph.job));
    graph.world.retry(graph.job, "alice").unwrap();
    assert_eq!(
        graph.states(),
        [Succeeded, Waiting, Blocked, Blocked, Blocked]
    );
    graph.run(1, 0);
    graph.world.reload();
    graph.run(2, 0);
    assert_eq!(graph.states()[3..], [Waiting, Waiting]);
}

#[test]
fn a_cancelled_node_stops_its_descendants() {
    let mut graph = Graph::new(&DIAMOND, "");
    let before = graph.world.history.len();
    assert_eq!(graph.change(TaskVerb::Cancel, 3, 4).0, 1);
    let again = graph.world.ask(Command::ChangeTasks {
        verb: TaskVerb::Cancel,
        tasks: Selection::Row(graph.job, 3, 5),
        by: principal("alice"),
    });
    assert_eq!(again.unwrap_err().kind, RefusedKind::Conflict);
    assert_eq!(
        graph.states(),
        [Waiting, Blocked, Blocked, Cancelled, Skipped, Waiting]
    );
    assert_eq!(
        graph.world.history.len() - before,
        4,
        "two rows, two events"
    );

    // The other branch goes on, and the whole waits for the word of its owner.
    graph.run(0, 0);
    graph.run(1, 0);
    graph.run(2, 0);
    graph.run(5, 0);
    assert!(!graph.world.state.knows_job(graph.job));
    changed(graph.world.retry_row(graph.job, 3..4, "alice").unwrap());
    assert_eq!(graph.states()[3..5], [Waiting, Blocked]);
}

#[test]
fn a_cancelled_job_has_no_skipped_tasks() {
    let mut graph = Graph::new(&DIAMOND, "");
    graph
        .world
        .change(TaskVerb::Cancel, Selection::Job(graph.job), "alice");
    assert_eq!(graph.states(), [Cancelled; 6]);
    graph.world.retry(graph.job, "alice").unwrap();
    assert_eq!(
        graph.states(),
        [Waiting, Blocked, Blocked, Blocked, Blocked, Waiting]
    );
}

#[test]
fn what_is_held_while_it_is_blocked_waits_for_both() {
    let mut graph = Graph::new(&DIAMOND, "");
    graph.change(TaskVerb::Hold, 1, 5);
    assert_eq!(graph.states()[1..5], [Held; 4]);
    assert_eq!(
        graph.explain(1).summary,
        "Once it is released, it waits until all tasks of node `n0` (1 waiting) have succeeded."
    );
    graph.change(TaskVerb::Release, 1, 2);
    assert_eq!(graph.states()[1..5], [Blocked, Held, Held, Held]);
    graph.run(0, 0);
    assert_eq!(graph.states()[1..5], [Waiting, Held, Held, Held]);
    // Those of ready nodes go into the queue, the others to their place before it.
    assert_eq!(graph.change(TaskVerb::Release, 0, 6).0, 3);
    assert_eq!(graph.states()[1..5], [Waiting, Waiting, Waiting, Blocked]);

    graph.change(TaskVerb::Hold, 4, 5);
    graph.run(1, 1);
    assert_eq!(graph.states()[4], Skipped, "nothing is held in vain");
}

#[test]
fn many_nodes_are_moved_in_one_step() {
    const CHILDREN: usize = 2000;
    let parents: &[usize] = &[0];
    let mut nodes: Vec<(u32, &[usize])> = vec![(1, &[])];
    nodes.extend(std::iter::repeat_n((1, parents), CHILDREN));
    let mut graph = Graph::new(&nodes, "");
    let moved = |graph: &Graph| {
        let rows = graph.world.history.iter();
        rows.filter(|change| matches!(change, Change::TaskRange { .. }))
            .count()
    };
    graph.run(0, 1);
    assert_eq!(moved(&graph), 1);
    graph.world.retry(graph.job, "alice").unwrap();
    assert_eq!(moved(&graph), 2);
    graph.run(0, 0);
    assert_eq!(moved(&graph), 3);
    assert_eq!(graph.world.state.waiting(), CHILDREN as u64);
}

#[test]
fn rows_that_are_not_those_of_the_job_are_refused() {
    let mut graph = Graph::new(&[(1, &[]), (1, &[0])], "");
    graph.run(0, 1);
    let (row, key, _) = graph.world.rows.jobs[&graph.job].clone();
    let tasks = graph.world.rows.tasks_of(graph.job).take(1).cloned();
    let ended = EndedTasks {
        job: row,
        spec: graph.world.specs[&graph.job].clone(),
        idempotency: key,
        counts: vec![(Failed, 1), (Skipped, 1)],
        rows: vec![(Failed, 0, 1)],
        tasks: tasks.collect(),
        named: Vec::new(),
    };
    let reply: Result<Reply, _> = graph.world.ask(Command::Retry {
        tasks: Selection::Job(graph.job),
        by: principal("alice"),
        ended: vec![ended],
    });
    assert_eq!(reply.unwrap_err().kind, RefusedKind::Conflict);
}
