//! [`SavedTensor`]: what a tape keeps of a tensor until its backward pass: the tensor, or how to make it again.
//!
//! A normalization or an activation is one pass over memory, which takes a GPU little time, while its result is as large
//! as that of a matrix product. So such results are dropped after the forward pass and made again from the op's inputs
//! when the first gradient wants them (Chen et al. 2016, by op instead of by block).

use std::cell::OnceCell;
use std::rc::Rc;

use candle_core::{Result, Tensor};

/// Bytes from which on a result is made again: a smaller one takes longer to launch than to compute.
const AGAIN_FROM: usize = 4 << 20;

/// Bytes that stay of a result that could be made again.
pub(crate) fn bytes_kept(bytes: usize) -> usize {
    if bytes < AGAIN_FROM { bytes } else { 0 }
}

/// A tensor, or how to make it again.
#[derive(Clone)]
pub(super) enum SavedTensor {
    Tensor(Tensor),
    Recipe(Rc<Recipe>),
}

impl SavedTensor {
    /// The tensor, which is made now where only its recipe was kept.
    ///
    /// # Errors
    /// Those of the ops that make it.
    pub(super) fn tensor(&self) -> Result<Tensor> {
        match self {
            Self::Tensor(tensor) => Ok(tensor.clone()),
            Self::Recipe(recipe) => recipe.tensor(),
        }
    }
}

/// How to make a tensor again. It is made once for all records that ask for it, and lives as long as one of them.
pub(super) struct Recipe {
    make: Box<dyn Fn() -> Result<Tensor>>,
    made: OnceCell<Tensor>,
}

impl Recipe {
    pub(super) fn new(make: impl Fn() -> Result<Tensor> + 'static) -> Self {
        Self {
            make: Box::new(make),
            made: OnceCell::new(),
        }
    }

    fn tensor(&self) -> Result<Tensor> {
        if let Some(made) = self.made.get() {
            return Ok(made.clone());
        }
        let made = (self.make)()?;
        Ok(self.made.get_or_init(|| made).clone())
    }
}

/// Whether the result of an op that is quick to repeat is worth dropping.
pub(super) fn is_large(result: &Tensor) -> bool {
    bytes_kept(result.elem_count() * result.dtype().size_in_bytes()) == 0
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use candle_core::{DType, Device, Var};

    use super::*;
    use crate::Precision;
    use crate::ops::tape;
    use crate::ops::testing::{close, on_kernels};
    use crate::ops::{Gradients, Tape, group_norm, linear, reshape, residual, swiglu};

    const TOKENS: usize = 16_384;
    const CHANNELS: usize = 64;

    fn wave(shape: &[usize], seed: usize, device: &Device) -> Var {
        let count: usize = shape.iter().product();
        let values = (0..count).map(|i| ((i * 7 + seed) as f32 * 0.37).sin());
        let values = Tensor::from_vec(values.collect::<Vec<_>>(), shape, &Device::Cpu).unwrap();
        Var::from_tensor(&values.to_device(device).unwrap()).unwrap()
    }

    /// A norm whose result two products take, one of them in another shape, and an activation.
    fn layers(x: &Tensor, gain: &Tensor, weights: &[Var; 2]) -> Result<Tensor> {
        let product = |y: &Tensor, w: &Var| linear(y, w, None, Precision::F32);
        let y = group_norm(x, gain, gain, 2, DType::F32)?;
        let flat = reshape(&y, (TOKENS, CHANNELS))?;
        let hidden = swiglu(&product(&y, &weights[0])?)?;
        if tape::is_on() {
            for large in [&y, &flat] {
                assert!(matches!(tape::kept(large), SavedTensor::Recipe(_)));
            }
            assert!(
                matches!(tape::kept(&hidden), SavedTensor::Tensor(_)),
                "small"
            );
        }
        let flat = reshape(&product(&flat, &weights[1])?, (1, TOKENS, 1))?;
        residual(&hidden, &flat, None, None)
    }

    #[test]
    fn what_is_made_again_gives_the_same_gradients() {
        on_kernels(|device| {
            let x = wave(&[1, TOKENS, CHANNELS], 1, device);
            let gain = wave(&[CHANNELS], 2, device);
            let weights = [&[2, CHANNELS], &[1, CHANNELS]].map(|shape| wave(shape, 3, device));
            let run = || layers(&x, &gain, &weights);

            let graph = run().unwrap().sum_all().unwrap();
            let expected = graph.backward().unwrap();
            let (y, tape) = Tape::record(&x, run).unwrap();
            let mut found = Gradients::default();
            tape.backward(&y, y.ones_like().unwrap(), &mut found)
                .unwrap();
            for var in [&x, &gain, &weights[0], &weights[1]] {
                let found = found.get(var).expect("a gradient");
                close(found, expected.get(var).unwrap(), 1e-6, "gradient");
            }
        });
    }
}
