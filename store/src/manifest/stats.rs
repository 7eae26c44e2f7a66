//! Statistics of channels, and the maps that shards are normalized by.
//!
//! They are The Well's: mean, standard deviation (of the population) and root mean square over
//! trajectories, time and space, and the same of the differences between successive frames. Those of a field with
//! a [`Transform`] are of its transformed values.

mod moments;
mod normalizer;
mod yaml;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Error, Result, Transform};

pub use moments::{ChannelMoments, Moments};
pub use normalizer::{ChannelMap, Normalization, Normalizer};

/// The Well clips denominators from below at this value.
const MIN_SCALE: f64 = 1e-4;

/// The lower bound of the scales that values are divided by, which keeps the noise of a channel that
/// hardly varies from becoming its signal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScaleBound {
    /// 10⁻⁴, The Well's own, whatever the units.
    #[default]
    Absolute,
    /// 10⁻⁴ × min(1, rms) with the channel's root mean square, or 10⁻⁴ where that is 0. It is The
    /// Well's where values are of order 1 and more, and right in units in which they are small.
    Relative,
}

impl ScaleBound {
    /// The bound for a channel of this root mean square.
    fn of(self, rms: f64) -> f64 {
        match self {
            Self::Relative if rms > 0.0 => MIN_SCALE * rms.min(1.0),
            _ => MIN_SCALE,
        }
    }
}

/// A channel that varies so little that the bound is its scale.
#[derive(Debug, Clone, PartialEq)]
pub struct BoundedChannel {
    /// Name of the channel.
    pub name: String,
    /// Standard deviation of the channel, or its root mean square if that normalizes.
    pub spread: f64,
    /// What its values are divided by.
    pub scale: f64,
}

/// Six numbers on one channel: in the field's own units, or of its transformed values where it has a transform.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ChannelStatistics {
    /// Mean.
    pub mean: f64,
    /// Standard deviation of the population.
    pub std: f64,
    /// Root mean square.
    pub rms: f64,
    /// Mean change from frame to frame.
    pub mean_delta: f64,
    /// Standard deviation of that change.
    pub std_delta: f64,
    /// Root mean square of that change.
    pub rms_delta: f64,
    /// Standard deviation in the field's own units, where a transform makes it another number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_std: Option<f64>,
}

/// Statistics of every channel, constant ones included, by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Statistics(pub BTreeMap<String, ChannelStatistics>);

impl Statistics {
    /// The statistics of one channel.
    ///
    /// # Errors
    /// When there are none.
    pub fn channel(&self, name: &str) -> Result<ChannelStatistics> {
        self.0
            .get(name)
            .copied()
            .ok_or_else(|| Error::malformed("statistics", format!("no channel {name}")))
    }

    /// The maps from field units to stored values, for channels with their transforms.
    ///
    /// # Errors
    /// When a channel has no statistics, or such that nothing can be normalized by.
    pub fn normalizer(
        &self,
        normalization: Normalization,
        bound: ScaleBound,
        channels: impl IntoIterator<Item = (String, Option<Transform>)>,
    ) -> Result<Normalizer> {
        let map = |(channel, transform): (String, _)| {
            let held = self.channel(&channel)?;
            let (shift, scale) = match held.spread(normalization) {
                Some((shift, spread)) => (shift, spread.max(bound.of(held.rms))),
                None => (0.0, 1.0),
            };
            if !(shift.is_finite() && scale.is_finite() && scale.recip().is_finite()) {
                let reason = format!("{channel} cannot be normalized by {shift} and {scale}");
                return Err(Error::malformed("statistics", reason));
            }
            Ok(ChannelMap {
                transform,
                shift,
                scale,
            })
        };
        channels.into_iter().map(map).collect()
    }

