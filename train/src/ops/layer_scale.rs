//! LayerScale folded into the weight before it (Touvron et al. 2021): y = γ ∘ w by rows, w (R, ...) and γ (R)
//! in f32, y in f32 or bf16. So γ ∘ (w x + b) is one linear map.
//!
//! dw = γ ∘ dy, dγ = Σ w ∘ dy over a row.

use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::buffer::{GRAIN, dot, read, slice, stored, tensor};
use super::gpu::{Array, Backward, Kernels, on_gpu};
use super::launch::{Extent, args, int};
use super::program::Program;
use super::route::Route;
use super::tape;

/// Scales the rows of a weight or the numbers of a bias, and gives them as `dtype`.
pub(crate) fn layer_scale(w: &Tensor, gamma: &Tensor, dtype: DType) -> Result<Tensor> {
    match Route::of(w) {
        Route::Gpu => on_gpu(LayerScale { dtype }, [w, gamma]),
        Route::Cpu if dtype == DType::F32 => {
            let inputs = [&tape::contiguous(w)?, &tape::contiguous(gamma)?];
            tape::apply2(inputs, LayerScale { dtype })
        }
        Route::Cpu | Route::Composed => {
            tape::composed([w, gamma], |[w, gamma]| composed(w, gamma, dtype))
        }
    }
}

fn composed(w: &Tensor, gamma: &Tensor, dtype: DType) -> Result<Tensor> {
    let mut shape = vec![1; w.rank()];
    shape[0] = w.dim(0)?;
    w.broadcast_mul(&gamma.reshape(shape)?)?.to_dtype(dtype)
}

struct LayerScale {
    /// Type of the result.
    dtype: DType,
}

impl CustomOp2 for LayerScale {
    fn name(&self) -> &'static str {
        "layer-scale"
    }

    fn cpu_fwd(
        &self,
        w: &CpuStorage,
        lw: &Layout,
        gamma: &CpuStorage,
        lg: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (w, gamma) = (slice(w, lw)?, slice(gamma, lg)?);
        let columns = w.len() / gamma.len();
        let mut y = vec![0.0; w.len()];
        let rows = y.par_chunks_mut(columns).zip(w.par_chunks(columns));
        let rows = rows.zip(gamma).with_min_len(GRAIN / columns);
        rows.for_each(|((y, w), gamma)| {
            y.iter_mut().zip(w).for_each(|(y, w)| *y = w * gamma);
        });
        Ok(stored(y, lw.shape().clone()))
    }

    fn bwd(
        &self,
        w: &Tensor,
        gamma: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let columns = w.elem_count() / gamma.elem_count();
        let (mut dw, mut dgamma) = (vec![0.0; w.elem_count()], vec![0.0; gamma.elem_count()]);
        read([w, gamma, dy], |[w, gamma, dy]| {
            let rows = dw.par_chunks_mut(columns).zip(&mut dgamma);
            let inputs = w.par_chunks(columns).zip(dy.par_chunks(columns)).zip(gamma);
            let rows = rows.zip(inputs).with_min_len(GRAIN / columns);
            rows.for_each(|((dw, dgamma), ((w, dy), gamma))| {
                dw.iter_mut().zip(dy).for_each(|(dw, dy)| *dw = dy * gamma);
                *dgamma = dot(w, dy);
            });
        })?;
        Ok((
            Some(tensor(dw, w.shape())?),
            Some(tensor(dgamma, gamma.shape())?),
        ))
    }
}

/// Rows of a weight with a factor for each, its columns, and a block for each row.
fn extent(w: &Shape, gamma: &Shape) -> Result<(i32, Extent)> {
    let rows = gamma.elem_count();
    if w.dims().first() != Some(&rows) {
        bail!("{rows} factors for the rows of {w:?}");
    }
    let columns = int(w.elem_count() / rows.max(1))?;
    Ok((columns, Extent::covering(128 * rows, 128)))
}

impl Kernels for LayerScale {
    const NAME: &'static str = "layer-scale";

    fn forward(&self, inputs: &[Array]) -> Result<Program> {
        let [w, gamma] = inputs else {
            bail!("layer-scale has two inputs")
        };
        let (columns, extent) = extent(&w.shape, &gamma.shape)?;
        let mut program = Program::new("layer_scale", 2);
        let y = program.result(w.shape.clone(), self.dtype);
        let args = args![program.input(0), program.input(1), y, columns];
        program.launch("layer_scale_forward", self.dtype, extent, args);
        Ok(program)
    }

    fn backward(&self, at: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let (w, gamma) = (at.inputs[0], at.inputs[1]);
        let (columns, extent) = extent(w.shape(), gamma.shape())?;
        let mut program = Program::new("layer_scale", 3);
        let dw = program.result(w.shape(), DType::F32);
        let dgamma = program.result(gamma.shape(), DType::F32);
        let [w_, gamma_, dy] = [0, 1, 2].map(|i| program.input(i));
        let args = args![w_, gamma_, dy, dw, dgamma, columns];
        program.launch("layer_scale_backward", self.dtype, extent, args);
        let found = program.run(&[w, gamma, at.gradient])?;
        Ok(found.into_iter().map(Some).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check, check_kernels};

    const SHAPES: [([usize; 2], usize); 4] = [([3, 5], 3), ([1, 1], 1), ([7, 520], 7), ([6, 8], 6)];

    #[test]
    fn kernels_equal_the_composed_operation() {
        for (shape, rows) in SHAPES {
            check_kernels(
                &[&shape, &[rows]],
                |v, dtype| layer_scale(&v[0], &v[1], dtype),
                |v| composed(&v[0], &v[1], DType::F32),
            );
        }
    }

    #[test]
    fn equals_the_composed_operation() {
        for shapes in [[&[3, 5][..], &[3]], [&[4], &[4]]] {
            check(
                &shapes,
                |v| layer_scale(&v[0], &v[1], DType::F32),
                |v| composed(&v[0], &v[1], DType::F32),
            );
        }
    }
}
