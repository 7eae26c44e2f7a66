//! [`BatchNorm`]: normalizes each feature over all points of a batch, and in use by running moments (Ioffe and Szegedy
//! 2015).

use std::cell::RefCell;

use candle_core::Tensor;

use super::Setting;
use super::conv::Conv;
use crate::Result;
use crate::model::weight::{Initial, Scope};
use crate::ops::{Gradients, batch_norm_tanh, channel_moments, tanh};

/// PyTorch's ε.
const EPSILON: f64 = 1e-5;

/// Gain, bias and running moments of a norm, all (features).
#[derive(Debug)]
pub(super) struct BatchNorm<T> {
    gain: T,
    bias: T,
    mean: T,
    variance: T,
}

impl<T> BatchNorm<T> {
    pub(super) fn new(mut scope: Scope<'_, T>, features: usize) -> Result<Self> {
        let shape = [features];
        Ok(Self {
            gain: scope.weight("weight", &shape, Initial::Constant(1.0))?,
            bias: scope.weight("bias", &shape, Initial::Constant(0.0))?,
            mean: scope.statistic("running_mean", &shape, 0.0)?,
            variance: scope.statistic("running_var", &shape, 1.0)?,
        })
    }
}

impl BatchNorm<Tensor> {
    /// tanh of the normalized convolution of x (N, *space, in).
    pub(super) fn of(
        &self,
        conv: &Conv<Tensor>,
        x: &Tensor,
        setting: &Setting<'_>,
    ) -> Result<Tensor> {
        let Some(statistics) = setting.statistics else {
            // The running moments are known beforehand, so that the norm is a part of the kernel.
            let gain = (&self.gain / (&self.variance + EPSILON)?.sqrt()?)?;
            let bias = (&self.bias - (&self.mean * &gain)?)?;
            return Ok(tanh(&conv.scaled(x, setting, Some((&gain, &bias)))?)?);
        };
        let y = conv.forward(x, setting)?;
        let features = self.gain.elem_count();
        let rows = y.reshape(((), features))?;
        let moments = channel_moments(&rows)?;
        statistics.follow(self, &moments, rows.dim(0)?)?;
        let z = batch_norm_tanh(&rows, &self.gain, &self.bias, &moments)?;
        Ok(z.reshape(y.shape())?)
    }
}

/// What a batch says of running statistics: the gradient of ½ (r − m)², r − m for a running moment r and that of the
/// batch, m. So they are averaged over the parts of a batch and over ranks as gradients are, and a step that is left out
/// leaves them as they are. The optimizer moves them by a tenth of it, as PyTorch does.
#[derive(Default)]
pub(crate) struct BatchStatistics(RefCell<Vec<(Tensor, Tensor)>>);

impl BatchStatistics {
    /// Takes the moments (2, features) of a batch of some points; the running variance follows the unbiased one.
    fn follow(&self, norm: &BatchNorm<Tensor>, moments: &Tensor, points: usize) -> Result<()> {
        let unbiased = points as f64 / (points.max(2) - 1) as f64;
        let (mean, variance) = (moments.get(0)?, (moments.get(1)? * unbiased)?);
        let mut found = self.0.borrow_mut();
        for (running, moment) in [(&norm.mean, mean), (&norm.variance, variance)] {
            let slope = (running.detach() - moment)?;
            found.push((running.clone(), slope));
        }
        Ok(())
    }

    /// Adds them to the gradients of a batch.
    pub(crate) fn add_to(self, gradients: &mut Gradients) -> Result<()> {
        for (running, slope) in self.0.into_inner() {
            gradients.add(&running, slope)?;
        }
        Ok(())
    }
}
