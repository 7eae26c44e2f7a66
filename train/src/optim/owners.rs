//! [`Owners`]: which rank holds the optimizer's state of each weight, and moves it (ZeRO stage 1, Rajbhandari et al.
//! 2020).
//!
//! A weight has one owner, so the state of a checkpoint is made of whole tensors and read at any number of ranks. The
//! largest weights are dealt out first, each to the rank that has the fewest numbers so far.
//!
//! Gradients go out in buckets, always in the same order: those of the last block of the transformer first, and those of
//! encoder and decoder at the end. A bucket is on its way while the gradients of earlier blocks are computed.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use candle_core::{DType, Tensor, Var};

use crate::Result;
use crate::collective::{Collective, PendingSum, Wire};
use crate::model::{Parameters, Surrogate};
use crate::ops::{Gradients, sum_of_squares};

/// The weights that each rank owns.
#[derive(Debug, Clone)]
pub(crate) struct Owners {
    /// In the order in which they are sent.
    buckets: Vec<Bucket>,
}

/// Names of the weights of each rank in a bucket.
#[derive(Debug, Clone)]
struct Bucket {
    /// None for encoder and decoder.
    block: Option<usize>,
    of_rank: Vec<Vec<String>>,
}

impl Owners {
    /// Deals out the weights of a model that are learned.
    ///
    /// # Errors
    /// Those of the model's description.
    pub(crate) fn new(
        model: &Surrogate,
        is_frozen: impl Fn(&str) -> bool,
        ranks: usize,
    ) -> Result<Self> {
        let mut weights = model.weights()?;
        weights.retain(|weight| !is_frozen(&weight.name));
        weights.sort_by_key(|weight| (Reverse(weight.count()), weight.name.clone()));
        let blocks = (0..model.blocks()).rev().map(Some);
        let bucket = |block| Bucket {
            block,
            of_rank: vec![Vec::new(); ranks],
        };
        let mut buckets: Vec<Bucket> = blocks.chain([None]).map(bucket).collect();
        let mut numbers = vec![0; ranks];
        for weight in weights {
            let owner = (0..ranks).min_by_key(|&rank| numbers[rank]).unwrap_or(0);
            numbers[owner] += weight.count().unwrap_or(0);
            let bucket = buckets
                .iter_mut()
                .find(|bucket| bucket.block == weight.block);
            if let Some(bucket) = bucket {
                bucket.of_rank[owner].push(weight.name);
            }
        }
        Ok(Self { buckets })
    }

    /// Whether a rank owns a weight.
    pub(crate) fn owns(&self, rank: usize, name: &str) -> bool {
        let mut buckets = self.buckets.iter();
        buckets.any(|bucket| bucket.of_rank[rank].iter().any(|held| held == name))
    }

    /// Begins to sum the gradients of a step. They still need a factor.
    pub(crate) fn outbox<'a>(
        &'a self,
        collective: &'a dyn Collective,
        parameters: &'a Parameters,
        wire: Wire,
        factor: f64,
    ) -> Outbox<'a> {
        Outbox {
            collective,
            parameters,
            wire,
            factor,
            present: None,
            left: &self.buckets,
            sent: Vec::new(),
        }
    }

    /// Sends this rank's weights to the others, and takes theirs.
    ///
    /// # Errors
    /// [`crate::Error::Collective`], and those of Candle.
    pub(crate) fn spread(
        &self,
        collective: &dyn Collective,
        parameters: &Parameters,
    ) -> Result<()> {
        let share = collective.share();
        let of_rank = |rank: usize| {
            let names = self
                .buckets
                .iter()
                .flat_map(move |bucket| &bucket.of_rank[rank]);
            names
                .map(|name| parameters.get(name))
                .collect::<Result<Vec<&Var>>>()
        };
        let weights = (0..share.world).map(of_rank).collect::<Result<Vec<_>>>()?;
        let counts: Vec<usize> = weights.iter().map(|of_rank| numbers(of_rank)).collect();
        let own = weights[share.rank].iter();
        let own = own.map(|var| Ok(var.as_detached_tensor().flatten_all()?));
        let own = joined(own.collect::<Result<_>>()?, parameters)?;
        let all = collective.all_gather(&own, &counts)?;
        let mut from = 0;
        for (owner, var) in owned(&weights) {
            let count = var.elem_count();
            if owner != share.rank {
                var.set(&all.narrow(0, from, count)?.reshape(var.shape())?)?;
            }
            from += count;
        }
        Ok(())
    }
}

