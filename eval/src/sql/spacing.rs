//! [`Spacing`]: how far apart the cells of a field column are, which the column's metadata says.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use wellspring_store::{Axis, Boundary, Grid};

/// Key of the metadata.
const KEY: &str = "wellspring.axes";
/// Part of a step by which coordinates may be off an even grid: files have them in f32.
const EVEN: f64 = 1e-3;

/// The axes of a cartesian grid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spacing(pub(crate) Vec<AxisSpacing>);

/// The points of an axis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AxisSpacing {
    points: Points,
    is_periodic: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Points {
    /// A number of points at equal steps.
    Even(usize, f64),
    /// Points by their coordinates.
    At(Vec<f64>),
}

impl Spacing {
    /// That of a grid; none where steps along its axes are not lengths, as of angles.
    pub(crate) fn of(grid: &Grid) -> Option<Self> {
        let is_cartesian = grid.kind == "cartesian";
        is_cartesian.then(|| Self(grid.axes.iter().map(AxisSpacing::of).collect()))
    }

    /// What a column's metadata says, if anything.
    pub(crate) fn read(metadata: &HashMap<String, String>) -> Option<Self> {
        serde_json::from_str(metadata.get(KEY)?).ok()
    }

    /// Adds it to a column's metadata.
    pub(crate) fn write(&self, metadata: &mut HashMap<String, String>) {
        if let Ok(text) = serde_json::to_string(self) {
            metadata.insert(KEY.into(), text);
        }
    }
}

impl AxisSpacing {
    fn of(axis: &Axis) -> Self {
        let points = &axis.coordinates;
        let step = mean_step(points);
        let is_even = points.iter().enumerate().all(|(i, x)| {
            let even = points[0] + i as f64 * step;
            (x - even).abs() <= EVEN * step.abs()
        });
        Self {
            points: match is_even {
                true => Points::Even(points.len(), step),
                false => Points::At(points.clone()),
            },
            is_periodic: axis.boundary == [Boundary::Periodic; 2],
        }
    }

    /// Number of points.
    pub(crate) fn count(&self) -> usize {
        match &self.points {
            Points::Even(count, _) => *count,
            Points::At(points) => points.len(),
        }
    }

    /// Coordinate of a point; those before the first and after the last are the points of a periodic axis again.
    fn at(&self, point: isize) -> f64 {
        let n = self.count() as isize;
        match &self.points {
            Points::Even(_, step) => point as f64 * step,
            Points::At(points) => {
                let rounds = point.div_euclid(n) as f64;
                let period = n as f64 * mean_step(points);
                points[point.rem_euclid(n) as usize] + rounds * period
            }
        }
    }

    /// The first derivative at each point as three points and their weights: central, and at an end that is not
    /// periodic from the side that is there. Exact for parabolas.
    pub(crate) fn derivative(&self) -> Vec<[(usize, f64); 3]> {
        let n = self.count() as isize;
        let at = |point: isize| {
            let first = match (self.is_periodic, n) {
                (_, 1) => return [(0, 0.0); 3],
                (false, 2) => {
                    let slope = (self.at(1) - self.at(0)).recip();
                    return [(0, -slope), (1, slope), (1, 0.0)];
                }
                (true, _) => point - 1,
                (false, _) => (point - 1).clamp(0, n - 3),
            };
            let near = [0, 1, 2].map(|i| first + i);
            let weights = slopes(near.map(|i| self.at(i)), self.at(point));
            [0, 1, 2].map(|i: usize| (near[i].rem_euclid(n) as usize, weights[i]))
        };
        (0..n).map(at).collect()
    }
}

/// Weights of three values for the slope at x of the parabola through them.
fn slopes([a, b, c]: [f64; 3], x: f64) -> [f64; 3] {
    [
        (2.0 * x - b - c) / ((a - b) * (a - c)),
        (2.0 * x - a - c) / ((b - a) * (b - c)),
        (2.0 * x - a - b) / ((c - a) * (c - b)),
    ]
}

fn mean_step(points: &[f64]) -> f64 {
    match points {
        [first, .., last] => (last - first) / (points.len() - 1) as f64,
        _ => 1.0,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn axis(coordinates: Vec<f64>, boundary: Boundary) -> AxisSpacing {
        AxisSpacing::of(&Axis {
            name: "x".into(),
            coordinates,
            boundary: [boundary; 2],
        })
    }

    /// The derivative of values along an axis.
    fn derived(axis: &AxisSpacing, value: impl Fn(f64) -> f64, points: &[f64]) -> Vec<f64> {
        let of = |near: &[(usize, f64); 3]| {
            let terms = near.iter().map(|&(i, weight)| weight * value(points[i]));
            terms.sum()
        };
        axis.derivative().iter().map(of).collect()
    }

    #[test]
    fn parabolas_are_exact_between_walls_at_any_spacing() {
        let even: Vec<f64> = (0..6).map(|i| 3.0 + 0.5 * f64::from(i)).collect();
        let uneven: Vec<f64> = (0..6).map(|i| (0.4 * f64::from(i)).sinh()).collect();
        for points in [even, uneven] {
            for boundary in [Boundary::Wall, Boundary::Open] {
                let axis = axis(points.clone(), boundary);
                let slopes = derived(&axis, |x| 2.0 * x * x - x + 1.0, &points);
                for (slope, x) in slopes.iter().zip(&points) {
                    assert!((slope - (4.0 * x - 1.0)).abs() < 1e-9, "{slope} at {x}");
                }
            }
        }
    }

    /// The central difference of a wave is that of the wave times sin(k dx) / (k dx), also across the seam.
    #[test]
    fn a_periodic_axis_goes_on_at_its_other_end() {
        let n = 12;
        let points: Vec<f64> = (0..n).map(|i| 0.25 * f64::from(i)).collect();
        let k = std::f64::consts::TAU / (0.25 * f64::from(n));
        let axis = axis(points.clone(), Boundary::Periodic);
        let slopes = derived(&axis, |x| (k * x).sin(), &points);
        for (slope, x) in slopes.iter().zip(&points) {
            let expected = (k * x).cos() * (k * 0.25).sin() / 0.25;
            assert!((slope - expected).abs() < 1e-12, "{slope} at {x}");
        }
    }

    #[test]
    fn an_axis_of_few_points_has_the_slopes_that_it_can_have() {
        let of =
            |points: &[f64]| derived(&axis(points.to_vec(), Boundary::Wall), |x| 3.0 * x, points);
        assert_eq!(of(&[5.0]), [0.0]);
        assert_eq!(of(&[5.0, 5.5]), [3.0, 3.0]);
        assert_eq!(
            axis(vec![5.0], Boundary::Periodic).derivative(),
            [[(0, 0.0); 3]]
        );
    }

    #[test]
    fn it_is_read_as_it_is_written() {
        let even = axis(vec![0.0, 0.1_f32.into(), 0.2_f32.into()], Boundary::Wall);
        assert!(matches!(even.points, Points::Even(3, _)));
        let spacing = Spacing(vec![even, axis(vec![0.0, 1.0, 4.0], Boundary::Periodic)]);
        let mut metadata = HashMap::new();
        assert_eq!(Spacing::read(&metadata), None);
        spacing.write(&mut metadata);
        assert_eq!(Spacing::read(&metadata), Some(spacing));
    }
}
