//! Memory of batches that have been dropped, for those that come.

use std::sync::{Mutex, PoisonError};

use crate::{Dataset, Frames};

/// Fresh memory costs a page fault for every few kilobytes, as long as copying them takes.
#[derive(Debug)]
pub(super) struct Ring {
    free: Mutex<Vec<Frames>>,
    most: usize,
}

impl Ring {
    /// Keeps memory for at most so many batches.
    pub(super) fn new(most: usize) -> Self {
        Self {
            free: Mutex::default(),
            most,
        }
    }

    /// Frames with any values, (T, B, C, *space): what was given back last, if it has that shape.
    pub(super) fn lend(&self, dataset: &Dataset, time: usize, batch: usize) -> Frames {
        let free = self
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        free.filter(|frames| (frames.time(), frames.batch()) == (time, batch))
            .unwrap_or_else(|| dataset.empty(time, batch))
    }

    /// Takes frames back and leaves none.
    pub(super) fn give_back(&self, frames: &mut Frames) {
        let frames = std::mem::take(frames);
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < self.most {
            free.push(frames);
        }
    }
}
