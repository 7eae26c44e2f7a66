//! Queries and keys of attention: LayerNorm over each head, then a rotation; values as they are.
//!
//! In: (N, S, 3C), out: (N, S, 3C) with [q | k | v], each by heads. `affine` holds γ and β of the
//! queries, then of the keys: (4 C/H). A rotation turns feature pairs (2i, 2i+1) of a token by an
//! angle: e' = e cos − o sin, o' = o cos + e sin. Its transpose turns gradients back, and LayerNorm's
//! gradient is that of `norm.rs`.

mod kernels;

use candle_core::{CpuStorage, CustomOp2, D, DType, Device, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::buffer::{add, read, slice, stored, sum, tensor};
use super::gpu::on_gpu;
use super::norm::EPSILON;
use super::route::Route;
use super::tape;

/// How heads and their q, k, v follow one another in a token's features.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeadOrder {
    /// [q of all heads | k of all heads | v of all heads].
    RolesFirst,
    /// [q, k, v of head 0 | q, k, v of head 1 | ...].
    HeadsFirst,
}

/// cos and sin of every token's angles, on a device: (S, pairs, 2). The rest of a head is not turned.
#[derive(Debug, Clone)]
pub(crate) struct Rotation(Tensor);

impl Rotation {
    /// The rotation by `angles`, (tokens, pairs) in radians.
    pub(crate) fn new(angles: &[f64], tokens: usize, device: &Device) -> Result<Self> {
        let turns = angles.iter().map(|angle| angle.sin_cos());
        let turns: Vec<f32> = turns
            .flat_map(|(sin, cos)| [cos as f32, sin as f32])
            .collect();
        Ok(Self(Tensor::from_vec(turns, (tokens, (), 2), device)?))
    }
}

/// Normalizes, rotates and sorts packed queries, keys and values.
pub(crate) fn qk_norm(
    qkv: &Tensor,
    affine: &Tensor,
    heads: usize,
    order: HeadOrder,
    rotation: Option<&Rotation>,
) -> Result<Tensor> {
    let op = QkNorm {
        heads,
        order,
        rotation: rotation.cloned(),
    };
    match (Route::of(qkv), rotation) {
        (Route::Cpu, _) => tape::apply2([&tape::contiguous(qkv)?, &tape::contiguous(affine)?], op),
        (Route::Gpu, Some(rotation)) if op.fits_a_warp(qkv) => {
            on_gpu(op, [qkv, affine, &rotation.0])
        }
        (Route::Gpu, None) if op.fits_a_warp(qkv) => on_gpu(op, [qkv, affine]),
        _ => tape::composed([qkv, affine], |[qkv, affine]| {
            composed(qkv, affine, heads, order, rotation)
        }),
    }
}

fn composed(
    qkv: &Tensor,
    affine: &Tensor,
    heads: usize,
    order: HeadOrder,
    rotation: Option<&Rotation>,
) -> Result<Tensor> {
    let (items, tokens, features) = qkv.dims3()?;
    let width = features / 3 / heads;
    let dtype = qkv.dtype();
    let qkv = qkv.to_dtype(DType::F32)?;
    let (split, role_axis) = match order {
        HeadOrder::RolesFirst => (qkv.reshape((items, tokens, 3, heads, width))?, 2),
        HeadOrder::HeadsFirst => (qkv.reshape((items, tokens, heads, 3, width))?, 3),
    };
    let mut roles = Vec::new();
    for role in 0..3 {
        let x = split.narrow(role_axis, role, 1)?.squeeze(role_axis)?;
        roles.push(if role == 2 {
            x
        } else {
            let mean = x.mean_keepdim(D::Minus1)?;
            let centred = x.broadcast_sub(&mean)?;
            let scale = (centred.sqr()?.mean_keepdim(D::Minus1)? + f64::from(EPSILON))?.sqrt()?;
            let normal = centred.broadcast_div(&scale)?;
            let row = |row: usize| affine.narrow(0, row * width, width);
            let normal = normal
                .broadcast_mul(&row(2 * role)?)?
                .broadcast_add(&row(2 * role + 1)?)?;
            match rotation {
                Some(rotation) => rotate(&normal, rotation)?,
                None => normal,
            }
        });
    }
    Tensor::stack(&roles, 2)?
        .reshape((items, tokens, features))?
        .to_dtype(dtype)
}

