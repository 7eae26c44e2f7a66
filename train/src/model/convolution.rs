//! Convolutions as matrix products over unfolded rows, channels last.

use candle_core::Tensor;

use crate::ops::{Tiling, fold, linear};
use crate::{Precision, Result};

/// A convolution's kernel (out, in, *k) as a matrix over unfolded rows: (out, K·in).
pub(super) fn kernel_rows(kernel: &Tensor) -> Result<Tensor> {
    let (outputs, inputs) = (kernel.dim(0)?, kernel.dim(1)?);
    let rows = kernel
        .reshape((outputs, inputs, ()))?
        .transpose(1, 2)?
        .contiguous()?;
    Ok(rows.reshape((outputs, ()))?)
}

/// A transposed convolution of (N, S, in) by a kernel (in, out, *k): (N, *space, out).
pub(super) fn transposed(
    y: &Tensor,
    kernel: &Tensor,
    tiling: &Tiling,
    precision: Precision,
) -> Result<Tensor> {
    let (inputs, outputs) = (kernel.dim(0)?, kernel.dim(1)?);
    // Rows of the product: cells of the kernel, then output channels.
    let rows = kernel
        .reshape((inputs, outputs, ()))?
        .permute((2, 1, 0))?
        .contiguous()?;
    let y = linear(y, &rows.reshape(((), inputs))?, None, precision)?;
    Ok(fold(&y, tiling)?)
}
