//! How far the nodes of a job with dependencies are: which may start, and which cannot any
//! more.
//!
//! A node is *complete* when all its tasks have succeeded, *ready* when all its parents are
//! complete, and *futile* when some task of a node before it, directly or over others, has
//! failed or was cancelled: the word is DAGMan's. Complete and ready are for ever, since a
//! success is never taken back; futile ends when what was in the way is retried by hand. So a
//! node that is ready is never futile, and what a futile node has was never begun.
//!
//! Each task that succeeds, or does not, counts at its own node alone. Only when that changes
//! what the node is, its children hear of it: what a task costs does not grow with the graph.

use std::collections::{BTreeMap, VecDeque};

use fairway_jdl::JobNode;
use fairway_model::TaskState;

use crate::ranges::Ranges;

/// A node's place among the nodes of its job.
type Place = u32;

/// Tasks of a job in a row: the first, and one past the last.
pub(crate) type Row = (u32, u32);

/// How far one node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Progress {
    /// Its tasks that have not succeeded.
    missing: u32,
    /// Its tasks that failed or were cancelled.
    broken: u32,
    /// Its parents that are not complete.
    waits_for: u32,
    /// Its parents that are broken or futile themselves.
    in_the_way: u32,
    /// Whether its children know that it is complete.
    told_complete: bool,
    /// Whether its children know that it is in the way.
    told_in_the_way: bool,
}

/// What the children of a node have to hear of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Told {
    /// That it is complete.
    complete: bool,
    /// That it is in the way, or not any more.
    in_the_way: Option<bool>,
}

impl Progress {
    /// What its children do not know yet, and know from here on.
    fn tell(&mut self) -> Told {
        let complete = self.missing == 0;
        let in_the_way = self.broken > 0 || self.in_the_way > 0;
        let told = Told {
            complete: complete && !self.told_complete,
            in_the_way: (in_the_way != self.told_in_the_way).then_some(in_the_way),
        };
        self.told_complete = complete;
        self.told_in_the_way = in_the_way;
        told
    }

    /// Takes from a parent that it is complete. True if it was the last one to wait for.
    fn hear_complete(&mut self, parent: Told) -> bool {
        self.waits_for -= u32::from(parent.complete);
        parent.complete && self.waits_for == 0
    }

    /// Takes from a parent that it is in the way or not any more. Whether the node is futile, if
    /// that has changed.
    fn hear_in_the_way(&mut self, parent: Told) -> Option<bool> {
        let before = self.in_the_way > 0;
        match parent.in_the_way? {
            true => self.in_the_way += 1,
            false => self.in_the_way -= 1,
        }
        let futile = self.in_the_way > 0;
        (futile != before).then_some(futile)
    }
}

/// The task that made others futile, and how it ended.
pub(crate) type Culprit = (u32, TaskState);

/// How far the nodes of one job are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Nodes {
    progress: Vec<Progress>,
    /// The tasks that were skipped: memory has no other trace of them.
    skipped: Ranges<()>,
    /// The nodes at which something has changed that is not settled yet.
    news: Vec<(Place, Option<Culprit>)>,
}

/// What follows for other nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Consequences {
    /// Their tasks may start.
    pub(crate) ready: Vec<Row>,
    /// Their tasks will not start, because of the culprit.
    pub(crate) futile: Vec<(Row, Culprit)>,
    /// Their tasks wait again, no longer in vain.
    pub(crate) hopeful: Vec<Row>,
}

/// What a task's state means for its node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Open,
    Success,
    Broken,
}

fn meaning(state: TaskState) -> Meaning {
    match state {
        TaskState::Succeeded => Meaning::Success,
        TaskState::Failed | TaskState::Cancelled => Meaning::Broken,
        _ => Meaning::Open,
    }
}

impl Nodes {
    /// The nodes of a job of which nothing has ended.
    pub(crate) fn new(nodes: &[JobNode]) -> Self {
        let progress = nodes.iter().map(|node| Progress {
            missing: node.tasks.end - node.tasks.start,
            broken: 0,
            waits_for: count(&node.parents),
            in_the_way: 0,
            told_complete: false,
            told_in_the_way: false,
        });
        Self {
            progress: progress.collect(),
            skipped: Ranges::default(),
            news: Vec::new(),
        }
    }

