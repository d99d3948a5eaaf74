//! Jobs that depend on other jobs.

use std::ops::Range;

use fairway_jdl::job::{Condition, Dependency, Join, Named, Part};
use fairway_model::event::TaskVerb;
use fairway_model::{EventKind, JobId, PilotId, PolicyKind, TaskId, TaskState, TaskState::*};
use fairway_sched::command::Selection;
use fairway_sched::{Change, RefusedKind, Reply, explain};

use crate::world::{World, changed, dag, exit, sweep};

/// What a dependency is worth for a task, found in the most simple way; `None`: not yet.
fn worth(world: &World, job: JobId, dependency: &Dependency, index: u32) -> Option<bool> {
    let rows = &world.rows;
    let Dependency::On(condition, Named { job: named, part }) = dependency else {
        let (own, ..) = &rows.jobs[&job];
        let mut earlier = rows.jobs.range(..job);
        let over = earlier.all(|(_, (other, _, ended))| {
            ended.is_some() || other.name != own.name || other.owner != own.owner
        });
        return over.then_some(true);
    };
    let states: Vec<TaskState> = rows.tasks_of(*named).map(|task| task.state).collect();
    let all: Range<u32> = match part {
        Part::Whole => 0..states.len() as u32,
        Part::Tasks(from, to) => *from..*to,
        Part::Node(name) => {
            let mut nodes = world.specs[named].nodes().iter();
            nodes.find(|node| node.name == *name).unwrap().tasks.clone()
        }
    };
    let mut states = states[all.start as usize..all.end as usize].to_vec();
    if *condition == Condition::AfterCorr {
        states = vec![states[index as usize]];
    }
    let over = states.iter().all(|state| state.is_final());
    let lost = states
        .iter()
        .any(|state| matches!(state, Failed | Cancelled | Skipped));
    let pending = |state: &TaskState| matches!(state, Blocked | Waiting | Held | Leased);
    match condition {
        Condition::After => (!states.iter().any(pending)).then_some(true),
        Condition::AfterAny => over.then_some(true),
        Condition::AfterNotOk => over.then_some(lost),
        Condition::AfterOk | Condition::AfterCorr => match (lost, over) {
            (true, _) => Some(false),
            (false, over) => over.then_some(true),
        },
    }
}

/// What all that a task waits for of other jobs is worth.
fn worth_together(world: &World, job: JobId, index: u32) -> Option<bool> {
    let Some(depends) = world.specs[&job].depends() else {
        return Some(true);
    };
    let each = depends.dependencies.iter();
    let each: Vec<_> = each.map(|it| worth(world, job, it, index)).collect();
    let decides = Some(depends.join == Join::Any);
    if each.contains(&decides) {
        return decides;
    }
    (!each.contains(&None)).then_some(depends.join == Join::All)
}

/// That tasks which were never begun stand as the jobs do that they wait for.
pub(crate) fn check_depends(world: &World, job: JobId) {
    if world.specs[&job].depends().is_none() {
        return;
    }
    let let_go = world.rows.tasks_of(job).any(|task| {
        task.attempt.0 > 0 || matches!(task.state, Waiting | Leased | Running | Cancelling)
    });
    for task in world.rows.tasks_of(job) {
        let id = task.id;
        let worth = worth_together(world, job, id.index);
        match task.state {
            // Tasks of nodes wait for their parents as well.
            Blocked if world.specs[&job].nodes().is_empty() => {
                assert_ne!(worth, Some(true), "{id} waits for nothing");
                assert!(let_go || worth.is_none(), "{id} waits in vain");
            }
            Blocked if !let_go => assert_ne!(worth, Some(false), "{id} waits in vain"),
            _ => {}
        }
    }
}

struct Bed {
    world: World,
    pilot: PilotId,
}

impl Bed {
    fn new() -> Self {
        let mut world = World::new(PolicyKind::Fifo, &["short"]);
        let pilot = world.pilot("short", 64);
        Self { world, pilot }
    }

    fn submit(&mut self, tasks: u32, more: &str) -> JobId {
        self.world.submit("alice", &sweep(tasks, more))
    }

    fn after(&mut self, tasks: u32, depends: &str) -> JobId {
        self.submit(tasks, &format!("Depends = \"{depends}\";"))
    }

