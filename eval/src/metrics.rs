//! Errors of a predicted field, by The Well's definitions, in f64.
//!
//! The Well (`the_well.benchmark.metrics.spatial`) takes means over space, the truth for what an
//! error is relative to, the unbiased variance, and adds 10⁻⁷ to every denominator.

use rayon::prelude::*;
use wellspring_spectra::{Band, Bins, Power, Relative, Transform};

use crate::Result;

/// The Well's guard against a division by zero.
const EPSILON: f64 = 1e-7;

/// The Well's ten spatial metrics of one field of one frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spatial {
    /// Mean squared error.
    pub mse: f64,
    /// Mean absolute error.
    pub mae: f64,
    /// √MSE.
    pub rmse: f64,
    /// MSE over the mean square of the truth.
    pub nmse: f64,
    /// MAE over the mean magnitude of the truth.
    pub nmae: f64,
    /// √NMSE.
    pub nrmse: f64,
    /// MSE over the variance of the truth.
    pub vmse: f64,
    /// √VMSE: the paper's measure. 1 is as bad as the truth's mean.
    pub vrmse: f64,
    /// Largest error.
    pub linf: f64,
    /// Correlation; The Well divides a biased covariance by unbiased deviations.
    pub pearson: f64,
}

impl Spatial {
    /// Names in tables, in the order of [`Spatial::values`].
    pub const NAMES: [&str; 10] = [
        "mse", "mae", "rmse", "nmse", "nmae", "nrmse", "vmse", "vrmse", "linf", "pearson",
    ];

    /// Of one field; both slices hold its cells.
    #[must_use]
    pub fn of(truth: &[f32], prediction: &[f32]) -> Self {
        let n = truth.len().max(1) as f64;
        let pairs = || {
            truth
                .iter()
                .zip(prediction)
                .map(|(&y, &x)| (f64::from(y), f64::from(x)))
        };
        let mean = |value: fn((f64, f64)) -> f64| pairs().map(value).sum::<f64>() / n;
        let (mean_y, mean_x) = (mean(|(y, _)| y), mean(|(_, x)| x));
        let moment = |value: fn(f64, f64) -> f64| {
            pairs()
                .map(|(y, x)| value(y - mean_y, x - mean_x))
                .sum::<f64>()
        };
        let unbiased = (n - 1.0).max(1.0);
        let variance_y = moment(|y, _| y * y) / unbiased;
        let variance_x = moment(|_, x| x * x) / unbiased;
        let covariance = moment(|y, x| y * x) / n;
        let mse = mean(|(y, x)| (x - y).powi(2));
        let mae = mean(|(y, x)| (x - y).abs());
        let nmse = mse / (mean(|(y, _)| y * y) + EPSILON);
        let vmse = mse / (variance_y + EPSILON);
        Self {
            mse,
            mae,
            rmse: mse.sqrt(),
            nmse,
            nmae: mae / (mean(|(y, _)| y.abs()) + EPSILON),
            nrmse: nmse.sqrt(),
            vmse,
            vrmse: vmse.sqrt(),
            // A NaN would hide from max.
            linf: if mae.is_nan() {
                f64::NAN
            } else {
                pairs().map(|(y, x)| (x - y).abs()).fold(0.0, f64::max)
            },
            pearson: covariance / (variance_y.sqrt() * variance_x.sqrt() + EPSILON),
        }
    }

    /// In the order of [`Spatial::NAMES`].
    #[must_use]
    pub fn values(&self) -> [f64; 10] {
        [
            self.mse,
            self.mae,
            self.rmse,
            self.nmse,
            self.nmae,
            self.nrmse,
            self.vmse,
            self.vrmse,
            self.linf,
            self.pearson,
        ]
    }
}

/// A line of a spectrum: wavenumbers in radians per cell, and the power of truth, prediction and
/// residual there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// Lower edge.
    pub low: f64,
    /// Upper edge.
    pub high: f64,
    /// Of truth, prediction, residual.
    pub power: [f64; 3],
}

/// Power of truth, prediction and residual by wavenumber: along each axis (energy by whole waves,
/// summed over the other axes), and isotropic (mean |X|², The Well's spectrum).
#[derive(Debug, Clone, PartialEq)]
pub struct Spectra {
    /// One spectrum for each axis.
    pub axes: Vec<Vec<Line>>,
    /// Over shells of |k|.
    pub isotropic: Vec<Line>,
}

