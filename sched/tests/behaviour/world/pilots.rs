//! Pilots: noted, seen by the batch system, calling home, pulling and reporting.

use std::collections::BTreeMap;

use fairway_model::{
    Attempt, AttemptEnd, Order, Pilot, PilotEnd, PilotId, PilotOwner, Resources, TaskId,
};
use fairway_sched::command::{AttemptNews, AttemptReport, Observation, PilotWant};
use fairway_sched::provision::{PilotOrder, Purpose};
use fairway_sched::{Command, Grant, Refused, Reply};

use super::{HOUR_S, World, ce, ended, report};

#[derive(Debug, Default)]
pub(crate) struct Synced {
    pub(crate) grants: Vec<Grant>,
    pub(crate) orders: Vec<(TaskId, Attempt, Order)>,
    pub(crate) drain: bool,
    pub(crate) stay: Option<bool>,
}

impl Synced {
    fn of(reply: Reply) -> Self {
        match reply {
            Reply::Synced {
                grants,
                orders,
                drain,
                stay,
            } => Self {
                grants,
                orders,
                drain,
                stay,
            },
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn granted(&self) -> Vec<(TaskId, Attempt)> {
        self.grants
            .iter()
            .map(|grant| (grant.task, grant.attempt))
            .collect()
    }
}

impl World {
    /// Carries the plan of the moment out: orders only. Gives back the pilots that were noted.
    pub(crate) fn carry_out(&mut self) -> Vec<Pilot> {
        let orders = self.plan().orders;
        self.note(orders)
    }

    /// Notes a pilot as planned, with an hour of walltime.
    pub(crate) fn planned(&mut self, name: &str, cores: u32) -> PilotId {
        self.planned_for(name, cores, PilotOwner::Shared)
    }

    /// As [`planned`](Self::planned), for an owner.
    pub(crate) fn planned_for(&mut self, name: &str, cores: u32, owner: PilotOwner) -> PilotId {
        self.ordered(name, cores, owner, 1)[0]
    }

    /// Notes an allocation of several pilots as planned, with an hour of walltime.
    pub(crate) fn planned_together(&mut self, name: &str, cores: u32, nodes: u32) -> Vec<PilotId> {
        self.ordered(name, cores, PilotOwner::Shared, nodes)
    }

    fn ordered(&mut self, name: &str, cores: u32, owner: PilotOwner, nodes: u32) -> Vec<PilotId> {
        let order = PilotOrder {
            ce: ce(&format!("lyon/{name}")),
            resources: Resources {
                cores,
                memory_mib: 0,
                gpus: 0,
            },
            owner,
            nodes,
            reserve_at: None,
            purpose: Purpose::Any,
            walltime_s: HOUR_S,
            because: "a test needs it".into(),
        };
        let pilots = self.note(vec![order]);
        pilots.iter().map(|pilot| pilot.id).collect()
    }

    fn note(&mut self, orders: Vec<PilotOrder>) -> Vec<Pilot> {
        let with_secrets = |order: PilotOrder| {
            let secrets = vec!["secret".to_owned(); order.nodes as usize];
            (order, secrets)
        };
        let orders = orders.into_iter().map(with_secrets).collect();
        match self.ask(Command::PlanPilots { orders }) {
            Ok(Reply::Planned(pilots)) => pilots,
            other => panic!("{other:?}"),
        }
    }

    /// An allocation whose pilots have all called home, each from its node: `node1`, `node2` …
    pub(crate) fn together(&mut self, name: &str, cores: u32, nodes: u32) -> Vec<PilotId> {
        let pilots = self.planned_together(name, cores, nodes);
        for (pilot, n) in pilots.iter().zip(1..) {
            self.register_on(*pilot, "nonce", cores, &format!("node{n}"))
                .unwrap();
        }
        pilots
    }

    pub(crate) fn observe(&mut self, pilot: PilotId, seen: Observation) {
        self.ask(Command::ObservePilots(vec![(pilot, seen)]))
            .unwrap();
    }

    pub(crate) fn register(
        &mut self,
        pilot: PilotId,
        nonce: &str,
        cores: u32,
    ) -> Result<Reply, Refused> {
        self.register_on(pilot, nonce, cores, "node1")
    }

    pub(crate) fn register_on(
        &mut self,
        pilot: PilotId,
        nonce: &str,
        cores: u32,
        host: &str,
    ) -> Result<Reply, Refused> {
        self.ask(Command::RegisterPilot {
            pilot,
            bootstrap_hash: "secret".into(),
            nonce_hash: nonce.into(),
            session_hash: "session".into(),
            host: host.into(),
            resources: Resources {
                cores,
                memory_mib: 4000 * u64::from(cores),
                gpus: 0,
            },
            remaining_s: HOUR_S,
        })
    }

    /// A pilot that has called home.
    pub(crate) fn pilot(&mut self, name: &str, cores: u32) -> PilotId {
        let pilot = self.planned(name, cores);
        self.register(pilot, "nonce", cores).unwrap();
        pilot
    }

    /// A pilot that has called home from a node.
    pub(crate) fn pilot_on(&mut self, name: &str, cores: u32, host: &str) -> PilotId {
        let pilot = self.planned(name, cores);
        self.register_on(pilot, "nonce", cores, host).unwrap();
        pilot
    }

    pub(crate) fn kill(&mut self, pilot: PilotId) -> Result<Reply, Refused> {
        let end = PilotEnd::Cancelled {
            reason: "an operator's word".into(),
        };
        self.ask(Command::EndPilot { pilot, end })
    }

    pub(crate) fn next_round(&mut self, pilot: PilotId) -> u64 {
        let round = self.rounds.entry(pilot).or_default();
        *round += 1;
        *round
    }

    pub(crate) fn wish(&mut self, pilot: PilotId, backlog: u32) -> PilotWant {
        PilotWant {
            round: self.next_round(pilot),
            remaining_s: HOUR_S,
            backlog,
            staying: self.staying.get(&pilot).copied().unwrap_or(false),
        }
    }

    pub(crate) fn sync(
        &mut self,
        pilot: PilotId,
        reports: Vec<AttemptReport>,
        holding: &[(TaskId, Attempt)],
        want: Option<PilotWant>,
    ) -> Synced {
        let holding = holding.to_vec();
        let synced = match self
            .ask(Command::Sync {
                pilot,
                reports,
                holding,
                want,
            })
            .unwrap()
        {
            reply @ Reply::Synced { .. } => Synced::of(reply),
            other => panic!("{other:?}"),
        };
        self.note_stay(pilot, &synced);
        synced
    }

    fn note_stay(&mut self, pilot: PilotId, synced: &Synced) {
        if let Some(stay) = synced.stay {
            self.staying.insert(pilot, stay);
        }
    }

    /// A pilot that holds just `holding` wishes for work.
    pub(crate) fn pull(
        &mut self,
        pilot: PilotId,
        holding: &[(TaskId, Attempt)],
    ) -> Vec<(TaskId, Attempt)> {
        let want = Some(self.wish(pilot, 0));
        self.sync(pilot, Vec::new(), holding, want).granted()
    }

    /// Work for a pilot that has none.
    pub(crate) fn pull_one(&mut self, pilot: PilotId) -> (TaskId, Attempt) {
        self.pull(pilot, &[])[0]
    }

    pub(crate) fn report(
        &mut self,
        pilot: PilotId,
        attempt: (TaskId, Attempt),
        what: AttemptNews,
    ) -> Synced {
        self.sync(pilot, vec![report(attempt, what)], &[], None)
    }

    pub(crate) fn start(&mut self, pilot: PilotId, attempt: (TaskId, Attempt)) {
        self.report(pilot, attempt, AttemptNews::Started);
    }

    pub(crate) fn end(
        &mut self,
        pilot: PilotId,
        attempt: (TaskId, Attempt),
        end: AttemptEnd,
    ) -> Synced {
        self.report(pilot, attempt, ended(end))
    }

    pub(crate) fn serve(&mut self) -> BTreeMap<PilotId, Synced> {
        let Ok(Reply::Served(served)) = self.ask(Command::Serve) else {
            panic!("Serve is answered with Served");
        };
        let served = served.into_iter();
        let served: BTreeMap<PilotId, Synced> = served
            .map(|(pilot, reply)| (pilot, Synced::of(reply)))
            .collect();
        for (pilot, synced) in &served {
            self.note_stay(*pilot, synced);
        }
        served
    }
}
