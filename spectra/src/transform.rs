//! The Fourier transform of real fields over any number of axes.

use std::f32::consts::PI;
use std::fmt;
use std::sync::Arc;

use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};
use rustfft::num_complex::Complex;
use rustfft::{Fft, FftPlanner};

use crate::{Error, Power, Result, Units};

/// Lines that are transformed together.
const NEIGHBOURS: usize = 8;

/// Planned transforms of a grid. Planning is the costly part: make one and share it.
#[derive(Clone)]
pub struct Transform {
    shape: Vec<usize>,
    real: Arc<dyn RealToComplex<f64>>,
    back: Arc<dyn ComplexToReal<f64>>,
    /// Along every axis but the last.
    axes: Vec<BothWays>,
    wavenumbers: Arc<[f32]>,
}

#[derive(Clone)]
struct BothWays {
    forward: Arc<dyn Fft<f64>>,
    inverse: Arc<dyn Fft<f64>>,
}

impl fmt::Debug for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transform")
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

impl Transform {
    /// Plans the transform of fields over a grid, row-major, last axis fastest.
    ///
    /// # Errors
    /// [`Error::EmptyGrid`].
    pub fn new(shape: &[usize]) -> Result<Self> {
        let empty = || Error::EmptyGrid {
            shape: shape.to_vec(),
        };
        let (&last, rest) = shape.split_last().ok_or_else(empty)?;
        if shape.contains(&0) {
            return Err(empty());
        }
        let mut real = RealFftPlanner::new();
        let mut complex = FftPlanner::new();
        Ok(Self {
            real: real.plan_fft_forward(last),
            back: real.plan_fft_inverse(last),
            axes: rest
                .iter()
                .map(|&n| BothWays {
                    forward: complex.plan_fft_forward(n),
                    inverse: complex.plan_fft_inverse(n),
                })
                .collect(),
            wavenumbers: wavenumbers(shape).into(),
            shape: shape.to_vec(),
        })
    }

    /// Grid points along each axis.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Grid points in all, N.
    #[must_use]
    pub fn cells(&self) -> usize {
        self.shape.iter().product()
    }

    /// Shape of a transformed field: the last axis has n/2 + 1 modes.
    #[must_use]
    pub fn modes(&self) -> Vec<usize> {
        let mut modes = self.shape.clone();
        if let Some(last) = modes.last_mut() {
            *last = *last / 2 + 1;
        }
        modes
    }

    /// |k| of every kept mode, in radians per cell.
    #[must_use]
    pub fn wavenumbers(&self) -> &[f32] {
        &self.wavenumbers
    }

    /// Whole waves along `axis` for each of its kept modes: 0, 1, ... and, but on the last axis,
    /// on to the negative ones.
    ///
    /// # Panics
    /// When there is no such axis.
    #[must_use]
    pub fn waves(&self, axis: usize) -> Vec<i64> {
        let (n, kept) = (self.shape[axis] as i64, self.modes()[axis] as i64);
        let halved = axis + 1 == self.shape.len();
        (0..kept)
            .map(|i| if halved || i <= (n - 1) / 2 { i } else { i - n })
            .collect()
    }

    /// X of a field, of shape [`Transform::modes`].
    ///
    /// # Errors
    /// [`Error::Length`].
    pub fn forward(&self, field: &[f64]) -> Result<Vec<Complex<f64>>> {
        self.check(field.len(), self.cells())?;
        Ok(self.transform(field.iter().copied()))
    }

    /// The real field of modes of shape [`Transform::modes`].
    ///
    /// # Errors
    /// [`Error::Length`].
    pub fn inverse(&self, mut modes: Vec<Complex<f64>>) -> Result<Vec<f64>> {
        let (n, kept) = (self.last(), self.last() / 2 + 1);
        self.check(modes.len(), self.cells() / n * kept)?;
        for (axis, plan) in self.axes.iter().enumerate() {
            self.along(axis, plan.inverse.as_ref(), &mut modes);
        }
        let mut field = vec![0.0; self.cells()];
        let mut scratch = self.back.make_scratch_vec();
        let unit = 1.0 / self.cells() as f64;
        for (line, out) in modes.chunks_mut(kept).zip(field.chunks_mut(n)) {
            // The imaginary parts of the mean and of the highest wave of an even axis have no
            // counterpart in a real field.
            line[0].im = 0.0;
            if n % 2 == 0 {
                line[kept - 1].im = 0.0;
            }
            let _ = self.back.process_with_scratch(line, out, &mut scratch);
            out.iter_mut().for_each(|x| *x *= unit);
        }
        Ok(field)
    }

