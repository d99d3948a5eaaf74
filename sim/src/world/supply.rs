//! From a plan to pilots that start, as the server's own loop does it: the plan is noted, its
//! pilots are submitted, and what nobody needs is called back.

use fairway_model::{CeId, Pilot, PilotEnd, PilotId, PilotOwner, Resources, SiteName};
use fairway_sched::command::Observation;
use fairway_sched::provision::{self, PilotOrder, Purpose};
use fairway_sched::{Command, Reply};

use super::batch::{Batch, BatchJob};
use super::{Delay, Happening, Phase, Place, Scenario, SimPilot, World};
use crate::clusters::{MEMORY_UNTOLD_MIB, PilotSupply};
use crate::numbers::Rng;

/// What stands for the hash of a secret that nobody has.
pub(super) const HASH: &str = "hash";

/// A standing pilot's walltime: a hundred years.
const STANDING_S: u64 = 100 * 365 * 86_400;

/// What the scheduler takes for "never", in seconds.
const NEVER_S: i64 = 2_000_000_000;

impl<S: Scenario> World<S> {
    /// Looks at every batch system: what it publishes, and which pilots have been started.
    pub(super) fn look(&mut self) {
        let starting = |(&id, pilot): (&PilotId, &SimPilot)| {
            (pilot.phase == Phase::Starting).then_some((id, Observation::Running))
        };
        let seen: Vec<_> = self.pilots.iter().filter_map(starting).collect();
        if !seen.is_empty() {
            let _ = self.apply(Command::ObservePilots(seen));
        }
        let published = self
            .places
            .iter()
            .map(|place| place.batch.publish(self.now));
        let published = published.collect();
        let _ = self.apply(Command::Publish(published));
    }

    /// Plans pilots, and carries the plan out.
    pub(super) fn plan(&mut self) {
        let plan = provision::plan(&self.state, self.now);
        for (id, reason) in plan.recalls {
            self.recall(id, reason);
        }
        self.submit(plan.orders);
    }

    fn recall(&mut self, id: PilotId, reason: String) {
        let Some(view) = self.state.pilot(id) else {
            return;
        };
        let mut together = self.state.allocation(view.pilot.allocation);
        if !together.all(|other| other.state.is_expected()) {
            return;
        }
        drop(together);
        let end = PilotEnd::Cancelled { reason };
        if self.apply(Command::EndPilot { pilot: id, end }).0.is_ok() {
            self.recalled += 1;
            self.close(id);
        }
    }

    fn submit(&mut self, orders: Vec<PilotOrder>) {
        if orders.is_empty() {
            return;
        }
        let hashes = |order: &PilotOrder| vec![HASH.to_owned(); order.nodes.max(1) as usize];
        let orders = orders.into_iter().map(|order| {
            let hashes = hashes(&order);
            (order, hashes)
        });
        let orders = orders.collect();
        let Ok(Reply::Planned(pilots)) = self.apply(Command::PlanPilots { orders }).0 else {
            return;
        };
        self.asked += pilots.len() as u64;
        let mut accepted = Vec::with_capacity(pilots.len());
        for pilot in &pilots {
            let batch_id = pilot.allocation.0.to_string();
            accepted.push((pilot.id, Observation::Submitted { batch_id }));
        }
        let _ = self.apply(Command::ObservePilots(accepted));
        for allocation in pilots.chunk_by(|a, b| a.allocation == b.allocation) {
            self.enqueue(allocation);
        }
    }

    /// Puts an allocation into the queue of its batch system.
    fn enqueue(&mut self, allocation: &[Pilot]) {
        let Some(first) = allocation.first() else {
            return;
        };
        let Some(place) = self.place_of(&first.ce) else {
            return;
        };
        let walltime_ms = first.walltime_s.saturating_mul(1000);
        let resources = self.found(place, first.resources);
        for pilot in allocation {
            let sim = SimPilot::new(place, first.id, resources, walltime_ms);
            self.pilots.insert(pilot.id, sim);
        }
        let avoid = self.nodes_aside(&first.ce);
        let batch = &mut self.places[place].batch;
        batch.submitted += 1;
        batch.queue.push(BatchJob {
            first: first.id,
            nodes: u32::try_from(allocation.len()).unwrap_or(u32::MAX),
            resources,
            avoid,
            ready: false,
        });
        let delay_ms = self.delay_ms(place);
        let job = first.id;
        let cluster = place;
        self.after(delay_ms, Happening::Ready { cluster, job });
    }

    /// What a pilot finds that asks for this: what it left to the batch system, and all of a whole
    /// node, it finds there.
    pub(crate) fn found(&self, place: usize, asked: Resources) -> Resources {
        let Batch { ce, face, .. } = &self.places[place].batch;
        let site = self.state.site(&ce.site);
        let described = site.and_then(|site| site.ces.iter().find(|it| it.name == ce.ce));
        let whole = described.is_some_and(|it| it.shape.whole_node);
        let node_memory_mib = face.node_memory_mib.unwrap_or(MEMORY_UNTOLD_MIB);
        let cores = face.node_cores.filter(|_| whole);
        Resources {
            cores: cores.unwrap_or(asked.cores),
            memory_mib: match asked.memory_mib {
                0 => node_memory_mib,
                _ if whole => node_memory_mib,
                asked => asked,
            },
            gpus: asked.gpus,
        }
    }

