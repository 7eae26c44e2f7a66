//! The time of a run that the clock ends.

use std::time::Instant;

/// Counts the time of a run, that of earlier processes included.
#[derive(Debug)]
pub(super) struct Clock {
    /// Seconds of the whole run; none where its steps end it.
    limit: Option<f64>,
    before: f64,
    began: Instant,
    /// Seconds used by the clock of the first rank, where there are several.
    followed: Option<f64>,
}

impl Clock {
    /// Begins to count for a run of so many hours that has used some seconds before.
    pub(super) fn new(hours: Option<f64>, before: f64) -> Self {
        Self {
            limit: hours.map(|hours| hours * 3600.0),
            before,
            began: Instant::now(),
            followed: None,
        }
    }

    /// Goes by the clock of the first rank, which has used so many seconds, until it is told anew: all ranks must come to
    /// the same rate of learning and the same end.
    pub(super) fn follow(&mut self, used: f64) {
        self.followed = self.limit.map(|_| used);
    }

    /// Seconds used, by this rank's own time; 0 for a run that its steps end, whose checkpoints do not depend on time.
    pub(super) fn used(&self) -> f64 {
        match self.limit {
            Some(_) => self.before + self.began.elapsed().as_secs_f64(),
            None => 0.0,
        }
    }

    /// The part of the time that is used, at most 1; none where steps end the run.
    pub(super) fn share(&self) -> Option<f64> {
        let used = self.followed.unwrap_or_else(|| self.used());
        self.limit.map(|limit| (used / limit).min(1.0))
    }

    /// Whether the time is used up.
    pub(super) fn is_over(&self) -> bool {
        self.share().is_some_and(|share| share >= 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_earlier_processes_counts() {
        let half = Clock::new(Some(1.0), 1800.0);
        let share = half.share().map(|share| (share * 1e3).round());
        assert_eq!((share, half.is_over()), (Some(500.0), false));
        assert!(Clock::new(Some(1.0), 3600.0).is_over());
        let endless = Clock::new(None, 3600.0);
        assert_eq!((endless.used(), endless.is_over()), (0.0, false));
    }
}
