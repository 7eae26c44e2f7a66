//! GELU: y = x Φ(x), with Φ(x) = ½(1 + erf(x/√2)) (Hendrycks and Gimpel 2016).
//!
//! dy/dx = Φ(x) + x φ(x), φ(x) = exp(−x²/2)/√(2π).

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::buffer::{GRAIN, exp, read, slice, stored, tensor};
use super::gpu::{Array, Backward, Kernels, on_gpu};
use super::launch::{Extent, args};
use super::program::Program;
use super::route::Route;
use super::tape;

/// GELU, elementwise.
pub(crate) fn gelu(x: &Tensor) -> Result<Tensor> {
    match Route::of(x) {
        Route::Cpu => tape::apply1(&tape::contiguous(x)?, Gelu),
        Route::Gpu => on_gpu(Gelu, [x]),
        Route::Composed => tape::composed([x], |[x]| x.gelu_erf()),
    }
}

struct Gelu;

/// Φ(x) and exp(−x²/2). The tail ½ erfc(|x|/√2) is t·P(t)·exp(−x²/2) with t = 1/(1 + p|x|/√2):
/// Numerical Recipes' erfc, to 1.2e-7 relative.
#[inline(always)]
#[allow(clippy::excessive_precision, reason = "the coefficients as published")]
fn normal(x: f32) -> (f32, f32) {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / 0.5_f32.mul_add(z, 1.0);
    let bell = exp(-0.5 * x * x);
    let p = 0.170_872_77_f32;
    let p = p.mul_add(t, -0.822_152_23);
    let p = p.mul_add(t, 1.488_515_87);
    let p = p.mul_add(t, -1.135_203_98);
    let p = p.mul_add(t, 0.278_868_07);
    let p = p.mul_add(t, -0.186_288_06);
    let p = p.mul_add(t, 0.096_784_18);
    let p = p.mul_add(t, 0.374_091_96);
    let p = p.mul_add(t, 1.000_023_68);
    let p = p.mul_add(t, -1.265_512_23);
    let tail = 0.5 * t * exp(p - z * z);
    (if x >= 0.0 { 1.0 - tail } else { tail }, bell)
}

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = slice(x, layout)?;
        let mut y = vec![0.0; x.len()];
        y.par_chunks_mut(GRAIN)
            .zip(x.par_chunks(GRAIN))
            .for_each(|(y, x)| {
                y.iter_mut().zip(x).for_each(|(y, &x)| *y = x * normal(x).0);
            });
        Ok(stored(y, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        const PEAK: f32 = 0.398_942_3; // 1/√(2π)
        let mut dx = vec![0.0; x.elem_count()];
        read([x, dy], |[x, dy]| {
            let chunks = dx
                .par_chunks_mut(GRAIN)
                .zip(x.par_chunks(GRAIN))
                .zip(dy.par_chunks(GRAIN));
            chunks.for_each(|((dx, x), dy)| {
                dx.iter_mut().zip(x).zip(dy).for_each(|((dx, &x), dy)| {
                    let (phi, bell) = normal(x);
                    *dx = dy * (x * bell).mul_add(PEAK, phi);
                });
            });
        })?;
        Ok(Some(tensor(dx, x.shape())?))
    }
}

impl Kernels for Gelu {
    const NAME: &'static str = "gelu";
    const QUICK: bool = true;

    fn forward(&self, inputs: &[Array]) -> Result<Program> {
        let [Array { shape, dtype }] = inputs else {
            bail!("gelu has one input")
        };
        let mut program = Program::new("gelu", 1);
        let y = program.result(shape.clone(), *dtype);
        let args = args![program.input(0), y, shape.elem_count()];
        let extent = Extent::of_packs(shape.elem_count(), *dtype);
        program.launch("gelu_forward", *dtype, extent, args);
        Ok(program)
    }

    fn backward(&self, at: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let x = at.inputs[0];
        let (count, dtype) = (x.elem_count(), x.dtype());
        let mut program = Program::new("gelu", 2);
        let dx = program.result(x.shape(), dtype);
        let args = args![program.input(0), program.input(1), dx, count];
        program.launch("gelu_backward", dtype, Extent::of_packs(count, dtype), args);
        let found = program.run(&[x, at.gradient])?;
        Ok(found.into_iter().map(Some).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check, check_far_out, check_kernels};

    #[test]
    fn kernels_equal_the_composed_operation() {
        for shape in [[3, 41], [1, 1], [2, 4096]] {
            check_kernels(
                &[&shape],
                |v, dtype| gelu(&v[0].to_dtype(dtype)?),
                |v| v[0].gelu_erf(),
            );
        }
    }

    #[test]
    fn any_input_has_a_gradient() {
        check_far_out(gelu, |x| x.gelu_erf());
    }

    #[test]
    fn equals_the_composed_operation() {
        check(&[&[3, 41]], |v| gelu(&v[0]), |v| v[0].gelu_erf());
    }

    #[test]
    fn is_exact_far_out() {
        assert_eq!(normal(12.0).0, 1.0);
        assert!(normal(-12.0).0 < 1e-30);
    }
}
