//! Where a run stands beside its step and what it has learned.

use serde::{Deserialize, Serialize};

/// A part of a checkpoint's state: with it, a run that is resumed goes on as if it had not been stopped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// Steps that have moved weights; all of them in early checkpoints, which do not say so.
    pub updates: Option<u64>,
    /// The last steps in a row that have moved none.
    pub skipped: u64,
    /// Time used, in seconds, where the clock ends the run.
    pub seconds: f64,
    /// The best validation.
    pub best: Option<Best>,
    /// Validations since the best one.
    pub stale: u64,
    /// The most ranks that have trained it together; 0 for one.
    #[serde(skip_serializing_if = "is_zero")]
    pub ranks: usize,
}

fn is_zero(ranks: &usize) -> bool {
    *ranks == 0
}

/// The best validation of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Steps taken.
    pub step: u64,
    /// Mean one-step VRMSE over data sets, patch sizes, fields and windows.
    pub vrmse: f64,
}

impl Progress {
    /// Takes a validation after a step; says whether it is the best so far.
    pub(crate) fn validated(&mut self, step: u64, vrmse: f64) -> bool {
        // A first one that is not a number is no best one.
        let is_best = vrmse.is_finite() && self.best.is_none_or(|best| vrmse < best.vrmse);
        match is_best {
            true => (self.best, self.stale) = (Some(Best { step, vrmse }), 0),
            false => self.stale += 1,
        }
        is_best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validations_are_stale_until_the_next_best_one() {
        let mut progress = Progress::default();
        assert!(!progress.validated(1, f64::NAN));
        assert_eq!((progress.best, progress.stale), (None, 1));
        assert!(progress.validated(2, 0.5));
        assert!(!progress.validated(3, 0.5) && !progress.validated(4, f64::INFINITY));
        assert_eq!(
            progress.best,
            Some(Best {
                step: 2,
                vrmse: 0.5
            })
        );
        assert_eq!(progress.stale, 2);
        assert!(progress.validated(5, 0.4));
        assert_eq!(progress.stale, 0);
    }
}
