//! Reuses memory: the system clears every fresh page first, which costs as much as filling it.

use std::sync::{Mutex, PoisonError};

/// Memory blocks that were given back, for the next user.
#[derive(Debug)]
pub(crate) struct Pool<T> {
    free: Mutex<Vec<T>>,
    /// Most blocks that are kept, at least one.
    most: usize,
}

impl<T> Pool<T> {
    /// A pool that keeps at most `most` blocks, and at least one.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            free: Mutex::default(),
            most: most.max(1),
        }
    }

    /// The last one given back that fits, if there is one.
    pub(crate) fn take(&self, fits: impl Fn(&T) -> bool) -> Option<T> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let place = free.iter().rposition(fits)?;
        Some(free.remove(place))
    }

    /// Takes one back; where there are enough, in the place of the one that nobody took for longest.
    pub(crate) fn give(&self, back: T) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() == self.most {
            free.remove(0);
        }
        free.push(back);
    }
}
