//! [`Agreement`]: what the ranks of a job tell one another of a step, and so all know.

use super::Trainer;
use crate::Result;
use crate::optim::LossAndNorm;

/// What a rank tells the others of a step.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct RankReport {
    /// What it adds to the loss.
    pub(super) loss: f64,
    /// The sum of the squares of the gradients that it owns.
    pub(super) squares: f64,
    /// Seconds in which it computed, and in which it waited for data.
    pub(super) busy: f64,
    pub(super) waited: f64,
    /// Seconds of a run that the clock ends; those of the first rank count for all.
    pub(super) used: f64,
    /// Whether it was asked to stop.
    pub(super) is_asked_to_stop: bool,
    /// Whether it has no checkpoint to write, or has written it.
    pub(super) has_written: bool,
}

impl RankReport {
    fn numbers(self) -> [f64; 7] {
        let flag = |flag: bool| f64::from(u8::from(flag));
        [
            self.loss,
            self.squares,
            self.busy,
            self.waited,
            self.used,
            flag(self.is_asked_to_stop),
            flag(self.has_written),
        ]
    }

    fn of(numbers: &[f64]) -> Option<Self> {
        let &[
            loss,
            squares,
            busy,
            waited,
            used,
            is_asked_to_stop,
            has_written,
        ] = numbers
        else {
            return None;
        };
        Some(Self {
            loss,
            squares,
            busy,
            waited,
            used,
            is_asked_to_stop: is_asked_to_stop != 0.0,
            has_written: has_written != 0.0,
        })
    }
}

/// What all ranks know after a step.
#[derive(Debug, Clone, Default)]
pub(super) struct Agreement {
    /// Whether one of them was asked to stop.
    pub(super) stops: bool,
    /// Whether all have written the checkpoint that was begun.
    pub(super) has_written: bool,
    /// What each reported.
    pub(super) reports: Vec<RankReport>,
}

impl Agreement {
    fn of(reports: Vec<RankReport>) -> Self {
        Self {
            stops: reports.iter().any(|report| report.is_asked_to_stop),
            has_written: reports.iter().all(|report| report.has_written),
            reports,
        }
    }

    /// Loss and gradient norm over all ranks, summed in the order of ranks.
    pub(super) fn descent(&self) -> LossAndNorm {
        let (loss, squares) = self
            .reports
            .iter()
            .fold((0.0, 0.0), |(loss, squares), report| {
                (loss + report.loss, squares + report.squares)
            });
        LossAndNorm {
            loss: loss as f32,
            norm: f64::sqrt(squares),
        }
    }
}

impl Trainer<'_> {
    /// What this rank has to say beside the numbers of a step.
    pub(super) fn report(&self) -> RankReport {
        RankReport {
            used: self.clock.used(),
            has_written: self.has_written(),
            ..RankReport::default()
        }
    }

    /// Tells the other ranks of this one, and hears of them.
    pub(super) fn agree(&self, own: RankReport) -> Result<Agreement> {
        let reports = self.collective.exchange_numbers(&own.numbers())?;
        let reports = reports.iter().filter_map(|numbers| RankReport::of(numbers));
        Ok(Agreement::of(reports.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_survives_the_way_to_numbers_and_back() {
        let report = RankReport {
            loss: 0.5,
            squares: 2.0,
            busy: 1.0,
            waited: 0.25,
            used: 9.0,
            is_asked_to_stop: true,
            has_written: false,
        };
        assert_eq!(RankReport::of(&report.numbers()), Some(report));
        assert_eq!(RankReport::of(&[1.0]), None);
    }
}
