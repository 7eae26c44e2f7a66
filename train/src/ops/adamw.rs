//! AdamW in place (Loshchilov and Hutter 2019) for all weights at once: with gradient g at step t,
//!
//! g ← g + λ₂ w, which is Adam with L2 regularization where λ = 0 (Kingma and Ba 2015),
//! m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) g²,
//! w ← w − η (λ w + m/(1 − β₁ᵗ) / (√(v/(1 − β₂ᵗ)) + ε)).
//!
//! Before it, gradients whose norm over all weights is above a limit are scaled to it, as PyTorch's
//! `clip_grad_norm_` does: g ← g min(1, limit / (norm + 10⁻⁶)). Those below keep their bits.

mod kernels;

use candle_core::{CpuStorage, DType, InplaceOp2, InplaceOp3, Layout, Result, Tensor, Var, bail};
use rayon::prelude::*;

use super::buffer::{GRAIN, slice};
use super::route::Route;
use super::squares::sum_of_squares;
use kernels::{average_by_kernels, by_kernels};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// A weight, its moments and its gradient.
#[derive(Clone, Copy)]
pub(crate) struct WeightUpdate<'a> {
    pub(crate) weight: &'a Var,
    pub(crate) first: &'a Var,
    pub(crate) second: &'a Var,
    pub(crate) gradient: &'a Tensor,
}

/// Learning rate, weight decay and clipping of a step of the optimizer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepSettings {
    /// Learning rate.
    pub lr: f64,
    /// Decoupled weight decay: AdamW's.
    pub decay: f64,
    /// Weight decay as a part of the gradient, after clipping: Adam's.
    pub l2: f64,
    /// The largest norm of a gradient, over all weights.
    pub clip: Option<f64>,
}

/// Loss and gradient norm at the beginning of a step of the optimizer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossAndNorm {
    /// The loss before it.
    pub loss: f32,
    /// The norm of the loss's gradient over all weights, before it was clipped.
    pub norm: f64,
}

impl LossAndNorm {
    /// Whether the step was taken: it is skipped if the loss or a gradient is not finite.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        self.loss.is_finite() && self.norm.is_finite()
    }
}

