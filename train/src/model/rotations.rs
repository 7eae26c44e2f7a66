//! Axial rotary embedding: the position of a token on its grid as angles that rotate queries and keys.

use std::collections::BTreeMap;
use std::f32::consts::PI;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::Device;

use crate::Result;
use crate::ops::Rotation;

/// The rotations of heads of one width over the grids that were met, on the model's device: made once,
/// shared by its views.
#[derive(Debug, Clone)]
pub(super) struct Rotations {
    width: usize,
    made: Arc<Mutex<BTreeMap<Vec<usize>, Rotation>>>,
}

impl Rotations {
    pub(super) fn new(width: usize) -> Self {
        Self {
            width,
            made: Arc::default(),
        }
    }

    /// Rotations of the tokens of a grid, computed once for each grid.
    pub(super) fn over(&self, grid: &[usize], device: &Device) -> Result<Rotation> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rotation) = made.get(grid) {
            return Ok(rotation.clone());
        }
        let tokens = grid.iter().product();
        let rotation = Rotation::new(&angles(grid, self.width), tokens, device)?;
        made.insert(grid.to_vec(), rotation.clone());
        Ok(rotation)
    }
}

/// Along each of always three axes, positions from −1 to 1 (one alone sits at −1) times frequencies from π
/// to 128 π. A quarter of a head's features goes to each axis.
fn angles(grid: &[usize], width: usize) -> Vec<f64> {
    let frequencies = linspace(1.0, 128.0, width / 4 / 2);
    let frequencies: Vec<f32> = frequencies.iter().map(|f| f * PI).collect();
    let length = |axis: usize| grid.get(axis).copied().unwrap_or(1);
    let positions = [0, 1, 2].map(|axis| linspace(-1.0, 1.0, length(axis)));
    let mut angles = Vec::new();
    for token in 0..grid.iter().product() {
        let place = [
            token / length(2) / length(1),
            token / length(2) % length(1),
            token % length(2),
        ];
        for (positions, &at) in positions.iter().zip(&place) {
            angles.extend(frequencies.iter().map(|f| f64::from(positions[at] * f)));
        }
    }
    angles
}

/// `torch.linspace` in f32, which counts from the nearer end.
fn linspace(start: f32, end: f32, n: usize) -> Vec<f32> {
    let step = if n > 1 {
        (end - start) / (n - 1) as f32
    } else {
        0.0
    };
    let at = |i: usize| {
        if i < n.div_ceil(2) {
            start + step * i as f32
        } else {
            end - step * (n - 1 - i) as f32
        }
    };
    (0..n).map(at).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_turned_by_where_it_is() {
        // Two frequencies, π and 128 π, for each axis.
        let found = angles(&[3, 2], 16);
        let expected = |place: [f64; 3]| {
            let angles = place.map(|x| [x * f64::from(PI), x * 128.0 * f64::from(PI)]);
            angles.concat()
        };
        let close = |x: &[f64], y: &[f64]| x.iter().zip(y).all(|(x, y)| (x - y).abs() < 1e-4);
        assert_eq!(found.len(), 6 * 6);
        assert!(close(&found[..6], &expected([-1.0, -1.0, -1.0])));
        assert!(close(&found[30..], &expected([1.0, 1.0, -1.0])));
    }
}