    /// The nodes of a job with these rows of ended tasks.
    pub(crate) fn restore(nodes: &[JobNode], ended: &[(TaskState, u32, u32)]) -> Self {
        let mut restored = Self::new(nodes);
        for &(state, from, to) in ended {
            restored.note(nodes, (from, to), TaskState::Waiting, state);
        }
        // What follows from it has been done.
        restored.settle(nodes);
        restored
    }

    /// Notes that tasks in a row went from one state to another.
    pub(crate) fn note(
        &mut self,
        nodes: &[JobNode],
        (from, to): Row,
        before: TaskState,
        after: TaskState,
    ) {
        if before == TaskState::Skipped {
            self.skipped.take(from, to);
        }
        if after == TaskState::Skipped {
            self.skipped.insert(from, to, ());
        }
        let (before, meant) = (meaning(before), meaning(after));
        if before == meant {
            return;
        }
        for (place, (from, to)) in parts(nodes, (from, to)) {
            let Some(node) = self.progress.get_mut(place as usize) else {
                continue;
            };
            let tasks = to - from;
            if meant == Meaning::Success {
                node.missing -= tasks;
            }
            match (before, meant) {
                (Meaning::Broken, _) => node.broken -= tasks,
                (_, Meaning::Broken) => node.broken += tasks,
                _ => {}
            }
            let culprit = (meant == Meaning::Broken).then_some((from, after));
            self.news.push((place, culprit));
        }
    }

    /// What was noted, once for each node.
    fn gather(&mut self) -> VecDeque<(Place, Option<Culprit>)> {
        let mut news: BTreeMap<Place, Option<Culprit>> = BTreeMap::new();
        for (place, culprit) in self.news.drain(..) {
            let known = news.entry(place).or_default();
            *known = known.or(culprit);
        }
        news.into_iter().collect()
    }

    /// Has the nodes hear of what was noted.
    pub(crate) fn settle(&mut self, nodes: &[JobNode]) -> Consequences {
        let mut ready = Vec::new();
        let mut turned = Vec::new();
        let mut news = self.gather();
        while let Some((place, culprit)) = news.pop_front() {
            let told = self.progress.get_mut(place as usize).map(Progress::tell);
            let Some(told) = told.filter(|told| *told != Told::default()) else {
                continue;
            };
            for &child in &nodes[place as usize].children {
                let Some(heard) = self.progress.get_mut(child as usize) else {
                    continue;
                };
                if heard.hear_complete(told) {
                    ready.push(child);
                }
                if let Some(futile) = heard.hear_in_the_way(told) {
                    turned.push((child, (futile, culprit)));
                    news.push_back((child, culprit));
                }
            }
        }
        ready.sort_unstable();
        // Of several turns that a node took the last counts.
        consequences(nodes, &ready, &turned.into_iter().collect())
    }

    /// Whether all parents of the node are complete.
    pub(crate) fn is_ready(&self, node: Place) -> bool {
        self.at(node).is_some_and(|node| node.waits_for == 0)
    }

    /// Whether something before the node failed or was cancelled.
    pub(crate) fn is_futile(&self, node: Place) -> bool {
        self.at(node).is_some_and(|node| node.in_the_way > 0)
    }

    /// Whether tasks of the node itself failed or were cancelled.
    pub(crate) fn is_broken(&self, node: Place) -> bool {
        self.at(node).is_some_and(|node| node.broken > 0)
    }

    /// Whether all tasks of the node have succeeded.
    pub(crate) fn is_complete(&self, node: Place) -> bool {
        self.at(node).is_some_and(|node| node.missing == 0)
    }

    /// How many tasks of the node have not succeeded.
    pub(crate) fn missing(&self, node: Place) -> u32 {
        self.at(node).map_or(0, |node| node.missing)
    }

    /// How many tasks of the node failed or were cancelled.
    pub(crate) fn broken(&self, node: Place) -> u32 {
        self.at(node).map_or(0, |node| node.broken)
    }

    /// The tasks of a row that were skipped.
    pub(crate) fn skipped(&self, (from, to): Row) -> Vec<Row> {
        let within = self.skipped.within(from, to).into_iter();
        within.map(|(from, to, ())| (from, to)).collect()
    }

