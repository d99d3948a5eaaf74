//! A machine in the hands of a test, which is its driver and its server.

mod attempt;
mod end;
mod give_way;
mod talk;

use fairway_api::pilot::{AttemptOrder, Payload, ReportKind, SyncReply};
use fairway_model::{JobId, Order};

use super::*;

const OK: AttemptEnd = AttemptEnd::Exited { code: 0 };
const TERMINATED: AttemptEnd = AttemptEnd::Signaled { signal: 15 };
const KILLED: AttemptEnd = AttemptEnd::Signaled { signal: 9 };

fn at(millis: u64) -> Moment {
    Duration::from_millis(millis)
}

fn key(index: u32) -> Key {
    Key {
        task: TaskId::new(JobId(1), index),
        attempt: Attempt(1),
    }
}

fn lease(index: u32) -> Lease {
    Lease {
        task: key(index).task,
        attempt: key(index).attempt,
        payload: Payload {
            executable: "true".to_owned(),
            resources: Resources {
                cores: 1,
                memory_mib: 0,
                gpus: 0,
            },
            ..Payload::default()
        },
    }
}

fn machine() -> Machine {
    let terms = Terms {
        capacity: Resources {
            cores: 2,
            memory_mib: 1000,
            gpus: 0,
        },
        ends_at: Duration::from_secs(1000),
        tidy_up: Duration::from_secs(50),
        idle: Duration::from_secs(60),
        heartbeat: Duration::from_secs(30),
    };
    Machine::new(terms, at(0))
}

fn leases(indices: impl IntoIterator<Item = u32>) -> SyncReply {
    SyncReply {
        leases: indices.into_iter().map(lease).collect(),
        ..SyncReply::default()
    }
}

fn drains() -> SyncReply {
    SyncReply {
        drain: true,
        ..SyncReply::default()
    }
}

fn orders(stop: &[(u32, bool)]) -> SyncReply {
    let order = |(index, stale): &(u32, bool)| match stale {
        true => order(*index, Order::WriteOff),
        false => order(*index, Order::Cancel),
    };
    SyncReply {
        orders: stop.iter().map(order).collect(),
        ..SyncReply::default()
    }
}

fn order(index: u32, what: Order) -> AttemptOrder {
    let Key { task, attempt } = key(index);
    AttemptOrder {
        task,
        attempt,
        what,
    }
}

/// A machine that was given these leases at 0 and has staged and started all that fit.
fn working(indices: impl IntoIterator<Item = u32>) -> Machine {
    let mut machine = machine();
    let sync = machine.next_sync(at(0)).unwrap();
    machine.synced(at(0), sync.id, leases(indices));
    go_on(&mut machine, at(0));
    machine
}

/// Stages and starts what the machine wants; returns what was started.
fn go_on(machine: &mut Machine, now: Moment) -> Vec<u32> {
    let mut started = Vec::new();
    loop {
        let steps = machine.take_steps();
        if steps.is_empty() {
            return started;
        }
        for step in steps {
            match step {
                Step::Stage(lease) => machine.staged(now, Key::from(&*lease), Ok(())),
                Step::Start(key) => {
                    machine.started(now, key, Ok(()));
                    started.push(key.task.index);
                }
                Step::Deliver { key, .. } => machine.delivered(now, key, None),
                Step::Suspend(_)
                | Step::Resume(_)
                | Step::Terminate(_)
                | Step::Kill(_)
                | Step::Drop(_) => {}
            }
        }
    }
}

fn finish(machine: &mut Machine, now: Moment, index: u32, end: AttemptEnd) {
    machine.exited(now, key(index), end, Used::default());
    go_on(machine, now);
}

fn ends(sync: &Outgoing) -> Vec<(u32, AttemptEnd)> {
    let end = |report: &Report| match &report.what {
        ReportKind::Ended { end, .. } => Some((report.task.index, end.clone())),
        ReportKind::Started | ReportKind::Suspended | ReportKind::Resumed => None,
    };
    sync.request.reports.iter().filter_map(end).collect()
}

/// Whether all that is reported is that the task is handed back.
fn hands_back(sync: &Outgoing, index: u32) -> bool {
    let ends = ends(sync);
    matches!(ends[..], [(task, AttemptEnd::HandedBack { .. })] if task == index)
}