    fn refused(&mut self, owner: &str, depends: &str) -> String {
        let text = sweep(5, &format!("Depends = \"{depends}\";"));
        let history = self.world.history.len();
        let refused = self.world.try_submit(owner, &text, None).unwrap_err();
        assert_eq!(refused.kind, RefusedKind::Invalid);
        assert_eq!(self.world.history.len(), history);
        refused.reason
    }

    /// The states of all tasks, in order. What a pilot was given that has not started counts as
    /// waiting.
    fn states(&self, job: JobId) -> Vec<TaskState> {
        self.world.state.check().unwrap();
        check_depends(&self.world, job);
        let state = |task: &fairway_model::Task| match task.state {
            Leased => Waiting,
            state => state,
        };
        self.world.rows.tasks_of(job).map(state).collect()
    }

    fn lease(&mut self, job: JobId, index: u32) -> (TaskId, fairway_model::Attempt) {
        let all = self.world.pull(self.pilot, &[]);
        let task = TaskId::new(job, index);
        *all.iter().find(|(id, _)| *id == task).unwrap()
    }

    fn start(&mut self, job: JobId, index: u32) {
        let own = self.lease(job, index);
        self.world.start(self.pilot, own);
    }

    fn run(&mut self, job: JobId, index: u32, code: i32) {
        let own = self.lease(job, index);
        self.world.start(self.pilot, own);
        self.world.end(self.pilot, own, exit(code));
    }

    fn change(&mut self, verb: TaskVerb, job: JobId) -> u32 {
        self.world.change(verb, Selection::Job(job), "alice").0
    }

    fn retry(&mut self, job: JobId) -> (u32, Vec<String>) {
        changed(self.world.retry(job, "alice").unwrap())
    }

    fn told(&self, job: JobId, index: u32) -> String {
        let task = TaskId::new(job, index);
        let told = explain::explain(&self.world.state, task, self.world.now);
        told.unwrap().summary
    }

    /// Why tasks of a job were moved, with what became of them.
    fn moves(&self, job: JobId) -> Vec<String> {
        let moved = |event: &fairway_model::Event| match &event.kind {
            EventKind::TasksMoved {
                job: other,
                from,
                to,
                state,
                because,
            } if *other == job => Some(format!("{from}..{to} {}: {because}", state.name())),
            _ => None,
        };
        self.world.rows.events.iter().filter_map(moved).collect()
    }
}

#[test]
fn a_job_begins_after_all_tasks_of_another_have_succeeded() {
    let mut bed = Bed::new();
    let first = bed.submit(5, "");
    let then = bed.after(1000, &format!("afterok:{first}"));
    assert_eq!(bed.states(then), [Blocked; 1000]);
    for index in 0..3 {
        bed.run(first, index, 0);
    }
    bed.start(first, 3);
    assert_eq!(
        bed.told(then, 7),
        "It waits until job 1 has succeeded: 3 of 5 tasks have, 1 runs."
    );
    bed.world.reload();
    let attempt = (TaskId::new(first, 3), fairway_model::Attempt(1));
    bed.world.end(bed.pilot, attempt, exit(0));
    let before = bed.world.history.len();
    bed.run(first, 4, 0);
    assert_eq!(bed.states(then), [Waiting; 1000]);
    assert_eq!(bed.moves(then), ["0..1000 waiting: job 1 has succeeded"]);
    let ranges = bed.world.history[before..].iter();
    let ranges = ranges.filter(|change| matches!(change, Change::TaskRange { .. }));
    assert_eq!(ranges.count(), 1, "a job of any size is moved in one step");
}

#[test]
fn what_can_never_be_ends_at_once() {
    let mut bed = Bed::new();
    let first = bed.submit(5, "");
    let then = bed.after(3, &format!("afterok:{first}"));
    let last = bed.after(1, &format!("afterok:{then}"));
    bed.run(first, 2, 1);
    assert_eq!(bed.states(then), [Skipped; 3]);
    assert_eq!(bed.states(last), [Skipped]);
    assert!(!bed.world.state.knows_job(then));
    assert_eq!(
        bed.moves(then),
        ["0..3 skipped: job 1, on whose success it depends, did not succeed: 1 of 5 tasks did not"]
    );

    // One that comes too late as well; and nothing brings it back but what was in its way.
    let late = bed.after(2, &format!("afterok:{first}.2"));
    assert_eq!(bed.states(late), [Skipped; 2]);
    let why = "task 1.2, on whose success it depends, did not succeed";
    let (again, left) = bed.retry(late);
    assert_eq!((again, left.len()), (0, 2));
    assert_eq!(left[0], format!("4.0: it would not run: {why}"));

    assert_eq!(bed.retry(first).0, 1);
    assert_eq!(bed.states(then), [Skipped; 3], "nobody asked for these");
    assert_eq!(bed.retry(late).0, 2);
    assert_eq!(bed.retry(then).0, 3);
    assert_eq!(bed.states(late), [Blocked; 2]);
    bed.world.reload();
    bed.run(first, 2, 0);
    assert_eq!(bed.states(late), [Waiting; 2]);
    assert_eq!(bed.states(then), [Blocked; 3]);
}

