//! The learning rate of each step.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::config::OptimConfig;

/// What the learning rate does after its linear warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RateSchedule {
    /// Half a cosine, to zero at the horizon (Loshchilov and Hutter 2017).
    #[default]
    Cosine,
    /// Nothing: it stays.
    Constant,
    /// It stays, and falls linearly to zero over the last `optim.decay` of the horizon, so that a run can be extended from
    /// any checkpoint before the fall (Hägele et al. 2024).
    WarmupStableDecay,
    /// It falls with the inverse root of the step (Vaswani et al. 2017), at no horizon to zero.
    InverseSqrt,
}

impl RateSchedule {
    /// Whether the rate is zero from the horizon on.
    pub(crate) fn ends(self) -> bool {
        matches!(self, Self::Cosine | Self::WarmupStableDecay)
    }
}

/// The learning rate of a step, counted from 0, with a schedule that ends at step `horizon`, which is not always a
/// whole number.
pub(crate) fn learning_rate(optim: &OptimConfig, step: u64, horizon: f64) -> f64 {
    let warmup = match optim.schedule.ends() {
        true => (optim.warmup as f64).min(horizon),
        false => optim.warmup as f64,
    };
    let step = step as f64;
    if step < warmup {
        return optim.lr * ((step + 1.0) / warmup).min(1.0);
    }
    // Of the steps between warm-up and horizon, the share that is done.
    let share = (step - warmup) / (horizon - warmup).max(1.0);
    let factor = match optim.schedule {
        RateSchedule::Constant => 1.0,
        RateSchedule::Cosine => 0.5 * (1.0 + (PI * share.min(1.0)).cos()),
        RateSchedule::WarmupStableDecay => {
            let left = (horizon - step).max(0.0) / horizon;
            (left / optim.decay).min(1.0)
        }
        RateSchedule::InverseSqrt => (warmup.max(1.0) / (step + 1.0)).sqrt(),
    };
    optim.lr * factor
}

#[cfg(test)]
mod tests {
    use super::*;

    fn optim(schedule: RateSchedule) -> OptimConfig {
        OptimConfig {
            lr: 1.0,
            warmup: 10,
            schedule,
            ..OptimConfig::default()
        }
    }

    #[test]
    fn a_cosine_rises_then_falls_to_zero() {
        let optim = optim(RateSchedule::Cosine);
        let rate = |step| learning_rate(&optim, step, 110.0);
        assert_eq!(rate(0), 0.1);
        assert_eq!(rate(9), 1.0);
        assert_eq!(rate(10), 1.0);
        assert!((rate(60) - 0.5).abs() < 1e-12);
        assert!(rate(109) < 1e-3 && rate(109) > 0.0);
        assert!(learning_rate(&optim, 3, 4.0) > 0.0);
        // A run that goes on beyond the horizon stays where the schedule ended.
        assert_eq!((rate(110), rate(5000)), (0.0, 0.0));
    }

    #[test]
    fn a_stable_rate_falls_over_the_last_part() {
        let optim = optim(RateSchedule::WarmupStableDecay);
        let rate = |step| learning_rate(&optim, step, 100.0);
        assert_eq!((rate(4), rate(10), rate(80)), (0.5, 1.0, 1.0));
        assert!((rate(90) - 0.5).abs() < 1e-12);
        assert!((rate(99) - 0.05).abs() < 1e-12);
        assert_eq!((rate(100), rate(5000)), (0.0, 0.0));
    }

    #[test]
    fn a_rate_without_an_end_knows_no_horizon() {
        for (schedule, later) in [
            (RateSchedule::Constant, 1.0),
            (RateSchedule::InverseSqrt, 0.5),
        ] {
            let optim = optim(schedule);
            for horizon in [1.0, 10.0, 1000.0] {
                let rate = |step| learning_rate(&optim, step, horizon);
                assert_eq!((rate(4), rate(9), rate(39)), (0.5, 1.0, later));
            }
        }
        let steps: Vec<f64> = (0..100)
            .map(|step| learning_rate(&optim(RateSchedule::InverseSqrt), step, 1.0))
            .collect();
        assert!(steps[9..].windows(2).all(|pair| pair[0] > pair[1]));
    }

    #[test]
    fn configurations_name_schedules() {
        for (word, schedule) in [
            ("cosine", RateSchedule::Cosine),
            ("constant", RateSchedule::Constant),
            ("warmup-stable-decay", RateSchedule::WarmupStableDecay),
            ("inverse-sqrt", RateSchedule::InverseSqrt),
        ] {
            let config = crate::Config::from_toml(&format!("[optim]\nschedule = \"{word}\""));
            assert_eq!(
                config.map(|config| config.optim.schedule).ok(),
                Some(schedule)
            );
        }
    }
}
