//! NumPy arrays over memory that Rust holds, and frames from NumPy's.

use std::any::Any;

use arrow::buffer::ScalarBuffer;
use arrow::datatypes::ArrowNativeType;
use half::f16;
use numpy::ndarray::{ArrayView, IxDyn};
use numpy::{Element, PyArrayDyn, PyArrayMethods as _, PyReadonlyArrayDyn};
use pyo3::prelude::*;
use wellspring_store::{Batch, Frames, Value};

use crate::failure::{Result, misuse};

/// Keeps memory alive as long as an array over it.
#[pyclass(frozen)]
struct Memory {
    _held: Box<dyn Any + Send + Sync>,
}

/// A NumPy array over values that `held` owns and never moves.
///
/// # Safety
/// `values` must stay where they are while `held` lives. If the array is written to, nobody else may use them.
#[allow(unsafe_code, reason = "NumPy is given a pointer into memory of Rust")]
unsafe fn over<'py, T: Element>(
    py: Python<'py>,
    values: &[T],
    shape: &[usize],
    held: impl Any + Send + Sync,
    is_writable: bool,
) -> Result<Bound<'py, PyAny>> {
    let view = ArrayView::from_shape(IxDyn(shape), values)
        .map_err(|error| misuse(format!("an array of shape {shape:?}: {error}")))?;
    let memory = Memory {
        _held: Box::new(held),
    };
    let memory = Bound::new(py, memory)?.into_any();
    // SAFETY: by the caller's word the values stay while `memory` does.
    let array = unsafe { PyArrayDyn::borrow_from_array(&view, memory) };
    if !is_writable {
        array.call_method1("setflags", (false,))?;
    }
    Ok(array.into_any())
}

/// A number type that batches have, and what NumPy sees of it: NumPy has no bf16, so it sees that one's bits.
pub trait BatchNumber: Value {
    type Shown: Element;
    fn seen(values: &[Self]) -> &[Self::Shown];
}

impl BatchNumber for f32 {
    type Shown = f32;
    fn seen(values: &[Self]) -> &[f32] {
        values
    }
}

impl BatchNumber for f16 {
    type Shown = f16;
    fn seen(values: &[Self]) -> &[f16] {
        values
    }
}

impl BatchNumber for half::bf16 {
    type Shown = u16;
    fn seen(values: &[Self]) -> &[u16] {
        use half::slice::HalfFloatSliceExt as _;
        values.reinterpret_cast()
    }
}

/// A batch's frames, (T, B, C, *space); its memory is used again when the last array over it is gone.
#[allow(unsafe_code, reason = "NumPy is given a pointer into memory of Rust")]
pub fn of_batch<T: BatchNumber>(py: Python<'_>, batch: Batch<T>) -> Result<Bound<'_, PyAny>> {
    let shape = shape_of(&batch.frames);
    let values: *const [T::Shown] = T::seen(batch.frames.data());
    // SAFETY: the values lie on the heap, where they stay when the batch moves, and the batch goes where nobody
    // reaches it.
    unsafe { over(py, &*values, &shape, batch, true) }
}

/// Frames as an array of their own, (T, B, C, *space).
pub fn of_frames(py: Python<'_>, frames: Frames) -> Result<Bound<'_, PyAny>> {
    let shape = shape_of(&frames);
    of_values(py, frames.into_data(), &shape)
}

/// Values as an array of their own.
pub fn of_values<'py, T: Element>(
    py: Python<'py>,
    values: Vec<T>,
    shape: &[usize],
) -> Result<Bound<'py, PyAny>> {
    let array = numpy::PyArray1::from_vec(py, values).reshape(IxDyn(shape))?;
    Ok(array.into_any())
}

/// Values of a mapped or fetched shard, which nobody may write to.
#[allow(unsafe_code, reason = "NumPy is given a pointer into memory of Rust")]
pub fn of_shard<'py, T: Element + ArrowNativeType>(
    py: Python<'py>,
    values: ScalarBuffer<T>,
    shape: &[usize],
) -> Result<Bound<'py, PyAny>> {
    let slice: *const [T] = &*values;
    // SAFETY: a buffer's bytes do not move, and live as long as it does.
    unsafe { over(py, &*slice, shape, values, false) }
}

/// (T, B, C, *space).
fn shape_of<T: Copy>(frames: &Frames<T>) -> Vec<usize> {
    let mut shape = vec![frames.time(), frames.batch(), frames.channels()];
    shape.extend(frames.space());
    shape
}

/// Frames with a copy of an array's values, (T, B, C, *space).
pub fn to_frames(array: &PyReadonlyArrayDyn<'_, f32>) -> Result<Frames> {
    let view = array.as_array();
    let [time, batch, channels, space @ ..] = view.shape() else {
        return Err(misuse(format!(
            "frames of shape {:?}: expected (T, B, C, *space)",
            view.shape()
        )));
    };
    let values = match array.as_slice() {
        Ok(values) => values.to_vec(),
        Err(_) => view.iter().copied().collect(),
    };
    Ok(Frames::new(
        *time,
        *batch,
        *channels,
        space.to_vec(),
        values,
    )?)
}
