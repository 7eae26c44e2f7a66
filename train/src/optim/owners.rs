//! [`Owners`]: which rank holds the optimizer's state of each weight, and moves it (ZeRO stage 1, Rajbhandari et al.
//! 2020).
//!
//! A weight has one owner, so the state of a checkpoint is made of whole tensors and read at any number of ranks. The
//! largest weights are dealt out first, each to the rank that has the fewest numbers so far.

use candle_core::{DType, Tensor, Var};

use crate::collective::Collective;
use crate::model::Parameters;
use crate::ops::{Gradients, sum_of_squares};
use crate::{Error, Result};

/// The weights that each rank owns.
#[derive(Debug, Clone)]
pub(crate) struct Owners {
    /// Names of the weights of each rank, in the order of names.
    of_rank: Vec<Vec<String>>,
}

impl Owners {
    /// Deals out the weights that are learned.
    pub(crate) fn new(
        parameters: &Parameters,
        is_frozen: impl Fn(&str) -> bool,
        ranks: usize,
    ) -> Self {
        let learned = parameters.iter().filter(|(name, _)| !is_frozen(name));
        let mut weights: Vec<(&str, usize)> = learned
            .map(|(name, var)| (name, var.elem_count()))
            .collect();
        weights.sort_by_key(|&(name, count)| (std::cmp::Reverse(count), name));
        let mut of_rank = vec![(0, Vec::new()); ranks];
        for (name, count) in weights {
            if let Some((sum, names)) = of_rank.iter_mut().min_by_key(|(sum, _)| *sum) {
                *sum += count;
                names.push(name.to_owned());
            }
        }
        let sorted = of_rank.into_iter().map(|(_, mut names)| {
            names.sort_unstable();
            names
        });
        Self {
            of_rank: sorted.collect(),
        }
    }

    /// Whether a rank owns a weight.
    pub(crate) fn owns(&self, rank: usize, name: &str) -> bool {
        let names = &self.of_rank[rank];
        names
            .binary_search_by(|held| held.as_str().cmp(name))
            .is_ok()
    }

    /// The gradients of this rank's weights, summed over ranks. `is_present` says of a weight whether it has a gradient
    /// on any rank.
    ///
    /// # Errors
    /// [`Error::Collective`], and those of Candle.
    pub(crate) fn sum(
        &self,
        collective: &dyn Collective,
        parameters: &Parameters,
        gradients: &Gradients,
        is_present: impl Fn(&str) -> bool,
    ) -> Result<Gradients> {
        let layout = self.layout(parameters, is_present)?;
        let mut sent = Vec::new();
        for &var in layout.weights.iter().flatten() {
            let gradient = match gradients.get(var) {
                Some(gradient) => gradient.flatten_all()?.to_dtype(DType::F32)?,
                None => Tensor::zeros(var.elem_count(), DType::F32, var.device())?,
            };
            sent.push(gradient);
        }
        let mut found = Gradients::default();
        if sent.is_empty() {
            return Ok(found);
        }
        let sum = collective.reduce_scatter(&Tensor::cat(&sent, 0)?, &layout.counts)?;
        let (sum, mut from) = (sum.wait()?, 0);
        for &var in &layout.weights[collective.share().rank] {
            let count = var.elem_count();
            let gradient = sum.narrow(0, from, count)?.reshape(var.shape())?;
            found.add(var, gradient)?;
            from += count;
        }
        Ok(found)
    }

    /// Sends this rank's weights to the others, and takes theirs.
    ///
    /// # Errors
    /// [`Error::Collective`], and those of Candle.
    pub(crate) fn spread(
        &self,
        collective: &dyn Collective,
        parameters: &Parameters,
        is_present: impl Fn(&str) -> bool,
    ) -> Result<()> {
        let layout = self.layout(parameters, is_present)?;
        let rank = collective.share().rank;
        let own = layout.weights[rank].iter();
        let mut sent = own
            .map(|var| var.as_detached_tensor().flatten_all())
            .collect::<candle_core::Result<Vec<_>>>()?;
        // A rank that owns nothing sends nothing.
        if let (true, Some(var)) = (sent.is_empty(), layout.weights.iter().flatten().next()) {
            sent.push(Tensor::zeros(0, DType::F32, var.device())?);
        }
        if sent.is_empty() {
            return Ok(());
        }
        let all = collective.all_gather(&Tensor::cat(&sent, 0)?, &layout.counts)?;
        let mut from = 0;
        for (owner, weights) in layout.weights.iter().enumerate() {
            for &var in weights {
                let count = var.elem_count();
                if owner != rank {
                    var.set(&all.narrow(0, from, count)?.reshape(var.shape())?)?;
                }
                from += count;
            }
        }
        Ok(())
    }

    /// The weights that are present, by owner.
    fn layout<'a>(
        &self,
        parameters: &'a Parameters,
        is_present: impl Fn(&str) -> bool,
    ) -> Result<Layout<'a>> {
        let mut layout = Layout::default();
        for names in &self.of_rank {
            let present = names.iter().filter(|name| is_present(name));
            let weights = present
                .map(|name| parameters.get(name))
                .collect::<Result<Vec<_>>>()?;
            let counts = weights.iter().map(|var| var.elem_count());
            layout.counts.push(counts.sum());
            layout.weights.push(weights);
        }
        Ok(layout)
    }
}

/// Weights one after the other, owner by owner.
#[derive(Debug, Default)]
struct Layout<'a> {
    weights: Vec<Vec<&'a Var>>,
    /// Numbers of each owner's weights.
    counts: Vec<usize>,
}

/// The sum of the squares of gradients.
pub(crate) fn squares(parameters: &Parameters, gradients: &Gradients) -> Result<f64> {
    let found = parameters.variables().filter_map(|var| gradients.get(var));
    let squares = found.map(|gradient| Ok::<_, Error>(sum_of_squares(gradient)?));
    squares.sum()
}
