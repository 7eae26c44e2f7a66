//! The map between the fields' own units and the values that shards hold.

use serde::{Deserialize, Serialize};

use crate::{Frames, Transform};

/// How values are normalized before they are stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Normalization {
    /// Mean 0 and standard deviation 1; The Well's `ZScoreNormalization`.
    #[default]
    Zscore,
    /// Root mean square 1; The Well's `RMSNormalization`.
    Rms,
    /// Values are stored in the field's own units.
    None,
}

impl Normalization {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Zscore, Self::Rms, Self::None];

    /// Its name on the command line and in manifests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Zscore => "zscore",
            Self::Rms => "rms",
            Self::None => "none",
        }
    }
}

/// The map of one channel: stored = (transform(value) − shift) / scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChannelMap {
    /// What values go through first; none where they stay as they are.
    pub transform: Option<Transform>,
    /// Shift of the transformed values.
    pub shift: f64,
    /// Scale of the transformed values; never zero.
    pub scale: f64,
}

impl ChannelMap {
    /// Field units → stored value, rounded once. Not finite for a value that has no transform.
    #[inline]
    #[must_use]
    pub fn stored(&self, value: f64) -> f32 {
        let transformed = self
            .transform
            .map_or(value, |transform| transform.forward(value));
        self.normalized()(transformed)
    }

    /// Transformed value → stored value, rounded once.
    #[inline(always)]
    pub fn normalized(&self) -> impl Fn(f64) -> f32 + Copy + use<> {
        // A processor multiplies several times as fast as it divides; in f32 both are the same.
        let (shift, inverse) = (self.shift, self.scale.recip());
        move |transformed| ((transformed - shift) * inverse) as f32
    }

    /// Stored value → field units.
    #[inline]
    #[must_use]
    pub fn value(&self, stored: f32) -> f64 {
        let transformed = f64::from(stored) * self.scale + self.shift;
        self.transform
            .map_or(transformed, |transform| transform.inverse(transformed))
    }

    /// Field units → stored values, in place.
    pub fn normalize(&self, values: &mut [f32]) {
        let stored = self.normalized();
        match self.transform {
            None => each(values, stored),
            Some(transform) => each(values, |x| stored(transform.forward(x))),
        }
    }

    /// Stored values → field units, in place.
    pub fn denormalize(&self, values: &mut [f32]) {
        let (shift, scale) = (self.shift, self.scale);
        match self.transform {
            None => each(values, |x| (x * scale + shift) as f32),
            Some(transform) => each(values, |x| transform.inverse(x * scale + shift) as f32),
        }
    }
}

fn each(values: &mut [f32], map: impl Fn(f64) -> f32) {
    for value in values {
        *value = map(f64::from(*value));
    }
}

/// The maps of some channels, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Normalizer {
    channels: Vec<ChannelMap>,
}

impl Normalizer {
    /// The map of each channel.
    #[must_use]
    pub fn channels(&self) -> &[ChannelMap] {
        &self.channels
    }

    /// Field units → stored values, in place.
    ///
    /// # Panics
    /// When the frames have more channels than this.
    pub fn normalize(&self, frames: &mut Frames) {
        self.each(frames, ChannelMap::normalize);
    }

    /// Converts stored values to field units, in place.
    ///
    /// # Panics
    /// When the frames have more channels than this.
    pub fn denormalize(&self, frames: &mut Frames) {
        self.each(frames, ChannelMap::denormalize);
    }

    fn each(&self, frames: &mut Frames, map: impl Fn(&ChannelMap, &mut [f32])) {
        let (cells, channels) = (frames.cells(), frames.channels());
        for (i, values) in frames.data_mut().chunks_mut(cells.max(1)).enumerate() {
            map(&self.channels[i % channels], values);
        }
    }
}

impl FromIterator<ChannelMap> for Normalizer {
    fn from_iter<T: IntoIterator<Item = ChannelMap>>(channels: T) -> Self {
        Self {
            channels: channels.into_iter().collect(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn affine(shift: f64, scale: f64) -> ChannelMap {
        ChannelMap {
            transform: None,
            shift,
            scale,
        }
    }

    #[test]
    fn stored_values_are_right_at_every_scale() {
        for (shift, scale) in [(3e-24, 1e-24), (0.0, 1e-30), (1e8, 1e-3), (-1e30, 1e28)] {
            let map = affine(shift, scale);
            for x in [-3.0, -0.5, 0.0, 0.1, 7.0] {
                let stored = map.stored(shift + x * scale);
                // What f64 can tell apart at that offset.
                let digits =
                    (shift / scale).abs() * f64::EPSILON + f64::from(f32::EPSILON) * x.abs();
                assert!(
                    (f64::from(stored) - x).abs() <= digits,
                    "{shift:e} {scale:e} {x} {stored}"
                );
            }
        }
    }

    #[test]
    fn a_transform_comes_before_the_scale_and_is_undone_after_it() {
        let map = ChannelMap {
            transform: Some(Transform::Log10),
            ..affine(-20.0, 2.0)
        };
        assert_eq!(map.stored(1e-24), -2.0);
        assert!((map.value(-2.0) / 1e-24 - 1.0).abs() < 1e-14);
        let own = [1e-24_f32, 1e-20, 1e-16];
        let mut values = own;
        map.normalize(&mut values);
        for (stored, expected) in values.iter().zip([-2.0, 0.0, 2.0_f32]) {
            assert!((stored - expected).abs() < 1e-7, "{stored}");
        }
        map.denormalize(&mut values);
        for (value, expected) in values.iter().zip(own) {
            assert!((value / expected - 1.0).abs() < 1e-6, "{value:e}");
        }
        assert!(!map.stored(0.0).is_finite());
    }

    proptest! {
        #[test]
        fn denormalizing_undoes_normalizing(xs in prop::collection::vec(-1e3..1e3_f32, 8), shift in -10.0..10.0, scale in 0.1..10.0, asinh: bool) {
            let transform = asinh.then(|| "asinh:10".parse().unwrap());
            let normalizer = Normalizer::from_iter([ChannelMap { transform, shift, scale }]);
            let frames = Frames::new(1, 1, 1, vec![8], xs).unwrap();
            let mut there_and_back = frames.clone();
            normalizer.normalize(&mut there_and_back);
            normalizer.denormalize(&mut there_and_back);
            for (x, y) in frames.data().iter().zip(there_and_back.data()) {
                prop_assert!((x - y).abs() <= 2e-6 * (x.abs() + shift.abs() as f32 + 10.0));
            }
        }
    }
}
