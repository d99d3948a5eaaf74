//! What payloads' process trees use, and which processes are in them.
//!
//! The pilot is a subreaper: whatever a payload starts stays a descendant of the
//! pilot, also after a double fork. A [`Census`] reads the pilot's descendants from
//! `/proc` and tells which payload each belongs to. A payload that is over before the
//! first census costs none: what the kernel says when it is collected is enough.
//!
//! Memory is the sum of resident sets, which counts shared pages once for each process;
//! where that passes a limit, proportional sets decide.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::time::Duration;

use rustix::process::Pid;

use crate::machine::Key;

/// One process, from `/proc/<pid>/stat` (proc_pid_stat(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    pid: i32,
    parent: i32,
    group: i32,
    /// User and system time of it and of the children that it waited for, in clock ticks.
    ticks: u64,
    /// In clock ticks since boot: with the pid, this names a process for good.
    started: u64,
    resident_pages: u64,
    zombie: bool,
}

/// What one payload's tree uses at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    /// Processes that live, and those that ended and were not yet waited for.
    pub(crate) pids: Vec<Pid>,
    /// Processor time of the live processes and of those that they waited for.
    pub(crate) cpu: Duration,
    /// Sum of the resident sets, in KiB.
    pub(crate) memory_kib: u64,
}

/// What a census found.
#[derive(Debug, Default)]
pub(crate) struct Picture {
    /// By payload.
    pub(crate) trees: BTreeMap<Key, Sample>,
    /// Processes whose payload is over, or is unknown while no payload runs: to be ended.
    pub(crate) strays: Vec<Pid>,
    /// Ended children of the pilot other than payloads, and whose they were: to be collected.
    pub(crate) dead: Vec<(Pid, Option<Key>)>,
}

/// Looks at all descendants of the pilot, and remembers whose they are.
#[derive(Debug, Default)]
pub(crate) struct Census {
    /// Owner by pid and start.
    known: HashMap<(i32, u64), Key>,
}

impl Census {
    /// `roots`: the first process of each running payload. `starting`: payloads that may
    /// have a first process that is not known yet; while there are any, no process of
    /// theirs, and none of an unknown owner, counts as left behind.
    pub(crate) fn take(&mut self, roots: &BTreeMap<i32, Key>, starting: &BTreeSet<Key>) -> Picture {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        self.sort(
            &read_processes(),
            own,
            roots,
            starting,
            owner_by_environment,
        )
    }

    fn sort(
        &mut self,
        processes: &[Process],
        own: i32,
        roots: &BTreeMap<i32, Key>,
        starting: &BTreeSet<Key>,
        ask: impl Fn(i32) -> Option<Key>,
    ) -> Picture {
        let mut children: HashMap<i32, Vec<&Process>> = HashMap::new();
        for process in processes {
            children.entry(process.parent).or_default().push(process);
        }
        let mut picture = Picture::default();
        let mut known = HashMap::new();
        // From the pilot downwards; a child belongs to its parent's owner, unless it is
        // the pilot's own child, which is a payload's first process or an orphan.
        let mut open = vec![(own, None)];
        while let Some((parent, parents_owner)) = open.pop() {
            for process in children.remove(&parent).into_iter().flatten() {
                let Some(pid) = Pid::from_raw(process.pid) else {
                    continue;
                };
                let name = (process.pid, process.started);
                let owner = parents_owner
                    .or_else(|| roots.get(&process.pid).copied())
                    .or_else(|| self.known.get(&name).copied())
                    .or_else(|| roots.get(&process.group).copied())
                    .or_else(|| ask(process.pid));
                if let Some(owner) = owner {
                    known.insert(name, owner);
                }
                open.push((process.pid, owner));
                let unsure = owner.map_or(!starting.is_empty(), |owner| starting.contains(&owner));
                let is_root = roots.contains_key(&process.pid);
                if process.zombie && parent == own && !is_root {
                    if !unsure {
                        picture.dead.push((pid, owner));
                    }
                    continue;
                }
                match owner.filter(|owner| roots.values().any(|root| root == owner)) {
                    Some(owner) => {
                        let sample = picture.trees.entry(owner).or_default();
                        sample.pids.push(pid);
                        sample.cpu += ticks(process.ticks);
                        sample.memory_kib += pages_kib(process.resident_pages);
                    }
                    None if process.zombie || unsure => {}
                    None if owner.is_some() || roots.is_empty() => picture.strays.push(pid),
                    None => {}
                }
            }
        }
        self.known = known;
        picture
    }
}

