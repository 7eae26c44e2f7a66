//! The optimizer: AdamW's state for all weights of a model, their moving average, and the schedule of the learning
//! rate.

mod average;
mod owners;
mod schedule;

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{DType, Device, Tensor, Var};

use crate::model::Parameters;
use crate::ops::{Gradients, WeightUpdate, adamw, adamw_of_some};
pub use crate::ops::{LossAndNorm, StepSettings};
use crate::{Error, Result, tensors};
pub(crate) use average::Average;
pub(crate) use owners::{Owners, squares};
pub use schedule::RateSchedule;
pub(crate) use schedule::learning_rate;

/// The part of its way to the moments of a batch that a running statistic moves by in a step, as PyTorch's does.
const MOMENTUM: f64 = 0.1;

/// Moments of every weight, and the steps taken.
#[derive(Debug)]
pub struct AdamW {
    moments: BTreeMap<String, (Var, Var)>,
    /// Names of running statistics that follow the batches.
    statistics: BTreeSet<String>,
    steps: u64,
}

impl AdamW {
    /// Before the first step.
    ///
    /// # Errors
    /// [`Error::Candle`] when memory runs out.
    pub fn new(parameters: &Parameters) -> Result<Self> {
        Self::except(parameters, |_| false)
    }

    /// Before the first step, of all weights but those that are frozen.
    pub(crate) fn except(parameters: &Parameters, frozen: impl Fn(&str) -> bool) -> Result<Self> {
        let mut moments = BTreeMap::new();
        for (name, var) in parameters.learned().filter(|(name, _)| !frozen(name)) {
            let zeros = || Var::zeros(var.shape(), DType::F32, var.device());
            moments.insert(name.to_owned(), (zeros()?, zeros()?));
        }
        let names = parameters.iter().map(|(name, _)| name);
        let statistics = names.filter(|name| parameters.is_statistic(name) && !frozen(name));
        Ok(Self {
            moments,
            statistics: statistics.map(str::to_owned).collect(),
            steps: 0,
        })
    }

    /// Moves every weight that has a gradient, by the gradients of the loss. Where the loss or the norm of
    /// its gradient is not finite, weights and moments stay as they are.
    ///
    /// On a GPU all this is decided there, and the host waits once: for the loss and the norm.
    ///
    /// # Errors
    /// [`Error::Candle`].
    pub fn step(
        &mut self,
        parameters: &Parameters,
        loss: &Tensor,
        gradients: &Gradients,
        pace: StepSettings,
    ) -> Result<LossAndNorm> {
        let weights = self.moving(parameters, gradients);
        let found = adamw(&weights, loss, self.steps + 1, pace)?;
        if found.is_finite() {
            self.follow(parameters, gradients)?;
            self.steps += 1;
        }
        Ok(found)
    }

    /// [`AdamW::step`] where these are only some of a model's weights; the loss and the norm of the gradients of all
    /// are known.
    pub(crate) fn step_of_some(
        &mut self,
        parameters: &Parameters,
        gradients: &Gradients,
        found: LossAndNorm,
        pace: StepSettings,
    ) -> Result<()> {
        if found.is_finite() {
            let weights = self.moving(parameters, gradients);
            adamw_of_some(&weights, found, self.steps + 1, pace)?;
            self.follow(parameters, gradients)?;
            self.steps += 1;
        }
        Ok(())
    }

    /// Moves running statistics towards the moments of a batch: against their gradient, whatever the learning rate.
    fn follow(&self, parameters: &Parameters, gradients: &Gradients) -> Result<()> {
        for name in &self.statistics {
            let statistic = parameters.get(name)?;
            if let Some(slope) = gradients.get(statistic) {
                statistic.set(&(statistic.as_detached_tensor() - (slope * MOMENTUM)?)?)?;
            }
        }
        Ok(())
    }

