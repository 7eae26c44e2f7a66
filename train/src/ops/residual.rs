//! A residual with stochastic depth (Huang et al. 2016): y = x + (a + b) · kept, with x (N, S, C) in f32,
//! one or two branches a, b of that shape in f32 or bf16, and for each item a factor `kept`, or none.
//!
//! da = db = dy · kept, dx = dy.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::buffer::{GRAIN, read, slice, stored, tensor};
use super::gpu::{Array, Backward, Kernels, Needs, on_gpu};
use super::launch::{Extent, args};
use super::program::Program;
use super::route::Route;
use super::tape;

/// Adds one or two branches to x, each item's times its factor where there are some: (N) in f32.
pub(crate) fn residual(
    x: &Tensor,
    a: &Tensor,
    b: Option<&Tensor>,
    kept: Option<&Tensor>,
) -> Result<Tensor> {
    let op = || -> Result<Residual> {
        Ok(Residual {
            kept: kept.map(Tensor::contiguous).transpose()?,
            branches: 1 + usize::from(b.is_some()),
            dtype: a.dtype(),
        })
    };
    match (Route::of(a), b) {
        (Route::Composed, Some(b)) => {
            tape::composed([x, a, b], |[x, a, b]| composed(x, a, Some(b), kept))
        }
        (Route::Composed, None) => tape::composed([x, a], |[x, a]| composed(x, a, None, kept)),
        (Route::Gpu, None) => on_gpu(op()?, [x, a]),
        (Route::Gpu, Some(b)) => on_gpu(op()?, [x, a, b]),
        (Route::Cpu, None) => tape::apply2([&tape::contiguous(x)?, &tape::contiguous(a)?], op()?),
        (Route::Cpu, Some(b)) => {
            let (x, a) = (tape::contiguous(x)?, tape::contiguous(a)?);
            tape::apply3([&x, &a, &tape::contiguous(b)?], op()?)
        }
    }
}

fn composed(x: &Tensor, a: &Tensor, b: Option<&Tensor>, kept: Option<&Tensor>) -> Result<Tensor> {
    let mut branch = a.to_dtype(x.dtype())?;
    if let Some(b) = b {
        branch = (branch + b.to_dtype(x.dtype())?)?;
    }
    if let Some(kept) = kept {
        branch = branch.broadcast_mul(&kept.reshape(((), 1, 1))?)?;
    }
    x + branch
}

struct Residual {
    kept: Option<Tensor>,
    branches: usize,
    /// The branches' numbers.
    dtype: DType,
}

/// Calls `each` with the factor and the place of every part of an item's numbers in y, which it fills.
fn by_parts(
    y: &mut [f32],
    kept: Option<&[f32]>,
    items: usize,
    each: impl Fn(f32, usize, &mut [f32]) + Sync,
) {
    let item = (y.len() / items).max(1);
    y.par_chunks_mut(item).enumerate().for_each(|(index, y)| {
        let factor = kept.map_or(1.0, |kept| kept[index]);
        y.par_chunks_mut(GRAIN)
            .enumerate()
            .for_each(|(part, y)| each(factor, index * item + part * GRAIN, y));
    });
}

impl Residual {
    fn added(
        &self,
        (x, layout): (&CpuStorage, &Layout),
        a: &[f32],
        b: Option<&[f32]>,
    ) -> Result<(CpuStorage, Shape)> {
        let x = slice(x, layout)?;
        let mut y = vec![0.0; x.len()];
        self.with_factors(|kept| {
            by_parts(&mut y, kept, layout.dims()[0], |factor, at, y| {
                let sums = y.iter_mut().zip(&x[at..]).zip(&a[at..]);
                match b {
                    None => sums.for_each(|((y, x), a)| *y = a.mul_add(factor, *x)),
                    Some(b) => sums
                        .zip(&b[at..])
                        .for_each(|(((y, x), a), b)| *y = (a + b).mul_add(factor, *x)),
                }
            });
        })?;
        Ok(stored(y, layout.shape().clone()))
    }

    /// The gradient of every branch.
    fn slope(&self, dy: &Tensor) -> Result<Tensor> {
        if self.kept.is_none() {
            return Ok(dy.clone());
        }
        let mut da = vec![0.0; dy.elem_count()];
        self.with_factors(|kept| {
            read([dy], |[dy]| {
                let items = kept.map_or(1, <[f32]>::len);
                by_parts(&mut da, kept, items, |factor, at, da| {
                    da.iter_mut()
                        .zip(&dy[at..])
                        .for_each(|(da, dy)| *da = dy * factor);
                });
            })
        })??;
        tensor(da, dy.shape())
    }

