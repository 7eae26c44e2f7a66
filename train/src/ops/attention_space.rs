//! Full attention among the tokens of a frame: y = softmax(q kᵀ/√d) v per head.
//!
//! In: (N, S, 3C) as [q | k | v] by heads; out: (N, S, C). The matrix of weights is never whole: a
//! tile of queries meets blocks of keys, with the running maximum m and sum l of an online softmax
//! (Dao et al. 2022). Backward recomputes each tile: with P the weights and δ = Σ dy·y per query,
//! dS = P ∘ (dy vᵀ − δ), dq = dS k/√d, dk = dSᵀ q/√d, dv = Pᵀ dy.

use candle_core::{CpuStorage, CustomOp1, D, DType, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::buffer::{dot, exp, read, slice, stored, sum, tensor};
use super::gpu::on_gpu;
use super::matrix::{Matrix, MatrixMut};
use super::route::Route;
use super::tape;
use kernels::Call;

mod kernels;

/// Queries of a tile and keys of a block: their product stays in the second-level cache.
const QUERIES: usize = 64;
const KEYS: usize = 512;

/// Attention over space of packed queries, keys and values.
pub(crate) fn attention_space(qkv: &Tensor, heads: usize) -> Result<Tensor> {
    match Route::of(qkv) {
        Route::Cpu => tape::apply1(&tape::contiguous(qkv)?, Attention { heads }),
        Route::Gpu if Call::of(qkv.dims(), qkv.dtype(), heads)?.has_kernels() => {
            on_gpu(Attention { heads }, [qkv])
        }
        Route::Gpu | Route::Composed => tape::composed([qkv], |[qkv]| composed(qkv, heads)),
    }
}

fn composed(qkv: &Tensor, heads: usize) -> Result<Tensor> {
    let (items, tokens, features) = qkv.dims3()?;
    let width = features / 3 / heads;
    let split = qkv.reshape((items, tokens, 3, heads, width))?;
    let role = |i: usize| {
        split
            .narrow(2, i, 1)?
            .squeeze(2)?
            .transpose(1, 2)?
            .contiguous()
    };
    let (q, k, v) = (role(0)?, role(1)?, role(2)?);
    let scores = (q.matmul(&k.transpose(2, 3)?.contiguous()?)? / (width as f64).sqrt())?;
    let weights = candle_nn::ops::softmax(&scores.to_dtype(DType::F32)?, D::Minus1)?;
    let weights = weights.to_dtype(qkv.dtype())?;
    weights
        .matmul(&v)?
        .transpose(1, 2)?
        .contiguous()?
        .reshape((items, tokens, heads * width))
}

struct Attention {
    heads: usize,
}

/// One head of one item within packed tokens.
#[derive(Clone, Copy)]
struct Head {
    tokens: usize,
    width: usize,
    heads: usize,
    head: usize,
}

impl Head {
    fn row(&self) -> usize {
        3 * self.heads * self.width
    }

    /// Tokens `from..from + count` of a role (0 q, 1 k, 2 v).
    fn part<'a>(&self, qkv: &'a [f32], role: usize, from: usize, count: usize) -> Matrix<'a> {
        let start = from * self.row() + (role * self.heads + self.head) * self.width;
        Matrix::rows(&qkv[start..], count, self.width, self.row())
    }

    fn part_mut<'a>(
        &self,
        qkv: &'a mut [f32],
        role: usize,
        from: usize,
        count: usize,
    ) -> MatrixMut<'a> {
        let start = from * self.row() + (role * self.heads + self.head) * self.width;
        MatrixMut::rows(&mut qkv[start..], count, self.width, self.row())
    }

    /// Scores of a tile of queries against all keys, turned into weights in place.
    fn weights(&self, qkv: &[f32], from: usize, count: usize, weights: &mut [f32]) {
        let scale = 1.0 / (self.width as f32).sqrt();
        let tokens = self.tokens;
        let (q, k) = (self.part(qkv, 0, from, count), self.part(qkv, 1, 0, tokens));
        MatrixMut::rows(weights, count, tokens, tokens).product(false, scale, q, k.transposed(), 1);
        for row in weights.chunks_mut(tokens).take(count) {
            let most = maximum(row);
            row.iter_mut().for_each(|x| *x = exp(*x - most));
            let unit = 1.0 / sum(row, |x| x);
            row.iter_mut().for_each(|x| *x *= unit);
        }
    }
}

