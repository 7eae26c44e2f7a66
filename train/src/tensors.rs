//! Converts named tensors to and from the bytes of a safetensors file.

use candle_core::{DType, Tensor};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

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

/// What a tensor has that no checkpoint may have.
pub(crate) const NOT_FINITE: &str = "values that are infinite or not a number";

/// Refuses the bytes of a file that [`write`] made where a value is infinite or not a number; `object` names
/// it.
///
/// # Errors
/// [`Error::NotFinite`] with the first such tensor, [`Error::Weights`] for other bytes.
pub(crate) fn check_finite(bytes: &[u8], object: &str) -> Result<()> {
    let held = SafeTensors::deserialize(bytes).map_err(|error| Error::Weights {
        object: object.to_owned(),
        reason: error.to_string(),
    })?;
    let finite = |value: &[u8; 4]| f32::from_le_bytes(*value).is_finite();
    for (name, tensor) in held.iter() {
        let (values, _) = tensor.data().as_chunks::<4>();
        if tensor.dtype() == Dtype::F32 && !values.iter().all(finite) {
            return Err(Error::NotFinite {
                object: object.to_owned(),
                tensor: name.to_owned(),
            });
        }
    }
    Ok(())
}
