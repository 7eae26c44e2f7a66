//! The Well's baseline models (Ohana et al., "The Well", NeurIPS 2024), after the package `the-well`: [`Unet`],
//! [`CnextUnet`] and [`Fno`], with dense weights or in Tucker factors.
//!
//! They compute on the points of a grid, channels last: (B, *space, C). The frames of the context are channels of the
//! first layer, frame by frame, and the result is the change after the last frame. Convolutions are matrix products over
//! unfolded rows, and so are truncated Fourier transforms. Beyond the ends of the grid lie zeros, whatever the
//! boundaries; Fourier layers take every axis as periodic. Weights have the names and shapes of the package's.

mod batch_norm;
mod cnextunet;
mod conv;
mod fno;
mod spectral;
mod unet;

use candle_core::{Tensor, Var};
use wellspring_store::Patch;

use super::channels::Channels;
use super::weight::{ChannelAxis, Scope, Weight};
use super::{Columns, Parameters, Surrogate};
use crate::config::BaselineConfig;
use crate::{Error, Precision, Result};
pub(crate) use batch_norm::BatchStatistics;
use cnextunet::CnextUnet;
use fno::{Factors, Fno};
use unet::Unet;

/// The layers of a baseline. `T` stands for a weight: see [`Scope`].
#[derive(Debug)]
pub(crate) enum Baseline<T> {
    Unet(Unet<T>),
    CnextUnet(CnextUnet<T>),
    Fno(Fno<T>),
}

/// What the layers of a baseline are told beside what they compute on.
pub(super) struct Setting<'a> {
    channels: &'a Channels,
    precision: Precision,
    /// Where moments of the batch normalize it, the statistics that are to follow them; else running ones do.
    statistics: Option<&'a BatchStatistics>,
}

impl<T> Baseline<T> {
    fn new(
        scope: Scope<'_, T>,
        config: &BaselineConfig,
        columns: Columns,
        axes: usize,
    ) -> Result<Self> {
        Ok(match config {
            BaselineConfig::Unet(config) => Self::Unet(Unet::new(scope, config, columns, axes)?),
            BaselineConfig::CnextUnet(config) => {
                Self::CnextUnet(CnextUnet::new(scope, config, columns, axes)?)
            }
            BaselineConfig::Fno(config) => {
                Self::Fno(Fno::new(scope, config, Factors::Dense, columns, axes)?)
            }
            BaselineConfig::Tfno(config) => {
                Self::Fno(Fno::new(scope, config, Factors::Tucker, columns, axes)?)
            }
        })
    }
}

impl Baseline<()> {
    /// The weights of a baseline for a grid of `axes` axes, without values.
    pub(super) fn weights(
        config: &BaselineConfig,
        columns: Columns,
        axes: usize,
    ) -> Result<Vec<Weight>> {
        Scope::list(|scope| Self::new(scope, config, columns, axes))
    }
}

impl Baseline<Tensor> {
    /// Layers that compute with what `value` makes of a model's variables.
    pub(super) fn of(
        parameters: &Parameters,
        value: impl Fn(&Var) -> Tensor,
        config: &BaselineConfig,
        columns: Columns,
        axes: usize,
    ) -> Result<Self> {
        Scope::fill(parameters, value, |scope| {
            Self::new(scope, config, columns, axes)
        })
    }

    /// Refuses patches of several cells, and a grid that it cannot compute on.
    pub(super) fn check(&self, patch: &Patch, space: &[usize]) -> Result<()> {
        let sizes = patch.sizes();
        if sizes.len() != space.len() || sizes.iter().any(|&size| size != 1) {
            return Err(Error::NoPatch {
                patch: patch.to_string(),
                available: "1: it computes on grid points".into(),
            });
        }
        let unit = match self {
            Self::Unet(_) | Self::CnextUnet(_) => 16,
            Self::Fno(_) => 1,
        };
        if space.iter().all(|&n| n > 0 && n.is_multiple_of(unit)) {
            return Ok(());
        }
        Err(Error::Shape {
            what: "points along each axis of the grid",
            expected: match unit {
                1 => "at least 1".into(),
                _ => format!("multiples of {unit}: a U-net halves the grid four times"),
            },
            found: format!("{space:?}"),
        })
    }

    /// Numbers that it keeps for its backward pass, for one sample of some channels.
    pub(crate) fn kept(&self, space: &[usize], channels: usize) -> u64 {
        match self {
            Self::Unet(layers) => layers.kept(space, channels),
            Self::CnextUnet(layers) => layers.kept(space, channels),
            Self::Fno(layers) => layers.kept(space),
        }
    }

    fn forward(&self, x: &Tensor, setting: &Setting<'_>) -> Result<Tensor> {
        match self {
            Self::Unet(layers) => layers.forward(x, setting),
            Self::CnextUnet(layers) => layers.forward(x, setting),
            Self::Fno(layers) => layers.forward(x, setting),
        }
    }
}

impl Surrogate {
    /// A baseline over normalized frames x: (T, B, *space, fields + inputs) → (1, B, *space, fields). With
    /// `statistics` moments of the batch normalize it, as in training.
    ///
    /// # Errors
    /// As [`Surrogate::forward`].
    pub(crate) fn on_grid(
        &self,
        layers: &Baseline<Tensor>,
        x: &Tensor,
        patch: &Patch,
        statistics: Option<&BatchStatistics>,
    ) -> Result<Tensor> {
        let (time, _, space) = self.check(x)?;
        layers.check(patch, &space)?;
        let expected = self.channels.vocabulary.context;
        if time != expected {
            return Err(Error::Shape {
                what: "frames of the context, which are channels of the first layer",
                expected: expected.to_string(),
                found: time.to_string(),
            });
        }
        let axes = space.len();
        let order: Vec<usize> = (1..2 + axes).chain([0, 2 + axes]).collect();
        let mut shape = x.dims()[1..2 + axes].to_vec();
        shape.push(time * self.channels.seen());
        let x = x.permute(order)?.contiguous()?.reshape(shape)?;
        let setting = Setting {
            channels: &self.channels,
            precision: self.precision,
            statistics,
        };
        Ok(layers.forward(&x, &setting)?.unsqueeze(0)?)
    }
}

/// The places of a context's channels along an axis of a first layer's weight.
fn first(columns: Columns, axis: usize) -> ChannelAxis {
    ChannelAxis {
        axis,
        with_inputs: true,
        frames: columns.context,
    }
}

/// The places of a state's channels along an axis of a last layer's weight.
fn last(axis: usize) -> ChannelAxis {
    ChannelAxis {
        axis,
        with_inputs: false,
        frames: 1,
    }
}

/// Numbers of an array with some channels at each point of a grid.
fn numbers(space: &[usize], channels: usize) -> u64 {
    space.iter().product::<usize>() as u64 * channels as u64
}
