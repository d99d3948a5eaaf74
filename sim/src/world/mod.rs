//! The world around the scheduler. Everything that it is told, and everything that it decides,
//! goes through [`State::apply`]; this only plays the others' parts.
//!
//! - [`agenda`]: what happens when;
//! - [`batch`]: nodes and queues; [`supply`]: from a plan to pilots that start;
//! - [`pilot`]: what pilots say and do.

mod agenda;
mod batch;
mod pilot;
mod supply;

use std::collections::BTreeMap;
use std::time::Duration;

use fairway_model::{PilotId, TaskId, Timestamp};
use fairway_sched::command::Submission;
use fairway_sched::{Change, Command, Refused, Reply, State};

use crate::clusters::{Faults, PilotSupply};
use crate::numbers::Distribution;

pub(crate) use agenda::Happening;
pub(crate) use batch::{Batch, Machines};
pub(crate) use pilot::{Phase, Running, SimPilot};

use agenda::Agenda;

/// What a world is for: what is submitted, how long things take, and who looks on.
pub(crate) trait Scenario {
    /// When the next job is submitted; never, unless the scenario says so.
    fn next_arrival(&self) -> Option<Timestamp> {
        None
    }

    /// The next job.
    fn arrive(&mut self) -> Option<Submission> {
        None
    }

    /// How long a task runs on a core of speed 1 if nothing ends it, in milliseconds.
    fn runtime_ms(&mut self, state: &State, task: TaskId) -> u64;

    /// Something that the scheduler wants to be durable.
    fn heard(&mut self, change: &Change, now: Timestamp);

    /// A pilot has been started by the batch system.
    fn pilot_runs(&mut self, _id: PilotId, _pilot: &SimPilot, _now: Timestamp) {}

    /// A pilot that ran is over.
    fn pilot_over(&mut self, _id: PilotId, _pilot: &SimPilot, _now: Timestamp) {}

    /// Something has happened, or is about to be decided.
    fn moment(&mut self, _state: &State, _now: Timestamp) {}

    /// Whether nothing more is of interest.
    fn is_over(&self) -> bool;
}

/// How long pilots wait in a batch system for reasons of its own.
#[derive(Clone, Debug)]
pub(crate) enum Delay {
    /// As drawn.
    Drawn(Distribution),
    /// As the scheduler itself expects, times a factor; as told where it does not know, and at
    /// least that where no core is free.
    Expected {
        /// What the expectation is multiplied by.
        factor: f64,
        /// Where nothing is known, in milliseconds.
        unknown_ms: u64,
    },
}

/// A site of the world.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) batch: Batch,
    pub(crate) speed: f64,
    pub(crate) delay: Delay,
    pub(crate) start_ms: u64,
    pub(crate) idle_ms: u64,
    pub(crate) faults: Faults,
}

/// How the world goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) seed: u64,
    pub(crate) supply: PilotSupply,
    pub(crate) tick_ms: u64,
    pub(crate) look_ms: u64,
    pub(crate) plan_ms: u64,
    /// Nothing happens after it.
    pub(crate) until: Timestamp,
    /// So long without any task's end or arrival, and it is over: what still waits never runs.
    pub(crate) patience_ms: u64,
    /// Most events.
    pub(crate) events_max: u64,
    /// Whether time is looked at less and less often while no pilot is there or on its way.
    pub(crate) doze: bool,
}

/// The time between beats is doubled so many times at most.
const DOUBLED_MAX: u32 = 4;

/// Why a world came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// Nothing is left to happen, or to be of interest.
    Done,
    /// It is later than was asked for.
    Late,
    /// What waits never runs.
    Stuck,
    /// More happened than was allowed.
    Exhausted,
}

/// When things were done last that are done again and again.
#[derive(Clone, Copy, Debug, Default)]
struct Beats {
    /// Whether the next beat is on the agenda.
    going: bool,
    /// So many times the time between beats was doubled.
    doubled: u32,
    ticked: Option<Timestamp>,
    looked: Option<Timestamp>,
    planned: Option<Timestamp>,
}

/// The world.
pub(crate) struct World<S> {
    pub(crate) state: State,
    pub(crate) now: Timestamp,
    pub(crate) scenario: S,
    pub(crate) places: Vec<Place>,
    /// Pilots that wait, start or run.
    pub(crate) pilots: BTreeMap<PilotId, SimPilot>,
    /// Pilots that were asked for, and those that were called back.
    pub(crate) asked: u64,
    pub(crate) recalled: u64,
    agenda: Agenda,
    rules: Rules,
    beats: Beats,
    /// Tasks that run.
    running: u64,
    progress_at: Timestamp,
    events: u64,
}

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

impl<S: Scenario> World<S> {
    /// A world that begins at a moment with a state that knows of the places.
    pub(crate) fn new(
        state: State,
        scenario: S,
        places: Vec<Place>,
        rules: Rules,
        now: Timestamp,
    ) -> Self {
        let mut world = Self {
            state,
            now,
            scenario,
            places,
            pilots: BTreeMap::new(),
            asked: 0,
            recalled: 0,
            agenda: Agenda::default(),
            rules,
            beats: Beats::default(),
            running: 0,
            progress_at: now,
            events: 0,
        };
        if let Some(at) = world.scenario.next_arrival() {
            world.agenda.note(at.max(now), Happening::Arrival);
        }
        world
    }

