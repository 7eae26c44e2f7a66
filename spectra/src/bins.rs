//! Bins of wavenumbers, and sums of power over them.
//!
//! **On which side of an edge a mode falls** is decided by rounding wherever the exact numbers are equal: on a grid
//! of 16 × 16 × 48 cells the modes of 12 waves lie on the upper edge of the middle band, π/2. The rule is The
//! Well's arithmetic (`torch.fft.fftfreq`, `torch.logspace` and `torch.bucketize` on a CPU), operation by operation:
//!
//! 1. |k| of a mode is in f32 throughout: f32(1/n) times the whole waves, times 2π, squared, summed from the first
//!    axis to the last, and its root.
//! 2. The exponents of the outermost edges, log₁₀(2π / max n) and log₁₀(π√d + 10⁻⁶), are computed in f64 and rounded to
//!    f32; so is their difference. From there on everything is f64: a third of the difference is the step, and the
//!    inner exponents are the first plus a step, and the last minus a step.
//! 3. An edge is 10 to its exponent in f64, rounded to f32; the first is then 0.
//! 4. A mode belongs to the bin whose lower edge is the last not above |k|: a mode on an edge is in the bin above.
//!
//! `tests/data/band_counts.json` has the modes in each band of 238 grids as The Well counts them.

use std::f64::consts::PI;

use crate::power::{mirrored, sum};
use crate::{Error, Power, Result, Transform};

/// The Well's guard against a division by zero: what it adds to every denominator.
pub const EPSILON: f64 = 1e-7;

/// Bins of wavenumbers: the bin that each mode of a grid belongs to.
#[derive(Debug, Clone, PartialEq)]
pub struct Bins {
    edges: Vec<f32>,
    /// How many kept modes lie below each edge, for each line along the last axis. |k| grows along a
    /// line, so a bin is a stretch of it.
    below: Vec<usize>,
    /// Modes in each bin, mirror images included.
    counts: Vec<f64>,
}

/// What a relative band error is relative to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Relative {
    /// The truth's energy in the band: The Well's code.
    #[default]
    Truth,
    /// The prediction's: the paper's Eq. 16.
    Prediction,
}

/// Errors within one band.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Band {
    /// Lower edge, radians per cell.
    pub low: f64,
    /// Upper edge, radians per cell.
    pub high: f64,
    /// Energy of the residual: the mean squared error after a filter to the band.
    pub mse: f64,
    /// [`Band::mse`] over the band's energy of the truth or the prediction plus a guard ([`EPSILON`] by default).
    pub nmse: f64,
}

impl Bins {
    /// The Well's bins for power spectra: ⌊√(min n)⌋ evenly spaced edges from 0.
    #[must_use]
    pub fn isotropic(transform: &Transform) -> Self {
        let shortest = transform.shape().iter().copied().min().unwrap_or(1);
        let count = (shortest as f64).sqrt() as usize;
        let highest = transform.wavenumbers().iter().copied().fold(0.0, f32::max);
        let end = (f64::from(highest) + 1e-6) as f32;
        // Half from either end, as PyTorch's linspace does.
        let step = end / count.saturating_sub(1).max(1) as f32;
        let edge = |i: usize| {
            if i < count / 2 {
                step * i as f32
            } else {
                end - step * (count - i - 1) as f32
            }
        };
        let edges = match count {
            0 | 1 => vec![0.0],
            _ => (0..count).map(edge).collect(),
        };
        Self::assign(transform, edges)
    }

    /// The Well's three bands, low, middle and high.
    #[must_use]
    pub fn bands(transform: &Transform) -> Self {
        let longest = transform.shape().iter().copied().max().unwrap_or(1) as f64;
        let axes = transform.shape().len() as f64;
        // Ends are rounded to f32 and the step is not: step 2 of the rule at the top.
        let start = (2.0 * PI / longest).log10() as f32;
        let end = (PI * axes.sqrt() + 1e-6).log10() as f32;
        let [start, end, length] = [start, end, end - start].map(f64::from);
        let step = length / 3.0;
        let exponents = [start, start + step, end - step, end];
        let mut edges = exponents.map(|exponent| 10_f64.powf(exponent) as f32);
        edges[0] = 0.0;
        Self::assign(transform, edges.to_vec())
    }

