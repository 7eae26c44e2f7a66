//! The map that shards are normalized by.

use serde::{Deserialize, Serialize};

use crate::Frames;

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

/// stored = (value − shift) / scale, per channel.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Affine {
    /// Shift of each channel, in the field's units.
    pub shift: Vec<f64>,
    /// Scale of each channel, in the field's units; never zero.
    pub scale: Vec<f64>,
}

impl Affine {
    /// Field units → stored value, of one channel, rounded once.
    ///
    /// # Panics
    /// When there is no such channel.
    #[inline(always)]
    pub fn stored(&self, channel: usize) -> impl Fn(f64) -> f32 + Copy + use<> {
        // A processor multiplies several times as fast as it divides; in f32 both are the same.
        let (shift, inverse) = (self.shift[channel], self.scale[channel].recip());
        move |value| ((value - shift) * inverse) as f32
    }

    /// Field units → stored values, in place.
    ///
    /// # Panics
    /// When the frames have more channels than this.
    pub fn normalize(&self, frames: &mut Frames) {
        self.each(frames, |x, shift, scale| (x - shift) * scale.recip());
    }

    /// Converts stored values to field units, in place.
    ///
    /// # Panics
    /// When the frames have more channels than this.
    pub fn denormalize(&self, frames: &mut Frames) {
        self.each(frames, |x, shift, scale| x * scale + shift);
    }

    fn each(&self, frames: &mut Frames, map: impl Fn(f64, f64, f64) -> f64) {
        let (cells, channels) = (frames.cells(), frames.channels());
        for (i, values) in frames.data_mut().chunks_mut(cells.max(1)).enumerate() {
            let (shift, scale) = (self.shift[i % channels], self.scale[i % channels]);
            for value in values {
                *value = map(f64::from(*value), shift, scale) as f32;
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stored_values_are_right_at_every_scale() {
        for (shift, scale) in [(3e-24, 1e-24), (0.0, 1e-30), (1e8, 1e-3), (-1e30, 1e28)] {
            let affine = Affine {
                shift: vec![shift],
                scale: vec![scale],
            };
            for x in [-3.0, -0.5, 0.0, 0.1, 7.0] {
                let stored = affine.stored(0)(shift + x * scale);
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

    proptest! {
        #[test]
        fn denormalizing_undoes_normalizing(xs in prop::collection::vec(-1e3..1e3_f32, 8), shift in -10.0..10.0, scale in 0.1..10.0) {
            let affine = Affine { shift: vec![shift], scale: vec![scale] };
            let frames = Frames::new(1, 1, 1, vec![8], xs).unwrap();
            let mut there_and_back = frames.clone();
            affine.normalize(&mut there_and_back);
            affine.denormalize(&mut there_and_back);
            for (x, y) in frames.data().iter().zip(there_and_back.data()) {
                prop_assert!((x - y).abs() <= 1e-6 * (x.abs() + shift.abs() as f32 + 1.0));
            }
        }
    }
}
