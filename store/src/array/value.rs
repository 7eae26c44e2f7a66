//! The number types that a batch can have.

use half::slice::HalfFloatSliceExt as _;
use half::{bf16, f16};

/// A type that stored values are gathered as: f32, or half as many bytes for a device that computes with
/// them, rounded once to the nearest.
pub trait Value: Copy + Default + PartialEq + std::fmt::Debug + Send + Sync + 'static {
    /// Converts values stored as f32 into a slice of equal length.
    fn gather_f32(stored: &[f32], into: &mut [Self]);

    /// Converts values stored as f16 into a slice of equal length.
    fn gather_f16(stored: &[f16], into: &mut [Self]);
}

impl Value for f32 {
    fn gather_f32(stored: &[f32], into: &mut [Self]) {
        into.copy_from_slice(stored);
    }

    fn gather_f16(stored: &[f16], into: &mut [Self]) {
        stored.convert_to_f32_slice(into);
    }
}

impl Value for f16 {
    fn gather_f32(stored: &[f32], into: &mut [Self]) {
        into.convert_from_f32_slice(stored);
    }

    fn gather_f16(stored: &[f16], into: &mut [Self]) {
        into.copy_from_slice(stored);
    }
}

impl Value for bf16 {
    fn gather_f32(stored: &[f32], into: &mut [Self]) {
        into.convert_from_f32_slice(stored);
    }

    fn gather_f16(stored: &[f16], into: &mut [Self]) {
        let pairs = into.iter_mut().zip(stored);
        pairs.for_each(|(x, value)| *x = Self::from_f32(value.to_f32()));
    }
}
