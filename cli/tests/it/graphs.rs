//! Compound jobs: nodes that wait for each other, fail, are taken up again, and survive a server
//! that does not.

use std::collections::BTreeMap;

use fairway_api::public::NodesQuery;
use fairway_model::{JobId, TaskState};

use crate::common::{Fairway, History, Setup, User, lines, over, submit, task, until_true};

/// A DAG of nodes with their arguments, and its edges. Every task runs `program`.
fn dag(program: &std::path::Path, nodes: &[(&str, &str)], edges: &[&str], more: &str) -> String {
    let nodes: String = nodes
        .iter()
        .map(|(name, arguments)| format!("{name} = [ Arguments = \"{arguments}\"; ];\n"))
        .collect();
    format!(
        "[ Type = \"dag\"; JobName = \"graph\"; Executable = \"{}\"; {more}\n\
         Nodes = [ {nodes} ];\nDependencies = {{ {} }}; ]",
        program.display(),
        edges.join(", ")
    )
}

/// A payload that notes when the node of its first argument begins and ends, in one file.
fn noting_payload(fairway: &Fairway, seconds: &str) -> std::path::PathBuf {
    let notes = notes(fairway).display().to_string();
    let lines = format!("echo begin $1 >>{notes}\nsleep {seconds}\necho end $1 >>{notes}");
    fairway.script("note.sh", &lines)
}

fn notes(fairway: &Fairway) -> std::path::PathBuf {
    fairway.folder().join("notes")
}

/// That each node of `parents` has run once, and after its parents.
#[track_caller]
fn assert_order(fairway: &Fairway, parents: &BTreeMap<String, Vec<String>>) {
    let notes = lines(&notes(fairway));
    let place = |note: String| -> usize {
        let mut found = notes.iter().enumerate().filter(|(_, line)| **line == note);
        let place = found
            .next()
            .unwrap_or_else(|| panic!("no `{note}`: {notes:?}"))
            .0;
        assert!(found.next().is_none(), "`{note}` is there twice");
        place
    };
    for (node, parents) in parents {
        let begun = place(format!("begin {node}"));
        for parent in parents {
            assert!(
                place(format!("end {parent}")) < begun,
                "{parent} before {node}"
            );
        }
    }
}

/// The state of each node.
async fn nodes(user: &User, job: JobId) -> BTreeMap<String, TaskState> {
    let page = user
        .client
        .nodes(job, &NodesQuery::default())
        .await
        .unwrap();
    let nodes = page.items.into_iter();
    nodes.map(|node| (node.name, node.state)).collect()
}

#[tokio::test]
async fn a_collection_of_a_hundred_runs_to_its_end() {
    const NODES: u32 = 100;
    let fairway = Setup::new().local(2, 4).start().await;
    let alice = fairway.user("alice").await;
    let job = submit(&alice.client, collection(NODES)).await;
    let view = over(&alice.client, job).await;
    assert_eq!((view.tasks, view.nodes), (NODES, NODES));
    let history = History::of(&alice.client, job).await;
    assert_eq!(history.assert_each_succeeded_once(job, NODES), 0);
    let log = alice.run(&["logs", &format!("{job}/n41")]).await.ok();
    assert_eq!(log, "node 41\n");
}

/// A collection of jobs that each say who they are.
pub(crate) fn collection(nodes: u32) -> String {
    let nodes: Vec<String> = (0..nodes)
        .map(|node| format!("[ NodeName = \"n{node}\"; Arguments = \"node {node}\"; ]"))
        .collect();
    format!(
        "[ Type = \"collection\"; Executable = \"/bin/echo\"; Nodes = {{ {} }}; ]",
        nodes.join(",\n")
    )
}

#[tokio::test]
async fn a_failure_skips_its_descendants_until_it_is_retried() {
    let fairway = Setup::new().local(1, 4).start().await;
    let alice = fairway.user("alice").await;
    // It goes well as soon as somebody has put that right which it needs.
    let remedy = fairway.folder().join("remedy");
    let program = fairway.script(
        "work.sh",
        &format!("echo $1\n[ $1 != fragile ] || test -e {}", remedy.display()),
    );
    let nodes_of = [
        ("first", "first"),
        ("fragile", "fragile"),
        ("sound", "sound"),
        ("after", "after"),
        ("last", "last"),
    ];
    let edges = [
        "{ first, { fragile, sound } }",
        "{ fragile, after }",
        "{ { after, sound }, last }",
    ];
    let jdl = dag(&program, &nodes_of, &edges, "RetryCount = 1;");
    let job = submit(&alice.client, jdl).await;
    let id = job.to_string();

    let told = alice.run(&["watch", &id]).await.fails(1);
    assert!(told.contains("3 of 5 tasks did not succeed"), "{told}");
    assert!(told.contains("--state failed,cancelled,skipped"), "{told}");
    use TaskState::{Failed, Skipped, Succeeded};
    let expected = [
        ("after", Skipped),
        ("first", Succeeded),
        ("fragile", Failed),
        ("last", Skipped),
        ("sound", Succeeded),
    ];
    let expected = expected.map(|(name, state)| (name.to_owned(), state));
    assert_eq!(nodes(&alice, job).await, expected.into());
    let history = History::of(&alice.client, job).await;
    let attempts = history.ends()[&task(job, 1)].len();
    assert_eq!(attempts, 2, "the first try and RetryCount more");

    let status = alice.run(&["status", &id]).await.ok();
    insta::assert_snapshot!(steady(&status));
    let explained = alice.run(&["explain", &format!("{id}/last")]).await.ok();
    assert!(
        explained.contains(&format!(
            "task {id}.1 of node `fragile`, which it depends on, failed"
        )),
        "{explained}"
    );
    let left = alice.run(&["retry", &format!("{id}/last")]).await.ok();
    assert!(left.contains("it depends on node `fragile`"), "{left}");

    std::fs::write(&remedy, "").unwrap();
    let again = alice.run(&["retry", &id]).await.ok();
    assert!(again.contains("3 tasks queued again"), "{again}");
    alice.run(&["watch", &id]).await.ok();
    let view = over(&alice.client, job).await;
    assert_eq!(view.count(Succeeded), 5);
}

