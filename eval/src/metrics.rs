//! [`FieldMetrics`]: metrics of a predicted field, by The Well's definitions, in f64.
//!
//! Truth and prediction are stored values, with the [`Channel`] that converts them to the field's units. Values that a
//! transform was applied to are taken back before they are measured, in f64; of all others the errors are scaled.

mod artefact;
mod channel;
mod ensemble;
mod spatial;
mod temporal;

use rayon::prelude::*;
use wellspring_spectra::{Band, Bins, Power, Relative, Transform};

use crate::Result;
pub(crate) use artefact::ARTEFACT_PATCHES;
pub use artefact::artefact_ratio;
pub(crate) use channel::Channel;
pub use ensemble::EnsembleScore;
pub use spatial::Spatial;
pub use temporal::Temporal;

/// A line of a spectrum: wavenumbers in radians per cell, and the power of truth, prediction and
/// residual there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// Lower edge, radians per cell.
    pub low: f64,
    /// Upper edge, radians per cell.
    pub high: f64,
    /// Power of truth, prediction and residual, in this order.
    pub power: [f64; 3],
}

/// Power of truth, prediction and residual by wavenumber: along each axis (energy by whole waves,
/// summed over the other axes), and isotropic (mean |X|², The Well's spectrum).
#[derive(Debug, Clone, PartialEq)]
pub struct Spectra {
    /// Cells along each axis.
    pub shape: Vec<usize>,
    /// A spectrum for each axis.
    pub axes: Vec<Vec<Line>>,
    /// Spectrum over shells of |k|.
    pub isotropic: Vec<Line>,
}

impl Spectra {
    /// The patch-artefact ratio of a patch size: the geometric mean over the axes on which it leaves
    /// harmonics, none if there are none.
    #[must_use]
    pub fn artefact(&self, patch: usize) -> Option<f64> {
        let residual =
            |lines: &Vec<Line>| -> Vec<f64> { lines.iter().map(|line| line.power[2]).collect() };
        let of_axis =
            |(lines, &n): (&Vec<Line>, &usize)| artefact_ratio(&residual(lines), n, patch);
        let ratios: Vec<f64> = self
            .axes
            .iter()
            .zip(&self.shape)
            .filter_map(of_axis)
            .collect();
        artefact::geometric_mean(&ratios)
    }
}

/// Measures fields of one grid shape; what depends on the grid alone is made once.
#[derive(Debug)]
pub struct FieldMetrics {
    transform: Transform,
    isotropic: Bins,
    bands: Bins,
}

/// All metrics of one field of one frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// Metrics over space.
    pub spatial: Spatial,
    /// Cells of the prediction that are not finite.
    pub nonfinite: usize,
    /// Errors within The Well's three bands of wavenumbers, relative to the truth.
    pub bands: Vec<Band>,
    /// Errors within the bands relative to the prediction's energy: the paper's Eq. 16.
    pub bands_of_prediction: Vec<f64>,
    /// Power by wavenumber.
    pub spectra: Spectra,
}

impl FieldMetrics {
    /// Metrics for fields of the given shape.
    ///
    /// # Errors
    /// When the shape has no cells.
    pub fn new(space: &[usize]) -> Result<Self> {
        let transform = Transform::new(space)?;
        Ok(Self {
            isotropic: Bins::isotropic(&transform),
            bands: Bins::bands(&transform),
            transform,
        })
    }

    /// Bands by own edges, in radians per cell, ascending.
    ///
    /// # Errors
    /// When they do not ascend.
    pub fn with_bands(self, edges: Vec<f32>) -> Result<Self> {
        let bands = Bins::with_edges(&self.transform, edges)?;
        Ok(Self { bands, ..self })
    }

    /// Measures one field in its own units.
    ///
    /// # Errors
    /// When a slice is not of the grid's shape.
    pub fn score(&self, truth: &[f32], prediction: &[f32]) -> Result<Score> {
        self.score_stored(truth, prediction, Channel::OWN)
    }

    /// Measures the stored values of one field, in the field's units.
    pub(crate) fn score_stored(
        &self,
        truth: &[f32],
        prediction: &[f32],
        channel: Channel,
    ) -> Result<Score> {
        if channel.transform.is_none() {
            return self.score_scaled(truth, prediction, channel);
        }
        let [truth, prediction] = [truth, prediction].map(|stored| channel.own(stored));
        self.score_scaled(&truth, &prediction, channel.in_own_units())
    }

    /// Measures the values of one field, which the channel's units scale.
    fn score_scaled<X: Copy + Into<f64>>(
        &self,
        truth: &[X],
        prediction: &[X],
        channel: Channel,
    ) -> Result<Score> {
        let power = self.transform.powers_in(channel.units, truth, prediction)?;
        let guard = channel.guard.square;
        let [of_truth, of_prediction] = [Relative::Truth, Relative::Prediction]
            .map(|relative| relative.of(&power[0], &power[1]))
            .map(|reference| self.bands.errors_guarded(&power[2], reference, guard));
        Ok(Score {
            spatial: Spatial::of_scaled(truth, prediction, channel),
            nonfinite: prediction
                .iter()
                .filter(|&&x| !x.into().is_finite())
                .count(),
            bands: of_truth,
            bands_of_prediction: of_prediction.iter().map(|band| band.nmse).collect(),
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

    /// Measures many (truth, prediction) pairs in their own units, on all cores.
    ///
    /// # Errors
    /// As [`FieldMetrics::score`].
    pub fn scores(&self, pairs: &[(&[f32], &[f32])]) -> Result<Vec<Score>> {
        let pairs = pairs.par_iter();
        pairs
            .map(|(truth, prediction)| self.score(truth, prediction))
            .collect()
    }

    /// Measures many (truth, prediction, channel) of stored values on all cores.
    pub(crate) fn scores_stored(&self, fields: &[(&[f32], &[f32], Channel)]) -> Result<Vec<Score>> {
        let fields = fields.par_iter();
        fields
            .map(|&(truth, prediction, channel)| self.score_stored(truth, prediction, channel))
            .collect()
    }

    fn spectra(&self, power: &[Power; 3]) -> Spectra {
        let [truth, prediction, residual] = power.each_ref().map(Power::axes);
        let of_axis = |(axis, &n): (usize, &usize)| {
            let wave = 2.0 * std::f64::consts::PI / n as f64;
            let line = |i: usize| Line {
                low: ((i as f64 - 0.5) * wave).max(0.0),
                high: (i as f64 + 0.5) * wave,
                power: [truth[axis][i], prediction[axis][i], residual[axis][i]],
            };
            (0..=n / 2).map(line).collect()
        };
        let shape = self.transform.shape();
        let axes = shape.iter().enumerate().map(of_axis).collect();
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
            shape: shape.to_vec(),
            axes,
            isotropic: isotropic.collect(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
