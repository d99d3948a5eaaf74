//! What a pilot will have free and when, by the walltimes of what it has.

use fairway_model::{Resources, Timestamp};

/// Before every moment: what is so from here on is so now, whenever that is.
pub(super) const NOW: Timestamp = Timestamp(i64::MIN);

/// What should have ended by now is expected to end so many milliseconds from now.
const OVERDUE_MS: i64 = 1000;

/// After every moment: when a task without a walltime ends.
pub(super) const NEVER: Timestamp = Timestamp(i64::MAX);

/// Free resources over time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Profile {
    /// From each moment on, until the next, so much is free. Never empty, in order. The first is
    /// the present, or when the last of the tasks that wait at the pilot starts: it takes them in
    /// the order of granting, so that nothing that is granted now starts earlier.
    steps: Vec<(Timestamp, Resources)>,
}

impl Profile {
    /// Of a pilot that has `free` left, with tasks that run, each with what it takes and when it
    /// ends at the latest. Those that end at [`NEVER`] stay. With [`NOW`] as the present it says
    /// only from when on something fits, not for how long.
    pub(super) fn new(
        present: Timestamp,
        free: Resources,
        running: impl Iterator<Item = (Resources, Timestamp)>,
    ) -> Self {
        let mut steps = vec![(present, free)];
        let soon = soon(present);
        let mut ends: Vec<(Timestamp, Resources)> = running
            .filter(|(_, end)| *end < NEVER)
            .map(|(taken, end)| (if end > present { end } else { soon }, taken))
            .collect();
        ends.sort_unstable();
        let mut free = free;
        for (end, taken) in ends {
            free = free.plus(taken);
            match steps.last_mut() {
                Some(last) if last.0 == end => last.1 = free,
                _ => steps.push((end, free)),
            }
        }
        Self { steps }
    }

    /// A task that waits at the pilot, behind those that were queued before, and takes so much for
    /// `lasts_ms` milliseconds (`None`: for ever). `None` if it cannot be told when it starts.
    pub(super) fn then(mut self, demand: Resources, lasts_ms: Option<i64>) -> Option<Self> {
        let start = self.earliest(demand, None)?;
        let first = self.steps.partition_point(|(at, _)| *at <= start) - 1;
        self.steps.drain(..first);
        self.steps[0].0 = start;
        self.take(start, after(start, lasts_ms), demand);
        Some(self)
    }

    /// The earliest moment from which `demand` fits for `lasts_ms` milliseconds (`None`: for
    /// ever); the first moment of all if it does now.
    pub(super) fn earliest(&self, demand: Resources, lasts_ms: Option<i64>) -> Option<Timestamp> {
        let mut starts = self.steps.iter().map(|(at, _)| *at);
        starts.find(|&start| self.fits(start, after(start, lasts_ms), demand))
    }

    /// Whether `demand` fits at every moment of `from <= moment < until`.
    pub(super) fn fits(&self, from: Timestamp, until: Timestamp, demand: Resources) -> bool {
        let mut within = self.within(from, until).peekable();
        within.peek().is_some() && within.all(|(_, free)| free.holds(demand))
    }

    /// What is free from `at` on.
    #[cfg(test)]
    fn at(&self, at: Timestamp) -> Option<Resources> {
        let steps = self.steps.iter().take_while(|(from, _)| *from <= at);
        steps.last().map(|(_, free)| *free)
    }

    /// The steps that `from <= moment < until` meets; none if it begins before the first.
    fn within(
        &self,
        from: Timestamp,
        until: Timestamp,
    ) -> impl Iterator<Item = &(Timestamp, Resources)> {
        let behind = self.steps.partition_point(|(at, _)| *at <= from);
        let first = behind.checked_sub(1).unwrap_or(self.steps.len());
        let within = &self.steps[first..];
        within.iter().take_while(move |(at, _)| {
            // Even what takes no time needs what is there when it starts.
            *at <= from || *at < until
        })
    }

    /// Takes `demand` out at every moment of `from <= moment < until`, as far as it is there.
    pub(super) fn take(&mut self, from: Timestamp, until: Timestamp, demand: Resources) {
        self.cut(from);
        self.cut(until);
        for (at, free) in &mut self.steps {
            if from <= *at && *at < until {
                *free = Resources {
                    cores: free.cores.saturating_sub(demand.cores),
                    memory_mib: free.memory_mib.saturating_sub(demand.memory_mib),
                    gpus: free.gpus.saturating_sub(demand.gpus),
                };
            }
        }
    }

