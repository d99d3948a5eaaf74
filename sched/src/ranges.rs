//! Sets of task indices, kept as ranges. A job of 100,000 tasks that nothing has
//! happened to yet is one range, whatever its size.

use std::collections::BTreeMap;

/// Disjoint ranges of task indices, each with a value. Neighbours with equal values are
/// always one range, so that equal sets are equal in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ranges<V> {
    /// From the first index to one past the last index and the value.
    map: BTreeMap<u32, (u32, V)>,
}

impl<V> Default for Ranges<V> {
    fn default() -> Self {
        Self {
            map: BTreeMap::new(),
        }
    }
}

impl<V: Copy + PartialEq> Ranges<V> {
    /// The range that `index` is in, with its value.
    pub(crate) fn get(&self, index: u32) -> Option<(u32, u32, V)> {
        let (&from, &(to, value)) = self.map.range(..=index).next_back()?;
        (index < to).then_some((from, to, value))
    }

    /// Adds `from <= index < to`, none of which is in the set yet.
    pub(crate) fn insert(&mut self, mut from: u32, mut to: u32, value: V) {
        debug_assert!(from < to && self.get(from).is_none() && self.get(to - 1).is_none());
        if let Some((&before, &(end, v))) = self.map.range(..from).next_back()
            && end == from
            && v == value
        {
            self.map.remove(&before);
            from = before;
        }
        if let Some(&(end, v)) = self.map.get(&to)
            && v == value
        {
            self.map.remove(&to);
            to = end;
        }
        self.map.insert(from, (to, value));
    }

    /// Adds rows, in order and apart from each other, none of which is in the set yet.
    pub(crate) fn extend(&mut self, rows: &[(u32, u32)], value: V) {
        if self.map.is_empty() && rows.windows(2).all(|pair| pair[0].1 < pair[1].0) {
            // Much faster than one by one.
            self.map = rows.iter().map(|&(from, to)| (from, (to, value))).collect();
            return;
        }
        for &(from, to) in rows {
            self.insert(from, to, value);
        }
    }

    /// Takes `from <= index < to` out, all of which is in one range of the set. Gives back
    /// its value; `None`, and no change, if it is not so.
    pub(crate) fn take(&mut self, from: u32, to: u32) -> Option<V> {
        let (start, end, value) = self.get(from)?;
        if from >= to || to > end {
            return None;
        }
        self.map.remove(&start);
        if start < from {
            self.map.insert(start, (from, value));
        }
        if to < end {
            self.map.insert(to, (end, value));
        }
        Some(value)
    }

    /// The ranges in order: first index, one past the last, value.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, u32, V)> {
        self.map
            .iter()
            .map(|(&from, &(to, value))| (from, to, value))
    }

    /// What of the set is in `from <= index < to`, in order.
    pub(crate) fn within(&self, from: u32, to: u32) -> Vec<(u32, u32, V)> {
        let begun = self.get(from).map(|(start, ..)| start).unwrap_or(from);
        self.map
            .range(begun..to.max(begun))
            .map(|(&start, &(end, value))| (start.max(from), end.min(to), value))
            .collect()
    }

    /// Whether anything of the set is in `from <= index < to`.
    pub(crate) fn meets(&self, from: u32, to: u32) -> bool {
        self.get(from).is_some() || self.map.range(from..to).next().is_some()
    }

    /// Whether nothing is in the set.
    pub(crate) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// How many indices there are below `end`.
    pub(crate) fn count_below(&self, end: u32) -> u64 {
        self.map
            .range(..end)
            .map(|(&from, &(to, _))| u64::from(to.min(end) - from))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(ranges: &Ranges<char>) -> Vec<(u32, u32, char)> {
        ranges.iter().collect()
    }

    #[test]
    fn neighbours_with_equal_values_are_one() {
        let mut ranges = Ranges::default();
        ranges.insert(0, 3, 'a');
        ranges.insert(5, 8, 'a');
        ranges.insert(8, 9, 'b');
        ranges.insert(3, 5, 'a');
        assert_eq!(listed(&ranges), [(0, 8, 'a'), (8, 9, 'b')]);
    }

    #[test]
    fn a_part_is_seen_in_its_borders() {
        let mut ranges = Ranges::default();
        ranges.insert(0, 4, 'a');
        ranges.insert(6, 9, 'b');
        assert_eq!(ranges.within(2, 7), [(2, 4, 'a'), (6, 7, 'b')]);
        assert_eq!(ranges.within(4, 6), []);
        assert_eq!(ranges.within(9, 9), []);
        assert_eq!(ranges.within(0, u32::MAX).len(), 2);
    }

    #[test]
    fn taking_splits() {
        let mut ranges = Ranges::default();
        ranges.insert(0, 10, 'a');
        assert_eq!(ranges.take(4, 5), Some('a'));
        assert_eq!(listed(&ranges), [(0, 4, 'a'), (5, 10, 'a')]);
        assert_eq!(ranges.take(3, 6), None);
        assert_eq!(ranges.take(0, 4), Some('a'));
        assert_eq!(ranges.count_below(7), 2);
        assert_eq!(ranges.get(4), None);
    }

    #[test]
    fn many_rows_are_added_as_one_by_one() {
        let rows = [(0, 2), (3, 4), (7, 9)];
        let mut all = Ranges::default();
        all.extend(&rows, 'a');
        let mut each = Ranges::default();
        rows.iter()
            .for_each(|&(from, to)| each.insert(from, to, 'a'));
        assert_eq!(all, each);
        // Neighbours become one row, whether there was something before or not.
        for mut ranges in [all, Ranges::default()] {
            ranges.extend(&[(10, 11), (11, 12)], 'a');
            assert_eq!(ranges.get(10), Some((10, 12, 'a')));
        }
    }
}
