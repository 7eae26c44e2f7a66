//! [`SingleProcess`]: a world of one rank.

use candle_core::{DType, Tensor};
use wellspring_store::Share;

use super::{Collective, PendingSum};
use crate::Result;

/// A process that no launcher has started.
#[derive(Debug, Clone, Copy, Default)]
pub struct SingleProcess;

impl Collective for SingleProcess {
    fn share(&self) -> Share {
        Share::WHOLE
    }

    fn exchange(&self, own: &[u8]) -> Result<Vec<Vec<u8>>> {
        Ok(vec![own.to_vec()])
    }

    fn reduce_scatter(&self, values: &Tensor, _counts: &[usize]) -> Result<PendingSum> {
        let values = values.to_dtype(DType::F32)?;
        Ok(PendingSum::new(move || Ok(values)))
    }

    fn all_gather(&self, own: &Tensor, _counts: &[usize]) -> Result<Tensor> {
        Ok(own.clone())
    }

    fn abort(&self, _code: i32) {}
}
