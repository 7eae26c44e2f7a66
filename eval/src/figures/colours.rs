//! Colours of fields: a palette of 256, of which the last is for values that are not finite.

/// A palette, and the values at its ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum ColourMap {
    /// Viridis from a value to another.
    Sequential { low: f32, high: f32 },
    /// Blue through white to red from minus a value to it: white at zero.
    Diverging { reach: f32 },
}

/// Stops of viridis: even steps of lightness, safe for colour-blind eyes.
const SEQUENTIAL: [[f32; 3]; 6] = [
    [68.0, 1.0, 84.0],
    [65.0, 68.0, 135.0],
    [42.0, 120.0, 142.0],
    [34.0, 168.0, 132.0],
    [122.0, 209.0, 81.0],
    [253.0, 231.0, 37.0],
];
const DIVERGING: [[f32; 3]; 5] = [
    [33.0, 102.0, 172.0],
    [146.0, 197.0, 222.0],
    [247.0, 247.0, 247.0],
    [244.0, 165.0, 130.0],
    [178.0, 24.0, 43.0],
];
/// An odd number, so that zero has a colour of its own.
pub(crate) const SHADES: u8 = 255;
/// What is not finite is black.
const UNKNOWN: u8 = SHADES;

impl ColourMap {
    pub(crate) fn ends(self) -> [f32; 2] {
        match self {
            Self::Sequential { low, high } => [low, high],
            Self::Diverging { reach } => [-reach, reach],
        }
    }

    /// Number of a value's colour.
    pub(crate) fn shade(self, value: Option<f32>) -> u8 {
        let Some(value) = value.filter(|value| value.is_finite()) else {
            return UNKNOWN;
        };
        // In f64, where the ends of f32 have a finite distance.
        let [low, high] = self.ends().map(f64::from);
        let place = if high > low {
            (f64::from(value) - low) / (high - low)
        } else {
            0.5
        };
        (place.clamp(0.0, 1.0) * f64::from(SHADES - 1)).round() as u8
    }

    /// Red, green and blue of every number.
    pub(crate) fn palette(self) -> Vec<[u8; 3]> {
        let stops: &[[f32; 3]] = match self {
            Self::Sequential { .. } => &SEQUENTIAL,
            Self::Diverging { .. } => &DIVERGING,
        };
        let shades = (0..SHADES).map(|shade| mixed(stops, shade));
        shades.chain([[0; 3]]).collect()
    }
}

fn mixed(stops: &[[f32; 3]], shade: u8) -> [u8; 3] {
    let at = f32::from(shade) / f32::from(SHADES - 1) * (stops.len() - 1) as f32;
    let below = (at as usize).min(stops.len() - 2);
    let part = at - below as f32;
    [0, 1, 2]
        .map(|i: usize| (stops[below][i] * (1.0 - part) + stops[below + 1][i] * part).round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_error_is_white_and_what_is_not_finite_is_black() {
        let errors = ColourMap::Diverging { reach: 3.0 };
        let colour = |value| errors.palette()[usize::from(errors.shade(value))];
        assert_eq!(colour(Some(0.0)), [247; 3]);
        assert_eq!(colour(Some(-9.0)), [33, 102, 172]);
        assert_eq!(colour(None), [0; 3]);
        assert_eq!(colour(Some(f32::NAN)), [0; 3]);
        let values = ColourMap::Sequential {
            low: 1.0,
            high: 2.0,
        };
        assert_eq!(
            values.palette()[usize::from(values.shade(Some(1.0)))],
            [68, 1, 84]
        );
    }

    #[test]
    fn a_range_of_nothing_and_the_widest_have_a_middle() {
        let flat = ColourMap::Diverging { reach: 0.0 };
        assert_eq!(flat.shade(Some(0.0)), 127);
        let wide = ColourMap::Sequential {
            low: f32::MIN,
            high: f32::MAX,
        };
        assert_eq!(wide.shade(Some(0.0)), 127);
    }
}