/// A status without what differs from run to run.
fn steady(status: &str) -> String {
    let fact = |line: &&str| !line.starts_with("submitted") && !line.starts_with("ended");
    let lines: Vec<&str> = status.lines().filter(fact).collect();
    lines.join("\n")
}

#[tokio::test]
async fn a_cancelled_node_stops_what_depends_on_it() {
    let fairway = Setup::new().local(1, 4).start().await;
    let alice = fairway.user("alice").await;
    let program = noting_payload(&fairway, "$2");
    let nodes_of = [
        ("long", "long 600"),
        ("short", "short 0"),
        ("after", "after 0"),
        ("then", "then 0"),
    ];
    let jdl = dag(
        &program,
        &nodes_of,
        &["{ long, after }", "{ short, then }"],
        "",
    );
    let job = submit(&alice.client, jdl).await;
    until_true("the long one runs", async || {
        lines(&notes(&fairway)).contains(&"begin long".to_owned())
    })
    .await;
    let blocked = alice.run(&["explain", &format!("{job}/after")]).await.ok();
    assert!(
        blocked.contains("It waits until all tasks of node `long` (1 running)"),
        "{blocked}"
    );
    alice.run(&["cancel", &format!("{job}/long")]).await.ok();
    over(&alice.client, job).await;
    use TaskState::{Cancelled, Skipped, Succeeded};
    let expected = [
        ("after", Skipped),
        ("long", Cancelled),
        ("short", Succeeded),
        ("then", Succeeded),
    ];
    let expected = expected.map(|(name, state)| (name.to_owned(), state));
    assert_eq!(nodes(&alice, job).await, expected.into());
    let unknown = alice
        .run(&["cancel", &format!("{job}/lnog")])
        .await
        .fails(3);
    assert!(unknown.contains("there is no node `lnog`"), "{unknown}");
    let unknown = alice.run(&["cancel", &format!("{job}.99")]).await.fails(3);
    assert!(
        unknown.contains(&format!("there is no task {job}.99")),
        "{unknown}"
    );
}

#[tokio::test]
async fn a_killed_server_goes_on_in_the_middle_of_a_graph() {
    const LAYERS: usize = 5;
    const WIDTH: usize = 4;
    let mut fairway = Setup::new().local(2, 2).start().await;
    let alice = fairway.user("alice").await;
    let program = noting_payload(&fairway, "0.2");
    // Each node waits for two of the layer before it.
    let name = |layer: usize, place: usize| format!("n{layer}x{}", place % WIDTH);
    let mut parents: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for layer in 0..LAYERS {
        for place in 0..WIDTH {
            let before = layer.checked_sub(1);
            let of = |before| vec![name(before, place), name(before, place + 1)];
            parents.insert(name(layer, place), before.map_or(Vec::new(), of));
        }
    }
    let nodes_of: Vec<(&str, &str)> = parents
        .keys()
        .map(|it| (it.as_str(), it.as_str()))
        .collect();
    let edges: Vec<String> = parents
        .iter()
        .filter(|(_, parents)| !parents.is_empty())
        .map(|(node, parents)| format!("{{ {{ {} }}, {node} }}", parents.join(", ")))
        .collect();
    let edges: Vec<&str> = edges.iter().map(String::as_str).collect();
    let job = submit(&alice.client, dag(&program, &nodes_of, &edges, "")).await;
    let ended = |fairway: &Fairway| {
        let notes = lines(&notes(fairway));
        notes.iter().filter(|line| line.starts_with("end")).count()
    };
    for progress in [3, 9] {
        until_true("the graph is under way", async || {
            ended(&fairway) >= progress
        })
        .await;
        fairway.kill();
        fairway.start_again().await;
    }
    let view = over(&alice.client, job).await;
    assert_eq!(view.count(TaskState::Succeeded), view.tasks);
    assert_order(&fairway, &parents);
    let tasks = u32::try_from(parents.len()).unwrap();
    let history = History::of(&alice.client, job).await;
    assert_eq!(history.assert_each_succeeded_once(job, tasks), 0);
}
