//! Runs that follow one another: the rows of trajectories, the windows of shards.

use std::ops::Range;

/// Where each of several runs of positions lies, when they follow one another from position 0 on: for instance the
/// rows of one shard after those of another. A run may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offsets {
    /// Where each run begins and, last, where all end.
    bounds: Vec<usize>,
}

impl Offsets {
    /// Runs of these lengths. Positions beyond `usize::MAX` are cut off.
    #[must_use]
    pub fn of(lengths: impl IntoIterator<Item = usize>) -> Self {
        let mut end = 0_usize;
        let ends = lengths.into_iter().map(|length| {
            end = end.saturating_add(length);
            end
        });
        Self {
            bounds: std::iter::once(0).chain(ends).collect(),
        }
    }

    /// How many runs there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bounds.len() - 1
    }

    /// Whether there is no run.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many positions all runs have.
    #[must_use]
    pub fn total(&self) -> usize {
        self.bounds[self.len()]
    }

    /// The run that holds a position, which is never an empty one; [`Offsets::len`] for a position past the end.
    #[must_use]
    pub fn find(&self, position: usize) -> usize {
        self.bounds.partition_point(|&bound| bound <= position) - 1
    }

    /// The first position of a run; for [`Offsets::len`], one past the last position of all.
    ///
    /// # Panics
    /// For more than that.
    #[must_use]
    pub fn start(&self, run: usize) -> usize {
        self.bounds[run]
    }

    /// The positions of a run.
    ///
    /// # Panics
    /// When there is no such run; [`Offsets::get`] does not.
    #[must_use]
    pub fn range(&self, run: usize) -> Range<usize> {
        self.bounds[run]..self.bounds[run + 1]
    }

    /// The positions of a run, if there is one.
    #[must_use]
    pub fn get(&self, run: usize) -> Option<Range<usize>> {
        match self.bounds.get(run..) {
            Some(&[start, end, ..]) => Some(start..end),
            _ => None,
        }
    }

    /// The positions of every run.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = Range<usize>> + '_ {
        self.bounds.windows(2).map(|ends| ends[0]..ends[1])
    }

    /// A range of positions, run by run: each run that has some of them, with those that it has, counted from its
    /// own first.
    pub fn cut(&self, range: Range<usize>) -> impl Iterator<Item = (usize, Range<usize>)> + '_ {
        let Range { start, end } = range;
        let runs = (self.find(start)..self.len()).map(|run| (run, self.range(run)));
        let reached = runs.take_while(move |(_, whole)| whole.start < end);
        let own = reached.map(move |(run, whole)| {
            let from = whole.start.max(start) - whole.start;
            (run, from..whole.end.min(end) - whole.start)
        });
        own.filter(|(_, own)| !own.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_empty_run_holds_nothing() {
        let offsets = Offsets::of([0, 2, 0, 0, 3, 0]);
        let found: Vec<usize> = (0..7).map(|position| offsets.find(position)).collect();
        assert_eq!(found, [1, 1, 4, 4, 4, 6, 6]);
        assert_eq!((offsets.range(2), offsets.get(6)), (2..2, None));
        assert_eq!(
            offsets.cut(1..4).collect::<Vec<_>>(),
            [(1, 1..2), (4, 0..2)]
        );
        let none = Offsets::of([]);
        assert_eq!((none.len(), none.total(), none.find(0)), (0, 0, 0));
        assert_eq!(Offsets::of([usize::MAX, 1]).total(), usize::MAX);
    }

    proptest! {
        #[test]
        fn every_position_lies_in_the_run_that_is_found(
            lengths in prop::collection::vec(0..5_usize, 0..12), start in 0..40_usize, end in 0..40_usize,
        ) {
            let offsets = Offsets::of(lengths.iter().copied());
            prop_assert_eq!(offsets.ranges().map(|run| run.len()).collect::<Vec<_>>(), lengths);
            for position in 0..offsets.total() {
                prop_assert!(offsets.range(offsets.find(position)).contains(&position));
            }
            for past in offsets.total()..offsets.total() + 3 {
                prop_assert_eq!(offsets.find(past), offsets.len());
            }
            let cut = offsets.cut(start..end).flat_map(|(run, own)| {
                let first = offsets.start(run);
                own.map(move |at| first + at)
            });
            let cut: Vec<usize> = cut.collect();
            prop_assert_eq!(cut, (start..end.min(offsets.total())).collect::<Vec<_>>());
        }
    }
}
