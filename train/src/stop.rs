//! A request that a run should stop, from a signal for example.

use std::sync::atomic::{AtomicBool, Ordering};

/// A request to stop, which a run checks between two steps and while it waits for data. It then writes a
/// checkpoint and returns.
#[derive(Debug, Default)]
pub struct Stop {
    asked: AtomicBool,
    heeded: AtomicBool,
}

/// Marks that steps are under way, until it is dropped.
pub(crate) struct StepsGuard<'a>(&'a Stop);

impl Stop {
    /// Requests to stop. `false` means that no step is under way, so the process can end at once and
    /// nothing is lost.
    pub fn ask(&self) -> bool {
        self.asked.store(true, Ordering::SeqCst);
        self.heeded.load(Ordering::SeqCst)
    }

    /// Whether a stop was requested.
    #[must_use]
    pub fn asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// Marks that the request is checked from here on.
    pub(crate) fn heed(&self) -> StepsGuard<'_> {
        self.heeded.store(true, Ordering::SeqCst);
        StepsGuard(self)
    }
}

impl Drop for StepsGuard<'_> {
    fn drop(&mut self) {
        self.0.heeded.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_heeded_while_steps_are_under_way() {
        let stop = Stop::default();
        assert!(!stop.asked() && !stop.ask() && stop.asked());
        let heed = stop.heed();
        assert!(stop.ask());
        drop(heed);
        assert!(!stop.ask());
    }
}