    fn moving<'a>(
        &'a self,
        parameters: &'a Parameters,
        gradients: &'a Gradients,
    ) -> Vec<WeightUpdate<'a>> {
        let weights = parameters.iter().filter_map(|(name, weight)| {
            let (first, second) = self.moments.get(name)?;
            let gradient = gradients.get(weight)?;
            Some(WeightUpdate {
                weight,
                first,
                second,
                gradient,
            })
        });
        weights.collect()
    }

    /// Steps that have moved weights.
    pub(crate) fn updates(&self) -> u64 {
        self.steps
    }

    /// Moments as safetensors: `NAME.first` and `NAME.second`.
    pub(crate) fn to_safetensors(&self) -> Result<Vec<u8>> {
        let moments = self.moments.iter().flat_map(|(name, (first, second))| {
            [("first", first), ("second", second)]
                .map(|(kind, var)| (format!("{name}.{kind}"), var.as_tensor().clone()))
        });
        tensors::write(moments)
    }

    /// Goes on after `steps` steps with moments that [`AdamW::to_safetensors`] wrote. Those of weights that were
    /// frozen before begin at zero.
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
                let Some(moment) = held.get(&key) else {
                    continue;
                };
                if moment.dims() != var.dims() {
                    return Err(refused(format!("{key} has another shape")));
                }
                var.set(&moment.to_device(var.device())?)?;
            }
        }
        self.steps = steps;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::model::{Initial, Weight};

    fn parameters() -> Parameters {
        let weight = |name: &str| Weight {
            name: name.into(),
            shape: vec![2],
            initial: Initial::Constant(1.0),
            channels: None,
            block: None,
            is_statistic: false,
        };
        Parameters::draw(&["a", "b"].map(weight), 0, &Device::Cpu).unwrap()
    }

    fn gradients(loss: &Tensor, parameters: &Parameters) -> Gradients {
        let (mut gradients, mut found) = (Gradients::default(), loss.backward().unwrap());
        gradients.take(&mut found, parameters.variables()).unwrap();
        gradients
    }

    fn values(var: &Var) -> Vec<f32> {
        var.to_vec1().unwrap()
    }

    /// Gradients (3, 0) and (0, 4) have the norm 5. After a first step the first moments are a tenth of
    /// what the gradients were clipped to.
    #[test]
    fn gradients_are_clipped_to_a_global_norm() {
        for (clip, factor) in [(None, 1.0), (Some(6.0), 1.0), (Some(1.0), 0.2)] {
            let parameters = parameters();
            let mut optimizer = AdamW::new(&parameters).unwrap();
            let (a, b) = (parameters.get("a").unwrap(), parameters.get("b").unwrap());
            let part = |x: &Tensor, at, slope: f64| (x.narrow(0, at, 1).unwrap() * slope).unwrap();
            let loss = (part(a, 0, 3.0) + part(b, 1, 4.0))
                .unwrap()
                .sum_all()
                .unwrap();
            let pace = StepSettings {
                lr: 0.5,
                decay: 0.0,
                l2: 0.0,
                clip,
            };
            let gradients = gradients(&loss, &parameters);
            let found = optimizer
                .step(&parameters, &loss, &gradients, pace)
                .unwrap();
            assert_eq!((found.loss, found.norm), (7.0, 5.0));
            let first = ["a", "b"].map(|name| values(&optimizer.moments[name].0));
            for (found, slope) in [(first[0][0], 3.0), (first[1][1], 4.0)] {
                assert!(
                    (found - 0.1 * slope * factor).abs() < 1e-6,
                    "{clip:?}: {found}"
                );
            }
            // The first step of AdamW is as long as the learning rate, whatever the gradient.
            let weights: Vec<f32> = parameters.variables().flat_map(values).collect();
            let expected = [0.5, 1.0, 1.0, 0.5];
            assert!(
                weights
                    .iter()
                    .zip(expected)
                    .all(|(w, e)| (w - e).abs() < 1e-5)
            );
        }
    }

    #[test]
    fn a_loss_or_gradient_that_is_no_number_moves_nothing() {
        let pace = StepSettings {
            lr: 0.5,
            decay: 0.1,
            l2: 0.0,
            clip: Some(1.0),
        };
        // 0 · ∞ is not a number, and ∞ · w has a gradient that is infinite.
        for (factor, offset) in [(1.0, f64::NAN), (f64::INFINITY, 0.0)] {
            let parameters = parameters();
            let mut optimizer = AdamW::new(&parameters).unwrap();
            let loss = parameters.get("a").unwrap().affine(factor, offset);
            let loss = loss.unwrap().sum_all().unwrap();
            let gradients = gradients(&loss, &parameters);
            let found = optimizer
                .step(&parameters, &loss, &gradients, pace)
                .unwrap();
            assert!(!found.is_finite(), "{found:?}");
            let (first, second) = &optimizer.moments["a"];
            assert_eq!(
                (values(first), values(second)),
                (vec![0.0; 2], vec![0.0; 2])
            );
            assert!(parameters.variables().all(|var| values(var) == [1.0, 1.0]));
        }
    }
}
