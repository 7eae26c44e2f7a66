//! Reversible instance normalization: normalizes the model's input, and maps its output back.
//!
//! Per sample and channel, mean and unbiased standard deviation (+ 10⁻⁴) over the context's time and
//! space, and the same of the frame-to-frame differences (Kim et al. 2022; reference model, step 1).
//! The model sees normalized frames and predicts the normalized change to the next one.

use candle_core::{Device, Tensor};
use rayon::prelude::*;
use wellspring_store::Frames;

use crate::Result;
use crate::device::{download, upload};
use crate::ops::{NormalizedFrames, has_kernels};

/// Added to every standard deviation.
const EPSILON: f64 = 1e-4;

/// Mean and scale of one sample's channel and of its changes.
#[derive(Debug, Clone, Copy, PartialEq)]
struct ContextScale {
    mean: f64,
    std: f64,
    change_mean: f64,
    change_std: f64,
}

/// Frames (T, B, C, *space) by the statistics of the first of them, the context.
#[derive(Debug)]
pub(crate) struct Revin<'a> {
    frames: &'a Frames,
    time: usize,
    way: Way,
}

/// The device of the computation, with its data.
#[derive(Debug)]
enum Way {
    /// Here, by one [`ContextScale`] for each sample and channel.
    Host {
        scales: Vec<ContextScale>,
        device: Device,
    },
    /// On a GPU, with the frames in its memory.
    Gpu(NormalizedFrames),
}

impl<'a> Revin<'a> {
    /// Normalizes frames by their first `time` ones, the context, for a model on `device`.
    pub(crate) fn of(frames: &'a Frames, time: usize, device: &Device) -> Result<Self> {
        let way = if has_kernels(device) {
            let (batch, channels) = (frames.batch(), frames.channels());
            let shape = (frames.time(), batch, channels, frames.cells());
            let there = upload(frames.data(), shape, device)?;
            Way::Gpu(NormalizedFrames::new(&there, time)?)
        } else {
            Way::Host {
                scales: scales(frames, time),
                device: device.clone(),
            }
        };
        Ok(Self { frames, time, way })
    }

    /// The context as the model sees it: (T, B, *space, C).
    pub(crate) fn input(&self) -> Result<Tensor> {
        let (scales, device) = match &self.way {
            Way::Gpu(normalized) => return self.over_space(&normalized.input()?),
            Way::Host { scales, device } => (scales, device),
        };
        let frames = self.frames;
        self.channels_last(0, self.time, device, |t, b, c, cells| {
            let scale = scales[b * frames.channels() + c];
            let (mean, factor) = (scale.mean as f32, (1.0 / scale.std) as f32);
            cells.copy_from_slice(frames.channel(t, b, c));
            cells.iter_mut().for_each(|x| *x = (*x - mean) * factor);
        })
    }

    /// The changes from frames `first..` to the next: (T − first, B, *space, C), normalized.
    pub(crate) fn target(&self, first: usize) -> Result<Tensor> {
        let (scales, device) = match &self.way {
            Way::Gpu(normalized) => return self.over_space(&normalized.target(first)?),
            Way::Host { scales, device } => (scales, device),
        };
        let frames = self.frames;
        let times = frames.time() - 1 - first;
        self.channels_last(first, times, device, |t, b, c, cells| {
            let scale = scales[b * frames.channels() + c];
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

    /// (T, B, cells, C) → (T, B, *space, C).
    fn over_space(&self, x: &Tensor) -> Result<Tensor> {
        let (times, batch, _, channels) = x.dims4()?;
        let shape = [&[times, batch], self.frames.space(), &[channels]].concat();
        Ok(x.reshape(shape)?)
    }

    /// Frames made cell by cell, then turned so that channels are last.
    fn channels_last(
        &self,
        first: usize,
        times: usize,
        device: &Device,
        fill: impl Fn(usize, usize, usize, &mut [f32]) + Sync,
    ) -> Result<Tensor> {
        let frames = self.frames;
        let (batch, channels, cells) = (frames.batch(), frames.channels(), frames.cells());
        let mut values = vec![0.0_f32; times * batch * cells * channels];
        values
            .par_chunks_mut(cells * channels)
            .enumerate()
            .for_each(|(frame, out)| {
                let mut row = vec![0.0; cells];
                for channel in 0..channels {
                    fill(first + frame / batch, frame % batch, channel, &mut row);
                    for (out, value) in out[channel..].iter_mut().step_by(channels).zip(&row) {
                        *out = *value;
                    }
                }
            });
        let values = Tensor::from_vec(values, (times, batch, cells, channels), device)?;
        self.over_space(&values)
    }

    /// The frame after the context, (1, B, C, *space), from a predicted change (1, B, *space, C).
    pub(crate) fn next(&self, change: &Tensor) -> Result<Frames> {
        let scales = match &self.way {
            Way::Gpu(normalized) => {
                let found = download(&normalized.next(change)?)?;
                let (batch, channels) = (self.frames.batch(), self.frames.channels());
                let space = self.frames.space().to_vec();
                return Ok(Frames::new(1, batch, channels, space, found)?);
            }
            Way::Host { scales, .. } => scales,
        };
        let mut next = self.frames.frame(self.time - 1);
        let change = download(change)?;
        let (channels, cells) = (next.channels(), next.cells());
        for batch in 0..next.batch() {
            for channel in 0..channels {
                let scale = scales[batch * channels + channel];
                let (mean, factor) = (scale.change_mean as f32, scale.change_std as f32);
                let changes = change[batch * cells * channels + channel..]
                    .iter()
                    .step_by(channels);
                for (x, change) in next.channel_mut(0, batch, channel).iter_mut().zip(changes) {
                    *x += change * factor + mean;
                }
            }
        }
        Ok(next)
    }
}

/// The scale of every sample and channel over the first `time` frames: B · C scales, channels fastest.
fn scales(frames: &Frames, time: usize) -> Vec<ContextScale> {
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
        ContextScale {
            mean,
            std,
            change_mean,
            change_std,
        }
    });
    scales.collect()
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
        let revin = Revin::of(&frames, 2, &Device::Cpu).unwrap();
        let next = revin.next(&revin.target(1).unwrap()).unwrap();
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
        let revin = Revin::of(&frames, 2, &Device::Cpu).unwrap();
        let seen = revin.input().unwrap();
        assert_eq!(seen.dims(), [2, 1, 2, 2]);
        let seen: Vec<f32> = seen.flatten_all().unwrap().to_vec1().unwrap();
        // Mean 4, unbiased variance 20/3.
        let expected = -3.0 / ((20.0_f32 / 3.0).sqrt() + 1e-4);
        assert!((seen[0] - expected).abs() < 1e-6, "{seen:?}");
        assert!((seen[1] - seen[0]).abs() < 1e-4, "{seen:?}");
    }
}
