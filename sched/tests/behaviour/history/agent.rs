//! Pilots as they are out there: they know only what reached them, and messages may be lost,
//! repeated and late.

use std::collections::{BTreeMap, BTreeSet};

use fairway_model::{Attempt, AttemptEnd, Order, PilotId, TaskId};
use fairway_sched::command::{AttemptNews, AttemptReport, PilotWant};
use fairway_sched::{Command, Refused, RefusedKind, Reply};

use super::step::Fate;
use super::{Run, pick};
use crate::world::{HOUR_S, ended, exit};

/// A pilot as it is out there: it knows only what reached it.
#[derive(Default)]
pub(super) struct Agent {
    round: u64,
    holding: BTreeMap<(TaskId, Attempt), bool>,
    unsaid: Vec<AttemptReport>,
    pub(super) over: bool,
    /// What it was told last of whether it is to stay without a task.
    staying: bool,
}

pub(super) struct Message {
    pilot: PilotId,
    reports: Vec<AttemptReport>,
    holding: Vec<(TaskId, Attempt)>,
    want: Option<PilotWant>,
}

impl Message {
    pub(super) fn command(&self) -> Command {
        Command::Sync {
            pilot: self.pilot,
            reports: self.reports.clone(),
            holding: self.holding.clone(),
            want: self.want,
        }
    }
}

impl Run {
    pub(super) fn agent(&mut self, which: usize) -> Option<PilotId> {
        pick(self.alive(), which)
    }

    /// Those that do not know yet that they are over.
    pub(super) fn alive(&self) -> Vec<PilotId> {
        let alive = self.agents.iter().filter(|(_, agent)| !agent.over);
        alive.map(|(id, _)| *id).collect()
    }

    /// A pilot has called home.
    pub(super) fn came(&mut self, pilot: PilotId) {
        self.agents.insert(pilot, Agent::default());
    }

    pub(super) fn sync(&mut self, pilot: PilotId, fate: Fate, wish: Option<u32>) {
        let agent = self.agents.get_mut(&pilot).unwrap();
        let want = wish.map(|backlog| {
            agent.round += 1;
            PilotWant {
                round: agent.round,
                remaining_s: HOUR_S,
                backlog,
                staying: agent.staying,
            }
        });
        let message = Message {
            pilot,
            reports: agent.unsaid.clone(),
            holding: agent.holding.keys().copied().collect(),
            want,
        };
        if matches!(fate, Fate::RequestLost) {
            self.sent.push(message);
            return;
        }
        let reply = self.world.ask(message.command());
        if matches!(fate, Fate::Repeated) {
            self.sent.push(message);
        }
        if !matches!(fate, Fate::ReplyLost) {
            self.hear(pilot, reply);
        }
    }

    /// The pilot hears the answer to its sync.
    fn hear(&mut self, pilot: PilotId, reply: Result<Reply, Refused>) {
        let agent = self.agents.get_mut(&pilot).unwrap();
        match reply {
            Ok(Reply::Synced {
                grants,
                orders,
                stay,
                ..
            }) => {
                agent.staying = stay.unwrap_or(agent.staying);
                for report in std::mem::take(&mut agent.unsaid) {
                    if matches!(report.what, AttemptNews::Ended { .. }) {
                        agent.holding.remove(&(report.task, report.attempt));
                    }
                }
                for grant in grants {
                    agent
                        .holding
                        .entry((grant.task, grant.attempt))
                        .or_insert(false);
                }
                for (task, attempt, order) in orders {
                    let held = agent.holding.contains_key(&(task, attempt));
                    let reason = || "it gives way".to_owned();
                    let what = match order {
                        Order::WriteOff => {
                            agent.holding.remove(&(task, attempt));
                            continue;
                        }
                        _ if !held => continue,
                        Order::Cancel => ended(AttemptEnd::Cancelled),
                        Order::GiveWay { .. } => ended(AttemptEnd::HandedBack { reason: reason() }),
                        Order::Suspend => AttemptNews::Suspended,
                        Order::Resume => AttemptNews::Resumed,
                    };
                    agent.unsaid.push(AttemptReport {
                        task,
                        attempt,
                        what,
                    });
                }
            }
            Ok(other) => panic!("{other:?}"),
            Err(refused) => {
                assert_eq!(refused.kind, RefusedKind::PilotEnded);
                agent.over = true;
            }
        }
    }

    pub(super) fn start(&mut self, pilot: PilotId, which: usize) {
        let agent = self.agents.get_mut(&pilot).unwrap();
        let idle = agent.holding.iter().filter(|(_, started)| !**started);
        if let Some((task, attempt)) = pick(idle.map(|(key, _)| *key), which) {
            agent.holding.insert((task, attempt), true);
            agent.unsaid.push(AttemptReport {
                task,
                attempt,
                what: AttemptNews::Started,
            });
        }
    }

    pub(super) fn end(&mut self, pilot: PilotId, which: usize, how: usize) {
        let agent = self.agents.get_mut(&pilot).unwrap();
        let said: BTreeSet<_> = agent
            .unsaid
            .iter()
            .filter(|report| matches!(report.what, AttemptNews::Ended { .. }))
            .map(|report| (report.task, report.attempt))
            .collect();
        let open = agent.holding.keys().filter(|key| !said.contains(key));
        if let Some((task, attempt)) = pick(open.copied(), which) {
            let reason = || "a test".to_owned();
            let end = match how {
                0 => exit(1),
                1 => AttemptEnd::Signaled { signal: 9 },
                2 => AttemptEnd::NotStarted { reason: reason() },
                3 => AttemptEnd::HandedBack { reason: reason() },
                _ => exit(0),
            };
            agent.unsaid.push(AttemptReport {
                task,
                attempt,
                what: ended(end),
            });
        }
    }

    pub(super) fn minute(&mut self) {
        self.world.pass(61);
        for pilot in self.alive() {
            self.sync(pilot, Fate::Arrives, Some(0));
            (0..4).for_each(|_| self.start(pilot, 0));
            self.sync(pilot, Fate::Arrives, None);
        }
        self.world.ask(Command::Tick).unwrap();
        self.serve();
    }

    pub(super) fn serve(&mut self) {
        for (pilot, synced) in self.world.serve() {
            let reply = Reply::Synced {
                grants: synced.grants,
                orders: synced.orders,
                drain: synced.drain,
                stay: synced.stay,
            };
            // What a parked sync carried has been heard; its answer has nothing of it.
            let agent = self.agents.get_mut(&pilot).unwrap();
            let unsaid = std::mem::take(&mut agent.unsaid);
            self.hear(pilot, Ok(reply));
            let agent = self.agents.get_mut(&pilot).unwrap();
            let later = std::mem::replace(&mut agent.unsaid, unsaid);
            agent.unsaid.extend(later);
        }
    }
}
