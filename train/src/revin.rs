//! Reversible instance normalisation: what the model sees and predicts, and the way back.
//!
//! Per sample and channel, mean and unbiased standard deviation (+ 10⁻⁴) over the context's time and
//! space, and the same of the frame-to-frame differences (Kim et al. 2022; reference model, step 1).
//! The model sees normalised frames and predicts the normalised change to the next one.

use candle_core::{Device, Tensor};
use rayon::prelude::*;
use wellspring_store::Frames;

use crate::Result;

/// Added to every standard deviation.
const EPSILON: f64 = 1e-4;

/// Mean and scale of one sample's channel and of its changes.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Scale {
    mean: f64,
    std: f64,
    change_mean: f64,
    change_std: f64,
}

/// Statistics of a context (T, B, C, *space): one [`Scale`] for each sample and channel.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Revin {
    channels: usize,
    scales: Vec<Scale>,
}

impl Revin {
    /// Of the first `time` frames, at least two.
    pub(crate) fn of(frames: &Frames, time: usize) -> Self {
        let channels = frames.channels();
        let scales = (0..frames.batch() * channels).into_par_iter();
        let scales = scales.map(|index| {
            let at = |t: usize| frames.channel(t, index / channels, index % channels);
            let (mean, std) = mean_and_std((0..time).map(|t| at(t).iter().map(|&x| f64::from(x))));
            let changes = (1..time).map(|t| {
                at(t)
                    .iter()
                    .zip(at(t - 1))
                    .map(|(&x, &before)| f64::from(x - before))
            });
            let (change_mean, change_std) = mean_and_std(changes);
            Scale {
                mean,
                std,
                change_mean,
                change_std,
            }
        });
        Self {
            channels,
            scales: scales.collect(),
        }
    }

    fn scale(&self, batch: usize, channel: usize) -> Scale {
        self.scales[batch * self.channels + channel]
    }

    /// The first `time` frames as the model sees them: (T, B, *space, C).
    pub(crate) fn input(&self, frames: &Frames, time: usize, device: &Device) -> Result<Tensor> {
        self.channels_last(frames, 0, time, device, |t, b, c, cells| {
            let scale = self.scale(b, c);
            let (mean, factor) = (scale.mean as f32, (1.0 / scale.std) as f32);
            cells.copy_from_slice(frames.channel(t, b, c));
            cells.iter_mut().for_each(|x| *x = (*x - mean) * factor);
        })
    }

    /// The changes from frames `first..` to the next: (T − first, B, *space, C), normalised.
    pub(crate) fn target(&self, frames: &Frames, first: usize, device: &Device) -> Result<Tensor> {
        let times = frames.time() - 1 - first;
        self.channels_last(frames, first, times, device, |t, b, c, cells| {
            let scale = self.scale(b, c);
            let (mean, factor) = (scale.change_mean as f32, (1.0 / scale.change_std) as f32);
            let pairs = frames
                .channel(t + 1, b, c)
                .iter()
                .zip(frames.channel(t, b, c));
            for (cell, (next, now)) in cells.iter_mut().zip(pairs) {
                *cell = (next - now - mean) * factor;
            }
        })
    }

    /// Frames made cell by cell, then turned so that channels are last.
    fn channels_last(
        &self,
        frames: &Frames,
        first: usize,
        times: usize,
        device: &Device,
        fill: impl Fn(usize, usize, usize, &mut [f32]) + Sync,
    ) -> Result<Tensor> {
        let (batch, cells) = (frames.batch(), frames.cells());
        let mut values = vec![0.0_f32; times * batch * cells * self.channels];
        values
            .par_chunks_mut(cells * self.channels)
            .enumerate()
            .for_each(|(frame, out)| {
                let mut row = vec![0.0; cells];
                for channel in 0..self.channels {
                    fill(first + frame / batch, frame % batch, channel, &mut row);
                    for (out, value) in out[channel..].iter_mut().step_by(self.channels).zip(&row) {
                        *out = *value;
                    }
                }
            });
        let shape = [&[times, batch], frames.space(), &[self.channels]].concat();
        Ok(Tensor::from_vec(values, shape, device)?)
    }

    /// The frame after `last`, (1, B, C, *space), from a predicted change (1, B, *space, C).
    pub(crate) fn next(&self, last: &Frames, change: &Tensor) -> Result<Frames> {
        let change: Vec<f32> = change.flatten_all()?.to_vec1()?;
        let mut next = last.clone();
        let cells = last.cells();
        for batch in 0..last.batch() {
            for channel in 0..self.channels {
                let scale = self.scale(batch, channel);
                let (mean, factor) = (scale.change_mean as f32, scale.change_std as f32);
                let changes = change[batch * cells * self.channels + channel..]
                    .iter()
                    .step_by(self.channels);
                for (x, change) in next.channel_mut(0, batch, channel).iter_mut().zip(changes) {
                    *x += change * factor + mean;
                }
            }
        }
        Ok(next)
    }
}

/// Mean and unbiased standard deviation (+ ε) of rows of values, in two passes.
fn mean_and_std<R: Iterator<Item = f64>>(rows: impl Iterator<Item = R> + Clone) -> (f64, f64) {
    let (mut count, mut sum) = (0_usize, 0.0);
    for value in rows.clone().flatten() {
        count += 1;
        sum += value;
    }
    let mean = sum / count.max(1) as f64;
    let squares: f64 = rows.flatten().map(|value| (value - mean).powi(2)).sum();
    (
        mean,
        (squares / count.saturating_sub(1).max(1) as f64).sqrt() + EPSILON,
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_perfect_prediction_gives_the_next_frame_back() {
        let values: Vec<f32> = (0..3 * 2 * 2 * 4)
            .map(|i| ((i * i) as f32 * 0.37).sin())
            .collect();
        let frames = Frames::new(3, 2, 2, vec![2, 2], values).unwrap();
        let revin = Revin::of(&frames, 2);
        let target = revin.target(&frames, 1, &Device::Cpu).unwrap();
        let next = revin.next(&frames.frame(1), &target).unwrap();
        for (found, expected) in next.data().iter().zip(frames.frame(2).data()) {
            assert!((found - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn what_the_model_sees_has_mean_zero_and_channels_last() {
        let frames = Frames::new(
            2,
            1,
            2,
            vec![2],
            vec![1.0, 3.0, 10.0, 30.0, 5.0, 7.0, 50.0, 70.0],
        )
        .unwrap();
        let seen = Revin::of(&frames, 2)
            .input(&frames, 2, &Device::Cpu)
            .unwrap();
        assert_eq!(seen.dims(), [2, 1, 2, 2]);
        let seen: Vec<f32> = seen.flatten_all().unwrap().to_vec1().unwrap();
        // Mean 4, unbiased variance 20/3.
        let expected = -3.0 / ((20.0_f32 / 3.0).sqrt() + 1e-4);
        assert!((seen[0] - expected).abs() < 1e-6, "{seen:?}");
        assert!((seen[1] - seen[0]).abs() < 1e-4, "{seen:?}");
    }
}
