//! Black holes: nodes on which work fails at once, so that they are free at once and swallow
//! the queue. Such a node is set aside, and probed later with one task at a time.
//!
//! **What counts.** An attempt that fails within `fast_fail_s` of its start (or never starts),
//! and a pilot that is over moments after its first call with nothing done, count against their
//! node. An attempt that succeeds, or has run for longer, counts for it and ends the row.
//! Nothing is said by a user's own cancel, a walltime or memory limit that is met at once, or a
//! task handed back.
//!
//! **Whose fault is it?** A row of failures alone says nothing: a broken job fails everywhere.
//! The evidence comes from the other nodes, each of which has one voice: what it saw last.
//!
//! - A job *does well elsewhere* if more of the other nodes that ran it saw it last survive than
//!   fail at once. If not, it is broken, and its failures count against no node.
//! - A job that no other node has run yet may be either. Its failures count if tasks of at
//!   least two users fail in the row, and most other nodes do well with whatever they have.
//!
//! From the second failure that counts on, the node is under suspicion: for `fast_fail_s` it gets
//! nothing, and the task is queued again without costing a retry of its own. The same goes
//! as long as more nodes may yet speak than have spoken against the job. A row of
//! `in_a_row` failures that count, of at least two tasks or pilots, sets the node aside.
//!
//! A lone user with nothing but broken tasks never gets there: no other node speaks for
//! them. A node that is set aside speaks against the others: a fault that all have in
//! common (the network, a file system) sets at most half of the nodes aside.
//!
//! **What if that was wrong?** A task that fails at once on a second node is itself to blame: its
//! failure is struck from the row of the first, which is released if what is left does not
//! hold it any more.
//!
//! All of it is in memory alone, and begun anew after a restart: a black hole is found again
//! within a few tasks.

mod evidence;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fairway_model::{CeId, JobId, PilotId, TaskId, Timestamp, UserName};

use self::evidence::Suspicion;

/// How long a node is first set aside; doubles with each probe that fails.
const ASIDE_MIN: Duration = Duration::from_secs(10 * 60);

/// The doubling ends here.
const ASIDE_MAX: Duration = Duration::from_secs(4 * 3600);

/// What a node saw longer ago says nothing any more.
const MEMORY: Duration = Duration::from_secs(3600);

/// So many failures that are not followed by a success are kept of a node.
const ROW_MAX: usize = 64;

/// From so many failures in a row on, a node is under suspicion.
const SUSPICIOUS: usize = 2;

/// A node of a CE. Numbers are given in the order of appearance and mean nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeId(u32);

/// A node that gets no tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Its name, as its pilots tell it.
    pub host: String,
    /// What speaks against it, in a sentence.
    pub evidence: String,
    /// When it is probed.
    pub until: Timestamp,
}

/// What failed at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    Task(TaskId, UserName),
    /// Ended moments after its first call, without a task.
    Pilot(PilotId),
}

/// Whether the attempt of a task that failed at once is the task's own failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// It is.
    Own,
    /// The node is under suspicion, because of what is said.
    Node(String),
}

/// What became of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// It gets no tasks until then; the tasks were its victims.
    SetAside {
        node: NodeId,
        evidence: String,
        until: Timestamp,
        victims: Vec<TaskId>,
    },
    /// It gets one task at a time.
    Probed { node: NodeId },
    /// It gets tasks again.
    Released { node: NodeId, because: String },
}

/// Who may yet speak.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unheard {
    /// Nodes on which attempts of the job are under way.
    pub(crate) job: BTreeSet<NodeId>,
    /// Nodes on which attempts of any job are so young that they say nothing yet.
    pub(crate) any: BTreeSet<NodeId>,
    /// Pilots that have not called home.
    pub(crate) expected: usize,
}

/// How many tasks a node may get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    All,
    /// One, if it has none.
    One,
    None,
}

#[derive(Clone, Debug)]
struct Failure {
    what: Failed,
    at: Timestamp,
    /// It did not cost the task a retry.
    excused: bool,
    /// Its job is over, and did well elsewhere.
    convicts: bool,
}

#[derive(Clone, Debug)]
struct Aside {
    until: Timestamp,
    evidence: String,
    /// How often in a row.
    times: u32,
    probed: bool,
}

