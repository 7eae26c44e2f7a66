//! Attention over the frames at each token: y = softmax(q kᵀ/√d + bias) v per head.
//!
//! In: (T, M, 3C) as [q | k | v] by heads, where M counts the tokens of all items, and a table (32, H)
//! of the biases for distances in time; out: (T, M, C). If it is causal, a frame sees no later one.
//! Sequences are short and many, so a task takes a run of tokens and keeps the T × T weights of one head
//! on its stack. Gradients are those of `attention_space.rs`; that of the bias is Σ dS over tokens.

use candle_core::{CpuStorage, CustomOp2, D, DType, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use self::kernels::Plan;
use super::buffer::{add, dot, exp, read, slice, stored, tensor};
use super::gpu::on_gpu;
use super::route::Route;
use super::tape;

mod kernels;

/// Tokens of a task in the backward pass; fixed, so that sums do not depend on threads.
const TOKENS: usize = 32;

/// Rows of the table for a key's distance into the past; as many follow for the future.
const FRAMES: usize = 16;

/// Attention over time of packed queries, keys and values, with a column of the table for each head.
pub(crate) fn attention_time(qkv: &Tensor, table: &Tensor, causal: bool) -> Result<Tensor> {
    let (rows, heads) = table.dims2()?;
    let time = qkv.dim(0)?;
    if rows != 2 * FRAMES || time > FRAMES {
        bail!(
            "{time} frames and {rows} biases: there are to be at most {FRAMES} and twice as many"
        );
    }
    let op = Attention { heads, causal };
    match Route::of(qkv) {
        Route::Cpu => {
            let biases = tape::composed([table], |[table]| biases(table, time))?;
            tape::apply2([&tape::contiguous(qkv)?, &biases], op)
        }
        Route::Gpu if Plan::of(qkv.shape(), qkv.dtype(), heads).is_ok() => on_gpu(op, [qkv, table]),
        Route::Gpu | Route::Composed => {
            tape::composed([qkv, table], |[qkv, table]| composed(qkv, table, causal))
        }
    }
}

/// The table's bias of each pair of frames: (H, T, T) by query and key.
fn biases(table: &Tensor, time: usize) -> Result<Tensor> {
    let row = |query: usize, key: usize| match query.checked_sub(key) {
        Some(back) => back as u32,
        None => (FRAMES + key - query) as u32,
    };
    let pairs = (0..time * time).map(|pair| row(pair / time, pair % time));
    let pairs = Tensor::from_iter(pairs, table.device())?;
    let biases = table.index_select(&pairs, 0)?.t()?;
    biases.reshape((table.dim(1)?, time, time))
}

fn composed(qkv: &Tensor, table: &Tensor, causal: bool) -> Result<Tensor> {
    let (time, tokens, features) = qkv.dims3()?;
    let heads = table.dim(1)?;
    let width = features / 3 / heads;
    let split = qkv.reshape((time, tokens, 3, heads, width))?;
    // (M, H, T, width)
    let role = |i: usize| {
        split
            .narrow(2, i, 1)?
            .squeeze(2)?
            .permute((1, 2, 0, 3))?
            .contiguous()
    };
    let (q, k, v) = (role(0)?, role(1)?, role(2)?);
    let scores = (q.matmul(&k.transpose(2, 3)?.contiguous()?)? / (width as f64).sqrt())?;
    let mut scores = scores
        .to_dtype(DType::F32)?
        .broadcast_add(&biases(table, time)?)?;
    if causal {
        let mask: Vec<f32> = (0..time * time)
            .map(|i| {
                if i % time > i / time {
                    f32::NEG_INFINITY
                } else {
                    0.0
                }
            })
            .collect();
        scores = scores.broadcast_add(&Tensor::from_vec(mask, (time, time), qkv.device())?)?;
    }
    let weights = candle_nn::ops::softmax(&scores, D::Minus1)?.to_dtype(qkv.dtype())?;
    weights
        .matmul(&v)?
        .permute((2, 0, 1, 3))?
        .contiguous()?
        .reshape((time, tokens, heads * width))
}

struct Attention {
    heads: usize,
    causal: bool,
}

/// Offsets of the features of role r and head h of frame t at token m.
#[derive(Clone, Copy)]
struct Extent {
    time: usize,
    tokens: usize,
    heads: usize,
    width: usize,
}

impl Extent {
    fn of(&self, time: usize, token: usize, role: usize, head: usize) -> usize {
        ((time * self.tokens + token) * 3 + role) * self.heads * self.width + head * self.width
    }

    fn channels(&self) -> usize {
        self.heads * self.width
    }
}

impl Attention {
    fn extent(&self, shape: (usize, usize, usize)) -> Extent {
        let (time, tokens, features) = shape;
        Extent {
            time,
            tokens,
            heads: self.heads,
            width: features / 3 / self.heads,
        }
    }

    /// Weights of one head at one token, (T, T).
    fn weights(
        &self,
        qkv: &[f32],
        bias: &[f32],
        at: Extent,
        (token, head): (usize, usize),
        weights: &mut [f32],
    ) {
        let (time, width) = (at.time, at.width);
        let scale = 1.0 / (width as f32).sqrt();
        for (query, row) in weights.chunks_mut(time).enumerate() {
            let seen = if self.causal { query + 1 } else { time };
            let q = &qkv[at.of(query, token, 0, head)..][..width];
            for (key, weight) in row[..seen].iter_mut().enumerate() {
                let k = &qkv[at.of(key, token, 1, head)..][..width];
                *weight = scale * dot(q, k) + bias[(head * time + query) * time + key];
            }
            let most = row[..seen].iter().fold(f32::MIN, |a, &b| a.max(b));
            row[..seen].iter_mut().for_each(|x| *x = exp(*x - most));
            let total: f32 = row[..seen].iter().sum();
            row[..seen].iter_mut().for_each(|x| *x /= total);
            row[seen..].fill(0.0);
        }
    }
}

fn add_scaled(into: &mut [f32], by: f32, x: &[f32]) {
    into.iter_mut().zip(x).for_each(|(sum, x)| *sum += by * x);
}

impl CustomOp2 for Attention {
    fn name(&self) -> &'static str {
        "attention-time"
    }

    fn cpu_fwd(
        &self,
        qkv: &CpuStorage,
        lx: &Layout,
        bias: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (qkv, bias) = (slice(qkv, lx)?, slice(bias, lb)?);
        let at = self.extent(lx.shape().dims3()?);
        let channels = at.channels();
        // By token first, so that a task owns its part; turned to frames first afterwards.
        let mut by_token = vec![0.0; at.tokens * at.time * channels];
        by_token
            .par_chunks_mut(at.time * channels)
            .with_min_len(16)
            .enumerate()
            .for_each_init(
                || vec![0.0; at.time * at.time],
                |weights, (token, y)| {
                    for head in 0..at.heads {
                        self.weights(qkv, bias, at, (token, head), weights);
                        for (query, row) in weights.chunks(at.time).enumerate() {
                            let y = &mut y[query * channels + head * at.width..][..at.width];
                            for (key, &weight) in row.iter().enumerate() {
                                add_scaled(
                                    y,
                                    weight,
                                    &qkv[at.of(key, token, 2, head)..][..at.width],
                                );
                            }
                        }
                    }
                },
            );
        let y = turned(&by_token, at.tokens, at.time, channels);
        Ok(stored(y, (at.time, at.tokens, channels)))
    }

    fn bwd(
        &self,
        qkv: &Tensor,
        bias: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let at = self.extent(qkv.dims3()?);
        let row = at.time * 3 * at.channels();
        let mut by_token = vec![0.0; at.tokens * row];
        let partial: Vec<Vec<f32>> = read([qkv, bias, y, dy], |[qkv, bias, y, dy]| {
            let chunks = by_token.par_chunks_mut(TOKENS * row).enumerate();
            let each = |(chunk, dx): (usize, &mut [f32])| {
                let mut dbias = vec![0.0; bias.len()];
                let mut weights = vec![0.0; at.time * at.time];
                for (i, dx) in dx.chunks_mut(row).enumerate() {
                    self.token_backward(
                        (dx, &mut dbias),
                        (qkv, bias, y, dy),
                        at,
                        chunk * TOKENS + i,
                        &mut weights,
                    );
                }
                dbias
            };
            chunks.map(each).collect()
        })?;
        let dbias = partial.into_iter().fold(vec![0.0; bias.elem_count()], add);
        let dx = turned(&by_token, at.tokens, at.time, 3 * at.channels());
        Ok((
            Some(tensor(dx, qkv.shape())?),
            Some(tensor(dbias, bias.shape())?),
        ))
    }
}

