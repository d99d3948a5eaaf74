//! What happens over time, in so many stretches of equal length at most: when time goes on
//! beyond the last, stretches are joined in pairs. So a record of any length has a bounded size.

use fairway_model::Timestamp;

/// Most stretches.
pub(crate) const STRETCHES_MAX: usize = 256;

/// The length of a stretch at first.
const FIRST_MS: u64 = 1000;

/// What can be kept of a stretch.
pub(crate) trait Stretch: Default {
    /// Takes in what was kept of the stretch after it.
    fn join(&mut self, next: Self);
}

/// Stretches of time, from a beginning on.
#[derive(Clone, Debug)]
pub(crate) struct Series<T> {
    begin: Timestamp,
    width_ms: u64,
    max: usize,
    stretches: Vec<T>,
}

impl<T: Stretch> Series<T> {
    pub(crate) fn new(begin: Timestamp, max: usize) -> Self {
        Self {
            begin,
            width_ms: FIRST_MS,
            max: max.max(2),
            stretches: Vec::new(),
        }
    }

    pub(crate) fn width_ms(&self) -> u64 {
        self.width_ms
    }

    pub(crate) fn stretches(&self) -> &[T] {
        &self.stretches
    }

    /// Milliseconds from the beginning.
    fn offset(&self, at: Timestamp) -> u64 {
        u64::try_from(at.since(self.begin).as_millis()).unwrap_or(u64::MAX)
    }

    /// Tells each stretch between two moments how many milliseconds of it are meant.
    pub(crate) fn spread(
        &mut self,
        from: Timestamp,
        to: Timestamp,
        mut note: impl FnMut(&mut T, u64),
    ) {
        let (from, to) = (self.offset(from), self.offset(to));
        if from >= to {
            return;
        }
        while (to - 1) / self.width_ms >= self.max as u64 {
            self.halve();
        }
        let width = self.width_ms;
        let (first, last) = (from / width, (to - 1) / width);
        if self.stretches.len() <= last as usize {
            self.stretches.resize_with(last as usize + 1, T::default);
        }
        for place in first..=last {
            let begin = (place * width).max(from);
            let end = ((place + 1) * width).min(to);
            note(&mut self.stretches[place as usize], end - begin);
        }
    }

    fn halve(&mut self) {
        let mut joined: Vec<T> = Vec::with_capacity(self.stretches.len() / 2 + 1);
        for (place, stretch) in self.stretches.drain(..).enumerate() {
            match joined.last_mut() {
                Some(last) if place % 2 == 1 => last.join(stretch),
                _ => joined.push(stretch),
            }
        }
        self.stretches = joined;
        self.width_ms = self.width_ms.saturating_mul(2);
    }
}

/// Core-time and presence of users, and what there was to be used.
#[derive(Clone, Debug, Default)]
pub(crate) struct Use {
    /// Core-milliseconds of each user's tasks.
    pub(crate) core_ms: Vec<u64>,
    /// Milliseconds in which each user had tasks that were not over.
    pub(crate) present_ms: Vec<u64>,
    /// Core-milliseconds of pilots.
    pub(crate) pilots_core_ms: u64,
}

fn add(values: &mut Vec<u64>, place: usize, value: u64) {
    if values.len() <= place {
        values.resize(place + 1, 0);
    }
    values[place] = values[place].saturating_add(value);
}

impl Use {
    pub(crate) fn used(&mut self, user: usize, core_ms: u64) {
        add(&mut self.core_ms, user, core_ms);
    }

    pub(crate) fn present(&mut self, user: usize, ms: u64) {
        add(&mut self.present_ms, user, ms);
    }
}

impl Stretch for Use {
    fn join(&mut self, next: Self) {
        for (user, &ms) in next.core_ms.iter().enumerate() {
            add(&mut self.core_ms, user, ms);
        }
        for (user, &ms) in next.present_ms.iter().enumerate() {
            add(&mut self.present_ms, user, ms);
        }
        self.pilots_core_ms += next.pilots_core_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Sum(u64);

    impl Stretch for Sum {
        fn join(&mut self, next: Self) {
            self.0 += next.0;
        }
    }

    #[test]
    fn nothing_is_lost_when_stretches_are_joined() {
        let mut series: Series<Sum> = Series::new(Timestamp(1000), 4);
        let mut total = 0;
        for (from, to) in [(1000, 2500), (0, 1500), (4000, 4900), (3000, 100_000)] {
            series.spread(Timestamp(from), Timestamp(to), |sum, ms| sum.0 += ms);
            total += (to - from.max(1000)) as u64;
        }
        let kept: u64 = series.stretches().iter().map(|sum| sum.0).sum();
        assert_eq!(kept, total);
        assert!(series.stretches().len() <= 4);
        assert_eq!(series.width_ms(), 32_000);
    }
}
