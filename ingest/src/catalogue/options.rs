//! Options of an ingest: how to convert, and which part of the work to do.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use wellspring_store::{Compression, Dtype, Location, Normalization, Selection, Share, Transform};

use crate::{Error, Result};

/// Options of an ingest.
#[derive(Debug, Clone)]
pub struct IngestOptions {
    /// Type of the stored values.
    pub dtype: Dtype,
    /// Compression of the shards.
    pub compression: Compression,
    /// What the values of fields go through before they are normalized, by the fields' names. Statistics are of
    /// transformed values.
    pub transforms: BTreeMap<String, Transform>,
    /// How values are normalized.
    pub normalization: Normalization,
    /// The Well's `stats.yaml` to normalize by; without it, statistics of the training split (of
    /// every split, where there is none to train on). It is refused beside transforms: it does not say whether it
    /// is of transformed values.
    pub stats: Option<Location>,
    /// The part of the source that is taken.
    pub selection: Selection,
    /// Target size of a shard.
    pub shard_bytes: u64,
    /// Number of shards that are converted at the same time.
    pub threads: usize,
    /// Bytes for the shards that are filled at the same time: if they would take more, fewer are filled
    /// at the same time, but at least one.
    pub memory_bytes: u64,
    /// Whether an existing data set, or one that another command began, may be replaced.
    pub overwrite: bool,
}

impl Default for IngestOptions {
    fn default() -> Self {
        Self {
            dtype: Dtype::F32,
            compression: Compression::None,
            transforms: BTreeMap::new(),
            normalization: Normalization::Zscore,
            stats: None,
            selection: Selection::default(),
            shard_bytes: 64 << 20,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: 512 << 20,
            overwrite: false,
        }
    }
}

impl IngestOptions {
    /// Number of shards of a size that may be filled at the same time.
    pub(crate) fn at_once(&self, shard_bytes: u64) -> usize {
        let fit = self.memory_bytes / shard_bytes.max(1);
        fit.clamp(1, self.threads.max(1) as u64) as usize
    }
}

/// One of several equal parts of an ingest, written `0/4` to `3/4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    index: usize,
    count: usize,
}

impl Part {
    /// The whole work.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// This part's number, and how many there are.
    #[must_use]
    pub fn share(self) -> Share {
        Share {
            rank: self.index,
            world: self.count,
        }
    }

    /// The pieces of this part, out of `pieces`: a contiguous range.
    pub(crate) fn of(self, pieces: usize) -> Range<usize> {
        let bound = |part: usize| (pieces as u128 * part as u128 / self.count as u128) as usize;
        bound(self.index)..bound(self.index + 1)
    }
}

impl FromStr for Part {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let part = text.split_once('/').and_then(|(index, count)| {
            let (index, count) = (index.parse().ok()?, count.parse().ok()?);
            (index < count).then_some(Self { index, count })
        });
        part.ok_or_else(|| Error::Selection {
            reason: format!("{text} is not a part; parts of four are 0/4, 1/4, 2/4 and 3/4"),
        })
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_part_is_one_of_several() {
        assert_eq!("3/4".parse::<Part>().unwrap().to_string(), "3/4");
        for bad in ["4/4", "1", "a/b", "0/0", "-1/2"] {
            assert!(bad.parse::<Part>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn parts_make_a_whole(pieces in 0..100_usize, count in 1..20_usize) {
            let parts = (0..count).flat_map(|index| Part { index, count }.of(pieces));
            prop_assert_eq!(parts.collect::<Vec<_>>(), (0..pieces).collect::<Vec<_>>());
        }
    }
}