/// Gradients of a step on their way to those who own their weights.
pub(crate) struct Outbox<'a> {
    collective: &'a dyn Collective,
    parameters: &'a Parameters,
    wire: Wire,
    factor: f64,
    /// Names of the weights that have a gradient, where this rank's own gradients do not show it.
    present: Option<BTreeSet<String>>,
    left: &'a [Bucket],
    /// This rank's weights of each bucket that was sent, and their sum.
    sent: Vec<(Vec<&'a Var>, PendingSum)>,
}

impl<'a> Outbox<'a> {
    /// Goes by these names: this rank may have no gradients of a step.
    pub(crate) fn with_present(self, names: BTreeSet<String>) -> Self {
        Self {
            present: Some(names),
            ..self
        }
    }

    /// Sends the gradients of the blocks from one on: they are whole.
    ///
    /// # Errors
    /// [`crate::Error::Collective`], and those of Candle.
    pub(crate) fn send_from(&mut self, block: usize, gradients: &Gradients) -> Result<()> {
        while let Some((bucket, left)) = self.left.split_first()
            && bucket.block.is_some_and(|own| own >= block)
        {
            self.send(bucket, gradients)?;
            self.left = left;
        }
        Ok(())
    }

    /// Sends all others, and waits for the sums of this rank's weights.
    ///
    /// # Errors
    /// [`crate::Error::Collective`], and those of Candle.
    pub(crate) fn sums(mut self, gradients: &Gradients) -> Result<Gradients> {
        for bucket in self.left {
            self.send(bucket, gradients)?;
        }
        let mut found = Gradients::default();
        for (own, sum) in self.sent {
            let (sum, mut from) = (sum.wait()?, 0);
            for var in own {
                let count = var.elem_count();
                let gradient = sum.narrow(0, from, count)?.reshape(var.shape())?;
                found.add(var, gradient)?;
                from += count;
            }
        }
        Ok(found)
    }

    fn send(&mut self, bucket: &Bucket, gradients: &Gradients) -> Result<()> {
        let weights = bucket.of_rank.iter().map(|names| {
            let vars = names.iter().map(|name| (name, self.parameters.get(name)));
            let present = vars.filter(|(name, var)| match (&self.present, var) {
                (Some(names), _) => names.contains(*name),
                (None, Ok(var)) => gradients.get(var).is_some(),
                (None, Err(_)) => true,
            });
            present
                .map(|(_, var)| var)
                .collect::<Result<Vec<&'a Var>>>()
        });
        let weights = weights.collect::<Result<Vec<_>>>()?;
        let counts: Vec<usize> = weights.iter().map(|of_rank| numbers(of_rank)).collect();
        if counts.iter().all(|&count| count == 0) {
            return Ok(());
        }
        let parts = owned(&weights).map(|(_, var)| match gradients.get(var) {
            Some(gradient) => Ok(gradient.flatten_all()?.to_dtype(DType::F32)?),
            None => Ok(Tensor::zeros(var.elem_count(), DType::F32, var.device())?),
        });
        let flat = joined(parts.collect::<Result<_>>()?, self.parameters)?;
        let flat = (flat * self.factor)?.to_dtype(self.wire.dtype())?;
        let sum = self.collective.reduce_scatter(&flat, &counts)?;
        let own = weights.into_iter().nth(self.collective.share().rank);
        self.sent.push((own.unwrap_or_default(), sum));
        Ok(())
    }
}

