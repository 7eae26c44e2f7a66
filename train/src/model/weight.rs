//! [`Weight`]: the name, shape and initial distribution of a weight, by the released model and PyTorch's rules; and
//! [`Scope`], through which a layer asks for its weights by name.

use std::fmt::Display;

use candle_core::{Tensor, Var};

use super::Parameters;
use crate::Result;

/// Name and shape of a weight, and its initial distribution.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Weight {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) initial: Initial,
    /// Rows or columns that belong to channels, if there are such.
    pub(crate) channels: Option<ChannelAxis>,
    /// The block of the transformer that it is of, if any.
    pub(crate) block: Option<usize>,
    /// Whether it is a running mean or variance of what the model meets in training: no gradient moves it.
    pub(crate) is_statistic: bool,
}

impl Weight {
    /// Numbers in it; none where they are more than can be counted.
    pub(crate) fn count(&self) -> Option<usize> {
        let mut sizes = self.shape.iter();
        sizes.try_fold(1_usize, |product, &size| product.checked_mul(size))
    }
}

/// Initial distribution of a weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Initial {
    /// U(−a, a).
    Uniform(f64),
    /// N(0, 1).
    Normal,
    /// N(0, σ²).
    Scaled(f64),
    Constant(f32),
}

impl Initial {
    /// What PyTorch's linear layers and convolutions begin with.
    pub(super) fn uniform(fan_in: usize) -> Self {
        Self::Uniform(1.0 / (fan_in as f64).sqrt())
    }

    /// That of a convolution's kernel. PyTorch takes all but the first axis for the fan-in, of transposed convolutions
    /// too.
    pub(super) fn convolution(shape: &[usize]) -> Self {
        Self::uniform(shape[1..].iter().product())
    }
}

/// The axis of a weight that has a place for each channel of the vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChannelAxis {
    pub(crate) axis: usize,
    /// Whether a place for each input comes after the channels.
    pub(crate) with_inputs: bool,
    /// How many times all these places come: for each frame of a context, or once.
    pub(crate) frames: usize,
}

/// The name of a layer, and where its weights come from. `T` is what stands for a weight: a tensor to compute with,
/// or nothing where weights are only listed.
pub(super) struct Scope<'a, T> {
    name: String,
    block: Option<usize>,
    make: &'a mut dyn FnMut(Weight) -> Result<T>,
}

impl Scope<'_, ()> {
    /// The weights that some layers ask for, in their order.
    pub(super) fn list<L>(layers: impl FnOnce(Scope<'_, ()>) -> Result<L>) -> Result<Vec<Weight>> {
        let mut weights = Vec::new();
        layers(Scope::root(&mut |weight| {
            weights.push(weight);
            Ok(())
        }))?;
        Ok(weights)
    }
}

impl Scope<'_, Tensor> {
    /// Layers that compute with what `value` makes of a model's variables.
    pub(super) fn fill<L>(
        parameters: &Parameters,
        value: impl Fn(&Var) -> Tensor,
        layers: impl FnOnce(Scope<'_, Tensor>) -> Result<L>,
    ) -> Result<L> {
        layers(Scope::root(&mut |weight| {
            parameters.get(&weight.name).map(&value)
        }))
    }
}

impl<'a, T> Scope<'a, T> {
    /// The whole model, whose weights `make` gives.
    fn root(make: &'a mut dyn FnMut(Weight) -> Result<T>) -> Self {
        Self {
            name: String::new(),
            block: None,
            make,
        }
    }

    /// A layer within this one.
    pub(super) fn within(&mut self, name: impl Display) -> Scope<'_, T> {
        Scope {
            name: self.name_of(name),
            block: self.block,
            make: self.make,
        }
    }

    /// A block of the transformer.
    pub(super) fn block(&mut self, index: usize) -> Scope<'_, T> {
        Scope {
            block: Some(index),
            ..self.within(format_args!("blocks.{index}"))
        }
    }

    /// A weight of this layer.
    pub(super) fn weight(&mut self, name: &str, shape: &[usize], initial: Initial) -> Result<T> {
        self.ask(name, shape, initial, None)
    }

    /// A running mean or variance of this layer.
    pub(super) fn statistic(&mut self, name: &str, shape: &[usize], initial: f32) -> Result<T> {
        let weight = self.described(name, shape, Initial::Constant(initial));
        (self.make)(Weight {
            is_statistic: true,
            ..weight
        })
    }

    /// A weight of this layer with a place for each channel.
    pub(super) fn weight_by_channel(
        &mut self,
        name: &str,
        shape: &[usize],
        initial: Initial,
        channels: ChannelAxis,
    ) -> Result<T> {
        self.ask(name, shape, initial, Some(channels))
    }

    fn described(&self, name: &str, shape: &[usize], initial: Initial) -> Weight {
        Weight {
            name: self.name_of(name),
            shape: shape.to_vec(),
            initial,
            channels: None,
            block: self.block,
            is_statistic: false,
        }
    }

    fn ask(
        &mut self,
        name: &str,
        shape: &[usize],
        initial: Initial,
        channels: Option<ChannelAxis>,
    ) -> Result<T> {
        let weight = self.described(name, shape, initial);
        (self.make)(Weight { channels, ..weight })
    }

    fn name_of(&self, name: impl Display) -> String {
        match self.name.as_str() {
            "" => name.to_string(),
            outer => format!("{outer}.{name}"),
        }
    }
}
