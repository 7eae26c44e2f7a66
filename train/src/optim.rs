//! AdamW's state for all weights of a model, and the learning rate's schedule.

use std::collections::BTreeMap;
use std::f64::consts::PI;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Var};

use crate::config::OptimConfig;
use crate::model::Parameters;
use crate::ops::adamw;
use crate::{Error, Result, tensors};

/// Moments of every weight, and the steps taken.
#[derive(Debug)]
pub struct AdamW {
    moments: BTreeMap<String, (Var, Var)>,
    steps: u64,
}

impl AdamW {
    /// Before the first step.
    ///
    /// # Errors
    /// [`Error::Candle`] when memory runs out.
    pub fn new(parameters: &Parameters) -> Result<Self> {
        let mut moments = BTreeMap::new();
        for (name, var) in parameters.iter() {
            let zeros = || Var::zeros(var.shape(), DType::F32, var.device());
            moments.insert(name.to_owned(), (zeros()?, zeros()?));
        }
        Ok(Self { moments, steps: 0 })
    }

    /// Moves every weight that has a gradient.
    ///
    /// # Errors
    /// [`Error::Candle`].
    pub fn step(
        &mut self,
        parameters: &Parameters,
        gradients: &GradStore,
        lr: f64,
        decay: f64,
    ) -> Result<()> {
        self.steps += 1;
        for (name, var) in parameters.iter() {
            if let (Some(gradient), Some((first, second))) =
                (gradients.get(var), self.moments.get(name))
            {
                adamw(var, (first, second), gradient, self.steps, lr, decay)?;
            }
        }
        Ok(())
    }

    /// Moments as safetensors: `NAME.first` and `NAME.second`.
    pub(crate) fn to_safetensors(&self) -> Result<Vec<u8>> {
        let moments = self.moments.iter().flat_map(|(name, (first, second))| {
            [("first", first), ("second", second)]
                .map(|(kind, var)| (format!("{name}.{kind}"), var.as_tensor().clone()))
        });
        tensors::write(moments)
    }

    /// Goes on after `steps` steps with moments that [`AdamW::to_safetensors`] wrote.
    pub(crate) fn load_safetensors(
        &mut self,
        bytes: &[u8],
        steps: u64,
        object: &str,
    ) -> Result<()> {
        let refused = |reason: String| Error::Weights {
            object: object.to_owned(),
            reason,
        };
        let held = candle_core::safetensors::load_buffer(bytes, &Device::Cpu)
            .map_err(|error| refused(error.to_string()))?;
        for (name, (first, second)) in &self.moments {
            for (kind, var) in [("first", first), ("second", second)] {
                let key = format!("{name}.{kind}");
                let moment = held.get(&key).filter(|held| held.dims() == var.dims());
                let moment = moment
                    .ok_or_else(|| refused(format!("{key} is missing or of another shape")))?;
                var.set(&moment.to_device(var.device())?)?;
            }
        }
        self.steps = steps;
        Ok(())
    }
}

/// The learning rate of a step, counted from 0: a linear warm-up, then a cosine to zero.
pub(crate) fn learning_rate(optim: &OptimConfig, step: u64, steps: u64) -> f64 {
    let warmup = optim.warmup.min(steps);
    if step < warmup {
        return optim.lr * (step + 1) as f64 / warmup as f64;
    }
    let done = (step - warmup) as f64 / (steps - warmup).max(1) as f64;
    optim.lr * 0.5 * (1.0 + (PI * done.min(1.0)).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_then_falls_to_zero() {
        let optim = OptimConfig {
            lr: 1.0,
            warmup: 10,
            ..OptimConfig::default()
        };
        let rate = |step| learning_rate(&optim, step, 110);
        assert_eq!(rate(0), 0.1);
        assert_eq!(rate(9), 1.0);
        assert_eq!(rate(10), 1.0);
        assert!((rate(60) - 0.5).abs() < 1e-12);
        assert!(rate(109) < 1e-3 && rate(109) > 0.0);
        assert!(learning_rate(&optim, 3, 4) > 0.0);
    }
}