/// x: (N, S, H, width).
fn rotate(x: &Tensor, rotation: &Rotation) -> Result<Tensor> {
    let (items, tokens, heads, width) = x.dims4()?;
    let pairs = rotation.0.dim(1)?;
    let table = |which| rotation.0.narrow(2, which, 1)?.reshape((tokens, 1, pairs));
    let (cos, sin) = (table(0)?, table(1)?);
    let turned = x
        .narrow(3, 0, 2 * pairs)?
        .reshape((items, tokens, heads, pairs, 2))?;
    let (even, odd) = (
        turned.narrow(4, 0, 1)?.squeeze(4)?,
        turned.narrow(4, 1, 1)?.squeeze(4)?,
    );
    let e = (even.broadcast_mul(&cos)? - odd.broadcast_mul(&sin)?)?;
    let o = (odd.broadcast_mul(&cos)? + even.broadcast_mul(&sin)?)?;
    let turned = Tensor::stack(&[e, o], 4)?.reshape((items, tokens, heads, 2 * pairs))?;
    Tensor::cat(&[turned, x.narrow(3, 2 * pairs, width - 2 * pairs)?], 3)
}

struct QkNorm {
    heads: usize,
    order: HeadOrder,
    rotation: Option<Rotation>,
}

impl QkNorm {
    /// The first feature of a head's role (0 q, 1 k, 2 v) in the input.
    fn place(&self, role: usize, head: usize, width: usize) -> usize {
        match self.order {
            HeadOrder::RolesFirst => (role * self.heads + head) * width,
            HeadOrder::HeadsFirst => (head * 3 + role) * width,
        }
    }

    /// Calls `body` with the cosines and sines on the CPU, none where nothing is turned.
    fn with_turns<R>(&self, body: impl FnOnce(&[f32]) -> R) -> Result<R> {
        match &self.rotation {
            Some(rotation) => read([&rotation.0], |[turns]| body(turns)),
            None => Ok(body(&[])),
        }
    }

    fn token_forward(&self, y: &mut [f32], x: &[f32], affine: &[f32], turns: &[f32]) {
        let width = x.len() / 3 / self.heads;
        for role in 0..3 {
            for head in 0..self.heads {
                let x = &x[self.place(role, head, width)..][..width];
                let y = &mut y[(role * self.heads + head) * width..][..width];
                if role == 2 {
                    y.copy_from_slice(x);
                    continue;
                }
                let (mean, scale) = moments(x);
                let (gain, bias) = affine[2 * role * width..][..2 * width].split_at(width);
                for (i, y) in y.iter_mut().enumerate() {
                    *y = (x[i] - mean) * scale * gain[i] + bias[i];
                }
                turn(y, turns, 1.0);
            }
        }
    }

    fn token_backward(
        &self,
        (dx, daffine): (&mut [f32], &mut [f32]),
        x: &[f32],
        dy: &[f32],
        affine: &[f32],
        (turns, turned): (&[f32], &mut [f32]),
    ) {
        let width = turned.len();
        for role in 0..3 {
            for head in 0..self.heads {
                let place = self.place(role, head, width);
                let (x, dx) = (&x[place..][..width], &mut dx[place..][..width]);
                turned.copy_from_slice(&dy[(role * self.heads + head) * width..][..width]);
                if role == 2 {
                    dx.copy_from_slice(turned);
                    continue;
                }
                turn(turned, turns, -1.0);
                let (mean, scale) = moments(x);
                let gain = &affine[2 * role * width..][..width];
                let (dgain, dbias) = daffine[2 * role * width..][..2 * width].split_at_mut(width);
                let (mut of_g, mut of_gx) = (0.0, 0.0);
                for i in 0..width {
                    let normal = (x[i] - mean) * scale;
                    dgain[i] += turned[i] * normal;
                    dbias[i] += turned[i];
                    let g = turned[i] * gain[i];
                    of_g += g;
                    of_gx += g * normal;
                }
                let (of_g, of_gx) = (of_g / width as f32, of_gx / width as f32);
                for i in 0..width {
                    dx[i] = scale * (turned[i] * gain[i] - of_g - (x[i] - mean) * scale * of_gx);
                }
            }
        }
    }
}

/// Turns a head's pairs by its token's angles, or back where `sign` is −1.
fn turn(head: &mut [f32], turns: &[f32], sign: f32) {
    for (pair, turn) in head.chunks_exact_mut(2).zip(turns.chunks_exact(2)) {
        let (cos, sin) = (turn[0], sign * turn[1]);
        (pair[0], pair[1]) = (pair[0] * cos - pair[1] * sin, pair[1] * cos + pair[0] * sin);
    }
}

/// The turns of one of `tokens` tokens.
fn turns_of(turns: &[f32], token: usize, tokens: usize) -> &[f32] {
    let row = turns.len() / tokens;
    &turns[token * row..][..row]
}