fn maximum(row: &[f32]) -> f32 {
    let mut lanes = [f32::MIN; 16];
    let chunks = row.chunks_exact(16);
    let rest = chunks.remainder().iter().fold(f32::MIN, |a, &b| a.max(b));
    for chunk in chunks {
        lanes
            .iter_mut()
            .zip(chunk)
            .for_each(|(lane, &x)| *lane = if x > *lane { x } else { *lane });
    }
    lanes.iter().fold(rest, |a, &b| a.max(b))
}

/// Scratch of the forward pass of one tile.
struct Tile {
    scores: Vec<f32>,
    output: Vec<f32>,
    most: Vec<f32>,
    total: Vec<f32>,
}

impl Tile {
    fn new(width: usize) -> Self {
        Self {
            scores: vec![0.0; QUERIES * KEYS],
            output: vec![0.0; QUERIES * width],
            most: vec![0.0; QUERIES],
            total: vec![0.0; QUERIES],
        }
    }

    /// Attends from `count` queries to all keys, block by block.
    fn attend(&mut self, head: Head, qkv: &[f32], from: usize, count: usize) {
        let width = head.width;
        let scale = 1.0 / (width as f32).sqrt();
        self.most.fill(f32::MIN);
        self.total.fill(0.0);
        self.output.fill(0.0);
        for key in (0..head.tokens).step_by(KEYS) {
            let keys = KEYS.min(head.tokens - key);
            let (q, k) = (head.part(qkv, 0, from, count), head.part(qkv, 1, key, keys));
            let scores = MatrixMut::rows(&mut self.scores, count, keys, keys);
            scores.product(false, scale, q, k.transposed(), 1);
            for (i, row) in self.scores.chunks_mut(keys).take(count).enumerate() {
                let most = self.most[i].max(maximum(row));
                // What was summed so far was relative to another maximum.
                let shrink = exp(self.most[i] - most);
                row.iter_mut().for_each(|x| *x = exp(*x - most));
                self.total[i] = self.total[i] * shrink + sum(row, |x| x);
                self.most[i] = most;
                self.output[i * width..(i + 1) * width]
                    .iter_mut()
                    .for_each(|x| *x *= shrink);
            }
            let weights = Matrix::rows(&self.scores, count, keys, keys);
            let output = MatrixMut::rows(&mut self.output, count, width, width);
            output.product(true, 1.0, weights, head.part(qkv, 2, key, keys), 1);
        }
        for (row, total) in self.output.chunks_mut(width).zip(&self.total).take(count) {
            row.iter_mut().for_each(|x| *x /= total);
        }
    }
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "attention-space"
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let qkv = slice(qkv, layout)?;
        let (items, tokens, features) = layout.shape().dims3()?;
        let (heads, channels) = (self.heads, features / 3);
        let width = channels / heads;
        let mut y = vec![0.0; items * tokens * channels];
        // A task is a tile of queries with all its heads: it owns whole rows of the output.
        let tiles = tokens.div_ceil(QUERIES);
        let mut rows: Vec<&mut [f32]> = y
            .chunks_mut(tokens * channels)
            .flat_map(|item| item.chunks_mut(QUERIES * channels))
            .collect();
        rows.par_iter_mut().enumerate().for_each_init(
            || Tile::new(width),
            |tile, (task, y)| {
                let (item, from) = (task / tiles, task % tiles * QUERIES);
                let count = y.len() / channels;
                let qkv = &qkv[item * tokens * features..][..tokens * features];
                for head in 0..heads {
                    tile.attend(
                        Head {
                            tokens,
                            width,
                            heads,
                            head,
                        },
                        qkv,
                        from,
                        count,
                    );
                    for (y, output) in y.chunks_mut(channels).zip(tile.output.chunks(width)) {
                        y[head * width..(head + 1) * width].copy_from_slice(output);
                    }
                }
            },
        );
        Ok(stored(y, (items, tokens, channels)))
    }

    fn bwd(&self, qkv: &Tensor, y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let (_, tokens, features) = qkv.dims3()?;
        let channels = features / 3;
        let mut dx = vec![0.0; qkv.elem_count()];
        read([qkv, y, dy], |[qkv, y, dy]| {
            let (packed, plain) = (tokens * features, tokens * channels);
            let items = dx.par_chunks_mut(packed).zip(qkv.par_chunks(packed));
            let items = items.zip(y.par_chunks(plain)).zip(dy.par_chunks(plain));
            items.for_each(|(((dx, qkv), y), dy)| self.item_backward(dx, qkv, y, dy, tokens));
        })?;
        Ok(Some(tensor(dx, qkv.shape())?))
    }
}

