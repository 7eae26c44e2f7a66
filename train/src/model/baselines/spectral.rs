//! [`Transforms`]: truncated Fourier transforms of a grid as matrix products in real numbers, and convolutions between
//! them.
//!
//! Along an axis of n points a frequency k has the rows cos(2πkx/n) and −sin(2πkx/n); of the last axis only k ≥ 0 are
//! needed, since fields are real. Complex numbers are pairs along an axis before the last one. The transform forth is a
//! sum, the one back a mean.

use std::f64::consts::TAU;

use candle_core::{D, Device, Tensor};

use crate::device::upload;
use crate::ops::linear;
use crate::{Precision, Result};

/// Frequencies of an axis that are kept: `count` from `first` on, whose weights begin at the place `from`. The package's
/// choice, with the weights of the lowest frequencies where an axis has fewer than there are weights for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FrequencyRange {
    first: isize,
    count: usize,
    from: usize,
}

impl FrequencyRange {
    /// Those of an axis of n points that is not the last.
    fn around_zero(n: usize, modes: usize) -> Self {
        let count = n.min(modes);
        Self {
            first: ((n - count) / 2) as isize - (n / 2) as isize,
            count,
            from: (modes - count) / 2,
        }
    }

    /// Those of the last axis.
    fn from_zero(n: usize, modes: usize) -> Self {
        Self {
            first: 0,
            count: (n / 2 + 1).min(half(modes)),
            from: 0,
        }
    }
}

/// Frequencies of the last axis that there are weights for.
pub(super) fn half(modes: usize) -> usize {
    modes / 2 + 1
}

/// The matrices of an axis.
struct AxisTransform {
    kept: FrequencyRange,
    forth: Tensor,
    back: Tensor,
}

/// The transforms along all axes of a grid.
pub(super) struct Transforms(Vec<AxisTransform>);

impl Transforms {
    pub(super) fn new(space: &[usize], modes: usize, device: &Device) -> Result<Self> {
        let last = space.len() - 1;
        let axes = space.iter().enumerate();
        let axes = axes.map(|(axis, &n)| match axis == last {
            true => AxisTransform::real(n, FrequencyRange::from_zero(n, modes), device),
            false => AxisTransform::complex(n, FrequencyRange::around_zero(n, modes), device),
        });
        Ok(Self(axes.collect::<Result<_>>()?))
    }

    /// Multiplies the spectrum of x (B, *space, in) by a weight (in, out, *modes, 2) for each frequency:
    /// (B, *space, out).
    pub(super) fn convolve(&self, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let axes = self.0.len();
        let last: Vec<usize> = (2..2 + axes).chain([1]).collect();
        let first: Vec<usize> = [0, 1 + axes].into_iter().chain(1..1 + axes).collect();
        let spectrum = self.forth(&x.permute(first)?.contiguous()?)?;
        let y = self.back(&self.weighted(&spectrum, weight)?)?;
        Ok(y.permute([&[0], last.as_slice()].concat())?.contiguous()?)
    }

    /// (B, C, n₁, …) → (B, C, k₂, …, 2, k₁): axis by axis from the last on, each as the last one of the array.
    fn forth(&self, x: &Tensor) -> Result<Tensor> {
        let mut y = x.clone();
        for (axis, transform) in self.0.iter().enumerate().rev() {
            if axis + 1 < self.0.len() {
                y = paired(&y.transpose(2 + axis, y.rank() - 1)?)?;
            }
            y = split(&linear(&y, &transform.forth, None, Precision::F32)?)?;
        }
        Ok(y)
    }

    /// The other way.
    fn back(&self, spectrum: &Tensor) -> Result<Tensor> {
        let mut y = spectrum.clone();
        for (axis, transform) in self.0.iter().enumerate() {
            y = linear(&paired(&y)?, &transform.back, None, Precision::F32)?;
            if axis + 1 < self.0.len() {
                y = split(&y)?;
                y = y.transpose(2 + axis, y.rank() - 1)?;
            }
        }
        Ok(y)
    }

