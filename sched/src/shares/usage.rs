//! Amounts of usage: what is counted, what it is worth, and how it loses weight.

use fairway_model::policy::{FairshareSettings, Metric, UsageSettings};
use fairway_model::{Policy, PolicyKind, Timestamp};

/// What was used, as it is counted: whatever the metric, so that another one finds the past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Used {
    /// Payloads given to pilots.
    pub tasks_started: u64,
    /// Core-milliseconds of running payloads.
    pub core_ms: u64,
    /// Milliseconds of processor time of ended payloads.
    pub cpu_ms: u64,
    /// Core-milliseconds times the benchmark of a core of the CE.
    pub normalised_ms: u64,
    /// GiB-milliseconds of the memory that was asked for.
    pub memory_gib_ms: u64,
    /// GPU-milliseconds.
    pub gpu_ms: u64,
}

impl Used {
    const ZERO: Self = Self {
        tasks_started: 0,
        core_ms: 0,
        cpu_ms: 0,
        normalised_ms: 0,
        memory_gib_ms: 0,
        gpu_ms: 0,
    };

    /// So many payloads given to pilots.
    pub const fn tasks(tasks_started: u64) -> Self {
        Self {
            tasks_started,
            ..Self::ZERO
        }
    }

    /// So much processor time.
    pub const fn cpu(cpu_ms: u64) -> Self {
        Self {
            cpu_ms,
            ..Self::ZERO
        }
    }

    fn parts(self) -> [u64; DIMENSIONS] {
        [
            self.tasks_started,
            self.core_ms,
            self.cpu_ms,
            self.normalised_ms,
            self.memory_gib_ms,
            self.gpu_ms,
        ]
    }

    fn of(parts: [u64; DIMENSIONS]) -> Self {
        let [
            tasks_started,
            core_ms,
            cpu_ms,
            normalised_ms,
            memory_gib_ms,
            gpu_ms,
        ] = parts;
        Self {
            tasks_started,
            core_ms,
            cpu_ms,
            normalised_ms,
            memory_gib_ms,
            gpu_ms,
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let (mine, others) = (self.parts(), other.parts());
        Self::of(std::array::from_fn(|i| mine[i].saturating_add(others[i])))
    }

    /// So many times as much, in whole numbers; what is lost by that is carried to the next time,
    /// so that it does not add up: a third of a task is a task each third time.
    #[must_use]
    pub(crate) fn times(self, factor: f64, carried: &mut Carried) -> Self {
        let parts = self.parts();
        Self::of(std::array::from_fn(|i| {
            let exact = parts[i] as f64 * factor + carried.0[i];
            let whole = exact.round().max(0.0);
            carried.0[i] = exact - whole;
            whole as u64
        }))
    }
}

const DIMENSIONS: usize = 6;

/// What rounding has kept back so far, at most a half of each; below 0 if it gave too much. It is
/// not durable: a restart loses no more than that.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Carried([f64; DIMENSIONS]);

/// Usage that has lost weight, and so is no whole number any more. In the order of [`Used`]'s
/// fields; times in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Amounts([f64; DIMENSIONS]);

impl Amounts {
    /// Adds what was used, at a weight.
    pub(crate) fn add(&mut self, used: Used, weight: f64) {
        for (sum, part) in self.0.iter_mut().zip(used.parts()) {
            *sum += weight * part as f64;
        }
    }

    /// Adds others.
    pub(crate) fn add_all(&mut self, other: Self) {
        for (sum, part) in self.0.iter_mut().zip(other.0) {
            *sum += part;
        }
    }

    /// Core-seconds.
    pub(crate) fn core_s(self) -> f64 {
        self.0[1] / 1000.0
    }

    /// What it is worth under the metric: tasks or seconds.
    pub(crate) fn worth(self, settings: &UsageSettings) -> f64 {
        let [tasks, core, cpu, normalised, memory, gpu] = self.0;
        let weights = settings.weights;
        let weighed = [
            weights.core * core / 1000.0,
            weights.memory_gib * memory / 1000.0,
            weights.gpu * gpu / 1000.0,
        ];
        match settings.metric {
            Metric::TasksStarted => tasks,
            Metric::CoreSeconds => core / 1000.0,
            Metric::CpuSeconds => cpu / 1000.0,
            Metric::NormalisedSeconds => normalised / 1000.0,
            Metric::WeightedSum => weighed[0] + weighed[1] + weighed[2],
            Metric::Dominant => weighed[0].max(weighed[1]).max(weighed[2]),
        }
    }
}

/// The intervals that usage is counted in under a policy, and how they lose weight.
pub(crate) fn windows(policy: &Policy) -> FairshareSettings {
    match policy.kind {
        PolicyKind::FairTree | PolicyKind::HalfLife | PolicyKind::UserPriority => {
            policy.half_life.as_intervals()
        }
        PolicyKind::Maui => FairshareSettings {
            duration_s: policy.maui.interval_s,
            max_depth: policy.maui.depth,
            decay_rate: policy.maui.decay,
        },
        PolicyKind::Fifo
        | PolicyKind::RoundRobin
        | PolicyKind::RoundRobinGroups
        | PolicyKind::Fairshare => policy.fairshare,
    }
}

/// The length of the intervals that usage is counted in under a policy, in seconds.
pub fn interval_s(policy: &Policy) -> u64 {
    windows(policy).duration_s
}

/// The beginning of the interval that `at` is in. Intervals begin at multiples of their duration
/// since the epoch, so they are the same after a restart.
pub(crate) fn begin_of(windows: &FairshareSettings, at: Timestamp) -> Timestamp {
    let length = length_ms(windows);
    Timestamp(at.0.div_euclid(length) * length)
}

pub(crate) fn length_ms(windows: &FairshareSettings) -> i64 {
    i64::try_from(windows.duration_s)
        .unwrap_or(i64::MAX)
        .saturating_mul(1000)
        .max(1)
}

/// `decay_rate^i` for each interval that counts, the current one first.
pub(crate) fn weights(windows: &FairshareSettings) -> Vec<f64> {
    // Multiplied out: the same on every machine, which `powi` does not promise.
    std::iter::successors(Some(1.0), |weight| Some(weight * windows.decay_rate))
        .take(windows.max_depth as usize)
        .collect()
}

/// How many intervals before the current one the interval that began at `begin` is. After a
/// change of the duration an old interval counts as the one that it began in.
pub(crate) fn age(windows: &FairshareSettings, current: Timestamp, begin: Timestamp) -> usize {
    let behind = current.0.saturating_sub(begin_of(windows, begin).0).max(0);
    usize::try_from(behind / length_ms(windows)).unwrap_or(usize::MAX)
}