    fn with_factors<R>(&self, body: impl FnOnce(Option<&[f32]>) -> R) -> Result<R> {
        match &self.kept {
            None => Ok(body(None)),
            Some(kept) => read([kept], |[kept]| body(Some(kept))),
        }
    }
}

impl CustomOp2 for Residual {
    fn name(&self) -> &'static str {
        "residual"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        a: &CpuStorage,
        la: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.added((x, lx), slice(a, la)?, None)
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some(dy.clone()), Some(self.slope(dy)?)))
    }
}

impl CustomOp3 for Residual {
    fn name(&self) -> &'static str {
        "residual"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        a: &CpuStorage,
        la: &Layout,
        b: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.added((x, lx), slice(a, la)?, Some(slice(b, lb)?))
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let slope = self.slope(dy)?;
        Ok((Some(dy.clone()), Some(slope.clone()), Some(slope)))
    }
}

impl Kernels for Residual {
    const NAME: &'static str = "residual";
    const NEEDS: Needs = Needs::Nothing;

    fn constants(&self) -> Vec<&Tensor> {
        self.kept.iter().collect()
    }

    fn forward(&self, inputs: &[Array]) -> Result<Program> {
        let x = &inputs[0];
        let mut program = Program::new("residual", inputs.len());
        let y = program.result(x.shape.clone(), DType::F32);
        let b = (self.branches > 1).then(|| program.input(2));
        let kept = self
            .kept
            .is_some()
            .then(|| program.input(1 + self.branches));
        let (count, extent) = extent(&x.shape, self.dtype);
        let args = args![program.input(0), program.input(1), b, kept, y, count];
        program.launch("residual_forward", self.dtype, extent, args);
        Ok(program)
    }

    fn backward(&self, at: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let dy = at.gradient;
        let slope = if self.kept.is_none() && self.dtype == dy.dtype() {
            dy.clone()
        } else {
            let mut inputs = vec![dy];
            inputs.extend(self.constants());
            let mut program = Program::new("residual", inputs.len());
            let da = program.result(dy.shape(), self.dtype);
            let kept = self.kept.is_some().then(|| program.input(1));
            let (count, extent) = extent(dy.shape(), self.dtype);
            let args = args![program.input(0), kept, da, count];
            program.launch("residual_backward", self.dtype, extent, args);
            program.run(&inputs)?.remove(0)
        };
        let mut found = vec![Some(slope); 1 + self.branches];
        found[0] = Some(dy.clone());
        Ok(found)
    }
}

/// Numbers of an item, and threads for their packs in `dtype`.
fn extent(shape: &Shape, dtype: DType) -> (usize, Extent) {
    let items = shape.dims().first().copied().unwrap_or(1);
    let count = shape.elem_count() / items.max(1);
    let mut extent = Extent::of_packs(count, dtype);
    extent.grid[1] = u32::try_from(items).unwrap_or(u32::MAX);
    (count, extent)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::ops::testing::{check, check_kernels};

    const KEPT: [f32; 3] = [0.0, 1.25, 2.0];

    fn factors(some: bool, device: &Device) -> Option<Tensor> {
        some.then(|| Tensor::new(&KEPT, device).unwrap())
    }

    #[test]
    fn equals_the_composed_operation() {
        let shape = &[3, 5, GRAIN / 4][..];
        for some in [false, true] {
            let kept = factors(some, &Device::Cpu);
            let kept = kept.as_ref();
            check(
                &[shape; 2],
                |v| residual(&v[0], &v[1], None, kept),
                |v| composed(&v[0], &v[1], None, kept),
            );
            check(
                &[shape; 3],
                |v| residual(&v[0], &v[1], Some(&v[2]), kept),
                |v| composed(&v[0], &v[1], Some(&v[2]), kept),
            );
        }
    }

    #[test]
    fn kernels_equal_the_composed_operation() {
        for shape in [&[3, 1, 1][..], &[3, 5, 7], &[3, 70, 48]] {
            for some in [false, true] {
                let kept = factors(some, &Device::Cpu);
                check_kernels(
                    &[shape; 2],
                    |v, dtype| {
                        let kept = factors(some, v[0].device());
                        residual(&v[0], &v[1].to_dtype(dtype)?, None, kept.as_ref())
                    },
                    |v| composed(&v[0], &v[1], None, kept.as_ref()),
                );
                check_kernels(
                    &[shape; 3],
                    |v, dtype| {
                        let kept = factors(some, v[0].device());
                        let (a, b) = (v[1].to_dtype(dtype)?, v[2].to_dtype(dtype)?);
                        residual(&v[0], &a, Some(&b), kept.as_ref())
                    },
                    |v| composed(&v[0], &v[1], Some(&v[2]), kept.as_ref()),
                );
            }
        }
    }
}