    /// A spectrum of `in` channels times weights: one of `out` channels.
    fn weighted(&self, spectrum: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let axes = self.0.len();
        let kept: Vec<usize> = self.0.iter().map(|axis| axis.kept.count).collect();
        let modes: usize = kept.iter().product();
        let mut weight = weight.clone();
        for (axis, AxisTransform { kept, .. }) in self.0.iter().enumerate() {
            weight = weight.narrow(2 + axis, kept.from, kept.count)?;
        }
        let (items, inputs, outputs) = (spectrum.dim(0)?, weight.dim(0)?, weight.dim(1)?);
        let order: Vec<usize> = (2..2 + axes).chain([0, 2 + axes, 1]).collect();
        let weight = weight.permute(order)?.contiguous()?;
        let weight = weight.reshape((modes, inputs, 2 * outputs))?;
        // (B, in, k₂, …, 2, k₁) → (k₁, k₂, …, 2, B, in)
        let order = [axes + 2].into_iter().chain(2..1 + axes);
        let order: Vec<usize> = order.chain([1 + axes, 0, 1]).collect();
        let x = spectrum.permute(order)?.contiguous()?;
        let x = x.reshape((modes, 2 * items, inputs))?;
        let products = x.matmul(&weight)?.reshape((modes, 2, items, 2, outputs))?;
        let product = |x: usize, w: usize| products.narrow(1, x, 1)?.narrow(3, w, 1)?.squeeze(3);
        let real = (product(0, 0)? - product(1, 1)?)?;
        let imaginary = (product(0, 1)? + product(1, 0)?)?;
        let y = Tensor::cat(&[real, imaginary], 1)?;
        let y = y.reshape([kept.as_slice(), &[2, items, outputs]].concat())?;
        // (k₁, k₂, …, 2, B, out) → (B, out, k₂, …, 2, k₁)
        let order: Vec<usize> = [axes + 1, axes + 2].into_iter().chain(1..axes).collect();
        Ok(y.permute([order.as_slice(), &[axes, 0]].concat())?)
    }
}

/// (…, 2, n) → (…, 2n)
fn paired(x: &Tensor) -> Result<Tensor> {
    let mut shape = x.dims().to_vec();
    let n = shape.pop().unwrap_or(1);
    shape.pop();
    shape.push(2 * n);
    Ok(x.contiguous()?.reshape(shape)?)
}

/// (…, 2n) → (…, 2, n)
fn split(x: &Tensor) -> Result<Tensor> {
    let mut shape = x.dims().to_vec();
    let n = shape.pop().unwrap_or(2) / 2;
    shape.extend([2, n]);
    debug_assert_eq!(x.dim(D::Minus1)?, 2 * n);
    Ok(x.reshape(shape)?)
}

impl AxisTransform {
    /// Real numbers at n points ↔ frequencies from 0 on: matrices (2k, n) and (n, 2k).
    fn real(n: usize, kept: FrequencyRange, device: &Device) -> Result<Self> {
        let (k, waves) = (kept.count, waves(n, kept));
        let forth = |row: usize, x: usize| match row < k {
            true => waves[row * n + x].0,
            false => -waves[(row - k) * n + x].1,
        };
        // Each stands for its negative too, but 0 and the highest of an even number have none.
        let times = |k: usize| if k == 0 || 2 * k == n { 1.0 } else { 2.0 };
        let back = |x: usize, column: usize| {
            let row = column % k;
            let (cos, sin) = waves[row * n + x];
            times(row) / n as f64 * if column < k { cos } else { -sin }
        };
        Ok(Self {
            kept,
            forth: matrix(2 * k, n, forth, device)?,
            back: matrix(n, 2 * k, back, device)?,
        })
    }