/// Numbers in some weights.
fn numbers(weights: &[&Var]) -> usize {
    weights.iter().map(|var| var.elem_count()).sum()
}

/// All weights with their owners, owner by owner.
fn owned<'a, 'b>(weights: &'b [Vec<&'a Var>]) -> impl Iterator<Item = (usize, &'a Var)> + 'b {
    let of_rank =
        |(owner, vars): (usize, &'b Vec<&'a Var>)| vars.iter().map(move |&var| (owner, var));
    weights.iter().enumerate().flat_map(of_rank)
}

/// Vectors one after the other; there may be none.
fn joined(parts: Vec<Tensor>, parameters: &Parameters) -> Result<Tensor> {
    match parts.is_empty() {
        true => Ok(Tensor::zeros(0, DType::F32, &parameters.device())?),
        false => Ok(Tensor::cat(&parts, 0)?),
    }
}

/// The sum of the squares of the gradients of what is learned.
pub(crate) fn squares(parameters: &Parameters, gradients: &Gradients) -> Result<f64> {
    let found = parameters.learned();
    let found = found.filter_map(|(_, var)| gradients.get(var));
    let squares = found.map(|gradient| Ok(sum_of_squares(gradient)?));
    squares.sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use candle_core::Device;
    use wellspring_store::Boundary;

    use super::*;
    use crate::{SingleProcess, TransformerConfig};

    fn model() -> Surrogate {
        let config = TransformerConfig {
            dim: 48,
            heads: 3,
            blocks: 3,
            ..TransformerConfig::default()
        };
        let sides = vec![[Boundary::Periodic; 2]; 2];
        Surrogate::new(&config.into(), 4, sides, 0, &Device::Cpu).unwrap()
    }

    #[test]
    fn every_weight_that_is_learned_has_one_owner_and_ranks_own_alike() {
        let model = model();
        let is_frozen = |name: &str| name.starts_with("embed.");
        for ranks in 1..=5 {
            let owners = Owners::new(&model, is_frozen, ranks).unwrap();
            let mut numbers = vec![0; ranks];
            for (name, var) in model.parameters().iter() {
                let who: Vec<usize> = (0..ranks).filter(|&rank| owners.owns(rank, name)).collect();
                assert_eq!(who.len(), usize::from(!is_frozen(name)), "{name}: {who:?}");
                who.iter()
                    .for_each(|&rank| numbers[rank] += var.elem_count());
            }
            let (least, most) = (numbers.iter().min().unwrap(), numbers.iter().max().unwrap());
            assert!(*most as f64 <= 1.2 * *least as f64, "{numbers:?}");
        }
    }

    #[test]
    fn buckets_go_out_from_the_last_block_on_and_nothing_is_lost() {
        let model = model();
        let parameters = model.parameters();
        let mut gradients = Gradients::default();
        for var in parameters.variables() {
            gradients.add(var, var.as_detached_tensor()).unwrap();
        }
        let owners = Owners::new(&model, |_| false, 1).unwrap();
        let mut outbox = owners.outbox(&SingleProcess, parameters, Wire::F32, 2.0);
        outbox.send_from(2, &gradients).unwrap();
        assert_eq!(outbox.sent.len(), 1);
        outbox.send_from(2, &gradients).unwrap();
        outbox.send_from(0, &gradients).unwrap();
        assert_eq!(outbox.sent.len(), 3);
        let sums = outbox.sums(&gradients).unwrap();
        for (name, var) in parameters.iter() {
            let [sum, weight] = [sums.get(var).unwrap(), var.as_tensor()]
                .map(|x| x.flatten_all().unwrap().to_vec1::<f32>().unwrap());
            assert!(
                sum.iter().zip(&weight).all(|(s, w)| *s == 2.0 * w),
                "{name}"
            );
        }
    }
}
