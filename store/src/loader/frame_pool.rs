//! Reuses the memory of dropped batches for new ones.

use crate::shard::pool::Pool;
use crate::{Dataset, Frames, Value};

/// Fresh memory costs a page fault for every few kilobytes, as long as copying them takes.
#[derive(Debug)]
pub(super) struct FramePool<T>(Pool<Frames<T>>);

impl<T: Value> FramePool<T> {
    /// A pool that keeps memory for at most `most` batches.
    pub(super) fn new(most: usize) -> Self {
        Self(Pool::new(most))
    }

    /// Frames with any values, (T, B, C, *space): those given back last of that shape, if there are any.
    pub(super) fn lend(&self, dataset: &Dataset, time: usize, batch: usize) -> Frames<T> {
        self.0
            .take(|frames| (frames.time(), frames.batch()) == (time, batch))
            .unwrap_or_else(|| dataset.empty(time, batch))
    }

    /// Takes frames back and leaves none.
    pub(super) fn give_back(&self, frames: &mut Frames<T>) {
        self.0.give(std::mem::take(frames));
    }
}
