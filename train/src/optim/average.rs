//! [`Average`]: the exponential moving average of a model's weights.

use crate::Result;
use crate::model::{Parameters, Surrogate};
use crate::ops::average;

/// e ← β e + (1 − β) w after every update (Polyak and Juditsky 1992). In update t, from 1, β is at most
/// (1 + t) / (10 + t), so that the first weights are soon forgotten.
#[derive(Debug)]
pub(crate) struct Average {
    parameters: Parameters,
    decay: f64,
}

impl Average {
    /// Begins with the weights themselves.
    pub(crate) fn of(parameters: &Parameters, decay: f64) -> Result<Self> {
        Ok(Self {
            parameters: parameters.copy()?,
            decay,
        })
    }

    /// Takes the weights in that update `count` has left.
    pub(crate) fn update(&self, parameters: &Parameters, count: u64) -> Result<()> {
        let early = (1.0 + count as f64) / (10.0 + count as f64);
        let pairs = self.parameters.variables().zip(parameters.variables());
        Ok(average(&pairs.collect::<Vec<_>>(), self.decay.min(early))?)
    }

    /// A model with the averaged weights.
    pub(crate) fn model(&self, model: &Surrogate) -> Result<Surrogate> {
        model.with_parameters(self.parameters.clone())
    }

    /// The averaged weights, by the names of the weights.
    pub(crate) fn to_safetensors(&self) -> Result<Vec<u8>> {
        self.parameters.to_safetensors()
    }

    /// Goes on with what [`Average::to_safetensors`] wrote.
    pub(crate) fn load_safetensors(&mut self, bytes: &[u8], object: &str) -> Result<()> {
        self.parameters.load_safetensors(bytes, object)
    }
}
