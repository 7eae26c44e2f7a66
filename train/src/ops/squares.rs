//! Σ x² in f64, in fixed pieces: the same bits for any number of threads.

use candle_core::{DType, Result, Tensor};
use rayon::prelude::*;

use super::buffer::{GRAIN, read};
use super::route::Route;

/// Sum of the squares of all elements.
pub(crate) fn sum_of_squares(x: &Tensor) -> Result<f64> {
    if Route::of(x) != Route::Cpu {
        return x.to_dtype(DType::F64)?.sqr()?.sum_all()?.to_scalar();
    }
    read([x], |[x]| {
        let squares = |x: &[f32]| x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
        // Added in the pieces' order.
        let sums: Vec<f64> = x.par_chunks(GRAIN).map(squares).collect();
        sums.iter().sum()
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn squares_are_added_over_all_pieces() {
        let n = 3 * GRAIN + 5;
        let x = Tensor::full(0.5_f32, (n,), &Device::Cpu).unwrap();
        assert_eq!(sum_of_squares(&x).unwrap(), n as f64 / 4.0);
        let large = Tensor::new(&[3e30_f32, 4e30], &Device::Cpu).unwrap();
        let norm = sum_of_squares(&large).unwrap().sqrt();
        assert!((norm - 5e30).abs() < 1e24, "{norm}");
    }
}
