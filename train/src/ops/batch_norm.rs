//! tanh of a batch norm (Ioffe and Szegedy 2015): y = tanh((x − μ) r γ + β), r = 1/√(σ² + ε), with the moments μ and σ²
//! of each channel over all rows. x: (R, C), γ and β: (C).
//!
//! With g = (1 − y²) dy and x̂ = (x − μ) r: dβ = Σ g, dγ = Σ g x̂, dx = γ r (g − (dβ + x̂ dγ)/R).

use candle_core::{CpuStorage, CustomOp3, DType, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::buffer::{GRAIN, read, slice, stored, tensor};
use super::norm::{EPSILON, group_norm};
use super::route::Route;
use super::tanh::{tanh, value};
use super::{reshape, tape};

/// Mean and variance of each channel over the rows of x (R, C): (2, C). It has no gradient.
pub(crate) fn channel_moments(x: &Tensor) -> Result<Tensor> {
    let (rows, channels) = x.dims2()?;
    let x = x.detach();
    if Route::of(&x) != Route::Cpu {
        let mean = x.mean_keepdim(0)?;
        let variance = x.broadcast_sub(&mean)?.sqr()?.mean_keepdim(0)?;
        return Tensor::cat(&[mean, variance], 0);
    }
    let moments = read([&x], |[x]| {
        let count = rows as f64;
        let means = column_sums(x, channels, |x, _| x, &vec![0.0; channels]);
        let means: Vec<f32> = means.iter().map(|sum| (sum / count) as f32).collect();
        let squares = |x: f32, mean: f32| (x - mean) * (x - mean);
        let variances = column_sums(x, channels, squares, &means);
        let variances = variances.iter().map(|sum| (sum / count) as f32);
        means.iter().copied().chain(variances).collect::<Vec<f32>>()
    })?;
    tensor(moments, &Shape::from((2, channels)))
}

/// tanh of x (R, C) normalized by its own moments, as [`channel_moments`] gives them.
pub(crate) fn batch_norm_tanh(
    x: &Tensor,
    gain: &Tensor,
    bias: &Tensor,
    moments: &Tensor,
) -> Result<Tensor> {
    let (rows, channels) = x.dims2()?;
    if Route::of(x) != Route::Cpu {
        // A group of one channel over all rows.
        let x = reshape(x, (1, rows, channels))?;
        let y = group_norm(&x, gain, bias, channels, DType::F32)?;
        return tanh(&reshape(&y, (rows, channels))?);
    }
    let moments: Vec<Vec<f32>> = moments.to_vec2()?;
    let scales = moments[1].iter().map(|&variance| {
        let spread = f64::from(variance) + f64::from(EPSILON);
        (1.0 / spread.sqrt()) as f32
    });
    let op = BatchNormTanh {
        scales: scales.collect(),
        means: moments[0].clone(),
    };
    let (x, gain) = (tape::contiguous(x)?, tape::contiguous(gain)?);
    tape::apply3([&x, &gain, &tape::contiguous(bias)?], op)
}

/// Sums over rows of f(x, c) with a number c of each channel, in an order that does not depend on the threads.
fn column_sums(
    x: &[f32],
    channels: usize,
    f: impl Fn(f32, f32) -> f32 + Sync,
    of_channel: &[f32],
) -> Vec<f64> {
    let chunk = (GRAIN / channels).max(1) * channels;
    let sums = x.par_chunks(chunk).map(|chunk| {
        let mut sums = vec![0.0_f32; channels];
        for row in chunk.chunks(channels) {
            let terms = sums.iter_mut().zip(row).zip(of_channel);
            terms.for_each(|((sum, &x), &c)| *sum += f(x, c));
        }
        sums
    });
    total(sums.collect(), channels)
}

fn total(parts: Vec<Vec<f32>>, channels: usize) -> Vec<f64> {
    let mut sums = vec![0.0_f64; channels];
    for part in parts {
        let terms = sums.iter_mut().zip(part);
        terms.for_each(|(sum, x)| *sum += f64::from(x));
    }
    sums
}

struct BatchNormTanh {
    means: Vec<f32>,
    scales: Vec<f32>,
}

impl BatchNormTanh {
    /// Rows of a chunk, in numbers.
    fn chunk(&self) -> usize {
        let channels = self.means.len();
        (GRAIN / channels).max(1) * channels
    }

    /// Σ g and Σ g x̂ over all rows.
    fn sums(&self, x: &[f32], y: &[f32], dy: &[f32]) -> [Vec<f64>; 2] {
        let (channels, chunk) = (self.means.len(), self.chunk());
        let chunks = x.par_chunks(chunk).zip(y.par_chunks(chunk));
        let parts = chunks.zip(dy.par_chunks(chunk)).map(|((x, y), dy)| {
            let (mut plain, mut along) = (vec![0.0_f32; channels], vec![0.0_f32; channels]);
            let rows = x.chunks(channels).zip(y.chunks(channels));
            for ((x, y), dy) in rows.zip(dy.chunks(channels)) {
                for channel in 0..channels {
                    let g = dy[channel] * (1.0 - y[channel] * y[channel]);
                    let normal = (x[channel] - self.means[channel]) * self.scales[channel];
                    plain[channel] += g;
                    along[channel] += g * normal;
                }
            }
            (plain, along)
        });
        let (plain, along) = parts.unzip::<_, _, Vec<_>, Vec<_>>();
        [total(plain, channels), total(along, channels)]
    }
}

impl CustomOp3 for BatchNormTanh {
    fn name(&self) -> &'static str {
        "batch-norm-tanh"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        gain: &CpuStorage,
        lg: &Layout,
        bias: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, gain, bias) = (slice(x, lx)?, slice(gain, lg)?, slice(bias, lb)?);
        let (channels, chunk) = (self.means.len(), self.chunk());
        let mut y = vec![0.0; x.len()];
        let chunks = y.par_chunks_mut(chunk).zip(x.par_chunks(chunk));
        chunks.for_each(|(y, x)| {
            for (y, x) in y.chunks_mut(channels).zip(x.chunks(channels)) {
                for channel in 0..channels {
                    let normal = (x[channel] - self.means[channel]) * self.scales[channel];
                    y[channel] = value(normal * gain[channel] + bias[channel]);
                }
            }
        });
        Ok(stored(y, lx.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gain: &Tensor,
        bias: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (channels, chunk) = (self.means.len(), self.chunk());
        let mut dx = vec![0.0; x.elem_count()];
        let [plain, along] = read([x, gain, y, dy], |[x, gain, y, dy]| {
            let sums = self.sums(x, y, dy);
            let count = (x.len() / channels) as f64;
            let [plain, along] = sums
                .each_ref()
                .map(|sums| -> Vec<f32> { sums.iter().map(|sum| (sum / count) as f32).collect() });
            let chunks = dx.par_chunks_mut(chunk).zip(x.par_chunks(chunk));
            let chunks = chunks.zip(y.par_chunks(chunk)).zip(dy.par_chunks(chunk));
            chunks.for_each(|(((dx, x), y), dy)| {
                let rows = dx.chunks_mut(channels).zip(x.chunks(channels));
                let rows = rows.zip(y.chunks(channels)).zip(dy.chunks(channels));
                for (((dx, x), y), dy) in rows {
                    for channel in 0..channels {
                        let g = dy[channel] * (1.0 - y[channel] * y[channel]);
                        let scale = self.scales[channel];
                        let normal = (x[channel] - self.means[channel]) * scale;
                        let rest = g - plain[channel] - normal * along[channel];
                        dx[channel] = gain[channel] * scale * rest;
                    }
                }
            });
            sums
        })?;
        let single = |sums: Vec<f64>| sums.into_iter().map(|sum| sum as f32).collect();
        Ok((
            Some(tensor(dx, x.shape())?),
            Some(tensor(single(along), gain.shape())?),
            Some(tensor(single(plain), bias.shape())?),
        ))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::ops::testing::{check, check_kernels};

    fn composed(x: &Tensor, gain: &Tensor, bias: &Tensor) -> Result<Tensor> {
        let centred = x.broadcast_sub(&x.mean_keepdim(0)?)?;
        let variance = centred.sqr()?.mean_keepdim(0)?;
        let normal = centred.broadcast_div(&(variance + f64::from(EPSILON))?.sqrt()?)?;
        normal.broadcast_mul(gain)?.broadcast_add(bias)?.tanh()
    }

    #[test]
    fn equals_the_composed_operation() {
        let fused = |v: &[Tensor]| batch_norm_tanh(&v[0], &v[1], &v[2], &channel_moments(&v[0])?);
        for rows in [7, 5000] {
            let shapes: [&[usize]; 3] = [&[rows, 5], &[5], &[5]];
            check(&shapes, fused, |v| composed(&v[0], &v[1], &v[2]));
        }
        check_kernels(
            &[&[60, 5], &[5], &[5]],
            |v, _| fused(v),
            |v| composed(&v[0], &v[1], &v[2]),
        );
    }
}
