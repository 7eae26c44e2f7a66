//! Time that steps wait for data.

/// Seconds of training that are looked at together.
const SPAN: f64 = 60.0;

/// A share of waiting above this is told.
const MOST: f64 = 0.2;

/// Sums up what steps waited for their batches, a minute at a time.
#[derive(Debug, Default)]
pub(super) struct DataWait {
    waited: f64,
    seconds: f64,
    told: bool,
    last: f64,
    /// Seconds waited and in all, since the process began.
    sum: [f64; 2],
}

impl DataWait {
    /// Adds a step of so many seconds, some of which it waited. Warns once in a run where more than a fifth of a
    /// minute is waiting: then the data is slower than the model.
    pub(super) fn add(&mut self, waited: f64, seconds: f64) {
        self.last = waited;
        self.sum[0] += waited;
        self.sum[1] += seconds;
        if let Some(share) = self.share(waited, seconds) {
            self.told = true;
            tracing::warn!(
                "{:.0} % of the last minute the model waited for data; \
                 more threads (--set data.threads=N), memory (data.memory_mib) or a cache folder (data.cache) may help",
                100.0 * share
            );
        }
    }

    /// What the last step waited, in seconds.
    pub(super) fn last(&self) -> f64 {
        self.last
    }

    /// The share of the time of all steps that was waiting.
    pub(super) fn overall(&self) -> f64 {
        self.sum[0] / self.sum[1].max(1e-9)
    }

    /// The share to tell of, when a minute is over.
    fn share(&mut self, waited: f64, seconds: f64) -> Option<f64> {
        self.waited += waited;
        self.seconds += seconds;
        if self.seconds < SPAN {
            return None;
        }
        let share = self.waited / self.seconds;
        (self.waited, self.seconds) = (0.0, 0.0);
        (share > MOST && !self.told).then_some(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_that_is_mostly_waiting_is_told_once() {
        let mut wait = DataWait::default();
        assert_eq!(wait.share(0.1, 61.0), None, "little waiting");
        assert_eq!(wait.share(20.0, 30.0), None, "half a minute");
        assert_eq!(wait.share(10.0, 30.0), Some(0.5));
        wait.add(40.0, 80.0);
        assert_eq!(wait.share(60.0, 80.0), None, "it is known");
    }
}
