//! [`Temporal`]: errors of a whole rollout, by The Well's definitions (`the_well.benchmark.metrics.temporal`).
//!
//! *Histogram W₁*: the Wasserstein-1 distance of the values over space and time, which sorting pairs
//! up, over the mean square of the truth. *Windowed dynamic time warping*: frames are scaled at every
//! point to unit length over the channels; a path aligns prediction and truth, at most ten frames
//! apart, with the least sum of mean squared differences; its distance is √(sum / T), its distortion
//! the mean shift in frames. The first frames are aligned at no cost.
//!
//! As in The Well, both depend on units: histogram W₁ is a length over a square, and the length of a
//! frame over the channels adds fields of different units.

use rayon::prelude::*;
use wellspring_store::Frames;

use super::channel::Channel;

/// Frames that a path may be off the diagonal.
const WINDOW: usize = 10;

/// Errors of one channel over a rollout.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Temporal {
    /// Wasserstein-1 distance of the histograms.
    pub histogram_w1: f64,
    /// Distance along the best alignment in time.
    pub dtw_distance: f64,
    /// Mean shift of that alignment, in frames.
    pub dtw_path_distortion: f64,
}

impl Temporal {
    /// Names in tables, in the order of [`Temporal::values`].
    pub const NAMES: [&str; 3] = ["histogram_w1", "dtw_distance", "dtw_path_distortion"];

    /// Measures each channel of rollout `batch` in the fields' own units. Truth and prediction are
    /// (T, B, C, *space).
    #[must_use]
    pub fn of(truth: &Frames, prediction: &Frames, batch: usize) -> Vec<Self> {
        let channels = vec![Channel::OWN; truth.channels()];
        Self::of_stored(truth, prediction, batch, &channels)
    }

    /// Measures each channel of rollout `batch`, in the fields' own units, from stored values. Truth and
    /// prediction are (T, B, C, *space); there are C `channels`.
    pub(crate) fn of_stored(
        truth: &Frames,
        prediction: &Frames,
        batch: usize,
        channels: &[Channel],
    ) -> Vec<Self> {
        // The largest field makes most of the length.
        let guards = channels.iter().map(|channel| channel.guard.plain);
        let guard = guards.fold(0.0, f64::max);
        let [lengths_y, lengths_x] = [truth, prediction].map(|frames| {
            let mut lengths = lengths(frames, batch, channels);
            lengths
                .iter_mut()
                .flatten()
                .for_each(|length| *length += guard);
            lengths
        });
        let places = channels.par_iter().enumerate();
        places
            .map(|(index, channel)| {
                let (dtw_distance, dtw_path_distortion) = warp(
                    &unit(prediction, batch, index, *channel, &lengths_x),
                    &unit(truth, batch, index, *channel, &lengths_y),
                );
                Self {
                    histogram_w1: histogram_w1(
                        &values(truth, batch, index),
                        &values(prediction, batch, index),
                        *channel,
                    ),
                    dtw_distance,
                    dtw_path_distortion,
                }
            })
            .collect()
    }

    /// Values of the metrics, in the order of [`Temporal::NAMES`].
    #[must_use]
    pub fn values(&self) -> [f64; 3] {
        [
            self.histogram_w1,
            self.dtw_distance,
            self.dtw_path_distortion,
        ]
    }
}

/// One channel over time and space.
fn values(frames: &Frames, batch: usize, channel: usize) -> Vec<f32> {
    (0..frames.time())
        .flat_map(|time| frames.channel(time, batch, channel).iter().copied())
        .collect()
}

fn histogram_w1(truth: &[f32], prediction: &[f32], channel: Channel) -> f64 {
    if prediction.iter().any(|x| !x.is_finite()) {
        return f64::NAN;
    }
    let sorted = |values: &[f32]| {
        let mut values = values.to_vec();
        values.sort_unstable_by(f32::total_cmp);
        values
    };
    let pairs = sorted(truth).into_iter().zip(sorted(prediction));
    // Transforms ascend, so stored values have the order of those in the field's units.
    let apart = match channel.transform {
        // A difference needs no shift.
        None => {
            let stored: f64 = pairs
                .map(|(y, x)| (f64::from(x) - f64::from(y)).abs())
                .sum();
            channel.units.scale.abs() * stored
        }
        Some(_) => pairs
            .map(|(y, x)| (channel.value(x) - channel.value(y)).abs())
            .sum(),
    };
    let square: f64 = truth.iter().map(|&y| channel.value(y).powi(2)).sum();
    let n = truth.len() as f64;
    apart / n / (square / n + channel.guard.square)
}