/// Takes one step for all weights; `step` counts from 1.
pub(crate) fn adamw(
    all: &[WeightUpdate<'_>],
    loss: &Tensor,
    step: u64,
    pace: StepSettings,
) -> Result<LossAndNorm> {
    match Route::of(loss) {
        Route::Gpu => by_kernels(all, loss, step, pace),
        Route::Cpu | Route::Composed => one_by_one(all, loss, step, pace),
    }
}

/// Takes one step for some of the weights, where loss and norm are those of all. The norm is finite.
pub(crate) fn adamw_of_some(
    all: &[WeightUpdate<'_>],
    found: LossAndNorm,
    step: u64,
    pace: StepSettings,
) -> Result<()> {
    let Some(first) = all.first() else {
        return Ok(());
    };
    if Route::of(first.gradient) != Route::Gpu {
        return move_all(all, found.norm, step, pace);
    }
    let factor = clipping(found.norm, pace).min(1.0);
    let gradients = all.iter().map(|moving| moving.gradient * factor);
    let gradients: Vec<Tensor> = gradients.collect::<Result<_>>()?;
    let clipped = all.iter().zip(&gradients);
    let clipped = clipped.map(|(moving, gradient)| WeightUpdate {
        gradient,
        ..*moving
    });
    let loss = Tensor::new(found.loss, first.gradient.device())?;
    let pace = StepSettings { clip: None, ..pace };
    by_kernels(&clipped.collect::<Vec<_>>(), &loss, step, pace).map(drop)
}

fn one_by_one(
    all: &[WeightUpdate<'_>],
    loss: &Tensor,
    step: u64,
    pace: StepSettings,
) -> Result<LossAndNorm> {
    let mut squares = 0.0;
    for moving in all {
        squares += sum_of_squares(moving.gradient)?;
    }
    let found = LossAndNorm {
        loss: loss.to_dtype(DType::F32)?.to_scalar()?,
        norm: f64::sqrt(squares),
    };
    if found.is_finite() {
        move_all(all, found.norm, step, pace)?;
    }
    Ok(found)
}

/// What gradients of a norm are multiplied by, where that is less than 1.
fn clipping(norm: f64, pace: StepSettings) -> f64 {
    pace.clip.map_or(1.0, |limit| limit / (norm + 1e-6))
}

fn move_all(all: &[WeightUpdate<'_>], norm: f64, step: u64, pace: StepSettings) -> Result<()> {
    let (update, factor) = (Update::new(step, pace), clipping(norm, pace));
    for moving in all {
        let mut gradient = moving.gradient.clone();
        if factor < 1.0 {
            gradient = (gradient * factor)?;
        }
        if pace.l2 > 0.0 {
            gradient = (gradient + (moving.weight.as_detached_tensor() * pace.l2)?)?;
        }
        move_one(moving, &gradient, &update)?;
    }
    Ok(())
}

fn move_one(moving: &WeightUpdate<'_>, gradient: &Tensor, update: &Update) -> Result<()> {
    let gradient = gradient.contiguous()?;
    for (moment, beta, power) in [(moving.first, BETA1, 1), (moving.second, BETA2, 2)] {
        let beta = beta as f32;
        moment.inplace_op2(&gradient, &Moment { beta, power })?;
    }
    moving
        .weight
        .inplace_op3(moving.first, moving.second, update)
}

/// e ← β e + (1 − β) w: moving averages e of weights w, as pairs.
pub(crate) fn average(pairs: &[(&Var, &Var)], beta: f64) -> Result<()> {
    match pairs.first().map(|(average, _)| Route::of(average)) {
        None => Ok(()),
        Some(Route::Gpu) => average_by_kernels(pairs, beta as f32),
        Some(Route::Cpu | Route::Composed) => {
            let (beta, power) = (beta as f32, 1);
            pairs.iter().try_for_each(|(average, weight)| {
                average.inplace_op2(weight, &Moment { beta, power })
            })
        }
    }
}

/// m ← β m + (1 − β) gᵏ.
struct Moment {
    beta: f32,
    power: i32,
}

impl InplaceOp2 for Moment {
    fn name(&self) -> &'static str {
        "adamw-moment"
    }

    fn cpu_fwd(
        &self,
        moment: &mut CpuStorage,
        at: &Layout,
        gradient: &CpuStorage,
        from: &Layout,
    ) -> Result<()> {
        let gradient = slice(gradient, from)?;
        let moment = values_mut(moment, at)?;
        let rows = moment.par_chunks_mut(GRAIN).zip(gradient.par_chunks(GRAIN));
        rows.for_each(|(moment, gradient)| {
            for (moment, gradient) in moment.iter_mut().zip(gradient) {
                let power = if self.power == 2 {
                    gradient * gradient
                } else {
                    *gradient
                };
                *moment = self.beta * *moment + (1.0 - self.beta) * power;
            }
        });
        Ok(())
    }
}

/// w ← keep · w − rate · m / (scale · √v + ε).
struct Update {
    keep: f32,
    rate: f32,
    scale: f32,
}

impl Update {
    fn new(step: u64, pace: StepSettings) -> Self {
        let correction = |beta: f64| 1.0 - beta.powf(step as f64);
        Self {
            keep: (1.0 - pace.lr * pace.decay) as f32,
            rate: (pace.lr / correction(BETA1)) as f32,
            scale: (1.0 / correction(BETA2).sqrt()) as f32,
        }
    }
}

impl InplaceOp3 for Update {
    fn name(&self) -> &'static str {
        "adamw-update"
    }

    fn cpu_fwd(
        &self,
        weight: &mut CpuStorage,
        at: &Layout,
        first: &CpuStorage,
        first_at: &Layout,
        second: &CpuStorage,
        second_at: &Layout,
    ) -> Result<()> {
        let (first, second) = (slice(first, first_at)?, slice(second, second_at)?);
        let rows = values_mut(weight, at)?.par_chunks_mut(GRAIN);
        let rows = rows.zip(first.par_chunks(GRAIN).zip(second.par_chunks(GRAIN)));
        rows.for_each(|(weight, (first, second))| {
            for (weight, (first, second)) in weight.iter_mut().zip(first.iter().zip(second)) {
                let change = first / (second.sqrt() * self.scale + EPSILON as f32);
                *weight = *weight * self.keep - self.rate * change;
            }
        });
        Ok(())
    }
}

fn values_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [f32]> {
    match (layout.contiguous_offsets(), storage) {
        (Some((from, to)), CpuStorage::F32(values)) => Ok(&mut values[from..to]),
        _ => bail!("AdamW needs contiguous f32 tensors"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn the_first_steps_are_those_of_the_formula() {
        for (decay, l2) in [(0.1, 0.0), (0.0, 0.1)] {
            first_steps(decay, l2);
        }
    }

    fn first_steps(decay: f64, l2: f64) {
        let of =
            |values: &[f32]| Var::from_tensor(&Tensor::new(values, &Device::Cpu).unwrap()).unwrap();
        let (weight, first, second) = (of(&[1.0, -2.0]), of(&[0.0, 0.0]), of(&[0.0, 0.0]));
        let (mut w, mut m, mut v) = ([1.0_f64, -2.0], [0.0; 2], [0.0; 2]);
        let loss = Tensor::new(1.0_f32, &Device::Cpu).unwrap();
        let pace = StepSettings {
            lr: 1e-2,
            decay,
            l2,
            clip: None,
        };
        for step in 1..4 {
            let g = [0.5 * step as f64, -0.1];
            let gradient = Tensor::new(&[g[0] as f32, g[1] as f32], &Device::Cpu).unwrap();
            let moving = WeightUpdate {
                weight: &weight,
                first: &first,
                second: &second,
                gradient: &gradient,
            };
            adamw(&[moving], &loss, step, pace).unwrap();
            for i in 0..2 {
                let g = g[i] + l2 * w[i];
                m[i] = 0.9 * m[i] + 0.1 * g;
                v[i] = 0.999 * v[i] + 0.001 * g * g;
                let (mean, square) = (
                    m[i] / (1.0 - 0.9_f64.powi(step as i32)),
                    v[i] / (1.0 - 0.999_f64.powi(step as i32)),
                );
                w[i] -= 1e-2 * (decay * w[i] + mean / (square.sqrt() + 1e-8));
            }
            let found: Vec<f32> = weight.to_vec1().unwrap();
            assert!(
                found
                    .iter()
                    .zip(w)
                    .all(|(f, w)| (f64::from(*f) - w).abs() < 1e-6),
                "{found:?} {w:?}"
            );
        }
    }
}