#[test]
fn each_kind_waits_for_what_it_says() {
    let mut bed = Bed::new();
    let first = bed.submit(2, "");
    let [after, ok, any, not_ok] = ["after", "afterok", "afterany", "afternotok"]
        .map(|kind| bed.after(1, &format!("{kind}:{first}")));
    let all = |bed: &Bed| [after, ok, any, not_ok].map(|job| bed.states(job)[0]);
    assert_eq!(all(&bed), [Blocked; 4]);
    let last = Selection::Tasks(vec![TaskId::new(first, 1)]);
    bed.world.change(TaskVerb::Hold, last.clone(), "alice");
    bed.start(first, 0);
    assert_eq!(
        bed.told(after, 0),
        "It waits until job 1 has started: 1 of 2 tasks has."
    );
    bed.world.change(TaskVerb::Cancel, last, "alice");
    assert_eq!(all(&bed), [Waiting, Skipped, Blocked, Blocked]);
    assert_eq!(
        bed.told(any, 0),
        "It waits until job 1 is over: 1 of 2 tasks is, 1 runs."
    );
    assert_eq!(
        bed.told(not_ok, 0),
        "It waits until job 1 is over without success: 1 of 2 tasks is over, 1 runs."
    );
    let attempt = (TaskId::new(first, 0), fairway_model::Attempt(1));
    bed.world.end(bed.pilot, attempt, exit(0));
    assert_eq!(all(&bed), [Waiting, Skipped, Waiting, Waiting]);

    // After a success there is nothing to make good.
    let good = bed.submit(1, "");
    let repair = bed.after(1, &format!("afternotok:{good}"));
    let own = bed.world.pull(bed.pilot, &[]);
    let own = *own.iter().find(|(task, _)| task.job == good).unwrap();
    bed.world.start(bed.pilot, own);
    bed.world.end(bed.pilot, own, exit(0));
    assert_eq!(bed.states(repair), [Skipped]);
    assert_eq!(
        bed.moves(repair),
        ["0..1 skipped: job 6, on whose failure it depends, has succeeded"]
    );
}

#[test]
fn several_are_all_waited_for_or_any() {
    let mut bed = Bed::new();
    let (one, two) = (bed.submit(1, ""), bed.submit(1, ""));
    let all = bed.after(1, &format!("afterok:{one}:{two}"));
    let any = bed.after(1, &format!("afterok:{one}?afterok:{two}"));
    assert_eq!(
        bed.told(all, 0),
        "It waits until job 1 has succeeded and job 2 has succeeded."
    );
    assert_eq!(
        bed.told(any, 0),
        "It waits until job 1 has succeeded or job 2 has succeeded."
    );
    bed.run(one, 0, 1);
    assert_eq!([bed.states(all), bed.states(any)], [[Skipped], [Blocked]]);
    let late = bed.after(1, &format!("afterok:{one}?afterok:{two}"));
    bed.run(two, 0, 1);
    assert_eq!([bed.states(any), bed.states(late)], [[Skipped], [Skipped]]);
    assert_eq!(
        bed.moves(any),
        [
            "0..1 skipped: none of what it waits for can be: job 1, on whose success it depends, did not succeed"
        ]
    );
    let third = bed.submit(1, "");
    let any = bed.after(1, &format!("afterok:{one}?afterany:{two}?after:{third}"));
    assert_eq!(bed.states(any), [Waiting], "one of them is so already");
    assert_eq!(bed.moves(any), [""; 0]);
}