    /// |X|² of a field.
    ///
    /// # Errors
    /// [`Error::Length`].
    pub fn power(&self, field: &[f32]) -> Result<Power> {
        self.check(field.len(), self.cells())?;
        let modes = self.transform(field.iter().map(|&x| f64::from(x)));
        Ok(self.squared(modes))
    }

    /// |X|² of truth, prediction and residual, in their own units.
    ///
    /// # Errors
    /// [`Error::Length`].
    pub fn powers(&self, truth: &[f32], prediction: &[f32]) -> Result<[Power; 3]> {
        self.powers_in(Units::OWN, truth, prediction)
    }

    /// |X|² of truth, prediction and residual in a field's units, from stored values of f32 or f64. The residual is
    /// transformed by itself, so that it keeps its accuracy however small it is; the prediction is the sum of
    /// the two others. The shift is added to the mode k = 0 alone, where it belongs: however large it is, it
    /// costs the other modes no digit.
    ///
    /// # Errors
    /// [`Error::Length`].
    pub fn powers_in<X: Copy + Into<f64>>(
        &self,
        units: Units,
        truth: &[X],
        prediction: &[X],
    ) -> Result<[Power; 3]> {
        self.check(truth.len(), self.cells())?;
        self.check(prediction.len(), self.cells())?;
        let cells = prediction.iter().zip(truth);
        let scale = units.scale;
        let residual = cells.map(|(&x, &y)| scale * (x.into() - y.into()));
        let residual = self.transform(residual);
        let mut truth = self.transform(truth.iter().map(|&y| scale * y.into()));
        truth[0].re += units.shift * self.cells() as f64;
        let prediction = truth.iter().zip(&residual).map(|(y, r)| y + r);
        let prediction = self.squared(prediction);
        Ok([self.squared(truth), prediction, self.squared(residual)])
    }

    fn squared(&self, modes: impl IntoIterator<Item = Complex<f64>>) -> Power {
        let squares = modes.into_iter().map(|x| x.norm_sqr());
        Power::new(&self.shape, squares.collect())
    }

    /// The modes of a field, given cell by cell.
    fn transform(&self, mut field: impl Iterator<Item = f64>) -> Vec<Complex<f64>> {
        let (n, kept) = (self.last(), self.last() / 2 + 1);
        let mut modes = vec![Complex::default(); self.cells() / n * kept];
        let mut line = vec![0.0; n];
        let mut scratch = self.real.make_scratch_vec();
        for out in modes.chunks_mut(kept) {
            line.iter_mut().zip(&mut field).for_each(|(x, y)| *x = y);
            // Lengths are those of the plan, so it cannot fail.
            let _ = self.real.process_with_scratch(&mut line, out, &mut scratch);
        }
        for (axis, plan) in self.axes.iter().enumerate() {
            self.along(axis, plan.forward.as_ref(), &mut modes);
        }
        modes
    }

    /// Transforms every line along an axis that is not the last, some neighbours at a time: they
    /// share cache lines, and fit the innermost cache.
    fn along(&self, axis: usize, fft: &dyn Fft<f64>, modes: &mut [Complex<f64>]) {
        let n = self.shape[axis];
        let inner: usize = self.modes()[axis + 1..].iter().product();
        let mut lines = vec![Complex::default(); n * NEIGHBOURS.min(inner)];
        let mut scratch = vec![Complex::default(); fft.get_inplace_scratch_len()];
        for block in modes.chunks_mut(n * inner) {
            for first in (0..inner).step_by(NEIGHBOURS) {
                let columns = first..(first + NEIGHBOURS).min(inner);
                let lines = &mut lines[..n * columns.len()];
                for (i, row) in block.chunks(inner).enumerate() {
                    let places = lines[i..].iter_mut().step_by(n);
                    places.zip(&row[columns.clone()]).for_each(|(x, &y)| *x = y);
                }
                fft.process_with_scratch(lines, &mut scratch);
                for (i, row) in block.chunks_mut(inner).enumerate() {
                    let places = lines[i..].iter().step_by(n);
                    let columns = row[columns.clone()].iter_mut();
                    columns.zip(places).for_each(|(x, &y)| *x = y);
                }
            }
        }
    }

    fn last(&self) -> usize {
        self.shape[self.shape.len() - 1]
    }

    fn check(&self, found: usize, expected: usize) -> Result<()> {
        if found == expected {
            return Ok(());
        }
        Err(Error::Length {
            shape: self.shape.clone(),
            found,
        })
    }
}

