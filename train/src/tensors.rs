//! Converts named tensors to and from the bytes of a safetensors file.

use candle_core::{DType, Device, Storage, Tensor};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::{Error, Result};

/// Writes tensors in f32. Those on the CPU are copied once: into the file.
pub(crate) fn write(tensors: impl Iterator<Item = (String, Tensor)>) -> Result<Vec<u8>> {
    let on_host = |(name, tensor): (String, Tensor)| {
        let tensor = tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
        Ok((name, tensor.contiguous()?))
    };
    let tensors: Vec<_> = tensors.map(on_host).collect::<Result<_>>()?;
    let held: Vec<_> = tensors
        .iter()
        .map(|(name, tensor)| (name, tensor.storage_and_layout()))
        .collect();
    let mut views = Vec::new();
    for (name, (storage, layout)) in &held {
        let Storage::Cpu(values) = &**storage else {
            return Err(unfit(format!("{name} is not on the CPU")));
        };
        let from = layout.start_offset();
        let values = &values.as_slice::<f32>()?[from..from + layout.shape().elem_count()];
        let shape = layout.dims().to_vec();
        let view = TensorView::new(Dtype::F32, shape, bytemuck::cast_slice(values));
        views.push((name, view.map_err(unfit)?));
    }
    safetensors::serialize(views, None).map_err(unfit)
}

fn unfit(reason: impl ToString) -> Error {
    Error::Weights {
        object: "the file to write".into(),
        reason: reason.to_string(),
    }
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
