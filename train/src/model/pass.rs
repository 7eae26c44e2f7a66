//! One forward pass: encodes frames as tokens, applies the blocks, and decodes tokens to frames.

use std::ops::Range;

use candle_core::{DType, Tensor};
use wellspring_store::Boundary;

use super::convolution::{kernel_rows, transposed};
use super::modulation::{Geometry, PatchKernels};
use super::setting::Setting;
use super::transformer::Transformer;
use super::{Perturbation, Surrogate};
use crate::Result;
use crate::config::Strategy;
use crate::ops::{PaddingMode, View, gelu, linear, unfold, window};

/// A pass laid out for one patch size, grid and batch.
pub(crate) struct Pass<'a> {
    pub(super) model: &'a Surrogate,
    pub(super) transformer: &'a Transformer,
    pub(super) perturbation: &'a Perturbation,
    /// Factors of the blocks' residuals, or none.
    pub(super) kept: Vec<[Tensor; 2]>,
    pub(super) geometry: Geometry,
    pub(super) patching: PatchKernels,
    pub(super) time: usize,
    pub(super) batch: usize,
    pub(super) space: Vec<usize>,
}

impl Pass<'_> {
    /// Normalized frames (T, B, *space, fields + inputs) → tokens (T·B, S, dim).
    pub(crate) fn encode(&self, x: &Tensor) -> Result<Tensor> {
        let items = [self.time * self.batch];
        let x = x.reshape([&items, self.space.as_slice(), &[self.model.seen()]].concat())?;
        self.encoded(&self.rolled(&x, 1)?)
    }

    /// Tokens through some of the blocks.
    pub(crate) fn blocks(&self, tokens: &Tensor, blocks: Range<usize>) -> Result<Tensor> {
        let Transformer {
            config,
            network,
            rotations,
        } = self.transformer;
        let setting = Setting {
            config,
            precision: self.model.precision,
            rotation: rotations.over(&self.geometry.grid(), tokens.device())?,
            time: self.time,
            batch: self.batch,
        };
        let mut x = tokens.clone();
        for (index, block) in network.blocks[blocks.clone()].iter().enumerate() {
            x = block.forward(&x, &setting, self.kept.get(blocks.start + index))?;
        }
        Ok(x)
    }

    /// Tokens → normalized changes (T or 1, B, *space, fields): one per context frame when causal,
    /// else that after the last.
    pub(crate) fn decode(&self, tokens: &Tensor) -> Result<Tensor> {
        if self.transformer.config.causal {
            self.decode_frames(tokens, self.time)
        } else {
            self.decode_last(tokens)
        }
    }

    /// The change after the last frame alone, all that a rollout needs: (1, B, *space, fields).
    pub(crate) fn decode_last(&self, tokens: &Tensor) -> Result<Tensor> {
        let last = tokens.narrow(0, (self.time - 1) * self.batch, self.batch)?;
        self.decode_frames(&last, 1)
    }

    fn decode_frames(&self, tokens: &Tensor, times: usize) -> Result<Tensor> {
        let y = self.rolled(&self.decoded(tokens)?, -1)?;
        let outer = [times, self.batch];
        Ok(y.reshape([&outer, self.space.as_slice(), &[self.model.fields()]].concat())?)
    }

    /// Bytes of what one block keeps for its backward pass.
    pub(crate) fn block_bytes(&self) -> u64 {
        let tokens = self.geometry.grid().iter().product();
        self.model
            .block_bytes(self.transformer, tokens, self.time * self.batch)
    }

    /// (N, *space, C) moved along periodic axes, forth or back.
    fn rolled(&self, x: &Tensor, sign: isize) -> Result<Tensor> {
        let axes = self.model.boundaries.iter().zip(&self.space).enumerate();
        let views = axes.map(|(axis, (sides, &n))| match sides[0] {
            Boundary::Periodic => View {
                from: -sign * self.perturbation.shift(axis) as isize,
                length: n,
                beyond: PaddingMode::Around,
            },
            _ => View::whole(n),
        });
        Ok(window(x, &views.collect::<Vec<_>>())?)
    }

    /// The field embedding's columns for these channels and inputs, scaled by √(all / present) so that
    /// sums over few channels are as large as over all (reference model, step 2).
    fn field_embedding(&self) -> Result<Tensor> {
        let (all, present) = (self.model.channels.vocabulary.all(), self.model.seen());
        let weight = &self.transformer.network.encoder.embedding.weight;
        let weight = self.model.channels.of_frame(weight, 1)?;
        if present == all {
            return Ok(weight);
        }
        Ok((weight * (all as f64 / present as f64).sqrt())?)
    }

    /// (N, *space, fields + inputs) → (N, S, dim).
    fn encoded(&self, x: &Tensor) -> Result<Tensor> {
        let (encoder, groups) = (
            &self.transformer.network.encoder,
            self.transformer.config.groups,
        );
        let (patching, precision) = (&self.patching, self.model.precision);
        let (first, second) = (self.geometry.first(), self.geometry.second());
        let (embedding, bias) = (self.field_embedding()?, &encoder.embedding.bias);
        let y = match patching.composed(&embedding, bias)? {
            Some((kernel, bias)) => {
                let x = patching.padding.fields(x)?;
                linear(&unfold(&x, &first)?, &kernel, Some(&bias), precision)?
            }
            None => {
                let x = linear(x, &embedding, Some(bias), precision)?;
                let x = patching.padding.features(&x)?;
                let kernel = kernel_rows(&patching.embed1)?;
                linear(&unfold(&x, &first)?, &kernel, None, precision)?
            }
        };
        let y = gelu(&encoder.norm1.forward(&y, groups, DType::F32)?)?;
        let (items, _, channels) = y.dims3()?;
        let y = y.reshape([&[items], first.grid().as_slice(), &[channels]].concat())?;
        let kernel = kernel_rows(&patching.embed2)?;
        let y = linear(&unfold(&y, &second)?, &kernel, None, precision)?;
        let y = encoder.norm2.forward(&y, groups, DType::F32)?;
        Ok(match self.transformer.config.strategy {
            Strategy::Ckm => y,
            Strategy::Csm | Strategy::Fixed => gelu(&y)?,
        })
    }

    /// (N, S, dim) → (N, *space, fields).
    fn decoded(&self, tokens: &Tensor) -> Result<Tensor> {
        let (decoder, patching) = (&self.transformer.network.decoder, &self.patching);
        let precision = self.model.precision;
        let (first, second) = (self.geometry.first(), self.geometry.second());
        let y = transposed(tokens, &patching.debed1, &second, precision)?;
        let dims = y.dims().to_vec();
        let (items, channels) = (dims[0], dims[dims.len() - 1]);
        let y = y.reshape((items, (), channels))?;
        let y = decoder
            .norm1
            .forward(&y, self.transformer.config.groups, DType::F32)?;
        let kernel = self.model.channels.of_state(&patching.debed2, 1)?;
        let y = transposed(&gelu(&y)?, &kernel, &first, precision)?;
        let y = patching.padding.crop(&y)?;
        let bias = self.model.channels.of_state(&decoder.bias, 0)?;
        Ok(y.broadcast_add(&bias)?)
    }
}