/// |k| of the kept modes, rounded as The Well's f32 code rounds.
fn wavenumbers(shape: &[usize]) -> Vec<f32> {
    let mut squares = vec![0.0_f32];
    for (axis, &n) in shape.iter().enumerate() {
        let kept = if axis + 1 == shape.len() {
            n / 2 + 1
        } else {
            n
        };
        let unit = (1.0 / n as f64) as f32;
        let square = |i: usize| {
            let wave = if i <= (n - 1) / 2 {
                i as f32
            } else {
                i as f32 - n as f32
            };
            let k = 2.0 * PI * (wave * unit);
            k * k
        };
        let along: Vec<f32> = (0..kept).map(square).collect();
        squares = squares
            .iter()
            .flat_map(|&sum| along.iter().map(move |&k| sum + k))
            .collect();
    }
    squares.iter().map(|k| k.sqrt()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_inverse_undoes_the_transform_and_plancherel_holds(
            shape in prop::collection::vec(1..9_usize, 1..4), seed: u32,
        ) {
            let cells: usize = shape.iter().product();
            let value = |i: usize| f64::from((i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed)) / 4e9 - 0.5;
            let field: Vec<f64> = (0..cells).map(value).collect();
            let transform = Transform::new(&shape).unwrap();
            let back = transform.inverse(transform.forward(&field).unwrap()).unwrap();
            for (x, y) in field.iter().zip(&back) {
                prop_assert!((x - y).abs() < 1e-12);
            }
            let narrow: Vec<f32> = field.iter().map(|&x| x as f32).collect();
            let square: f64 = narrow.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / cells as f64;
            prop_assert!((transform.power(&narrow).unwrap().energy() - square).abs() < 1e-12);
        }
    }

    #[test]
    fn a_wave_along_each_axis_is_one_mode() {
        let shape = [6, 5, 8];
        let transform = Transform::new(&shape).unwrap();
        for (axis, waves) in [(0, 2), (1, 1), (2, 3)] {
            let strides = [40, 8, 1];
            let field: Vec<f64> = (0..240)
                .map(|i| {
                    let x = i / strides[axis] % shape[axis];
                    (2.0 * std::f64::consts::PI * f64::from(waves) * x as f64 / shape[axis] as f64)
                        .cos()
                })
                .collect();
            let modes = transform.forward(&field).unwrap();
            let at: usize = waves as usize * [25, 5, 1][axis];
            assert!((modes[at].re - 120.0).abs() < 1e-9, "{axis}: {}", modes[at]);
            assert_eq!(transform.waves(axis)[waves as usize], i64::from(waves));
        }
        assert_eq!(transform.waves(0), [0, 1, 2, -3, -2, -1]);
        assert_eq!(transform.waves(1), [0, 1, 2, -2, -1]);
        assert_eq!(transform.waves(2), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_shift_is_in_the_mean_alone_and_a_scale_in_all() {
        let transform = Transform::new(&[6, 8]).unwrap();
        let field = |seed: f32| -> Vec<f32> { (0..48).map(|i| (i as f32 * seed).sin()).collect() };
        let (truth, prediction) = (field(1.3), field(2.1));
        let stored = transform.powers(&truth, &prediction).unwrap();
        for (shift, scale) in [(1e8, 1e-3), (0.0, 1e-30), (-3e30, 1e30)] {
            let units = Units { shift, scale };
            let powers = transform.powers_in(units, &truth, &prediction).unwrap();
            for (own, stored) in powers.iter().zip(&stored) {
                let lines = own
                    .lines()
                    .zip(stored.lines())
                    .flat_map(|(own, stored)| own.iter().zip(stored));
                for (own, stored) in lines.skip(1) {
                    assert!(
                        (own / (scale * scale) - stored).abs() <= 1e-12 * stored,
                        "{own} {stored}"
                    );
                }
            }
            let mean = |field: &[f32]| {
                shift + scale * field.iter().map(|&x| f64::from(x)).sum::<f64>() / 48.0
            };
            for (power, field) in powers.iter().zip([&truth, &prediction]) {
                let first = power.lines().next().unwrap()[0];
                let (found, expected) = (first / power.unit(), mean(field).powi(2));
                assert!(
                    (found - expected).abs() <= 1e-9 * expected,
                    "{found} {expected}"
                );
            }
        }
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        assert!(Transform::new(&[]).is_err());
        assert!(Transform::new(&[4, 0]).is_err());
        let transform = Transform::new(&[4, 4]).unwrap();
        assert!(transform.forward(&[0.0; 15]).is_err());
        assert!(transform.inverse(vec![Complex::default(); 16]).is_err());
    }
}
