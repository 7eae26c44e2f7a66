//! [`Power`]: the power |X|² of a field's modes.

/// |X|² of the modes that a transform keeps, twice where a mode stands for its mirror image too.
#[derive(Debug, Clone, PartialEq)]
pub struct Power {
    shape: Vec<usize>,
    values: Vec<f64>,
}

impl Power {
    /// Power from |X|² of the kept modes.
    pub(crate) fn new(shape: &[usize], mut values: Vec<f64>) -> Self {
        let n = shape[shape.len() - 1];
        for line in values.chunks_mut(n / 2 + 1) {
            mirrored(line, n).for_each(|x| *x *= 2.0);
        }
        Self {
            shape: shape.to_vec(),
            values,
        }
    }

    /// Mean square of the field: Σ |X|² / N² over all modes.
    #[must_use]
    pub fn energy(&self) -> f64 {
        self.lines().map(sum).sum::<f64>() / self.unit()
    }

    /// Energy along each axis by whole waves, 0 to n/2, summed over the other axes.
    #[must_use]
    pub fn axes(&self) -> Vec<Vec<f64>> {
        let mut axes: Vec<Vec<f64>> = self.shape.iter().map(|n| vec![0.0; n / 2 + 1]).collect();
        let Some((last, others)) = axes.split_last_mut() else {
            return axes;
        };
        for (line, values) in self.lines().enumerate() {
            last.iter_mut().zip(values).for_each(|(sum, x)| *sum += x);
            let (whole, mut rest) = (sum(values), line);
            for (energy, n) in others.iter_mut().zip(&self.shape).rev() {
                let wave = rest % n;
                rest /= n;
                energy[wave.min(n - wave)] += whole;
            }
        }
        let unit = self.unit();
        axes.iter_mut().flatten().for_each(|sum| *sum /= unit);
        axes
    }

    /// Values along the last axis, line by line.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks(self.shape[self.shape.len() - 1] / 2 + 1)
    }

    /// N².
    pub(crate) fn unit(&self) -> f64 {
        let cells: usize = self.shape.iter().product();
        (cells as f64).powi(2)
    }
}

/// The kept modes of a line whose mirror images are not kept: all but the first and, of an even
/// `n`, the last.
pub(crate) fn mirrored<T>(line: &mut [T], n: usize) -> impl Iterator<Item = &mut T> {
    line.iter_mut().take(n.div_ceil(2)).skip(1)
}

/// Adds up in lanes, which a processor does side by side.
pub(crate) fn sum(values: &[f64]) -> f64 {
    let (chunks, rest) = values.as_chunks::<4>();
    let mut lanes = [0.0; 4];
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(sum, x)| *sum += x);
    }
    lanes.iter().chain(rest).sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use crate::Transform;

    proptest! {
        #[test]
        fn every_axis_sees_the_whole_energy(
            shape in prop::collection::vec(1..9_usize, 1..4), seed: u16,
        ) {
            let cells: usize = shape.iter().product();
            let field: Vec<f32> = (0..cells).map(|i| ((i * i + usize::from(seed)) as f32 * 0.37).sin()).collect();
            let square = field.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / cells as f64;
            let power = Transform::new(&shape).unwrap().power(&field).unwrap();
            prop_assert!((power.energy() - square).abs() < 1e-12);
            for axis in power.axes() {
                prop_assert!((axis.iter().sum::<f64>() - square).abs() < 1e-12);
            }
        }
    }
}
