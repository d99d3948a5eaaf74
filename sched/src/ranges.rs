//! Sets of task indices, kept as ranges. A job of 100,000 tasks that nothing has
//! happened to yet is one range, whatever its size.

use std::collections::BTreeMap;

/// Disjoint ranges of task indices, each with a value. Neighbours with equal values are
/// always one range, so that equal sets are equal in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ranges<V>(Held<V>);

/// Most sets are one range: a job that nothing has happened to. It needs no memory of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Held<V> {
    /// No range, or one.
    One(Option<Range<V>>),
    /// From the first index to one past the last and the value; at least two.
    #[expect(
        clippy::box_collection,
        reason = "what is rare is to take no room where it is not"
    )]
    Many(Box<BTreeMap<u32, (u32, V)>>),
}

/// The first index, one past the last, and the value.
type Range<V> = (u32, u32, V);

impl<V> Default for Ranges<V> {
    fn default() -> Self {
        Self(Held::One(None))
    }
}

impl<V: Copy + PartialEq> Ranges<V> {
    /// The range that `index` is in, with its value.
    pub(crate) fn get(&self, index: u32) -> Option<(u32, u32, V)> {
        let (from, to, value) = match &self.0 {
            Held::One(one) => (*one)?,
            Held::Many(map) => {
                let (&from, &(to, value)) = map.range(..=index).next_back()?;
                (from, to, value)
            }
        };
        (from <= index && index < to).then_some((from, to, value))
    }

    /// Adds `from <= index < to`, none of which is in the set yet.
    pub(crate) fn insert(&mut self, from: u32, to: u32, value: V) {
        debug_assert!(from < to && self.get(from).is_none() && self.get(to - 1).is_none());
        match &mut self.0 {
            Held::One(one @ None) => *one = Some((from, to, value)),
            Held::One(Some(one)) if one.2 == value && one.1 == from => one.1 = to,
            Held::One(Some(one)) if one.2 == value && to == one.0 => one.0 = from,
            Held::One(Some(one)) => {
                let both = [(one.0, (one.1, one.2)), (from, (to, value))];
                self.0 = Held::Many(Box::new(BTreeMap::from(both)));
            }
            Held::Many(map) => {
                insert(map, from, to, value);
                self.settle();
            }
        }
    }

    /// Adds rows, in order and apart from each other, none of which is in the set yet.
    pub(crate) fn extend(&mut self, rows: &[(u32, u32)], value: V) {
        let apart = rows.len() > 1 && rows.windows(2).all(|pair| pair[0].1 < pair[1].0);
        if self.is_empty() && apart {
            // Much faster than one by one.
            let map = rows.iter().map(|&(from, to)| (from, (to, value))).collect();
            self.0 = Held::Many(Box::new(map));
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
        match &mut self.0 {
            Held::One(one) => *one = None,
            Held::Many(map) => drop(map.remove(&start)),
        }
        if start < from {
            self.put(start, from, value);
        }
        if to < end {
            self.put(to, end, value);
        }
        self.settle();
        Some(value)
    }

    /// Adds a range that touches no other.
    fn put(&mut self, from: u32, to: u32, value: V) {
        match &mut self.0 {
            Held::Many(map) => drop(map.insert(from, (to, value))),
            Held::One(_) => self.insert(from, to, value),
        }
    }

    /// Sets of one range are held as one.
    fn settle(&mut self) {
        if let Held::Many(map) = &self.0
            && map.len() < 2
        {
            self.0 = Held::One(map.iter().next().map(range));
        }
    }

    /// The ranges in order: first index, one past the last, value.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, u32, V)> {
        let (one, many) = match &self.0 {
            Held::One(one) => (*one, None),
            Held::Many(map) => (None, Some(map)),
        };
        let many = many.into_iter().flat_map(|map| map.iter());
        one.into_iter().chain(many.map(range))
    }

    /// The ranges that begin in `from <= index < to`, in order.
    fn beginning(&self, from: u32, to: u32) -> impl Iterator<Item = (u32, u32, V)> {
        let (one, many) = match &self.0 {
            Held::One(one) => (*one, None),
            Held::Many(map) => (None, Some(map)),
        };
        let one = one.filter(|(start, ..)| (from..to).contains(start));
        let many = many.into_iter();
        let many = many.flat_map(move |map| map.range(from..to.max(from)));
        one.into_iter().chain(many.map(range))
    }

    /// What of the set is in `from <= index < to`, in order.
    pub(crate) fn within(&self, from: u32, to: u32) -> Vec<(u32, u32, V)> {
        let begun = self.get(from).map_or(from, |(start, ..)| start);
        self.beginning(begun, to)
            .map(|(start, end, value)| (start.max(from), end.min(to), value))
            .collect()
    }

    /// Whether anything of the set is in `from <= index < to`.
    pub(crate) fn meets(&self, from: u32, to: u32) -> bool {
        self.get(from).is_some() || self.beginning(from, to).next().is_some()
    }

    /// Whether nothing is in the set.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.0, Held::One(None))
    }

    /// How many indices there are below `end`.
    pub(crate) fn count_below(&self, end: u32) -> u64 {
        self.beginning(0, end)
            .map(|(from, to, _)| u64::from(to.min(end) - from))
            .sum()
    }
}

fn range<V: Copy>((&from, &(to, value)): (&u32, &(u32, V))) -> Range<V> {
    (from, to, value)
}

/// Adds a range to others, and makes one of it and its neighbours where they have its value.
fn insert<V: Copy + PartialEq>(
    map: &mut BTreeMap<u32, (u32, V)>,
    mut from: u32,
    mut to: u32,
    value: V,
) {
    if let Some((&before, &(end, v))) = map.range(..from).next_back()
        && end == from
        && v == value
    {
        map.remove(&before);
        from = before;
    }
    if let Some(&(end, v)) = map.get(&to)
        && v == value
    {
        map.remove(&to);
        to = end;
    }
    map.insert(from, (to, value));
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
    fn one_range_is_held_as_one() {
        let mut ranges = Ranges::default();
        ranges.insert(0, 9, 'a');
        let one = ranges.clone();
        ranges.take(4, 6);
        assert_ne!(ranges, one);
        ranges.insert(4, 6, 'a');
        assert_eq!(ranges, one);
        ranges.take(3, 4);
        ranges.take(4, 9);
        let mut rest = Ranges::default();
        rest.insert(0, 3, 'a');
        assert_eq!(ranges, rest);
        ranges.take(0, 3);
        assert_eq!(ranges, Ranges::default());
        assert!(size_of::<Ranges<i64>>() <= 24);
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
