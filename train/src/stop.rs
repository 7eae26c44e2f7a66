//! A request that a run should stop, from a signal for example.

use std::sync::atomic::{AtomicBool, Ordering};

/// A wish to stop, which a run looks at between two steps and while it waits for data. It then writes a
/// checkpoint and returns.
#[derive(Debug, Default)]
pub struct Stop {
    asked: AtomicBool,
    heeded: AtomicBool,
}

/// Steps are under way until this is dropped.
pub(crate) struct Heed<'a>(&'a Stop);

impl Stop {
    /// Asks for it. `false` says that nobody looks: no step is under way, so the process can end at once
    /// and nothing is lost.
    pub fn ask(&self) -> bool {
        self.asked.store(true, Ordering::SeqCst);
        self.heeded.load(Ordering::SeqCst)
    }

    /// Whether it was asked for.
    #[must_use]
    pub fn asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// Says that it is looked at from here on.
    pub(crate) fn heed(&self) -> Heed<'_> {
        self.heeded.store(true, Ordering::SeqCst);
        Heed(self)
    }
}

impl Drop for Heed<'_> {
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