impl Attention {
    fn item_backward(&self, dx: &mut [f32], qkv: &[f32], y: &[f32], dy: &[f32], tokens: usize) {
        let channels = y.len() / tokens;
        let width = channels / self.heads;
        let scale = 1.0 / (width as f32).sqrt();
        let (mut weights, mut slopes) = (vec![0.0; QUERIES * tokens], vec![0.0; QUERIES * tokens]);
        for head in 0..self.heads {
            let part = Head {
                tokens,
                width,
                heads: self.heads,
                head,
            };
            for from in (0..tokens).step_by(QUERIES) {
                let count = QUERIES.min(tokens - from);
                part.weights(qkv, from, count, &mut weights);
                let start = from * channels + head * width;
                let of_y = Matrix::rows(&dy[start..], count, width, channels);
                let p = Matrix::rows(&weights, count, tokens, tokens);
                part.part_mut(dx, 2, 0, tokens)
                    .product(from > 0, 1.0, p.transposed(), of_y, 1);
                let v = part.part(qkv, 2, 0, tokens);
                MatrixMut::rows(&mut slopes, count, tokens, tokens).product(
                    false,
                    1.0,
                    of_y,
                    v.transposed(),
                    1,
                );
                for i in 0..count {
                    let at = start + i * channels;
                    let delta = dot(&dy[at..at + width], &y[at..at + width]);
                    let row = i * tokens..(i + 1) * tokens;
                    for (slope, p) in slopes[row.clone()].iter_mut().zip(&weights[row]) {
                        *slope = scale * p * (*slope - delta);
                    }
                }
                let slopes = Matrix::rows(&slopes, count, tokens, tokens);
                part.part_mut(dx, 0, from, count).product(
                    false,
                    1.0,
                    slopes,
                    part.part(qkv, 1, 0, tokens),
                    1,
                );
                let q = part.part(qkv, 0, from, count);
                part.part_mut(dx, 1, 0, tokens)
                    .product(from > 0, 1.0, slopes.transposed(), q, 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::check;

    #[test]
    fn equals_the_composed_operation() {
        for (tokens, width) in [(1, 16), (70, 16), (130, 8)] {
            check(
                &[&[2, tokens, 6 * width]],
                |v| attention_space(&v[0], 2),
                |v| composed(&v[0], 2),
            );
        }
    }

    #[test]
    fn blocks_of_keys_join_to_one_softmax() {
        check(
            &[&[1, KEYS + 37, 12]],
            |v| attention_space(&v[0], 1),
            |v| composed(&v[0], 1),
        );
    }
}