    /// The bound that a new data set of these statistics has: The Well's own wherever the other gives
    /// the same scales.
    pub(crate) fn scale_bound(&self, normalization: Normalization) -> ScaleBound {
        let differs = |held: &ChannelStatistics| {
            let spread = held.spread(normalization);
            let scale = |bound: ScaleBound| spread.map(|(_, x)| x.max(bound.of(held.rms)));
            scale(ScaleBound::Absolute) != scale(ScaleBound::Relative)
        };
        match self.0.values().any(differs) {
            true => ScaleBound::Relative,
            false => ScaleBound::Absolute,
        }
    }

    /// The channels whose scale the bound decides.
    #[must_use]
    pub fn bounded(&self, normalization: Normalization, bound: ScaleBound) -> Vec<BoundedChannel> {
        let channels = self.0.iter().filter_map(|(name, held)| {
            let (_, spread) = held.spread(normalization)?;
            let scale = bound.of(held.rms);
            (spread < scale).then(|| BoundedChannel {
                name: name.clone(),
                spread,
                scale,
            })
        });
        channels.collect()
    }
}

impl ChannelStatistics {
    /// What is subtracted from values, and what they are divided by unless it is too small; nothing
    /// where they stay as they are.
    fn spread(&self, normalization: Normalization) -> Option<(f64, f64)> {
        match normalization {
            Normalization::Zscore => Some((self.mean, self.std)),
            Normalization::Rms => Some((0.0, self.rms)),
            Normalization::None => None,
        }
    }

    const ZERO: Self = Self {
        mean: 0.0,
        std: 0.0,
        rms: 0.0,
        mean_delta: 0.0,
        std_delta: 0.0,
        rms_delta: 0.0,
        own_std: None,
    };
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    /// The scale of a channel by z-score.
    fn scale((mean, std): (f64, f64), bound: ScaleBound) -> f64 {
        let held = ChannelStatistics {
            mean,
            std,
            rms: mean.hypot(std),
            ..ChannelStatistics::ZERO
        };
        let statistics = Statistics(BTreeMap::from([("u".into(), held)]));
        let normalizer = statistics.normalizer(Normalization::Zscore, bound, [("u".into(), None)]);
        normalizer.unwrap().channels()[0].scale
    }

    #[test]
    fn the_bound_is_the_wells_in_ordinary_units() {
        for held in [
            (0.0, 1.0),
            (5.0, 1e-4),
            (0.1, 2e-4),
            (1.0, 1e-9),
            (1e8, 1e-3),
            (3.0, 0.0),
        ] {
            let [absolute, relative] =
                [ScaleBound::Absolute, ScaleBound::Relative].map(|bound| scale(held, bound));
            assert_eq!(absolute, held.1.max(1e-4));
            assert_eq!(relative, absolute, "{held:?}");
        }
        assert_eq!(scale((0.0, 0.0), ScaleBound::Relative), 1e-4);
    }

    #[test]
    fn the_bound_follows_small_units() {
        for unit in [1e-30, 1e-24, 1e-10, 1e-5] {
            assert_eq!(scale((3.0 * unit, unit), ScaleBound::Relative), unit);
            let noise = scale((unit, 1e-9 * unit), ScaleBound::Relative);
            assert!((noise / unit - 1e-4).abs() < 1e-12, "{noise:e}");
            assert_eq!(scale((3.0 * unit, unit), ScaleBound::Absolute), 1e-4);
        }
    }

    #[test]
    fn a_scale_that_divides_nothing_is_an_error() {
        let held = ChannelStatistics {
            std: 1e-320,
            rms: 1e-320,
            ..ChannelStatistics::ZERO
        };
        let statistics = Statistics(BTreeMap::from([("u".into(), held)]));
        let map = |bound| statistics.normalizer(Normalization::Rms, bound, [("u".into(), None)]);
        let error = map(ScaleBound::Relative).unwrap_err().to_string();
        assert!(error.contains('u'), "{error}");
        map(ScaleBound::Absolute).unwrap();
    }
}