fn moments(x: &[f32]) -> (f32, f32) {
    let count = x.len() as f32;
    let mean = sum(x, |x| x) / count;
    let variance = sum(x, |x| (x - mean) * (x - mean)) / count;
    (mean, 1.0 / (variance + EPSILON).sqrt())
}

impl CustomOp2 for QkNorm {
    fn name(&self) -> &'static str {
        "qk-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        affine: &CpuStorage,
        la: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, affine) = (slice(x, lx)?, slice(affine, la)?);
        let (_, tokens, features) = lx.shape().dims3()?;
        let mut y = vec![0.0; x.len()];
        self.with_turns(|turns| {
            let rows = y.par_chunks_mut(features).zip(x.par_chunks(features));
            rows.with_min_len(16).enumerate().for_each(|(i, (y, x))| {
                self.token_forward(y, x, affine, turns_of(turns, i % tokens, tokens));
            });
        })?;
        Ok(stored(y, lx.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        affine: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        const TOKENS: usize = 64;
        let (_, tokens, features) = x.dims3()?;
        let width = features / 3 / self.heads;
        let mut dx = vec![0.0; x.elem_count()];
        let mut backward = |[x, affine, dy]: [&[f32]; 3], turns: &[f32]| -> Vec<Vec<f32>> {
            let chunk = TOKENS * features;
            let chunks = dx
                .par_chunks_mut(chunk)
                .zip(x.par_chunks(chunk))
                .zip(dy.par_chunks(chunk));
            let chunks = chunks.enumerate().map(|(c, ((dx, x), dy))| {
                let (mut daffine, mut turned) = (vec![0.0; affine.len()], vec![0.0; width]);
                let rows = dx
                    .chunks_mut(features)
                    .zip(x.chunks(features))
                    .zip(dy.chunks(features));
                for (i, ((dx, x), dy)) in rows.enumerate() {
                    let turns = turns_of(turns, (c * TOKENS + i) % tokens, tokens);
                    self.token_backward((dx, &mut daffine), x, dy, affine, (turns, &mut turned));
                }
                daffine
            });
            chunks.collect()
        };
        let partial = read([x, affine, dy], |slices| {
            self.with_turns(|turns| backward(slices, turns))
        })??;
        let daffine = partial
            .into_iter()
            .fold(vec![0.0; affine.elem_count()], add);
        Ok((
            Some(tensor(dx, x.shape())?),
            Some(tensor(daffine, affine.shape())?),
        ))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::ops::testing::{check, check_kernels};

    #[test]
    fn equals_the_composed_operation() {
        let rotation = rotation(7, 3);
        for order in [HeadOrder::RolesFirst, HeadOrder::HeadsFirst] {
            for rotation in [None, Some(&rotation)] {
                check(
                    &[&[2, 7, 48], &[4 * 8]],
                    |v| qk_norm(&v[0], &v[1], 2, order, rotation),
                    |v| composed(&v[0], &v[1], 2, order, rotation),
                );
            }
        }
    }

    #[test]
    fn kernels_equal_the_composed_operation() {
        // Tokens, heads, their width, pairs that are turned.
        for (tokens, heads, width, pairs) in [
            (7, 2, 8, 3),
            (1, 1, 8, 4),
            (50, 3, 64, 24),
            (5, 2, 128, 48),
            (9, 3, 10, 3),
            (33, 1, 24, 9),
            (6, 2, 34, 12),
        ] {
            let rotation = rotation(tokens, pairs);
            for order in [HeadOrder::RolesFirst, HeadOrder::HeadsFirst] {
                for rotation in [None, Some(&rotation)] {
                    check_kernels(
                        &[&[2, tokens, 3 * heads * width], &[4 * width]],
                        |v, dtype| {
                            let (qkv, affine) = (v[0].to_dtype(dtype)?, &v[1]);
                            qk_norm(&qkv, affine, heads, order, on(rotation, &qkv)?.as_ref())
                        },
                        |v| composed(&v[0], &v[1], heads, order, rotation),
                    );
                }
            }
        }
    }

    fn rotation(tokens: usize, pairs: usize) -> Rotation {
        let angles: Vec<f64> = (0..tokens * pairs).map(|i| i as f64 * 0.3).collect();
        Rotation::new(&angles, tokens, &Device::Cpu).unwrap()
    }

    /// A rotation on the device of `x`.
    fn on(rotation: Option<&Rotation>, x: &Tensor) -> Result<Option<Rotation>> {
        let there = rotation.map(|rotation| rotation.0.to_device(x.device()).map(Rotation));
        there.transpose()
    }
}
