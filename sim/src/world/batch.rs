//! A batch system: nodes, a queue in order of submission, and what it publishes. Jobs that do
//! not fit are passed over by those behind them that do, as with every backfilling scheduler.

use fairway_model::{CeId, CeState, CeStatus, PilotId, Resources, Timestamp};

/// Where pilots run.
#[derive(Clone, Debug)]
pub(crate) enum Machines {
    /// Nodes that are known one by one: what is free on each, of what it has.
    Nodes {
        each: Resources,
        free: Vec<Resources>,
    },
    /// Cores of which it is not known where they are; `None`: as many as may be.
    Pool { total: u64, free: Option<u64> },
}

/// A batch job: one allocation for the pilots that follow its first.
#[derive(Clone, Debug)]
pub(crate) struct BatchJob {
    /// Its first pilot; the others' numbers follow.
    pub(crate) first: PilotId,
    pub(crate) nodes: u32,
    /// On each node.
    pub(crate) resources: Resources,
    /// Nodes that it is not to be sent to.
    pub(crate) avoid: Vec<u32>,
    /// Whether it may start when there is room.
    pub(crate) ready: bool,
}

/// The batch system of one cluster.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) ce: CeId,
    pub(crate) machines: Machines,
    pub(crate) queue: Vec<BatchJob>,
    /// Pilots that run.
    pub(crate) running: u32,
    /// Jobs submitted so far.
    pub(crate) submitted: u64,
    /// What a look at it shows, but for what changes.
    pub(crate) face: CeState,
}

impl Batch {
    /// One with these nodes, all free.
    pub(crate) fn new(ce: CeId, nodes: u32, each: Resources, untold_memory: bool) -> Self {
        let cores = nodes.saturating_mul(each.cores);
        let face = CeState {
            status: CeStatus::Production,
            reason: None,
            cores_total: Some(cores),
            nodes_total: Some(nodes),
            node_cores: Some(each.cores),
            node_memory_mib: (!untold_memory).then_some(each.memory_mib),
            gpus_total: Some(nodes.saturating_mul(each.gpus)),
            ..CeState::unreachable(ce.clone(), "simulated", Timestamp(0), String::new())
        };
        let machines = Machines::Nodes {
            each,
            free: vec![each; nodes as usize],
        };
        Self::with(ce, machines, face)
    }

    /// One of which only a look is known.
    pub(crate) fn with(ce: CeId, machines: Machines, face: CeState) -> Self {
        Self {
            ce,
            machines,
            queue: Vec::new(),
            running: 0,
            submitted: 0,
            face,
        }
    }

    /// What it publishes at a moment.
    pub(crate) fn publish(&self, now: Timestamp) -> CeState {
        let mut state = self.face.clone();
        state.observed_at = now;
        let waiting = u32::try_from(self.queue.len()).unwrap_or(u32::MAX);
        match &self.machines {
            Machines::Nodes { each, free } => {
                let cores: u64 = free.iter().map(|node| u64::from(node.cores)).sum();
                let whole = free.iter().filter(|node| *node == each).count();
                let cores = u32::try_from(cores).unwrap_or(u32::MAX);
                state.cores_free = Some(cores);
                state.cores_used = state.cores_total.map(|all| all.saturating_sub(cores));
                state.nodes_free = u32::try_from(whole).ok();
                state.jobs_running = Some(self.running);
                state.jobs_waiting = Some(waiting);
            }
            Machines::Pool { free, .. } => {
                if let Some(free) = *free {
                    state.cores_free = Some(u32::try_from(free).unwrap_or(u32::MAX));
                }
            }
        }
        state
    }

    /// The next job that is ready and fits, with the nodes that it gets.
    pub(crate) fn start_next(&mut self) -> Option<(BatchJob, Vec<u32>)> {
        for place in 0..self.queue.len() {
            if !self.queue[place].ready {
                continue;
            }
            let Some(nodes) = take(&mut self.machines, &self.queue[place]) else {
                continue;
            };
            self.running += self.queue[place].nodes;
            return Some((self.queue.remove(place), nodes));
        }
        None
    }

    /// How many pilots more fit onto the nodes.
    pub(crate) fn room_for(&self, resources: Resources) -> usize {
        let Machines::Nodes { free, .. } = &self.machines else {
            return 0;
        };
        let on = |node: &Resources| {
            let mut left = *node;
            let mut pilots = 0;
            while resources.cores > 0
                && let Some(rest) = left.minus(resources)
            {
                (left, pilots) = (rest, pilots + 1);
            }
            pilots
        };
        free.iter().map(on).sum()
    }

    /// Takes the job of a pilot out of the queue.
    pub(crate) fn withdraw(&mut self, first: PilotId) {
        self.queue.retain(|job| job.first != first);
    }

    /// Takes a pilot's resources for one that is known to run already.
    pub(crate) fn occupy(&mut self, resources: Resources) {
        if let Machines::Pool {
            free: Some(free), ..
        } = &mut self.machines
        {
            *free = free.saturating_sub(u64::from(resources.cores));
        }
        self.running += 1;
    }

    /// Gives back what a pilot had on a node.
    pub(crate) fn release(&mut self, node: u32, resources: Resources) {
        self.running = self.running.saturating_sub(1);
        match &mut self.machines {
            Machines::Nodes { free, .. } => {
                if let Some(at) = free.get_mut(node as usize) {
                    *at = at.plus(resources);
                }
            }
            Machines::Pool { total, free } => {
                if let Some(free) = free {
                    *free = (*free + u64::from(resources.cores)).min(*total);
                }
            }
        }
    }
}

/// Takes what a job asks for; nothing is taken if not all of it is there.
fn take(machines: &mut Machines, job: &BatchJob) -> Option<Vec<u32>> {
    match machines {
        Machines::Nodes { free, .. } => {
            let mut found = Vec::with_capacity(job.nodes as usize);
            for (node, at) in (0_u32..).zip(free.iter()) {
                if found.len() == job.nodes as usize {
                    break;
                }
                if at.holds(job.resources) && !job.avoid.contains(&node) {
                    found.push(node);
                }
            }
            if found.len() < job.nodes as usize {
                return None;
            }
            for &node in &found {
                let at = &mut free[node as usize];
                *at = at.minus(job.resources).unwrap_or_default();
            }
            Some(found)
        }
        Machines::Pool { free, .. } => {
            let cores = u64::from(job.nodes) * u64::from(job.resources.cores);
            if let Some(free) = free {
                *free = free.checked_sub(cores)?;
            }
            Some((0..job.nodes).collect())
        }
    }
}