    /// Complex numbers at n points ↔ frequencies: matrices (2k, 2n) and (2n, 2k), real parts first.
    fn complex(n: usize, kept: FrequencyRange, device: &Device) -> Result<Self> {
        let (k, waves) = (kept.count, waves(n, kept));
        let forth = |row: usize, column: usize| {
            let (cos, sin) = waves[row % k * n + column % n];
            match (row < k, column < n) {
                (true, true) | (false, false) => cos,
                (true, false) => sin,
                (false, true) => -sin,
            }
        };
        let back = |row: usize, column: usize| forth(column, row) / n as f64;
        Ok(Self {
            kept,
            forth: matrix(2 * k, 2 * n, forth, device)?,
            back: matrix(2 * n, 2 * k, back, device)?,
        })
    }
}

/// cos and sin of 2πkx/n for each frequency and point.
fn waves(n: usize, kept: FrequencyRange) -> Vec<(f64, f64)> {
    let frequencies = (0..kept.count as isize).map(|k| kept.first + k);
    let wave = |k: isize, x: usize| {
        // Whole turns are taken off before they cost digits.
        let turns = (k * x as isize).rem_euclid(n as isize);
        let angle = TAU * turns as f64 / n as f64;
        (angle.cos(), angle.sin())
    };
    frequencies
        .flat_map(|k| (0..n).map(move |x| wave(k, x)))
        .collect()
}

fn matrix(
    rows: usize,
    columns: usize,
    value: impl Fn(usize, usize) -> f64,
    device: &Device,
) -> Result<Tensor> {
    let at = |i: usize| value(i / columns, i % columns) as f32;
    let values: Vec<f32> = (0..rows * columns).map(at).collect();
    upload(&values, (rows, columns), device)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    /// Where every frequency is kept and its weight is 1, a convolution gives back what it was given; odd axes too.
    #[test]
    fn transforms_forth_and_back_change_nothing() {
        for space in [
            vec![7],
            vec![8, 6],
            vec![5, 7],
            vec![4, 3, 5],
            vec![2, 9, 4],
        ] {
            let modes = 10;
            let count: usize = space.iter().product();
            let values = (0..2 * count * 3).map(|i| (i as f32 * 0.7).sin());
            let x = Tensor::from_iter(values, &Device::Cpu).unwrap();
            let x = x.reshape([&[2], space.as_slice(), &[3]].concat()).unwrap();
            let mut shape = vec![3, 3];
            shape.resize(1 + space.len(), modes);
            shape.extend([half(modes), 2]);
            let cells: usize = shape[2..].iter().product();
            let ones = (0..9 * cells).map(|i| {
                let (pair, part) = (i / cells, i % 2);
                f32::from(u8::from(pair / 3 == pair % 3 && part == 0))
            });
            let weight = Tensor::from_iter(ones, &Device::Cpu).unwrap();
            let weight = weight.reshape(shape).unwrap();
            let transforms = Transforms::new(&space, modes, &Device::Cpu).unwrap();
            let y = transforms.convolve(&x, &weight).unwrap();
            assert_eq!(y.dims(), x.dims());
            let apart = (y - x).unwrap().abs().unwrap().max_all().unwrap();
            assert!(apart.to_scalar::<f32>().unwrap() < 1e-5, "{space:?}");
        }
    }

    #[test]
    fn the_lowest_frequencies_are_kept() {
        let kept = |n, modes| {
            let kept = FrequencyRange::around_zero(n, modes);
            (kept.first, kept.count, kept.from)
        };
        assert_eq!(kept(64, 16), (-8, 16, 0));
        assert_eq!(kept(8, 16), (-4, 8, 4));
        assert_eq!(kept(9, 4), (-2, 4, 0));
        let last = |n, modes| FrequencyRange::from_zero(n, modes).count;
        assert_eq!((last(64, 16), last(8, 16), last(7, 16)), (9, 5, 4));
    }
}