    /// The nodes that a pilot should not be sent to: as the server's loop says at submission.
    fn nodes_aside(&self, ce: &CeId) -> Vec<u32> {
        let aside = self.state.set_aside(ce).into_iter();
        aside.filter_map(|node| node_number(&node.host)).collect()
    }

    pub(crate) fn place_of(&self, ce: &CeId) -> Option<usize> {
        self.places.iter().position(|place| place.batch.ce == *ce)
    }

    fn delay_ms(&self, place: usize) -> u64 {
        let Place { batch, delay, .. } = &self.places[place];
        match delay {
            Delay::Drawn(distribution) => {
                // The n-th pilot of a cluster waits as long under every policy.
                let key = [u64::MAX - 1, place as u64, batch.submitted];
                distribution.draw_ms(&mut Rng::keyed(self.rules.seed, &key))
            }
            Delay::Expected { factor, unknown_ms } => {
                let expected_ms = self
                    .expected_ms(place)
                    .map(|ms| (ms as f64 * factor) as u64);
                match batch.face.cores_free {
                    Some(0) => expected_ms.unwrap_or(0).max(*unknown_ms),
                    _ => expected_ms.unwrap_or(*unknown_ms),
                }
            }
        }
    }

    /// How long the scheduler expects a pilot to wait at a site, in milliseconds, if it can say.
    pub(crate) fn expected_ms(&self, place: usize) -> Option<u64> {
        let expected_s = self.state.response_s(&self.places[place].batch.ce)?;
        let known = (0..NEVER_S).contains(&expected_s);
        known.then(|| expected_s.unsigned_abs().saturating_mul(1000))
    }

    /// A job's time has come.
    pub(super) fn ready(&mut self, place: usize, first: PilotId) {
        let mut queue = self.places[place].batch.queue.iter_mut();
        if let Some(job) = queue.find(|job| job.first == first) {
            job.ready = true;
            self.start_jobs(place);
        }
    }

    /// Starts all jobs of a batch system that can start.
    pub(super) fn start_jobs(&mut self, place: usize) {
        let start_ms = self.places[place].start_ms;
        while let Some((job, nodes)) = self.places[place].batch.start_next() {
            for (offset, node) in (0..).zip(nodes) {
                let id = PilotId(job.first.0 + offset);
                if let Some(pilot) = self.pilots.get_mut(&id) {
                    pilot.node = node;
                    self.put_on_the_clock(id, start_ms);
                }
            }
        }
    }

    /// Has a pilot stand on every node that has none.
    pub(crate) fn stand(&mut self) {
        debug_assert_eq!(self.rules.supply, PilotSupply::Standing);
        let mut orders = Vec::new();
        for place in &self.places {
            let Some(site) = self.state.site(&place.batch.ce.site) else {
                continue;
            };
            let Some(shape) = site.ces.first().map(|ce| ce.shape.clone()) else {
                continue;
            };
            let resources = Resources {
                cores: shape.cores,
                memory_mib: shape.memory_mib,
                gpus: shape.gpus,
            };
            let order = PilotOrder {
                ce: place.batch.ce.clone(),
                owner: PilotOwner::Shared,
                resources,
                nodes: 1,
                walltime_s: STANDING_S,
                reserve_at: None,
                purpose: Purpose::Any,
                because: "it stands from the beginning".into(),
            };
            let room = place.batch.room_for(resources);
            let missing = room.saturating_sub(place.batch.queue.len());
            orders.extend(std::iter::repeat_n(order, missing));
        }
        self.submit(orders);
    }

    /// Takes in a pilot that is there already.
    pub(crate) fn adopt(&mut self, id: PilotId, mut pilot: SimPilot) {
        // What it has done so far is not part of the run.
        pilot.since = self.now;
        self.places[pilot.place].batch.occupy(pilot.resources);
        let last = pilot.ends_at.plus(std::time::Duration::from_millis(1));
        self.pilots.insert(id, pilot);
        self.agenda.note(last, Happening::Expiry(id));
    }

    /// A pilot that was seen to start calls home at once.
    pub(crate) fn call_soon(&mut self, id: PilotId) {
        self.after(0, Happening::Call(id));
    }

    /// Takes in an allocation that is on its way already, and will be ready in so long.
    pub(crate) fn expect(&mut self, place: usize, first: PilotId, nodes: u32, after_ms: u64) {
        let Some(resources) = self.pilots.get(&first).map(|it| it.resources) else {
            return;
        };
        self.places[place].batch.queue.push(BatchJob {
            first,
            nodes,
            resources,
            avoid: Vec::new(),
            ready: false,
        });
        let (cluster, job) = (place, first);
        self.after(after_ms, Happening::Ready { cluster, job });
    }
}

/// The name of a node, as its pilots tell it.
pub(super) fn host(site: &SiteName, node: u32) -> String {
    format!("{site}-n{}", u64::from(node) + 1)
}

fn node_number(host: &str) -> Option<u32> {
    let (_, number) = host.rsplit_once("-n")?;
    number.parse::<u32>().ok()?.checked_sub(1)
}
