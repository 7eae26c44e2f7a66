//! [`Perturbation`]: the random part of a forward pass in training. It is drawn beforehand, so that the
//! pass itself is a function of its arguments.

use candle_core::{Device, Tensor};
use rand::Rng;
use wellspring_store::Patch;

use crate::Result;
use crate::device::upload;

/// Patch jitter and stochastic depth of one pass.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Perturbation {
    /// Cells that each axis is moved by, less than a patch; empty for none.
    shift: Vec<usize>,
    /// For each block, the factors of its residuals over time and space in each sample:
    /// 0, or 1 / (1 − rate) so that the mean stays. Empty for none.
    residuals: Vec<[Vec<f32>; 2]>,
}

impl Perturbation {
    /// No perturbation: for evaluation, and for training without random parts.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Draws how far the grid moves under the patches.
    pub(crate) fn jitter(mut self, patch: &Patch, rng: &mut impl Rng) -> Self {
        let sizes = patch.sizes().iter();
        self.shift = sizes.map(|&size| rng.random_range(0..size)).collect();
        self
    }

    /// Draws which residuals are left out: at the last block with probability `rate`, before it in
    /// proportion to the depth (Huang et al. 2016).
    pub(crate) fn drop_path(
        mut self,
        rate: f64,
        blocks: usize,
        batch: usize,
        rng: &mut impl Rng,
    ) -> Self {
        let mut factors = |rate: f64| -> Vec<f32> {
            let mut factor = || match rng.random_bool(rate) {
                true => 0.0,
                false => (1.0 / (1.0 - rate)) as f32,
            };
            (0..batch).map(|_| factor()).collect()
        };
        let last = (blocks - 1).max(1) as f64;
        self.residuals = (0..blocks)
            .map(|block| rate * block as f64 / last)
            .map(|rate| [factors(rate), factors(rate)])
            .collect();
        self
    }

    /// That of some samples of the batch.
    pub(crate) fn of(&self, samples: &[usize]) -> Self {
        let part = |factors: &Vec<f32>| samples.iter().map(|&sample| factors[sample]).collect();
        let residuals = self.residuals.iter();
        Self {
            shift: self.shift.clone(),
            residuals: residuals
                .map(|[time, space]| [part(time), part(space)])
                .collect(),
        }
    }

    pub(super) fn shift(&self, axis: usize) -> usize {
        self.shift.get(axis).copied().unwrap_or(0)
    }

    pub(super) fn jitters(&self) -> bool {
        !self.shift.is_empty()
    }

    /// For each block the factors of its residuals over time and space, (T·B) each, from one upload. Empty for
    /// none.
    pub(super) fn factors(&self, time: usize, device: &Device) -> Result<Vec<[Tensor; 2]>> {
        let Some([first, _]) = self.residuals.first() else {
            return Ok(Vec::new());
        };
        let items = time * first.len();
        // Each begins at a multiple of sixteen bytes, as kernels want it.
        let row = items.next_multiple_of(4);
        let mut values = Vec::new();
        for factors in self.residuals.iter().flatten() {
            values.extend(factors.repeat(time));
            values.resize(values.len().next_multiple_of(row), 0.0);
        }
        let values = upload(&values, values.len(), device)?;
        let factors = |index: usize| values.narrow(0, index * row, items);
        (0..self.residuals.len())
            .map(|block| Ok([factors(2 * block)?, factors(2 * block + 1)?]))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn residuals_keep_their_mean_and_the_first_block_all_of_them() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let drawn = Perturbation::none().drop_path(0.4, 3, 20_000, &mut rng);
        assert!(drawn.residuals[0][0].iter().all(|&factor| factor == 1.0));
        for (block, kept) in [(1, 0.8), (2, 0.6)] {
            for factors in &drawn.residuals[block] {
                let some = factors.iter().filter(|&&factor| factor > 0.0).count();
                assert!((some as f64 / 20_000.0 - kept).abs() < 0.02, "{block}");
                let mean = factors.iter().sum::<f32>() / 20_000.0;
                assert!((mean - 1.0).abs() < 0.03, "{mean}");
            }
        }
    }

    #[test]
    fn jitter_stays_within_a_patch() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        for _ in 0..100 {
            let drawn = Perturbation::none().jitter(&Patch::uniform(4, 2), &mut rng);
            assert!(drawn.shift.len() == 2 && drawn.shift.iter().all(|&cells| cells < 4));
        }
    }
}
