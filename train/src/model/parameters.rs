//! [`Parameters`]: a model's weights by name, in memory and as safetensors, with the names and shapes of a
//! PyTorch state dict.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{DType, Device, Tensor, Var};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use super::weight::{Initial, Weight};
use crate::ops::sum_of_squares;
use crate::tensors;
use crate::{Error, Result};

/// Weights by the released model's names, and the running statistics that some models keep beside them.
#[derive(Debug, Clone)]
pub struct Parameters {
    vars: BTreeMap<String, Var>,
    /// Names of those that are running statistics.
    statistics: BTreeSet<String>,
}

impl Parameters {
    /// Fresh weights; equal seeds give equal weights on every device.
    pub(crate) fn draw(weights: &[Weight], seed: u64, device: &Device) -> Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut vars = BTreeMap::new();
        for weight in weights {
            let count = weight.shape.iter().product();
            let mut value = || match weight.initial {
                Initial::Uniform(bound) => rng.random_range(-bound..bound) as f32,
                Initial::Normal => rng.sample(StandardNormal),
                Initial::Scaled(sigma) => {
                    let drawn: f64 = rng.sample(StandardNormal);
                    (sigma * drawn) as f32
                }
                Initial::Constant(value) => value,
            };
            let values: Vec<f32> = (0..count).map(|_| value()).collect();
            let tensor = Tensor::from_vec(values, weight.shape.as_slice(), device)?;
            vars.insert(weight.name.clone(), Var::from_tensor(&tensor)?);
        }
        let statistics = weights.iter().filter(|weight| weight.is_statistic);
        Ok(Self {
            vars,
            statistics: statistics.map(|weight| weight.name.clone()).collect(),
        })
    }

    /// A copy of the values, in variables of their own.
    pub(crate) fn copy(&self) -> Result<Self> {
        let copied = |(name, var): (&String, &Var)| {
            Ok((
                name.clone(),
                Var::from_tensor(&var.as_detached_tensor().copy()?)?,
            ))
        };
        Ok(Self {
            vars: self.vars.iter().map(copied).collect::<Result<_>>()?,
            statistics: self.statistics.clone(),
        })
    }

    /// The weight with a name.
    pub(crate) fn get(&self, name: &str) -> Result<&Var> {
        self.vars.get(name).ok_or_else(|| Error::Weights {
            object: "the model".into(),
            reason: format!("it has no {name}"),
        })
    }

    /// All weights with their names, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.vars.iter().map(|(name, var)| (name.as_str(), var))
    }

    /// All weights without their names, in the same order.
    pub fn variables(&self) -> impl Iterator<Item = &Var> {
        self.vars.values()
    }

    /// Whether the weight with a name is a running mean or variance of what the model meets in training.
    pub(crate) fn is_statistic(&self, name: &str) -> bool {
        self.statistics.contains(name)
    }

    /// Those that gradients move, with their names.
    pub(crate) fn learned(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.iter().filter(|(name, _)| !self.is_statistic(name))
    }

    /// Numbers in all that are learned.
    #[must_use]
    pub fn count(&self) -> usize {
        self.learned().map(|(_, var)| var.elem_count()).sum()
    }

    /// Whether a name is of the count of batches that PyTorch keeps beside running statistics. Nothing needs it.
    fn is_count(&self, name: &str) -> bool {
        let layer = name.strip_suffix("num_batches_tracked");
        layer.is_some_and(|layer| self.is_statistic(&format!("{layer}running_mean")))
    }

    /// The bytes of a safetensors file that `torch.load_state_dict` takes.
    ///
    /// # Errors
    /// [`Error::Candle`] when a device gives its memory up.
    pub fn to_safetensors(&self) -> Result<Vec<u8>> {
        tensors::write(
            self.iter()
                .map(|(name, var)| (name.to_owned(), var.as_tensor().clone())),
        )
    }

    /// The device that they all lie on.
    pub(crate) fn device(&self) -> Device {
        let mut vars = self.vars.values();
        vars.next().map_or(Device::Cpu, |var| var.device().clone())
    }

    /// Takes the values of a safetensors file with exactly these names and shapes; `object` names
    /// it in errors.
    ///
    /// # Errors
    /// [`Error::Weights`] with every name that is missing or unknown and every shape that differs,
    /// [`Error::NotFinite`] for a value that is infinite or not a number in f32; then nothing is taken.
    pub fn load_safetensors(&self, bytes: &[u8], object: &str) -> Result<()> {
        let refused = |reason: String| Error::Weights {
            object: object.to_owned(),
            reason,
        };
        let mut held = candle_core::safetensors::load_buffer(bytes, &self.device())
            .map_err(|error| refused(error.to_string()))?;
        held.retain(|name, _| !self.is_count(name));
        let own: BTreeSet<&String> = self.vars.keys().collect();
        let theirs: BTreeSet<&String> = held.keys().collect();
        let mut reasons = Vec::new();
        for (what, names) in [("missing", &own - &theirs), ("unknown", &theirs - &own)] {
            if !names.is_empty() {
                let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
                reasons.push(format!("{what}: {}", names.join(", ")));
            }
        }
        for (name, var) in &self.vars {
            if let Some(other) = held.get(name).filter(|other| other.dims() != var.dims()) {
                reasons.push(format!(
                    "{name} is {:?}, not {:?}",
                    other.dims(),
                    var.dims()
                ));
            }
        }
        if !reasons.is_empty() {
            return Err(refused(reasons.join("; ")));
        }
        let mut values = Vec::new();
        for (name, var) in &self.vars {
            let value = held[name].to_dtype(DType::F32)?;
            if !sum_of_squares(&value)?.is_finite() {
                return Err(Error::NotFinite {
                    object: object.to_owned(),
                    tensor: name.clone(),
                });
            }
            values.push((var, value));
        }
        for (var, value) in values {
            var.set(&value)?;
        }
        Ok(())
    }
}
