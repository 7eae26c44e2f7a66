//! Named tensors as the bytes of a safetensors file.

use candle_core::{DType, Tensor};
use safetensors::{Dtype, tensor::TensorView};

use crate::{Error, Result};

/// Writes tensors in f32.
pub(crate) fn write(tensors: impl Iterator<Item = (String, Tensor)>) -> Result<Vec<u8>> {
    let mut held = Vec::new();
    for (name, tensor) in tensors {
        let values: Vec<f32> = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        held.push((name, tensor.dims().to_vec(), bytes));
    }
    let unfit = |error: safetensors::SafeTensorError| Error::Weights {
        object: "the file to write".into(),
        reason: error.to_string(),
    };
    let mut views = Vec::new();
    for (name, shape, bytes) in &held {
        views.push((
            name,
            TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(unfit)?,
        ));
    }
    safetensors::serialize(views, None).map_err(unfit)
}
