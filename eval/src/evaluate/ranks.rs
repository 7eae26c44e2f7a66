//! [`Ranks`]: processes that evaluate together, each a part of the windows.

use std::ops::Range;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wellspring_store::Share;

use crate::error::SubjectError;
use crate::{Error, Result};

/// Processes that do one evaluation, each with its own part of the windows. All of them see the same results.
pub trait Ranks: Sync {
    /// This process among them.
    fn share(&self) -> Share;

    /// What each of them says, in the order of ranks. All call it, and it ends when all have called it.
    ///
    /// # Errors
    /// When a process cannot be reached.
    fn exchange(&self, own: &str) -> Result<Vec<String>, SubjectError>;
}

/// One process, which does everything.
#[derive(Debug, Clone, Copy)]
pub struct OneProcess;

impl Ranks for OneProcess {
    fn share(&self) -> Share {
        Share::WHOLE
    }

    fn exchange(&self, own: &str) -> Result<Vec<String>, SubjectError> {
        Ok(vec![own.to_owned()])
    }
}

/// What each rank says, in their order.
pub(super) fn exchange(ranks: &dyn Ranks, own: &str) -> Result<Vec<String>> {
    ranks
        .exchange(own)
        .map_err(|source| Error::Ranks { source })
}

/// What the first rank says.
pub(super) fn told_by_the_first<T: Serialize + DeserializeOwned>(
    ranks: &dyn Ranks,
    own: &T,
) -> Result<T> {
    let garbled = |error: serde_json::Error| Error::Ranks {
        source: error.into(),
    };
    let said = exchange(ranks, &serde_json::to_string(own).map_err(garbled)?)?;
    let first = said.first().map_or("", String::as_str);
    serde_json::from_str(first).map_err(garbled)
}

/// The windows of a share: whole batches that lie together, so that each is predicted as one process would.
pub(super) fn part(share: Share, windows: usize, batch: usize) -> Range<usize> {
    let batches = windows.div_ceil(batch);
    let bound = |rank: usize| windows.min(batches * rank / share.world * batch);
    bound(share.rank)..bound(share.rank + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_are_whole_batches_and_cover_every_window_once(windows in 0..200_usize, batch in 1..9_usize, world in 1..9_usize) {
            let mut next = 0;
            for rank in 0..world {
                let part = part(Share { rank, world }, windows, batch);
                prop_assert_eq!(part.start, next);
                prop_assert!(part.start.is_multiple_of(batch) || part.is_empty());
                next = part.end;
            }
            prop_assert_eq!(next, windows);
        }
    }
}