#[test]
fn tasks_wait_for_their_counterparts() {
    let mut bed = Bed::new();
    let first = bed.submit(6, "");
    for index in 0..2 {
        bed.run(first, index, index as i32);
    }
    let then = bed.after(4, &format!("aftercorr:{first}"));
    assert_eq!(bed.states(then), [Waiting, Skipped, Blocked, Blocked]);
    assert_eq!(bed.told(then, 2), "It waits until task 1.2 has succeeded.");
    bed.world.reload();
    bed.run(first, 2, 0);
    bed.run(first, 3, 1);
    bed.run(first, 4, 1);
    assert_eq!(bed.states(then), [Waiting, Skipped, Waiting, Skipped]);
    bed.retry(first);
    assert_eq!(bed.retry(then).0, 2);
    assert_eq!(bed.states(then), [Waiting, Blocked, Waiting, Blocked]);
    bed.run(first, 1, 0);
    assert_eq!(bed.states(then), [Waiting, Waiting, Waiting, Blocked]);
    assert_eq!(
        bed.moves(then).last().unwrap(),
        "1..2 waiting: task 1.1 has succeeded"
    );
}

#[test]
fn counterparts_of_a_node_begin_where_it_does() {
    let mut bed = Bed::new();
    let graph = bed.world.submit("alice", &dag(&[(2, &[]), (3, &[])], ""));
    let then = bed.after(3, &format!("aftercorr:{graph}/n1, afterok:{graph}.0-1"));
    bed.run(graph, 3, 0);
    assert_eq!(
        bed.told(then, 0),
        "It waits until task 1.2 has succeeded and tasks 1.0 to 1.1 have succeeded (0 of 2 tasks have)."
    );
    assert_eq!(bed.states(then), [Blocked; 3]);
    bed.world.reload();
    bed.run(graph, 0, 0);
    bed.run(graph, 1, 0);
    assert_eq!(bed.states(then), [Blocked, Waiting, Blocked]);
    bed.run(graph, 4, 0);
    assert_eq!(bed.states(then), [Blocked, Waiting, Waiting]);
}

#[test]
fn a_singleton_waits_for_the_earlier_ones_of_its_name() {
    let mut bed = Bed::new();
    let named = "JobName = \"daily\";";
    let first = bed.submit(1, named);
    let other = bed.submit(1, "JobName = \"other\"; Depends = \"singleton\";");
    bed.world.submit("bob", &sweep(1, named));
    let single = format!("{named} Depends = \"singleton\";");
    let (second, third) = (bed.submit(1, &single), bed.submit(1, &single));
    let states = [other, second, third].map(|job| bed.states(job)[0]);
    assert_eq!(states, [Waiting, Blocked, Blocked]);
    assert_eq!(
        bed.told(third, 0),
        "It waits until all earlier jobs of its name and owner are over: 2 are not over, job 1 first."
    );
    bed.world.reload();
    bed.run(first, 0, 1);
    let states = [second, third].map(|job| bed.states(job)[0]);
    assert_eq!(states, [Waiting, Blocked]);
    bed.run(second, 0, 0);
    assert_eq!(bed.states(third), [Waiting]);
}

#[test]
fn a_graph_waits_as_a_whole() {
    let mut bed = Bed::new();
    let first = bed.submit(1, "");
    let text = dag(&[(1, &[]), (1, &[0])], "").replacen(
        "[ Type",
        &format!("[ Depends = \"afterok:{first}\"; Type"),
        1,
    );
    let graph = bed.world.submit("alice", &text);
    assert_eq!(bed.states(graph), [Blocked; 2]);
    assert_eq!(
        bed.told(graph, 1),
        "It waits until job 1 has succeeded; and then until all tasks of node `n0` (1 blocked) have succeeded."
    );
    bed.run(first, 0, 1);
    assert_eq!(bed.states(graph), [Skipped; 2]);
    assert_eq!(bed.retry(graph).0, 0);
    bed.retry(first);
    assert_eq!(bed.retry(graph).0, 2);
    assert_eq!(bed.states(graph), [Blocked; 2]);
    bed.world.reload();
    bed.run(first, 0, 0);
    assert_eq!(bed.states(graph), [Waiting, Blocked]);
    bed.run(graph, 0, 0);
    assert_eq!(bed.states(graph), [Succeeded, Waiting]);
}

#[test]
fn what_is_held_waits_for_both() {
    let mut bed = Bed::new();
    let first = bed.submit(1, "");
    let then = bed.after(2, &format!("afterany:{first}"));
    bed.change(TaskVerb::Hold, then);
    assert_eq!(bed.states(then), [Held; 2]);
    assert_eq!(
        bed.told(then, 0),
        "Once it is released, it waits until job 1 is over."
    );
    bed.change(TaskVerb::Release, then);
    assert_eq!(bed.states(then), [Blocked; 2]);
    bed.change(TaskVerb::Hold, then);
    bed.run(first, 0, 0);
    assert_eq!(bed.states(then), [Held; 2]);
    bed.world.reload();
    bed.change(TaskVerb::Release, then);
    assert_eq!(bed.states(then), [Waiting; 2]);
}