impl Attention {
    /// Gradients at one token; `dx` is (T, 3C).
    fn token_backward(
        &self,
        (dx, dbias): (&mut [f32], &mut [f32]),
        (qkv, bias, y, dy): (&[f32], &[f32], &[f32], &[f32]),
        at: Extent,
        token: usize,
        weights: &mut [f32],
    ) {
        let (time, width, channels) = (at.time, at.width, at.channels());
        let scale = 1.0 / (width as f32).sqrt();
        for head in 0..at.heads {
            self.weights(qkv, bias, at, (token, head), weights);
            let within = |frame: usize, role: usize| (frame * 3 + role) * channels + head * width;
            for query in 0..time {
                let plain = (query * at.tokens + token) * channels + head * width;
                let (y, dy) = (&y[plain..plain + width], &dy[plain..plain + width]);
                let delta = dot(y, dy);
                for key in 0..time {
                    let weight = weights[query * time + key];
                    if weight == 0.0 {
                        continue;
                    }
                    let v = &qkv[at.of(key, token, 2, head)..][..width];
                    let slope = weight * (dot(dy, v) - delta);
                    dbias[(head * time + query) * time + key] += slope;
                    let (q, k) = (
                        &qkv[at.of(query, token, 0, head)..][..width],
                        &qkv[at.of(key, token, 1, head)..][..width],
                    );
                    add_scaled(&mut dx[within(query, 0)..][..width], scale * slope, k);
                    add_scaled(&mut dx[within(key, 1)..][..width], scale * slope, q);
                    add_scaled(&mut dx[within(key, 2)..][..width], weight, dy);
                }
            }
        }
    }
}