/// All processes that are descendants of this one.
pub(crate) fn descendants() -> Picture {
    Census::default().take(&BTreeMap::new(), &BTreeSet::new())
}

fn ticks(ticks: u64) -> Duration {
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Duration::from_millis(ticks.saturating_mul(1000) / per_second)
}

fn pages_kib(pages: u64) -> u64 {
    pages.saturating_mul(rustix::param::page_size() as u64 / 1024)
}

fn read_processes() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // A process that ends meanwhile cannot be read, and is left out.
    pids.filter_map(|pid: i32| parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?))
        .collect()
}

fn parse_stat(stat: &str) -> Option<Process> {
    // The name, in parentheses, may hold anything, also blanks and parentheses.
    let (pid, rest) = (stat.split_once(' ')?.0, stat.rsplit_once(')')?.1);
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // `fields[0]` is the third field of the manual page.
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let id = |field: usize| fields.get(field - 3)?.parse::<i32>().ok();
    Some(Process {
        pid: pid.parse().ok()?,
        parent: id(4)?,
        group: id(5)?,
        ticks: number(14)? + number(15)? + number(16)? + number(17)?,
        started: number(22)?,
        resident_pages: number(24)?,
        zombie: matches!(*fields.first()?, "Z" | "X"),
    })
}

/// The payload whose environment a process carries.
fn owner_by_environment(pid: i32) -> Option<Key> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let value = |name: &str| {
        let mut variables = environment.split(|byte| *byte == 0);
        let text = variables.find_map(|variable| variable.strip_prefix(name.as_bytes()))?;
        std::str::from_utf8(text).ok()
    };
    Some(Key {
        task: value("FAIRWAY_TASK=")?.parse().ok()?,
        attempt: fairway_model::Attempt(value("FAIRWAY_ATTEMPT=")?.parse().ok()?),
    })
}

/// Memory of these processes in KiB with shared pages divided among those that share them;
/// `None` if the kernel does not tell (before Linux 4.14).
pub(crate) fn proportional_kib(pids: &[Pid]) -> Option<u64> {
    let mut sum = 0;
    let mut told = false;
    for pid in pids {
        let path = format!("/proc/{}/smaps_rollup", pid.as_raw_nonzero());
        let Ok(text) = fs::read_to_string(path) else {
            continue;
        };
        let pss = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        if let Some(kib) =
            pss.and_then(|pss| pss.split_ascii_whitespace().next()?.parse::<u64>().ok())
        {
            sum += kib;
            told = true;
        }
    }
    told.then_some(sum)
}

/// What is known of one payload's use so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Account {
    cpu_seen: Duration,
    /// Of orphans that the pilot itself collected.
    cpu_orphans: Duration,
    memory_peak_kib: u64,
}

impl Account {
    /// Takes a sample; returns the memory in MiB if it is above the limit (0: no limit).
    pub(crate) fn sample(&mut self, sample: &Sample, limit_mib: u64) -> Option<u64> {
        self.cpu_seen = self.cpu_seen.max(sample.cpu);
        let mut memory_kib = sample.memory_kib;
        let limit_kib = limit_mib.saturating_mul(1024);
        let over = |kib: u64| limit_mib > 0 && kib > limit_kib;
        if over(memory_kib) {
            memory_kib = proportional_kib(&sample.pids).unwrap_or(memory_kib);
        }
        self.memory_peak_kib = self.memory_peak_kib.max(memory_kib);
        over(memory_kib).then(|| memory_kib.div_ceil(1024))
    }

    /// An orphan of this payload was collected.
    pub(crate) fn orphan(&mut self, cpu: Duration) {
        self.cpu_orphans += cpu;
    }

    /// Processor time and peak memory (KiB), given what the kernel told at the end.
    pub(crate) fn close(&self, cpu: Duration, memory_peak_kib: u64) -> (Duration, u64) {
        // Processes killed with the payload are in what was seen, not in what was told.
        let cpu = self.cpu_seen.max(cpu + self.cpu_orphans);
        (cpu, self.memory_peak_kib.max(memory_peak_kib))
    }
}

