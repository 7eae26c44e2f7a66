//! Flow between two free-slip walls, as the lower half of a periodic box that is its own mirror image: what is even about
//! a wall has no slope there, what is odd is zero. The equations keep the symmetry, so the periodic solver needs no other
//! boundary.

/// A linear profile at rest between the walls at 0 and 1.
pub(super) struct StillProfile {
    /// 1 at the lower wall, 0 at the upper.
    pub(super) buoyancy: f64,
    /// What holds it, with mean zero.
    pub(super) pressure: f64,
}

/// The profile that conduction makes, at a height.
pub(super) fn background(height: f64) -> StillProfile {
    StillProfile {
        buoyancy: 1.0 - height,
        pressure: height - 0.5 * height * height - 1.0 / 3.0,
    }
}

/// What a field is beyond a wall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parity {
    /// Its mirror image.
    Even,
    /// The negative of its mirror image.
    Odd,
}

impl Parity {
    /// That of a field by its place among velocities and tracer: velocities along walls are even, the one across them and
    /// the tracer are odd.
    pub(super) fn of(place: usize, ndim: usize) -> Self {
        match place + 1 < ndim {
            true => Self::Even,
            false => Self::Odd,
        }
    }

    fn sign(self) -> f64 {
        match self {
            Self::Even => 1.0,
            Self::Odd => -1.0,
        }
    }
}

/// Folds a box along its last axis. Points lie in the middle of cells, so that none lies on a wall.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mirror {
    /// Points between the walls.
    points: usize,
}

impl Mirror {
    /// The mirror of fields of a shape.
    pub(super) fn of(shape: &[usize]) -> Self {
        Self {
            points: shape.last().copied().unwrap_or(1).max(1),
        }
    }

    /// A field between the walls, and its image beyond.
    pub(super) fn unfold(self, field: &[f64], parity: Parity) -> Vec<f64> {
        let sign = parity.sign();
        let rows = field.chunks(self.points);
        rows.flat_map(|row| {
            let image = row.iter().rev().map(move |x| sign * x);
            row.iter().copied().chain(image)
        })
        .collect()
    }

    /// What lies between the walls.
    pub(super) fn fold(self, field: &[f64]) -> Vec<f64> {
        let rows = field.chunks(2 * self.points);
        rows.flat_map(|row| row[..self.points.min(row.len())].iter().copied())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unfolded_folds_back() {
        let mirror = Mirror::of(&[2, 3]);
        let field = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let even = mirror.unfold(&field, Parity::Even);
        assert_eq!(even[..6], [1.0, 2.0, 3.0, 3.0, 2.0, 1.0]);
        let odd = mirror.unfold(&field, Parity::Odd);
        assert_eq!(odd[6..], [4.0, 5.0, 6.0, -6.0, -5.0, -4.0]);
        assert_eq!(mirror.fold(&even), field);
        assert_eq!(mirror.fold(&odd), field);
    }
}
