//! [`Network`]: all layers of a model with their weights, in the order and by the names of the released model.

use candle_core::{Tensor, Var};

use super::block::Block;
use super::layers::{Linear, Norm};
use super::stages::Stages;
use super::weight::{ChannelAxis, Initial, Scope, Weight};
use super::{Columns, Parameters};
use crate::Result;
use crate::config::{Strategy, TransformerConfig};

/// The layers of a model. `T` stands for a weight: see [`Scope`].
#[derive(Debug)]
pub(super) struct Network<T> {
    pub(super) encoder: Encoder<T>,
    pub(super) blocks: Vec<Block<T>>,
    pub(super) decoder: Decoder<T>,
}

/// A field embedding and two convolutions.
#[derive(Debug)]
pub(super) struct Encoder<T> {
    /// A column for each channel of the state, then one for each input.
    pub(super) embedding: Linear<T>,
    /// Values of cells beyond a wall and beyond an open end; only csm has them.
    pub(super) padding: Option<T>,
    pub(super) kernel1: T,
    pub(super) norm1: Norm<T>,
    pub(super) kernel2: T,
    pub(super) norm2: Norm<T>,
}

/// Two transposed convolutions.
#[derive(Debug)]
pub(super) struct Decoder<T> {
    pub(super) kernel1: T,
    pub(super) norm1: Norm<T>,
    /// A column for each channel of the state.
    pub(super) kernel2: T,
    pub(super) bias: T,
}

impl<T> Network<T> {
    /// Asks for every weight of a model for a grid of `axes` axes.
    fn new(
        mut scope: Scope<'_, T>,
        config: &TransformerConfig,
        columns: Columns,
        axes: usize,
    ) -> Result<Self> {
        let block = |index: usize, scope: &mut Scope<'_, T>| Block::new(scope.block(index), config);
        Ok(Self {
            encoder: Encoder::new(&mut scope, config, columns, axes)?,
            blocks: (0..config.blocks)
                .map(|index| block(index, &mut scope))
                .collect::<Result<_>>()?,
            decoder: Decoder::new(scope.within("debed"), config, columns.fields, axes)?,
        })
    }
}

impl Network<()> {
    /// The weights of a model for a grid of `axes` axes, without values.
    pub(super) fn weights(
        config: &TransformerConfig,
        columns: Columns,
        axes: usize,
    ) -> Result<Vec<Weight>> {
        Scope::list(|scope| Self::new(scope, config, columns, axes))
    }
}

impl Network<Tensor> {
    /// Layers that compute with what `value` makes of a model's variables.
    pub(super) fn of(
        parameters: &Parameters,
        value: impl Fn(&Var) -> Tensor,
        config: &TransformerConfig,
        columns: Columns,
        axes: usize,
    ) -> Result<Self> {
        Scope::fill(parameters, value, |scope| {
            Self::new(scope, config, columns, axes)
        })
    }
}

impl<T> Encoder<T> {
    fn new(
        scope: &mut Scope<'_, T>,
        config: &TransformerConfig,
        columns: Columns,
        axes: usize,
    ) -> Result<Self> {
        let (dim, narrow) = (config.dim, config.dim / 4);
        let base = base_kernel(config);
        let embedding = embedding(scope.within("space_bag.linear"), columns.all(), narrow)?;
        let padding = match config.strategy {
            Strategy::Csm => Some(scope.within("patch_jitterer").weight(
                "padding_tokens",
                &[2, narrow, 1, 1, 1],
                Initial::Normal,
            )?),
            Strategy::Ckm | Strategy::Fixed => None,
        };
        let mut scope = scope.within("embed");
        let first = [&[narrow, narrow], vec![base.first; axes].as_slice()].concat();
        let second = [&[dim, narrow], vec![base.second; axes].as_slice()].concat();
        Ok(Self {
            embedding,
            padding,
            kernel1: scope.weight("proj1.weight", &first, Initial::convolution(&first))?,
            norm1: Norm::new(scope.within("norm1"), narrow)?,
            kernel2: scope.weight("proj2.weight", &second, Initial::convolution(&second))?,
            norm2: Norm::new(scope.within("norm2"), dim)?,
        })
    }
}

impl<T> Decoder<T> {
    fn new(
        mut scope: Scope<'_, T>,
        config: &TransformerConfig,
        fields: usize,
        axes: usize,
    ) -> Result<Self> {
        let (dim, narrow) = (config.dim, config.dim / 4);
        let base = base_kernel(config);
        let first = [&[dim, narrow], vec![base.second; axes].as_slice()].concat();
        let second = [&[narrow, fields], vec![base.first; axes].as_slice()].concat();
        let bias = Initial::uniform(second[1..].iter().product());
        let channels = |axis| ChannelAxis {
            axis,
            with_inputs: false,
            frames: 1,
        };
        Ok(Self {
            kernel1: scope.weight("proj1.weight", &first, Initial::convolution(&first))?,
            norm1: Norm::new(scope.within("norm1"), narrow)?,
            kernel2: scope.weight_by_channel(
                "proj2.weight",
                &second,
                Initial::convolution(&second),
                channels(1),
            )?,
            bias: scope.weight_by_channel("proj2.bias", &[fields], bias, channels(0))?,
        })
    }
}

/// A linear map with a column for each channel and input.
fn embedding<T>(mut scope: Scope<'_, T>, columns: usize, outputs: usize) -> Result<Linear<T>> {
    let initial = Initial::uniform(columns);
    let channels = ChannelAxis {
        axis: 1,
        with_inputs: true,
        frames: 1,
    };
    Ok(Linear {
        weight: scope.weight_by_channel("weight", &[outputs, columns], initial, channels)?,
        bias: scope.weight("bias", &[outputs], initial)?,
    })
}

/// Sizes of the two kernels that are learned, from which those of other patch sizes are resized.
fn base_kernel(config: &TransformerConfig) -> Stages {
    Stages::of(config.base_patch()).unwrap_or(Stages {
        first: 4,
        second: 4,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn parameters(dim: usize, heads: usize, axes: usize) -> usize {
        let config = TransformerConfig {
            dim,
            heads,
            ..TransformerConfig::default()
        };
        let weights = Network::weights(&config, 4.into(), axes).unwrap();
        weights
            .iter()
            .map(|weight| weight.shape.iter().product::<usize>())
            .sum()
    }

    /// The paper's three sizes, and the count of the smallest in 3D (reference README).
    #[test]
    fn sizes_are_the_papers() {
        let millions = |n: usize| (n as f64 / 1e5).round() / 10.0;
        assert_eq!(millions(parameters(192, 3, 2)), 6.6);
        assert_eq!(millions(parameters(384, 6, 2)), 26.2);
        assert_eq!(millions(parameters(768, 12, 2)), 104.6);
        assert_eq!(millions(parameters(192, 3, 3)), 7.6);
    }
}