    /// Lets the world go on until it comes to its end.
    pub(crate) fn run(&mut self) -> Stopped {
        self.wake();
        while let Some(at) = self.agenda.next_at() {
            if at > self.rules.until {
                self.now = self.rules.until;
                return Stopped::Late;
            }
            self.now = self.now.max(at);
            while let Some(what) = self.agenda.pop_until(at) {
                self.events += 1;
                self.happen(what);
                self.scenario.moment(&self.state, self.now);
            }
            self.serve();
            self.scenario.moment(&self.state, self.now);
            if self.scenario.is_over() {
                return Stopped::Done;
            }
            if self.events > self.rules.events_max {
                return Stopped::Exhausted;
            }
            if self.is_stuck() {
                return Stopped::Stuck;
            }
        }
        Stopped::Done
    }

    fn is_stuck(&self) -> bool {
        let idle = self.now.since(self.progress_at);
        idle > millis(self.rules.patience_ms) && self.scenario.next_arrival().is_none()
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Arrival => self.arrivals(),
            Happening::Ready { cluster, job } => self.ready(cluster, job),
            Happening::Call(pilot) => self.call(pilot),
            Happening::Exit {
                pilot,
                task,
                attempt,
            } => self.exit(pilot, task, attempt),
            Happening::Idle { pilot, spell } => self.idle(pilot, spell),
            Happening::Expiry(pilot) => self.expire(pilot),
            Happening::Death(pilot) => self.die(pilot),
            Happening::Discovery(pilot) => self.discover(pilot),
            Happening::Beat => self.beat(),
        }
    }

    /// Notes that something happens in so many milliseconds.
    fn after(&mut self, ms: u64, what: Happening) {
        self.agenda.note(self.now.plus(millis(ms)), what);
    }

    /// Has the scheduler carry out a command. The second value tells whether anything changed.
    fn apply(&mut self, command: Command) -> (Result<Reply, Refused>, bool) {
        let applied = self.state.apply(command, self.now);
        for change in &applied.changes {
            if let Change::Task(task) = change
                && task.state.is_final()
            {
                self.progress_at = self.now;
            }
            self.scenario.heard(change, self.now);
        }
        (applied.reply, !applied.changes.is_empty())
    }

    fn arrivals(&mut self) {
        self.wake();
        while self
            .scenario
            .next_arrival()
            .is_some_and(|at| at <= self.now)
        {
            let Some(submission) = self.scenario.arrive() else {
                break;
            };
            // A submission without a key is never refused.
            let (reply, _) = self.apply(Command::Submit(submission));
            debug_assert!(reply.is_ok(), "{reply:?}");
        }
        self.progress_at = self.now;
        if let Some(at) = self.scenario.next_arrival() {
            self.agenda.note(at, Happening::Arrival);
        }
        self.plan_if_due();
    }

    /// Whether time matters for anything.
    fn is_awake(&self) -> bool {
        let pilots = self.rules.supply == PilotSupply::Batch && !self.pilots.is_empty();
        self.running > 0 || pilots || self.state.waiting() > 0
    }

    /// Has the beats going again after an idle stretch.
    fn wake(&mut self) {
        if !self.beats.going {
            self.beats.going = true;
            self.look_and_tick();
            self.note_beat();
        }
    }

    fn note_beat(&mut self) {
        let Rules {
            tick_ms,
            look_ms,
            plan_ms,
            ..
        } = self.rules;
        let own = tick_ms.min(look_ms);
        let every = match self.rules.supply {
            PilotSupply::Batch => own.min(plan_ms),
            PilotSupply::Standing => own,
        };
        self.after(every << self.beats.doubled, Happening::Beat);
    }

    fn beat(&mut self) {
        self.beats.going = self.is_awake();
        if self.beats.going {
            self.look_and_tick();
            self.plan_if_due();
            let dozes = self.rules.doze && self.pilots.is_empty();
            self.beats.doubled = if dozes {
                (self.beats.doubled + 1).min(DOUBLED_MAX)
            } else {
                0
            };
            self.note_beat();
        }
    }

    fn look_and_tick(&mut self) {
        // Looking at all pilots is work as well.
        self.events += self.pilots.len() as u64 / 8;
        if self.is_due(self.beats.looked, self.rules.look_ms) {
            self.beats.looked = Some(self.now);
            self.look();
        }
        if self.is_due(self.beats.ticked, self.rules.tick_ms) {
            self.beats.ticked = Some(self.now);
            let _ = self.apply(Command::Tick);
        }
    }

    fn plan_if_due(&mut self) {
        if self.rules.supply == PilotSupply::Batch
            && self.is_due(self.beats.planned, self.rules.plan_ms)
        {
            self.beats.planned = Some(self.now);
            self.plan();
        }
    }

    fn is_due(&self, last: Option<Timestamp>, every_ms: u64) -> bool {
        last.is_none_or(|last| self.now.since(last) >= millis(every_ms))
    }

    /// Tasks that wait or run, and what of the world's they have; for those who draw up what
    /// was not over at the end.
    pub(crate) fn still_running(&self) -> impl Iterator<Item = (PilotId, &SimPilot, &Running)> {
        let pilots = self.pilots.iter();
        pilots.flat_map(|(&id, pilot)| pilot.tasks.iter().map(move |task| (id, pilot, task)))
    }
}
