//! [`InputValues`]: the numbers of a batch that a model sees beside its state, joined to that on the device.

use candle_core::{D, Tensor};
use wellspring_store::Frames;

use crate::Result;
use crate::device::upload;
use crate::revin::Revin;

/// Normalized values of a model's inputs for a batch of contexts.
#[derive(Debug, Clone, PartialEq)]
pub struct InputValues {
    /// Constant fields: (1, B, K, *space).
    pub(super) constants: Option<Frames>,
    /// Inputs with the same value in every cell: (T, B, N).
    pub(super) numbers: Vec<f32>,
    pub(super) time: usize,
    pub(super) batch: usize,
}

impl InputValues {
    /// Frames as the model sees them, (T, B, *space, C), with the inputs as further channels:
    /// (T, B, *space, C + K + N).
    fn joined(&self, x: Tensor) -> Result<Tensor> {
        let space = x.dims()[2..x.rank() - 1].to_vec();
        let outer = [self.time, self.batch];
        let everywhere = |values: Tensor, count: usize| {
            let shape = [&outer, space.as_slice(), &[count]].concat();
            values.broadcast_as(shape)?.contiguous()
        };
        let mut parts = vec![x.clone()];
        if let Some(fields) = &self.constants {
            let (count, cells) = (fields.channels(), fields.cells());
            let values = upload(fields.data(), (self.batch, count, cells), x.device())?;
            let values = values.transpose(1, 2)?.contiguous()?;
            let shape = [&[1, self.batch], space.as_slice(), &[count]].concat();
            parts.push(everywhere(values.reshape(shape)?, count)?);
        }
        let count = self.numbers.len() / (self.time * self.batch).max(1);
        if count > 0 {
            let ones = vec![1; space.len()];
            let shape = [&outer, ones.as_slice(), &[count]].concat();
            let values = upload(&self.numbers, shape, x.device())?;
            parts.push(everywhere(values, count)?);
        }
        Ok(Tensor::cat(&parts, D::Minus1)?)
    }
}

/// Frames, and the inputs that a model sees with them.
#[derive(Debug, Clone, Copy)]
pub struct Example<'a> {
    /// Stored values: (T, B, C, *space).
    pub frames: &'a Frames,
    /// The inputs at the frames of the context; none for a model without.
    pub inputs: Option<&'a InputValues>,
}

impl<'a> From<&'a Frames> for Example<'a> {
    /// Frames for a model that sees nothing else.
    fn from(frames: &'a Frames) -> Self {
        Self {
            frames,
            inputs: None,
        }
    }
}

impl Example<'_> {
    /// The context as the model sees it, with its inputs: (T, B, *space, channels).
    pub(crate) fn input(&self, revin: &Revin<'_>) -> Result<Tensor> {
        let x = revin.input()?;
        match self.inputs {
            Some(inputs) => inputs.joined(x),
            None => Ok(x),
        }
    }
}
