//! AdamW in place (Loshchilov and Hutter 2019): with gradient g at step t,
//!
//! m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) g²,
//! w ← w − η (λ w + m/(1 − β₁ᵗ) / (√(v/(1 − β₂ᵗ)) + ε)).

use candle_core::{CpuStorage, InplaceOp2, InplaceOp3, Layout, Result, Tensor, Var, bail};
use rayon::prelude::*;

use super::buffer::{GRAIN, slice};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// One step of one weight: `step` counts from 1.
pub(crate) fn adamw(
    weight: &Var,
    (first, second): (&Var, &Var),
    gradient: &Tensor,
    step: u64,
    lr: f64,
    decay: f64,
) -> Result<()> {
    let correction = |beta: f64| 1.0 - beta.powf(step as f64);
    let (correction1, correction2) = (correction(BETA1), correction(BETA2));
    if !weight.device().is_cpu() {
        first.set(&((first.as_tensor() * BETA1)? + (gradient * (1.0 - BETA1))?)?)?;
        second.set(&((second.as_tensor() * BETA2)? + (gradient.sqr()? * (1.0 - BETA2))?)?)?;
        let scale = ((second.as_tensor() / correction2)?.sqrt()? + EPSILON)?;
        let change = ((first.as_tensor() / correction1)? / scale)?;
        return weight.set(&((weight.as_tensor() * (1.0 - lr * decay))? - (change * lr)?)?);
    }
    let gradient = gradient.contiguous()?;
    first.inplace_op2(
        &gradient,
        &Moment {
            beta: BETA1 as f32,
            power: 1,
        },
    )?;
    second.inplace_op2(
        &gradient,
        &Moment {
            beta: BETA2 as f32,
            power: 2,
        },
    )?;
    let update = Update {
        keep: (1.0 - lr * decay) as f32,
        rate: (lr / correction1) as f32,
        scale: (1.0 / correction2.sqrt()) as f32,
    };
    weight.inplace_op3(first, second, &update)
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

struct Update {
    keep: f32,
    rate: f32,
    scale: f32,
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
        let of =
            |values: &[f32]| Var::from_tensor(&Tensor::new(values, &Device::Cpu).unwrap()).unwrap();
        let (weight, first, second) = (of(&[1.0, -2.0]), of(&[0.0, 0.0]), of(&[0.0, 0.0]));
        let (mut w, mut m, mut v) = ([1.0_f64, -2.0], [0.0; 2], [0.0; 2]);
        for step in 1..4 {
            let g = [0.5 * step as f64, -0.1];
            let gradient = Tensor::new(&[g[0] as f32, g[1] as f32], &Device::Cpu).unwrap();
            adamw(&weight, (&first, &second), &gradient, step, 1e-2, 0.1).unwrap();
            for i in 0..2 {
                m[i] = 0.9 * m[i] + 0.1 * g[i];
                v[i] = 0.999 * v[i] + 0.001 * g[i] * g[i];
                let (mean, square) = (
                    m[i] / (1.0 - 0.9_f64.powi(step as i32)),
                    v[i] / (1.0 - 0.999_f64.powi(step as i32)),
                );
                w[i] -= 1e-2 * (0.1 * w[i] + mean / (square.sqrt() + 1e-8));
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