    /// Bins with edges of one's own, in radians per cell.
    ///
    /// # Errors
    /// [`Error::Edges`] unless there are at least two increasing numbers.
    pub fn with_edges(transform: &Transform, edges: Vec<f32>) -> Result<Self> {
        let increasing = edges.windows(2).all(|pair| pair[0] < pair[1]);
        if edges.len() < 2 || !increasing {
            return Err(Error::Edges { edges });
        }
        Ok(Self::assign(transform, edges))
    }

    fn assign(transform: &Transform, edges: Vec<f32>) -> Self {
        let n = transform.shape()[transform.shape().len() - 1];
        let lines = transform.wavenumbers().chunks(n / 2 + 1);
        let below = lines
            .flat_map(|line| {
                edges
                    .iter()
                    .map(move |edge| line.partition_point(|k| k < edge))
            })
            .collect();
        let mut bins = Self {
            counts: Vec::new(),
            below,
            edges,
        };
        let mut line = vec![1.0; n / 2 + 1];
        mirrored(&mut line, n).for_each(|weight| *weight = 2.0);
        bins.counts = bins.sums(std::iter::repeat(&line[..]));
        bins
    }

    /// Edges in radians per cell, one more than bins.
    #[must_use]
    pub fn edges(&self) -> &[f32] {
        &self.edges
    }

    /// Modes in each bin.
    #[must_use]
    pub fn counts(&self) -> &[f64] {
        &self.counts
    }

    /// Energy in each bin: its share of the field's mean square.
    #[must_use]
    pub fn energy(&self, power: &Power) -> Vec<f64> {
        let mut sums = self.sums(power.lines());
        sums.iter_mut().for_each(|sum| *sum /= power.unit());
        sums
    }

    /// Mean of |X|² over the modes of each bin: The Well's power spectrum; 0 in an empty bin.
    #[must_use]
    pub fn spectrum(&self, power: &Power) -> Vec<f64> {
        self.sums(power.lines())
            .iter()
            .zip(&self.counts)
            .map(|(sum, count)| sum / (count + EPSILON))
            .collect()
    }

    /// The errors of a prediction in each bin, from the power of the residual and of what it is relative to.
    #[must_use]
    pub fn errors(&self, residual: &Power, reference: &Power) -> Vec<Band> {
        self.errors_guarded(residual, reference, EPSILON)
    }

    /// The errors of a prediction in each bin, with a guard of the units of the power.
    #[must_use]
    pub fn errors_guarded(&self, residual: &Power, reference: &Power, guard: f64) -> Vec<Band> {
        let energies = self
            .energy(residual)
            .into_iter()
            .zip(self.energy(reference));
        self.edges
            .windows(2)
            .zip(energies)
            .map(|(edges, (mse, reference))| Band {
                low: f64::from(edges[0]),
                high: f64::from(edges[1]),
                mse,
                nmse: mse / (reference + guard),
            })
            .collect()
    }

    /// Sums over each bin of a value for each kept mode, given line by line.
    fn sums<'a>(&self, lines: impl Iterator<Item = &'a [f64]>) -> Vec<f64> {
        let mut sums = vec![0.0; self.edges.len() - 1];
        for (line, below) in lines.zip(self.below.chunks(self.edges.len())) {
            for (total, stretch) in sums.iter_mut().zip(below.windows(2)) {
                *total += sum(&line[stretch[0]..stretch[1]]);
            }
        }
        sums
    }
}

impl Relative {
    /// The power to divide by.
    #[must_use]
    pub fn of<'a>(self, truth: &'a Power, prediction: &'a Power) -> &'a Power {
        match self {
            Self::Truth => truth,
            Self::Prediction => prediction,
        }
    }
}