#[test]
fn what_is_cancelled_is_over_and_has_not_succeeded() {
    let mut bed = Bed::new();
    let first = bed.submit(3, "");
    let then = bed.after(2, &format!("afterok:{first}"));
    let clean = bed.after(1, &format!("afterany:{first}:{then}"));
    bed.change(TaskVerb::Cancel, then);
    assert_eq!(bed.states(then), [Cancelled; 2]);
    bed.change(TaskVerb::Cancel, first);
    assert_eq!(bed.states(clean), [Waiting]);
    // What was cancelled while it waited, waits again; in vain, it is not asked for.
    let (again, left) = bed.retry(then);
    assert_eq!((again, left.len()), (0, 2));
    bed.retry(first);
    assert_eq!(bed.retry(then).0, 2);
    assert_eq!(bed.states(then), [Blocked; 2]);
    assert_eq!(bed.states(clean), [Waiting], "it was let go for good");
}

#[test]
fn what_was_let_go_does_not_wait_again() {
    let mut bed = Bed::new();
    let first = bed.submit(1, "");
    let then = bed.after(2, &format!("afternotok:{first}"));
    bed.run(first, 0, 1);
    let held = Selection::Tasks(vec![TaskId::new(then, 1)]);
    bed.world.change(TaskVerb::Hold, held.clone(), "alice");
    bed.retry(first);
    bed.world.change(TaskVerb::Release, held.clone(), "alice");
    assert_eq!(bed.states(then), [Waiting; 2]);
    bed.world.change(TaskVerb::Hold, held.clone(), "alice");
    bed.run(first, 0, 0);
    bed.world.reload();
    bed.world.change(TaskVerb::Release, held, "alice");
    assert_eq!(bed.states(then), [Waiting; 2]);
}

#[test]
fn what_cannot_be_named_is_refused() {
    let mut bed = Bed::new();
    let first = bed.submit(3, "");
    let graph = bed.world.submit("alice", &dag(&[(1, &[])], ""));
    let mut refused = |owner: &str, depends: &str| bed.refused(owner, depends);
    insta::assert_snapshot!(
        [
            refused("alice", "afterok:99"),
            refused("bob", &format!("afterok:{first}")),
            refused("alice", &format!("afterok:{first}.3")),
            refused("alice", &format!("afterok:{graph}/fit")),
            refused("alice", &format!("aftercorr:{first}")),
        ]
        .join("\n"),
        @r"
    `afterok:99`: there is no job 99
    `afterok:1`: there is no job 1
    `afterok:1.3`: the last task of job 1 is 1.2
    `afterok:2/fit`: job 2 has no node `fit`
    `aftercorr:1` names 3 tasks, and the job has 5: those beyond have no counterpart and could never start
    "
    );
}

#[test]
fn what_the_store_told_too_early_is_known_better() {
    let mut bed = Bed::new();
    let first = bed.submit(4, "");
    let text = sweep(2, &format!("Depends = \"aftercorr:{first}\";"));
    let (spec, _) = fairway_jdl::JobSpec::read(&text).unwrap();
    let early = bed.world.rows.named(&spec, &bed.world.specs);
    bed.run(first, 0, 0);
    bed.run(first, 1, 1);
    let ask = |bed: &mut Bed| {
        let spec = std::sync::Arc::new(spec.clone());
        let submission = fairway_sched::command::Submission {
            owner: crate::world::user("alice"),
            group: None,
            jdl: text.clone(),
            spec: spec.clone(),
            sandbox: None,
            idempotency: None,
            named: early.clone(),
        };
        let reply = bed.world.ask(fairway_sched::Command::Submit(submission));
        if let Ok(Reply::Submitted { job, .. }) = reply {
            bed.world.specs.insert(job, spec);
        }
        reply
    };
    let Ok(Reply::Submitted { job, .. }) = ask(&mut bed) else {
        panic!("it is accepted");
    };
    assert_eq!(bed.states(job), [Waiting, Skipped]);
    // A restart forgets what ended last, and then nobody knows how a task ended.
    bed.change(TaskVerb::Cancel, job);
    bed.world.reload();
    assert_eq!(ask(&mut bed).unwrap_err().kind, RefusedKind::Conflict);
}