/// Length over the channels at every point of every frame.
fn lengths(frames: &Frames, batch: usize, channels: &[Channel]) -> Vec<Vec<f64>> {
    let of_frame = |time| {
        let mut squares = vec![0.0; frames.cells()];
        for (index, channel) in channels.iter().enumerate() {
            let values = frames.channel(time, batch, index);
            squares
                .iter_mut()
                .zip(values)
                .for_each(|(sum, &x)| *sum += channel.value(x).powi(2));
        }
        squares.iter().map(|square| square.sqrt()).collect()
    };
    (0..frames.time()).map(of_frame).collect()
}

/// Frames of one channel, scaled by the guarded lengths.
fn unit(
    frames: &Frames,
    batch: usize,
    index: usize,
    channel: Channel,
    lengths: &[Vec<f64>],
) -> Vec<Vec<f64>> {
    let scaled = |(time, lengths): (usize, &Vec<f64>)| {
        let values = frames.channel(time, batch, index).iter().zip(lengths);
        values
            .map(|(&x, length)| channel.value(x) / length)
            .collect()
    };
    lengths.iter().enumerate().map(scaled).collect()
}

/// Distance and distortion of the best path.
fn warp(prediction: &[Vec<f64>], truth: &[Vec<f64>]) -> (f64, f64) {
    let n = truth.len();
    let mut least = vec![vec![1e12; n]; n];
    least[0][0] = 0.0;
    for i in 1..n {
        for j in i.saturating_sub(WINDOW).max(1)..(i + WINDOW).min(n) {
            let pairs = prediction[i].iter().zip(&truth[j]);
            let cost = pairs.map(|(x, y)| (x - y).powi(2)).sum::<f64>() / truth[j].len() as f64;
            let before: [f64; 3] = [least[i - 1][j], least[i][j - 1], least[i - 1][j - 1]];
            // A NaN must stay one, which min would drop.
            let before =
                before.into_iter().fold(
                    f64::INFINITY,
                    |a, b| if b.is_nan() || b < a { b } else { a },
                );
            least[i][j] = cost + before;
        }
    }
    let shift = |j: usize| {
        let column = (0..n).map(|i| least[i][j]);
        let best = column.enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
        best.map_or(0.0, |(i, _)| i.abs_diff(j) as f64)
    };
    let distortion = (0..n).map(shift).sum::<f64>() / n as f64;
    ((least[n - 1][n - 1] / n as f64).sqrt(), distortion)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    /// A travelling pulse, some frames late.
    fn pulse(late: usize) -> Frames {
        let value = |i: usize| {
            let (time, x) = (i / 16, i % 16);
            if time.saturating_sub(late) == x {
                2.0
            } else {
                0.0
            }
        };
        Frames::new(12, 1, 1, vec![16], (0..12 * 16).map(value).collect()).unwrap()
    }

    #[test]
    fn a_late_pulse_is_aligned_and_its_histogram_is_the_same() {
        let same = Temporal::of(&pulse(0), &pulse(0), 0)[0];
        assert_eq!(same.values(), [0.0, 0.0, 0.0]);
        let late = Temporal::of(&pulse(0), &pulse(2), 0)[0];
        assert_eq!(late.histogram_w1, 0.0);
        assert!(late.dtw_path_distortion > 0.5, "{late:?}");
        let far = Temporal::of(&pulse(0), &pulse(11), 0)[0];
        assert!(far.dtw_distance > late.dtw_distance, "{far:?} {late:?}");
    }

    #[test]
    fn what_is_not_finite_is_not_a_distance() {
        let mut wild = pulse(0);
        wild.channel_mut(11, 0, 0)[3] = f32::NAN;
        let score = Temporal::of(&pulse(0), &wild, 0)[0];
        assert!(score.histogram_w1.is_nan() && score.dtw_distance.is_nan());
    }
}