    /// The row in parts that are ready or not, each as long as can be.
    pub(crate) fn by_readiness(&self, nodes: &[JobNode], row: Row) -> Vec<(bool, Row)> {
        let mut found: Vec<(bool, Row)> = Vec::new();
        for (place, part) in parts(nodes, row) {
            let ready = self.is_ready(place);
            match found.last_mut() {
                Some((same, last)) if *same == ready => last.1 = part.1,
                _ => found.push((ready, part)),
            }
        }
        found
    }

    /// The nearest node before this one of which tasks failed or were cancelled.
    pub(crate) fn culprit(&self, nodes: &[JobNode], node: Place) -> Option<Place> {
        let mut place = node;
        // Every step goes to a parent, and no path is longer than there are nodes.
        for _ in 0..nodes.len() {
            let parents = &nodes.get(place as usize)?.parents;
            if let Some(&broken) = parents.iter().find(|&&parent| self.is_broken(parent)) {
                return Some(broken);
            }
            place = *parents.iter().find(|&&parent| self.is_futile(parent))?;
        }
        None
    }

    fn at(&self, node: Place) -> Option<&Progress> {
        self.progress.get(node as usize)
    }

    /// How many nodes there are.
    pub(crate) fn len(&self) -> usize {
        self.progress.len()
    }

    /// Compares what is kept with what follows from it. The error says what is wrong.
    pub(crate) fn check(&self, nodes: &[JobNode]) -> Result<(), String> {
        if !self.news.is_empty() {
            return Err(format!("{:?} were not settled", self.news));
        }
        for (place, (node, described)) in self.progress.iter().zip(nodes).enumerate() {
            let parents = described.parents.iter();
            let waits_for = parents.clone().filter(|&&parent| !self.is_complete(parent));
            let in_the_way =
                parents.filter(|&&parent| self.is_broken(parent) || self.is_futile(parent));
            let sound = waits_for.count() == node.waits_for as usize
                && in_the_way.count() == node.in_the_way as usize
                && node.told_complete == (node.missing == 0)
                && node.told_in_the_way == (node.broken > 0 || node.in_the_way > 0)
                && (node.waits_for > 0 || node.in_the_way == 0);
            if !sound {
                return Err(format!("node {place} miscounts: {node:?}"));
            }
        }
        Ok(())
    }
}

/// The rows of tasks of the nodes that have become ready, and of those that have become futile
/// or are so no more, in order.
fn consequences(
    nodes: &[JobNode],
    ready: &[Place],
    turned: &BTreeMap<Place, (bool, Option<Culprit>)>,
) -> Consequences {
    let mut told = Consequences::default();
    for &place in ready {
        join(&mut told.ready, row(nodes, place));
    }
    for (&place, &(futile, culprit)) in turned {
        let row = row(nodes, place);
        match culprit.filter(|_| futile) {
            None => join(&mut told.hopeful, row),
            Some(culprit) => match told.futile.last_mut() {
                Some((last, same)) if last.1 == row.0 && *same == culprit => last.1 = row.1,
                _ => told.futile.push((row, culprit)),
            },
        }
    }
    told
}

fn count(places: &[Place]) -> u32 {
    u32::try_from(places.len()).unwrap_or(u32::MAX)
}

fn row(nodes: &[JobNode], place: Place) -> Row {
    let tasks = nodes.get(place as usize).map(|node| node.tasks.clone());
    tasks.map_or((0, 0), |tasks| (tasks.start, tasks.end))
}

/// Adds a row behind the last one, or to it.
fn join(rows: &mut Vec<Row>, row: Row) {
    match rows.last_mut() {
        Some(last) if last.1 == row.0 => last.1 = row.1,
        _ => rows.push(row),
    }
}

/// A row of tasks cut at the borders of its nodes.
fn parts(nodes: &[JobNode], (from, to): Row) -> impl Iterator<Item = (Place, Row)> {
    let first = nodes.partition_point(|node| node.tasks.end <= from);
    let within = nodes.iter().enumerate().skip(first);
    within
        .take_while(move |(_, node)| node.tasks.start < to)
        .filter_map(move |(place, node)| {
            let place = Place::try_from(place).ok()?;
            Some((place, (node.tasks.start.max(from), node.tasks.end.min(to))))
        })
}