/// Measures fields of one grid shape; what depends on the grid alone is made once.
#[derive(Debug)]
pub struct Gauge {
    transform: Transform,
    isotropic: Bins,
    bands: Bins,
    relative: Relative,
}

/// All that is measured of one field of one frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// Over space.
    pub spatial: Spatial,
    /// Within The Well's three bands of wavenumbers.
    pub bands: Vec<Band>,
    /// By wavenumber.
    pub spectra: Spectra,
}

impl Gauge {
    /// For fields of a shape.
    ///
    /// # Errors
    /// When the shape has no cells.
    pub fn new(space: &[usize]) -> Result<Self> {
        let transform = Transform::new(space)?;
        Ok(Self {
            isotropic: Bins::isotropic(&transform),
            bands: Bins::bands(&transform),
            transform,
            relative: Relative::Truth,
        })
    }

    /// Relative band errors to the truth (The Well's code) or to the prediction (the paper's Eq. 16).
    #[must_use]
    pub fn relative_to(self, relative: Relative) -> Self {
        Self { relative, ..self }
    }

    /// Bands by own edges, in radians per cell, ascending.
    ///
    /// # Errors
    /// When they do not ascend.
    pub fn with_bands(self, edges: Vec<f32>) -> Result<Self> {
        let bands = Bins::with_edges(&self.transform, edges)?;
        Ok(Self { bands, ..self })
    }

    /// Measures one field.
    ///
    /// # Errors
    /// When a slice is not of the grid's shape.
    pub fn score(&self, truth: &[f32], prediction: &[f32]) -> Result<Score> {
        let residual: Vec<f32> = prediction.iter().zip(truth).map(|(x, y)| x - y).collect();
        let power = [truth, prediction, &residual].map(|field| self.transform.power(field));
        let [truth_power, prediction_power, residual_power] = power;
        let power = [truth_power?, prediction_power?, residual_power?];
        let reference = self.relative.of(&power[0], &power[1]);
        Ok(Score {
            spatial: Spatial::of(truth, prediction),
            bands: self.bands.errors(&power[2], reference),
            spectra: self.spectra(&power),
        })
    }

    /// The Well's isotropic power spectrum of a field: edges of its bins, and the mean |X|² in each.
    ///
    /// # Errors
    /// When the slice is not of the grid's shape.
    pub fn spectrum(&self, field: &[f32]) -> Result<(Vec<f32>, Vec<f64>)> {
        let power = self.transform.power(field)?;
        Ok((
            self.isotropic.edges().to_vec(),
            self.isotropic.spectrum(&power),
        ))
    }

    /// Measures many (truth, prediction) pairs on all cores.
    ///
    /// # Errors
    /// As [`Gauge::score`].
    pub fn scores(&self, pairs: &[(&[f32], &[f32])]) -> Result<Vec<Score>> {
        pairs
            .par_iter()
            .map(|(truth, prediction)| self.score(truth, prediction))
            .collect()
    }

    fn spectra(&self, power: &[Power; 3]) -> Spectra {
        let axes = self.transform.shape().iter().enumerate().map(|(axis, &n)| {
            let [truth, prediction, residual] = [0, 1, 2].map(|of: usize| power[of].along(axis));
            let wave = 2.0 * std::f64::consts::PI / n as f64;
            let lines = truth.iter().zip(&prediction).zip(&residual).enumerate();
            let line = |(i, ((&truth, &prediction), &residual))| Line {
                low: ((i as f64 - 0.5) * wave).max(0.0),
                high: (i as f64 + 0.5) * wave,
                power: [truth, prediction, residual],
            };
            lines.map(line).collect()
        });
        let shells = [0, 1, 2].map(|of: usize| self.isotropic.spectrum(&power[of]));
        let isotropic = self
            .isotropic
            .edges()
            .windows(2)
            .enumerate()
            .map(|(i, edges)| Line {
                low: f64::from(edges[0]),
                high: f64::from(edges[1]),
                power: [0, 1, 2].map(|of: usize| shells[of][i]),
            });
        Spectra {
            axes: axes.collect(),
            isotropic: isotropic.collect(),
        }
    }
}
