//! What a backward pass gives.

use std::collections::HashMap;

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, TensorId, Var};

/// Gradients by the tensor that they are of.
#[derive(Debug, Default)]
pub struct Gradients(pub(super) HashMap<TensorId, Tensor>);

impl Gradients {
    /// The gradient of a tensor, where it has one.
    #[must_use]
    pub fn get(&self, x: &Tensor) -> Option<&Tensor> {
        self.0.get(&x.id())
    }

    /// Adds those of variables that Candle's graph has found.
    ///
    /// # Errors
    /// Those of Candle.
    pub fn take<'a>(
        &mut self,
        found: &mut GradStore,
        variables: impl IntoIterator<Item = &'a Var>,
    ) -> Result<()> {
        for variable in variables {
            if let Some(gradient) = found.remove(variable) {
                self.add(variable, gradient)?;
            }
        }
        Ok(())
    }

    /// Adds others, times a factor.
    ///
    /// # Errors
    /// Those of Candle.
    pub(crate) fn add_all(&mut self, others: Self, factor: f64) -> Result<()> {
        for (id, gradient) in others.0 {
            self.add_to(id, (gradient * factor)?)?;
        }
        Ok(())
    }

    /// Takes the gradient of a tensor out.
    pub(crate) fn remove(&mut self, x: &Tensor) -> Option<Tensor> {
        self.0.remove(&x.id())
    }

    /// Adds to the gradient of a tensor.
    ///
    /// # Errors
    /// Those of Candle.
    pub(crate) fn add(&mut self, x: &Tensor, gradient: Tensor) -> Result<()> {
        self.add_to(x.id(), gradient)
    }

    pub(super) fn add_to(&mut self, id: TensorId, gradient: Tensor) -> Result<()> {
        let sum = match self.0.remove(&id) {
            Some(before) => (before + gradient)?,
            None => gradient,
        };
        self.0.insert(id, sum);
        Ok(())
    }
}