#[derive(Clone, Debug)]
struct Node {
    ce: CeId,
    host: String,
    /// Its pilots that are not over.
    pilots: BTreeSet<PilotId>,
    /// What it saw last, and when: whether something survived.
    last: Option<(bool, Timestamp)>,
    /// Failures since something survived here, the oldest first.
    row: Vec<Failure>,
    /// When that row began.
    row_since: Timestamp,
    /// No tasks until then: the others may know more by then.
    held_until: Option<Timestamp>,
    aside: Option<Aside>,
}

/// The nodes that pilots told of, and what became of work there.
#[derive(Clone, Debug)]
pub(crate) struct Latch {
    fast_fail: Duration,
    in_a_row: usize,
    names: BTreeMap<(CeId, String), NodeId>,
    nodes: BTreeMap<NodeId, Node>,
    /// What each node saw of a job last, and when.
    seen: BTreeMap<(JobId, NodeId), (bool, Timestamp)>,
    next: u32,
}

impl Latch {
    pub(crate) fn new(fast_fail_s: u64, in_a_row: u32) -> Self {
        Self {
            fast_fail: Duration::from_secs(fast_fail_s),
            in_a_row: usize::try_from(in_a_row)
                .unwrap_or(usize::MAX)
                .max(SUSPICIOUS),
            names: BTreeMap::new(),
            nodes: BTreeMap::new(),
            seen: BTreeMap::new(),
            next: 0,
        }
    }

    /// Whether an attempt that took so long and failed did so at once.
    pub(crate) fn is_fast(&self, took: Duration) -> bool {
        took <= self.fast_fail
    }

    /// The node on which a pilot runs.
    pub(crate) fn join(&mut self, ce: &CeId, host: &str, pilot: PilotId) -> NodeId {
        let key = (ce.clone(), host.to_owned());
        let id = *self.names.entry(key).or_insert_with(|| {
            let id = NodeId(self.next);
            self.next += 1;
            let node = Node {
                ce: ce.clone(),
                host: host.to_owned(),
                pilots: BTreeSet::new(),
                last: None,
                row: Vec::new(),
                row_since: Timestamp::default(),
                held_until: None,
                aside: None,
            };
            self.nodes.insert(id, node);
            id
        });
        if let Some(node) = self.nodes.get_mut(&id) {
            node.pilots.insert(pilot);
        }
        id
    }

    /// A pilot is over.
    pub(crate) fn leave(&mut self, node: NodeId, pilot: PilotId) {
        if let Some(node) = self.nodes.get_mut(&node) {
            node.pilots.remove(&pilot);
        }
    }

    /// A job is over. What was seen of it is let go of, but for what it says of failures: a job
    /// that did well elsewhere convicts, a broken one does not count.
    pub(crate) fn forget_job(&mut self, job: JobId, now: Timestamp) {
        let range = (job, NodeId(0))..=(job, NodeId(u32::MAX));
        let nodes: Vec<NodeId> = self.seen.range(range).map(|((_, id), _)| *id).collect();
        let of_it = |failure: &Failure| match &failure.what {
            Failed::Task(task, _) => task.job == job,
            Failed::Pilot(_) => false,
        };
        for id in &nodes {
            // To ask all other nodes is dear, and only needed where it failed.
            let node = self.nodes.get(id);
            if !node.is_some_and(|node| node.row.iter().any(of_it)) {
                continue;
            }
            let voices = self.elsewhere(job, *id, now);
            let Some(node) = self.nodes.get_mut(id) else {
                continue;
            };
            if voices.carried() {
                let failures = node.row.iter_mut().filter(|failure| of_it(failure));
                failures.for_each(|failure| failure.convicts = true);
            } else if !voices.silent() {
                node.row.retain(|failure| !of_it(failure));
            }
        }
        for id in nodes {
            self.seen.remove(&(job, id));
        }
    }

    /// An attempt succeeded, or has run for longer than what counts as at once.
    pub(crate) fn survived(&mut self, id: NodeId, job: JobId, now: Timestamp) -> Option<News> {
        self.seen.insert((job, id), (true, now));
        let node = self.nodes.get_mut(&id)?;
        node.last = Some((true, now));
        node.row.clear();
        node.held_until = None;
        node.aside.take_if(|aside| aside.probed)?;
        Some(News::Released {
            node: id,
            because: "the task that probed it did well".into(),
        })
    }

