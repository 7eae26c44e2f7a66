//! PI-resize: the kernel of another size that answers resized patches as the base kernel answers
//! patches of its own size, in the sense of least squares: W' = (Bᵀ)⁺ W (Beyer et al. 2023).
//!
//! B interpolates a patch from the base size to the new one: bicubic (a = −0.75) in 2D, linear in
//! 3D, half-pixel centres, edges clamped, no antialiasing. It is a Kronecker product of one small
//! matrix for each axis, and so is its pseudo-inverse.

use candle_core::Tensor;
use ndarray::{Array2, linalg::kron};

use crate::Result;

/// A kernel (a, b, *base) resized to (a, b, *new).
pub(crate) fn resized(kernel: &Tensor, new: &[usize]) -> Result<Tensor> {
    let (outer, base) = kernel.dims().split_at(2);
    if base == new {
        return Ok(kernel.clone());
    }
    let matrix = pseudo_inverse(base, new);
    let (rows, cells) = matrix.dim();
    let matrix: Vec<f32> = matrix.t().iter().map(|&value| value as f32).collect();
    let matrix = Tensor::from_vec(matrix, (cells, rows), kernel.device())?;
    let flat = kernel.reshape((outer[0] * outer[1], cells))?;
    Ok(flat.matmul(&matrix)?.reshape([outer, new].concat())?)
}

/// (Bᵀ)⁺: (∏ new, ∏ base).
fn pseudo_inverse(base: &[usize], new: &[usize]) -> Array2<f64> {
    let weight = if base.len() == 2 { cubic } else { linear };
    let axes = base.iter().zip(new);
    axes.fold(Array2::ones((1, 1)), |whole, (&base, &new)| {
        kron(&whole, &inverse_along(&interpolation(base, new, weight)))
    })
}

/// B along one axis: (new, base).
fn interpolation(base: usize, new: usize, weight: fn(f64) -> f64) -> Array2<f64> {
    let mut matrix = Array2::zeros((new, base));
    for row in 0..new {
        let centre = (row as f64 + 0.5) * base as f64 / new as f64 - 0.5;
        let first = centre.floor() as isize - 1;
        for at in first..first + 4 {
            let column = at.clamp(0, base as isize - 1) as usize;
            matrix[(row, column)] += weight((at as f64 - centre).abs());
        }
    }
    matrix
}

fn linear(distance: f64) -> f64 {
    (1.0 - distance).max(0.0)
}

/// Keys' kernel with a = −0.75.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.75;
    if x <= 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A
    } else {
        0.0
    }
}

/// (Bᵀ)⁺ of a B of full rank, by its normal equations.
fn inverse_along(b: &Array2<f64>) -> Array2<f64> {
    let (new, base) = b.dim();
    if new <= base {
        inverse(b.dot(&b.t())).dot(b)
    } else {
        b.dot(&inverse(b.t().dot(b)))
    }
}

/// Inverse of a small symmetric positive matrix, by Gauss and Jordan.
fn inverse(mut a: Array2<f64>) -> Array2<f64> {
    let n = a.nrows();
    let mut result = Array2::eye(n);
    for pivot in 0..n {
        let scale = a[(pivot, pivot)];
        for column in 0..n {
            a[(pivot, column)] /= scale;
            result[(pivot, column)] /= scale;
        }
        for row in (0..n).filter(|&row| row != pivot) {
            let factor = a[(row, pivot)];
            for column in 0..n {
                a[(row, column)] -= factor * a[(pivot, column)];
                result[(row, column)] -= factor * result[(pivot, column)];
            }
        }
    }
    result
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use candle_core::{Device, safetensors};

    use super::*;

    #[test]
    fn matrices_are_the_reference_ones() {
        let fixture = include_bytes!("../../tests/data/resize.safetensors");
        let expected = safetensors::load_buffer(fixture, &Device::Cpu).unwrap();
        assert!(expected.len() >= 9);
        for (name, expected) in expected {
            let sizes = |text: &str| {
                text.split('x')
                    .map(|n| n.parse().unwrap())
                    .collect::<Vec<usize>>()
            };
            let (base, new) = name.split_once('.').unwrap();
            let found = pseudo_inverse(&sizes(base), &sizes(new));
            let expected: Vec<f32> = expected.flatten_all().unwrap().to_vec1().unwrap();
            assert_eq!(found.len(), expected.len(), "{name}");
            let largest = expected
                .iter()
                .fold(0.0, |largest: f32, x| largest.max(x.abs()));
            for (found, expected) in found.iter().zip(expected) {
                assert!(
                    (*found as f32 - expected).abs() < 1e-5 * largest,
                    "{name}: {found} {expected}"
                );
            }
        }
    }
}