/// (M, T, features) → (T, M, features).
fn turned(by_token: &[f32], tokens: usize, time: usize, features: usize) -> Vec<f32> {
    let mut by_time = vec![0.0; by_token.len()];
    by_time
        .par_chunks_mut(tokens * features)
        .enumerate()
        .for_each(|(frame, into)| {
            for (token, row) in into.chunks_mut(features).enumerate() {
                row.copy_from_slice(&by_token[(token * time + frame) * features..][..features]);
            }
        });
    by_time
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check, check_kernels};

    const TABLE: usize = 2 * FRAMES;

    #[test]
    fn equals_the_composed_operation() {
        for causal in [false, true] {
            check(
                &[&[5, 40, 48], &[TABLE, 2]],
                |v| attention_time(&v[0], &v[1], causal),
                |v| composed(&v[0], &v[1], causal),
            );
        }
    }

    #[test]
    fn kernels_equal_the_composed_operation() {
        // Frames, tokens, heads and their width: one of each; few and many frames; every size of a team;
        // widths that no pack divides; more tokens than a block takes.
        for (time, tokens, heads, width) in [
            (1, 1, 1, 1),
            (6, 35, 3, 64),
            (8, 5, 2, 128),
            (9, 3, 1, 128),
            (16, 33, 2, 32),
            (5, 2, 3, 7),
            (3, 70, 1, 36),
        ] {
            let shape = [time, tokens, 3 * heads * width];
            for causal in [false, true] {
                check_kernels(
                    &[&shape, &[TABLE, heads]],
                    |v, dtype| attention_time(&v[0].to_dtype(dtype)?, &v[1], causal),
                    |v| composed(&v[0], &v[1], causal),
                );
            }
        }
    }

    #[test]
    fn kernels_bear_scores_of_any_size() {
        let large = |x: &Tensor| x * 8192.0;
        check_kernels(
            &[&[5, 9, 48], &[TABLE, 2]],
            |v, dtype| attention_time(&large(&v[0])?.to_dtype(dtype)?, &v[1], false),
            |v| composed(&large(&v[0])?, &v[1], false),
        );
    }

    #[test]
    fn heads_wider_than_the_kernels_take_are_composed() {
        check_kernels(
            &[&[3, 2, 3 * 132], &[TABLE, 1]],
            |v, _| attention_time(&v[0], &v[1], true),
            |v| composed(&v[0], &v[1], true),
        );
    }

    #[test]
    fn more_frames_than_biases_are_refused() -> Result<()> {
        let cpu = candle_core::Device::Cpu;
        let qkv = Tensor::zeros((17, 2, 12), DType::F32, &cpu)?;
        let table = Tensor::zeros((TABLE, 1), DType::F32, &cpu)?;
        assert!(attention_time(&qkv, &table, true).is_err());
        Ok(())
    }
}