    /// Something failed at once. `unheard`: who may yet speak; asked only where it matters.
    pub(crate) fn failed(
        &mut self,
        id: NodeId,
        what: Failed,
        unheard: impl FnOnce() -> Unheard,
        now: Timestamp,
    ) -> (Blame, Vec<News>) {
        let mut news = Vec::new();
        if let Failed::Task(task, _) = &what {
            let own = !self.is_doubtful(id, now) && self.strike(*task, id, &mut news);
            self.seen.insert((task.job, id), (false, now));
            if own {
                return (Blame::Own, news);
            }
        }
        let Some(node) = self.nodes.get_mut(&id) else {
            return (Blame::Own, news);
        };
        node.last = Some((false, now));
        if node.row.is_empty() {
            node.row_since = now;
        }
        if node.row.len() == ROW_MAX {
            node.row.remove(0);
        }
        node.row.push(Failure {
            what: what.clone(),
            at: now,
            excused: false,
            convicts: false,
        });
        let Some(Suspicion { evidence, aside }) = self.judge(id, &what, unheard, now) else {
            return (Blame::Own, news);
        };
        if let Some(node) = self.nodes.get_mut(&id) {
            // Meanwhile the others show more, and get what it gives back.
            node.held_until = Some(now.plus(self.fast_fail));
            if let Some(last) = node.row.last_mut() {
                last.excused = true;
            }
        }
        if aside {
            news.extend(self.set_aside(id, evidence.clone(), now));
        }
        (Blame::Node(evidence), news)
    }

    /// A task has failed at once on `here` too: it is struck from the rows of other nodes.
    /// Whether it was in one.
    fn strike(&mut self, task: TaskId, here: NodeId, news: &mut Vec<News>) -> bool {
        let is_it = |failure: &Failure| matches!(&failure.what, Failed::Task(id, _) if *id == task);
        let mut struck = false;
        for (id, node) in self.nodes.iter_mut().filter(|(id, _)| **id != here) {
            let before = node.row.len();
            node.row.retain(|failure| !is_it(failure));
            if node.row.len() == before {
                continue;
            }
            struck = true;
            if node.row.len() < SUSPICIOUS {
                node.held_until = None;
            }
            let weak = node.row.len() < self.in_a_row;
            // What a probe has found stands.
            let wrong = |aside: &mut Aside| weak && aside.times == 1 && !aside.probed;
            if node.aside.take_if(wrong).is_some() {
                node.held_until = None;
                node.last = None;
                let because = "its tasks fail at once elsewhere too".into();
                news.push(News::Released { node: *id, because });
            }
        }
        struck
    }

    fn set_aside(&mut self, id: NodeId, evidence: String, now: Timestamp) -> Option<News> {
        let node = self.nodes.get_mut(&id)?;
        let times = node.aside.as_ref().map_or(0, |aside| aside.times);
        let span = ASIDE_MIN.saturating_mul(2_u32.saturating_pow(times));
        let until = now.plus(span.min(ASIDE_MAX));
        node.aside = Some(Aside {
            until,
            evidence: evidence.clone(),
            times: times.saturating_add(1),
            probed: false,
        });
        let mut victims = BTreeSet::new();
        for failure in node.row.iter_mut().filter(|failure| !failure.excused) {
            failure.excused = true;
            if let Failed::Task(task, _) = &failure.what {
                victims.insert(*task);
            }
        }
        Some(News::SetAside {
            node: id,
            evidence,
            until,
            victims: victims.into_iter().collect(),
        })
    }

    /// Time passes. The second value tells whether nodes may get tasks that could not before.
    pub(crate) fn tick(&mut self, now: Timestamp) -> (Vec<News>, bool) {
        let mut news = Vec::new();
        let mut freed = false;
        for (id, node) in &mut self.nodes {
            if node.held_until.take_if(|until| *until <= now).is_some() {
                freed = true;
            }
            if let Some(aside) = &mut node.aside
                && !aside.probed
                && aside.until <= now
            {
                aside.probed = true;
                news.push(News::Probed { node: *id });
            }
        }
        self.forget(now);
        freed |= !news.is_empty();
        (news, freed)
    }

