//! [`Block`]: attention over time at every token, then attention over a frame's tokens with an MLP beside or
//! after it. Tokens are (T·B, S, C).

use candle_core::Tensor;

use super::setting::Setting;
use super::space_mixing::SpaceMixing;
use super::time_mixing::TimeMixing;
use super::weight::Scope;
use crate::Result;
use crate::config::TransformerConfig;

/// A block of the transformer.
#[derive(Debug)]
pub(super) struct Block<T> {
    space: SpaceMixing<T>,
    time: TimeMixing<T>,
}

impl<T> Block<T> {
    pub(super) fn new(mut scope: Scope<'_, T>, config: &TransformerConfig) -> Result<Self> {
        Ok(Self {
            space: SpaceMixing::new(scope.within("space_mixing"), config)?,
            time: TimeMixing::new(scope.within("time_mixing"), config)?,
        })
    }
}

impl Block<Tensor> {
    /// (T·B, S, C) → (T·B, S, C). `kept` are factors of the two residuals, or none.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        setting: &Setting<'_>,
        kept: Option<&[Tensor; 2]>,
    ) -> Result<Tensor> {
        let x = self.time.forward(x, setting, kept.map(|kept| &kept[0]))?;
        self.space.forward(&x, setting, kept.map(|kept| &kept[1]))
    }
}
