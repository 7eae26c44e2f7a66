//! AdamW's state for all weights of a model, and the learning rate's schedule.

use std::collections::BTreeMap;
use std::f64::consts::PI;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Var};

use crate::config::OptimConfig;
use crate::model::Parameters;
use crate::ops::{adamw, sum_of_squares};
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

/// ‖g‖₂ over the gradients of all weights, added in the order of their names.
///
/// # Errors
/// [`Error::Candle`].
pub(crate) fn gradient_norm(parameters: &Parameters, gradients: &GradStore) -> Result<f64> {
    let mut sum = 0.0;
    for (_, var) in parameters.iter() {
        if let Some(gradient) = gradients.get(var) {
            sum += sum_of_squares(gradient)?;
        }
    }
    Ok(f64::sqrt(sum))
}

/// Scales gradients of a norm above `limit` to it: g ← g min(1, limit / (norm + 10⁻⁶)), PyTorch's
/// `clip_grad_norm_`. Those below keep their bits.
///
/// # Errors
/// [`Error::Candle`].
pub(crate) fn clip(
    parameters: &Parameters,
    gradients: &mut GradStore,
    norm: f64,
    limit: f64,
) -> Result<()> {
    let factor = limit / (norm + 1e-6);
    if factor >= 1.0 {
        return Ok(());
    }
    for (_, var) in parameters.iter() {
        if let Some(gradient) = gradients.remove(var) {
            gradients.insert(var, (gradient * factor)?);
        }
    }
    Ok(())
}

/// The learning rate of a step, counted from 0: a linear warm-up, then a cosine that is zero from step
/// `horizon` on.
pub(crate) fn learning_rate(optim: &OptimConfig, step: u64, horizon: u64) -> f64 {
    let warmup = optim.warmup.min(horizon);
    if step < warmup {
        return optim.lr * (step + 1) as f64 / warmup as f64;
    }
    let done = (step - warmup) as f64 / (horizon - warmup).max(1) as f64;
    optim.lr * 0.5 * (1.0 + (PI * done.min(1.0)).cos())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    /// Two weights with gradients (3, 0) and 4: their norm is 5.
    #[test]
    fn gradients_are_clipped_to_a_global_norm() {
        use crate::model::Surrogate;
        use crate::{ModelConfig, Strategy};
        use candle_core::Tensor;
        use wellspring_store::Boundary;

        let config = ModelConfig {
            strategy: Strategy::Ckm,
            dim: 16,
            heads: 2,
            blocks: 1,
            groups: 1,
            ..ModelConfig::default()
        };
        let sides = vec![[Boundary::Periodic; 2]];
        let model = Surrogate::new(&config, 1, sides, 0, &Device::Cpu).unwrap();
        let parameters = model.parameters();
        let var = |name: &str| parameters.iter().find(|(held, _)| *held == name).unwrap().1;
        let (one, two) = (var("embed.norm1.bias"), var("embed.norm1.weight"));
        let loss = ((one.narrow(0, 0, 1).unwrap() * 3.0).unwrap()
            + (two.narrow(0, 2, 1).unwrap() * 4.0).unwrap())
        .unwrap();
        let mut gradients = loss.sum_all().unwrap().backward().unwrap();
        let norm = gradient_norm(parameters, &gradients).unwrap();
        assert_eq!(norm, 5.0);

        clip(parameters, &mut gradients, norm, 6.0).unwrap();
        let at = |gradients: &GradStore, var: &Var| -> Vec<f32> {
            Tensor::to_vec1(gradients.get(var).unwrap()).unwrap()
        };
        assert_eq!(at(&gradients, one), [3.0, 0.0, 0.0, 0.0]);
        clip(parameters, &mut gradients, norm, 1.0).unwrap();
        let (one, two) = (at(&gradients, one), at(&gradients, two));
        assert!((one[0] - 0.6).abs() < 1e-6, "{one:?}");
        assert!((two[2] - 0.8).abs() < 1e-6 && two[0] == 0.0, "{two:?}");
    }

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
        // A run that goes on beyond the horizon stays where the schedule ended.
        assert_eq!((rate(110), rate(5000)), (0.0, 0.0));
    }
}