    /// Lets go of nodes that nothing is to be remembered of.
    fn forget(&mut self, now: Timestamp) {
        let idle = |node: &Node| {
            let old = node.last.is_none_or(|(_, at)| !recent(at, now));
            node.pilots.is_empty() && node.aside.is_none() && old
        };
        let gone: Vec<NodeId> = self
            .nodes
            .iter()
            .filter(|(_, node)| idle(node))
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            if let Some(node) = self.nodes.remove(&id) {
                self.names.remove(&(node.ce, node.host));
            }
            self.seen.retain(|(_, node), _| *node != id);
        }
    }

    /// An operator's word: the node gets tasks again. `None` if it is not set aside.
    pub(crate) fn release(&mut self, ce: &CeId, host: &str, because: String) -> Option<News> {
        let id = *self.names.get(&(ce.clone(), host.to_owned()))?;
        let node = self.nodes.get_mut(&id)?;
        node.aside.take()?;
        node.row.clear();
        node.held_until = None;
        node.last = None;
        Some(News::Released { node: id, because })
    }

    /// A CE is no more.
    pub(crate) fn forget_ce(&mut self, ce: &CeId) {
        for node in self.nodes.values_mut().filter(|node| node.ce == *ce) {
            node.aside = None;
            node.row.clear();
        }
    }

    /// How many tasks the node may get.
    pub(crate) fn admission(&self, id: NodeId, now: Timestamp) -> Admission {
        let Some(node) = self.nodes.get(&id) else {
            return Admission::All;
        };
        let held = node.held_until.is_some_and(|until| now < until);
        match &node.aside {
            Some(aside) if aside.probed => Admission::One,
            Some(_) => Admission::None,
            None if held => Admission::None,
            None => Admission::All,
        }
    }

    /// Why the node gets no tasks, if it is set aside and not probed yet.
    pub(crate) fn evidence(&self, id: NodeId) -> Option<&str> {
        let aside = self.nodes.get(&id)?.aside.as_ref()?;
        (!aside.probed).then_some(aside.evidence.as_str())
    }

    /// The pilots of a node.
    pub(crate) fn pilots(&self, id: NodeId) -> impl Iterator<Item = PilotId> {
        self.nodes
            .get(&id)
            .into_iter()
            .flat_map(|node| node.pilots.iter().copied())
    }

    /// Where a node is, and its name.
    pub(crate) fn name(&self, id: NodeId) -> Option<(&CeId, &str)> {
        let node = self.nodes.get(&id)?;
        Some((&node.ce, &node.host))
    }

    /// The nodes of a CE that get no tasks, by name.
    pub(crate) fn set_aside_at(&self, ce: &CeId) -> Vec<SetAside> {
        let mut aside: Vec<SetAside> = self
            .nodes
            .values()
            .filter(|node| node.ce == *ce)
            .filter_map(|node| {
                let aside = node.aside.as_ref().filter(|aside| !aside.probed)?;
                Some(SetAside {
                    host: node.host.clone(),
                    evidence: aside.evidence.clone(),
                    until: aside.until,
                })
            })
            .collect();
        aside.sort_by(|a, b| a.host.cmp(&b.host));
        aside
    }

    /// Until when all nodes of a CE that are known are set aside; `None` if one is not.
    pub(crate) fn all_aside(&self, ce: &CeId) -> Option<Timestamp> {
        let nodes = self.nodes.values().filter(|node| node.ce == *ce);
        let untils: Option<Vec<Timestamp>> = nodes
            .map(|node| Some(node.aside.as_ref().filter(|aside| !aside.probed)?.until))
            .collect();
        untils?.into_iter().min()
    }

    /// Compares what is kept twice. The error says what is wrong.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.names.len() != self.nodes.len() {
            return Err("nodes and their names do not agree".into());
        }
        for (name, id) in &self.names {
            let node = self.nodes.get(id);
            if !node.is_some_and(|node| node.ce == name.0 && node.host == name.1) {
                return Err(format!("node {name:?} is known as {node:?}"));
            }
        }
        Ok(())
    }
}

fn recent(at: Timestamp, now: Timestamp) -> bool {
    now.since(at) <= MEMORY
}