    /// Makes a step begin at the moment, if the profile has begun by then.
    fn cut(&mut self, at: Timestamp) {
        let behind = self.steps.partition_point(|(from, _)| *from < at);
        let there = self.steps.get(behind).is_some_and(|(from, _)| *from == at);
        if at < NEVER
            && !there
            && let Some(before) = behind.checked_sub(1)
        {
            let free = self.steps[before].1;
            self.steps.insert(behind, (at, free));
        }
    }
}

/// When something is over that should be by `present`.
pub(super) fn soon(present: Timestamp) -> Timestamp {
    after(present, Some(OVERDUE_MS))
}

/// When what begins at `start` ends.
pub(super) fn after(start: Timestamp, lasts_ms: Option<i64>) -> Timestamp {
    lasts_ms.map_or(NEVER, |ms| Timestamp(start.0.saturating_add(ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cores(cores: u32) -> Resources {
        Resources {
            cores,
            ..Resources::default()
        }
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp(ms)
    }

    /// 8 cores: 2 free, 4 until 10, 1 until 20, 1 for ever.
    fn profile() -> Profile {
        let running = [(1, 20), (4, 10), (1, i64::MAX)];
        Profile::new(
            at(0),
            cores(2),
            running.into_iter().map(|(n, end)| (cores(n), at(end))),
        )
    }

    #[test]
    fn what_ends_is_free_from_then_on() {
        let profile = profile();
        for (moment, free) in [(0, 2), (9, 2), (10, 6), (19, 6), (20, 7), (1000, 7)] {
            assert_eq!(profile.at(at(moment)), Some(cores(free)), "at {moment}");
        }
        for (demand, earliest) in [(2, Some(at(0))), (3, Some(at(10))), (7, Some(at(20)))] {
            assert_eq!(profile.earliest(cores(demand), None), earliest);
        }
        assert_eq!(profile.earliest(cores(8), None), None, "never told to end");
    }

    #[test]
    fn ends_at_one_moment_are_one_step() {
        let running = [(1, 10), (2, 10)].map(|(n, end)| (cores(n), at(end)));
        let profile = Profile::new(NOW, cores(0), running.into_iter());
        assert_eq!(profile.steps, [(NOW, cores(0)), (at(10), cores(3))]);
    }

    #[test]
    fn what_is_overdue_is_over_soon() {
        let running = [(1, 10), (2, 50)].map(|(n, end)| (cores(n), at(end)));
        let profile = Profile::new(at(20), cores(0), running.into_iter());
        assert_eq!(profile.earliest(cores(1), None), Some(at(50)));
        assert_eq!(profile.earliest(cores(3), None), Some(at(20 + OVERDUE_MS)));
    }

    #[test]
    fn a_reservation_leaves_the_hole_before_it_and_what_it_does_not_need() {
        let mut profile = profile();
        profile.take(at(10), at(30), cores(5));
        // Before it, whatever fits now; over it, the one core that it does not need.
        assert!(profile.fits(at(0), at(10), cores(2)));
        assert!(!profile.fits(at(0), at(11), cores(2)));
        assert!(profile.fits(at(0), at(1000), cores(1)));
        // From 20 on it leaves two, after it all that is free then.
        assert_eq!(profile.earliest(cores(2), Some(15)), Some(at(20)));
        assert_eq!(profile.earliest(cores(2), Some(10)), Some(at(0)));
        assert_eq!(profile.earliest(cores(3), Some(5)), Some(at(30)));
    }

    #[test]
    fn every_dimension_counts() {
        let free = Resources {
            cores: 4,
            memory_mib: 100,
            gpus: 1,
        };
        let mut profile = Profile::new(at(0), free, std::iter::empty());
        let demand = Resources {
            cores: 1,
            memory_mib: 80,
            gpus: 1,
        };
        profile.take(at(10), at(20), demand);
        let memory = Resources {
            memory_mib: 30,
            ..cores(1)
        };
        let gpu = Resources {
            gpus: 1,
            ..cores(1)
        };
        assert!(profile.fits(at(0), at(30), cores(3)));
        assert!(!profile.fits(at(0), at(30), memory));
        assert!(!profile.fits(at(0), at(30), gpu));
        assert!(profile.fits(at(0), at(10), gpu));
        assert!(profile.fits(at(20), NEVER, gpu));
    }

    #[test]
    fn nothing_starts_before_what_waits_at_the_pilot() {
        // 5 cores wait for the 4 that end at 10; then one is left.
        let queued = profile().then(cores(5), Some(7)).unwrap();
        assert_eq!(queued.at(at(9)), None);
        assert_eq!(queued.earliest(cores(1), None), Some(at(10)));
        assert_eq!(queued.earliest(cores(2), Some(1)), Some(at(17)));
        let more = queued.then(cores(6), None).unwrap();
        assert_eq!(more.earliest(cores(1), None), Some(at(20)));
        assert_eq!(more.then(cores(2), None), None, "it will never be told");
    }
}
