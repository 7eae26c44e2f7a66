//! GroupNorm over tokens: for each item n and group of channels,
//! y = (x − μ)/√(σ² + ε) · γ + β, with μ and σ² over the item's tokens and the group's channels
//! (Wu and He 2018). x: (N, S, C). With S = 1 and one group it is LayerNorm.
//!
//! dx = r (g − mean(g) − x̂ mean(g x̂)) with g = γ dy, r = 1/√(σ² + ε), means over the group;
//! dγ = Σ dy x̂, dβ = Σ dy.

mod kernels;

use candle_core::{CpuStorage, CustomOp3, DType, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::buffer::{add, read, slice, stored, tensor};
use super::gpu::on_gpu;
use super::route::Route;
use super::tape;
pub(super) use kernels::share;

/// PyTorch's ε.
pub(super) const EPSILON: f32 = 1e-5;

/// Normalizes groups of channels over all tokens of an item. x: (N, S, C), `gain` and `bias`: (C); the
/// result is in `dtype`.
pub(crate) fn group_norm(
    x: &Tensor,
    gain: &Tensor,
    bias: &Tensor,
    groups: usize,
    dtype: DType,
) -> Result<Tensor> {
    let op = GroupNorm { groups, dtype };
    match (Route::of(x), x.dtype(), dtype) {
        (Route::Cpu, _, DType::F32) => {
            let (x, gain) = (tape::contiguous(x)?, tape::contiguous(gain)?);
            tape::apply3([&x, &gain, &tape::contiguous(bias)?], op)
        }
        (Route::Gpu, DType::F32, DType::F32 | DType::BF16) => on_gpu(op, [x, gain, bias]),
        _ => tape::composed([x, gain, bias], |[x, gain, bias]| {
            composed(x, gain, bias, groups)?.to_dtype(dtype)
        }),
    }
}

fn composed(x: &Tensor, gain: &Tensor, bias: &Tensor, groups: usize) -> Result<Tensor> {
    let (items, tokens, channels) = x.dims3()?;
    let grouped = x.reshape((items, tokens, groups, channels / groups))?;
    let mean = grouped.mean_keepdim((1, 3))?;
    let centred = grouped.broadcast_sub(&mean)?;
    let scale = (centred.sqr()?.mean_keepdim((1, 3))? + f64::from(EPSILON))?.sqrt()?;
    let normal = centred
        .broadcast_div(&scale)?
        .reshape((items, tokens, channels))?;
    normal.broadcast_mul(gain)?.broadcast_add(bias)
}

struct GroupNorm {
    groups: usize,
    /// Type of the result.
    dtype: DType,
}

/// Mean and 1/√(σ² + ε) of each group of one item. Two passes, sums in f64.
fn moments(x: &[f32], channels: usize, groups: usize) -> Vec<(f32, f32)> {
    let width = channels / groups;
    let count = (x.len() / groups) as f64;
    let sums = |centre: &[f64], square: bool| {
        let mut sums = vec![0.0_f64; groups];
        for token in x.chunks(channels) {
            for ((sum, part), &centre) in sums.iter_mut().zip(token.chunks(width)).zip(centre) {
                let centre = centre as f32;
                *sum += f64::from(super::buffer::sum(part, |x| {
                    let x = x - centre;
                    if square { x * x } else { x }
                }));
            }
        }
        sums
    };
    let means: Vec<f64> = sums(&vec![0.0; groups], false)
        .iter()
        .map(|sum| sum / count)
        .collect();
    let squares = sums(&means, true);
    let scale = |square: f64| (1.0 / (square / count + f64::from(EPSILON)).sqrt()) as f32;
    means
        .iter()
        .zip(squares)
        .map(|(&mean, square)| (mean as f32, scale(square)))
        .collect()
}

impl CustomOp3 for GroupNorm {
    fn name(&self) -> &'static str {
        "group-norm"
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
        let (_, tokens, channels) = lx.shape().dims3()?;
        let (item, width) = (tokens * channels, channels / self.groups);
        let mut y = vec![0.0; x.len()];
        y.par_chunks_mut(item)
            .zip(x.par_chunks(item))
            .for_each(|(y, x)| {
                let moments = moments(x, channels, self.groups);
                for (y, x) in y.chunks_mut(channels).zip(x.chunks(channels)) {
                    for (group, &(mean, scale)) in moments.iter().enumerate() {
                        let part = group * width..(group + 1) * width;
                        let affine = gain[part.clone()].iter().zip(&bias[part.clone()]);
                        for ((y, x), (gain, bias)) in
                            y[part.clone()].iter_mut().zip(&x[part]).zip(affine)
                        {
                            *y = (x - mean) * scale * gain + bias;
                        }
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
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (_, tokens, channels) = x.dims3()?;
        let item = tokens * channels;
        let mut dx = vec![0.0; x.elem_count()];
        let partial: Vec<(Vec<f32>, Vec<f32>)> = read([x, gain, dy], |[x, gain, dy]| {
            let items = dx
                .par_chunks_mut(item)
                .zip(x.par_chunks(item))
                .zip(dy.par_chunks(item));
            items
                .map(|((dx, x), dy)| self.item_backward(dx, x, dy, gain))
                .collect()
        })?;
        let zero = (vec![0.0; channels], vec![0.0; channels]);
        let (dgain, dbias) = partial
            .into_iter()
            .fold(zero, |sum, part| (add(sum.0, part.0), add(sum.1, part.1)));
        Ok((
            Some(tensor(dx, x.shape())?),
            Some(tensor(dgain, gain.shape())?),
            Some(tensor(dbias, bias.shape())?),
        ))
    }
}

impl GroupNorm {
    /// Fills dx of one item and gives its part of dγ and dβ.
    fn item_backward(
        &self,
        dx: &mut [f32],
        x: &[f32],
        dy: &[f32],
        gain: &[f32],
    ) -> (Vec<f32>, Vec<f32>) {
        let channels = gain.len();
        let width = channels / self.groups;
        let count = (x.len() / self.groups) as f32;
        let moments = moments(x, channels, self.groups);
        let (mut dgain, mut dbias) = (vec![0.0; channels], vec![0.0; channels]);
        for (x, dy) in x.chunks(channels).zip(dy.chunks(channels)) {
            for (i, (x, dy)) in x.iter().zip(dy).enumerate() {
                let (mean, scale) = moments[i / width];
                dgain[i] += dy * (x - mean) * scale;
                dbias[i] += dy;
            }
        }
        // Σ g and Σ g x̂ over a group follow from Σ dy and Σ dy x̂ of its channels.
        let mean_of = |sums: &[f32], group: usize| {
            let part = group * width..(group + 1) * width;
            sums[part.clone()]
                .iter()
                .zip(&gain[part])
                .map(|(sum, gain)| sum * gain)
                .sum::<f32>()
                / count
        };
        let means: Vec<(f32, f32)> = (0..self.groups)
            .map(|group| (mean_of(&dbias, group), mean_of(&dgain, group)))
            .collect();
        for ((dx, x), dy) in dx
            .chunks_mut(channels)
            .zip(x.chunks(channels))
            .zip(dy.chunks(channels))
        {
            for (group, (&(mean, scale), &(of_g, of_gx))) in moments.iter().zip(&means).enumerate()
            {
                for i in group * width..(group + 1) * width {
                    dx[i] = scale * (dy[i] * gain[i] - of_g - (x[i] - mean) * scale * of_gx);
                }
            }
        }
        (dgain, dbias)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::ops::testing::{check, check_kernels, close, on_kernels};

    #[test]
    fn equals_the_composed_operation() {
        for (shape, groups) in [([2, 9, 12], 3), ([5, 1, 8], 1), ([1, 33, 6], 6)] {
            let channels = [shape[2]];
            check(
                &[&shape, &channels, &channels],
                |v| group_norm(&v[0], &v[1], &v[2], groups, DType::F32),
                |v| composed(&v[0], &v[1], &v[2], groups),
            );
        }
    }

    #[test]
    fn kernels_equal_the_composed_operation() {
        let shapes = [
            ([2, 9, 12], 3),
            ([5, 1, 8], 1),
            ([1, 33, 6], 6),
            ([1, 1, 12], 2),
            ([2, 300, 128], 2),
            ([1, 7, 1100], 1),
            ([2, 40, 14], 2),
            ([1, 5000, 8], 2),
        ];
        for (shape, groups) in shapes {
            let channels = [shape[2]];
            check_kernels(
                &[&shape, &channels, &channels],
                |v, dtype| group_norm(&v[0], &v[1], &v[2], groups, dtype),
                |v| composed(&v[0], &v[1], &v[2], groups),
            );
        }
    }

    /// A common offset far larger than the deviation, one number far from the others, and no deviation.
    #[test]
    fn kernels_lose_no_digits_to_an_offset() {
        let shape = (2, 150, 8);
        let wave = |i: usize| (i as f32 * 0.7).sin();
        let offset = |i: usize| 1000.0 + wave(i);
        let outlier = |i: usize| if i == 0 { 1e6 } else { wave(i) };
        let still = |_: usize| -3e4;
        let values: [&dyn Fn(usize) -> f32; 3] = [&offset, &outlier, &still];
        for value in values {
            let x: Vec<f32> = (0..2 * 150 * 8).map(value).collect();
            let [gain, bias] = [1.5_f32, 0.25].map(|x| vec![x; 8]);
            let normal = |device: &Device| {
                let x = Tensor::from_slice(&x, shape, device)?;
                let [gain, bias] = [&gain, &bias].map(|x| Tensor::from_slice(x, 8, device));
                group_norm(&x, &gain?, &bias?, 2, DType::F32)?.to_device(&Device::Cpu)
            };
            let found = on_kernels(normal).unwrap();
            close(&found, &normal(&Device::Cpu).unwrap(), 3e-5, "values");
        }
    }
}
