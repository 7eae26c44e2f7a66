//! [`RankTimes`]: how the ranks of a job spend their time.

use super::agreement::RankReport;
use crate::log::Event;

/// Sums over the steps since it was last told.
#[derive(Debug, Clone, Default)]
pub(super) struct RankTimes {
    steps: u64,
    /// For each rank, seconds in which it computed, waited for data, and waited for the slowest.
    sums: Vec<[f64; 3]>,
}

impl RankTimes {
    /// Takes in a step.
    pub(super) fn add(&mut self, reports: &[RankReport]) {
        self.steps += 1;
        self.sums.resize(reports.len(), [0.0; 3]);
        let arrival = |report: &RankReport| report.busy + report.waited;
        let last = reports.iter().map(arrival).fold(0.0, f64::max);
        for (sums, report) in self.sums.iter_mut().zip(reports) {
            let times = [report.busy, report.waited, last - arrival(report)];
            sums.iter_mut()
                .zip(times)
                .for_each(|(sum, time)| *sum += time);
        }
    }

    /// The rank that the others wait for most, if there are others.
    pub(super) fn slowest(&self) -> Option<usize> {
        let idle = |rank: &usize| self.sums[*rank][2];
        let ranks = 0..self.sums.len();
        ranks
            .min_by(|a, b| idle(a).total_cmp(&idle(b)))
            .filter(|_| self.sums.len() > 1)
    }

    /// The means of each rank, after some steps; begins anew.
    pub(super) fn told(&mut self, step: u64) -> Vec<Event> {
        let steps = self.steps.max(1) as f64;
        let Self { sums, .. } = std::mem::take(self);
        let event = |(rank, [seconds, waited, idle]): (usize, [f64; 3])| Event::Rank {
            step,
            rank: rank as u64,
            seconds: seconds / steps,
            waited: waited / steps,
            idle: idle / steps,
        };
        sums.into_iter().enumerate().map(event).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_rank_is_the_one_that_waits_for_nobody() {
        let report = |busy, waited| RankReport {
            busy,
            waited,
            ..RankReport::default()
        };
        let mut times = RankTimes::default();
        times.add(&[report(1.0, 0.0), report(2.0, 1.0), report(1.5, 0.0)]);
        times.add(&[report(1.0, 0.0), report(2.0, 0.0), report(1.5, 0.0)]);
        assert_eq!(times.slowest(), Some(1));
        let told = times.told(7);
        let idle = |event: &Event| match event {
            Event::Rank { idle, .. } => *idle,
            _ => f64::NAN,
        };
        assert_eq!(told.iter().map(idle).collect::<Vec<_>>(), [1.5, 0.0, 1.0]);
        assert!(times.slowest().is_none() && times.told(8).is_empty());
    }
}