#[cfg(test)]
mod tests {
    use fairway_model::{Attempt, JobId, TaskId};

    use super::*;

    fn key(index: u32) -> Key {
        Key {
            task: TaskId::new(JobId(1), index),
            attempt: Attempt(1),
        }
    }

    fn process(pid: i32, parent: i32, group: i32) -> Process {
        Process {
            pid,
            parent,
            group,
            ticks: 0,
            started: 7,
            resident_pages: 1,
            zombie: false,
        }
    }

    #[test]
    fn stat_is_read_whatever_the_name_holds() {
        let stat = "42 (a) b (c) S 1 40 39 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 555 1000 77 0";
        let read = parse_stat(stat).unwrap();
        assert_eq!((read.pid, read.parent, read.group), (42, 1, 40));
        assert_eq!(
            (read.ticks, read.started, read.resident_pages),
            (100, 555, 77)
        );
        assert!(parse_stat("42 (a").is_none());
    }

    #[test]
    fn a_payload_that_is_just_starting_is_not_taken_for_a_stray() {
        let starting = BTreeSet::from([key(0)]);
        let dead = Process {
            zombie: true,
            ..process(11, 1, 11)
        };
        for owner in [None, Some(key(0))] {
            let picture = Census::default().sort(
                &[process(10, 1, 10), dead],
                1,
                &BTreeMap::new(),
                &starting,
                |_| owner,
            );
            assert!(picture.strays.is_empty() && picture.dead.is_empty());
        }
    }

    #[test]
    fn orphans_belong_to_the_payload_that_they_were_seen_under() {
        let none = BTreeSet::new();
        let roots = BTreeMap::from([(10, key(0)), (20, key(1))]);
        let mut census = Census::default();
        let before = [process(10, 1, 10), process(11, 10, 10), process(12, 11, 12)];
        let picture = census.sort(&before, 1, &roots, &none, |_| None);
        assert_eq!(picture.trees[&key(0)].pids.len(), 3);
        // 11 is gone; 12, in a group of its own, is now the pilot's child.
        let after = [process(10, 1, 10), process(12, 1, 12), process(99, 0, 99)];
        let picture = census.sort(&after, 1, &roots, &none, |_| None);
        assert_eq!(picture.trees[&key(0)].pids.len(), 2);
        assert!(picture.strays.is_empty());
        // The payload is over; its daemon is not to be left behind.
        let roots = BTreeMap::from([(20, key(1))]);
        let picture = census.sort(&[process(12, 1, 12)], 1, &roots, &none, |_| None);
        assert_eq!(picture.strays, [Pid::from_raw(12).unwrap()]);
    }

    #[test]
    fn unknown_orphans_are_found_by_their_environment_or_left_until_nothing_runs() {
        let none = BTreeSet::new();
        let roots = BTreeMap::from([(10, key(0))]);
        let orphan = [process(30, 1, 30)];
        let picture = Census::default().sort(&orphan, 1, &roots, &none, |_| Some(key(0)));
        assert_eq!(picture.trees[&key(0)].pids.len(), 1);
        let picture = Census::default().sort(&orphan, 1, &roots, &none, |_| None);
        assert!(picture.trees.is_empty() && picture.strays.is_empty());
        let picture = Census::default().sort(&orphan, 1, &BTreeMap::new(), &none, |_| None);
        assert_eq!(picture.strays.len(), 1);
    }

    #[test]
    fn the_account_adds_orphans_and_keeps_peaks() {
        let mut account = Account::default();
        let sample = Sample {
            memory_kib: 500,
            cpu: Duration::from_secs(3),
            pids: Vec::new(),
        };
        assert_eq!(account.sample(&sample, 0), None);
        assert_eq!(
            account.sample(
                &Sample {
                    memory_kib: 2048,
                    ..sample
                },
                1
            ),
            Some(2)
        );
        account.orphan(Duration::from_secs(2));
        let (cpu, memory) = account.close(Duration::from_secs(2), 100);
        assert_eq!((cpu, memory), (Duration::from_secs(4), 2048));
    }
}
