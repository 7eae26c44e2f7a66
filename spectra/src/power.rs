//! |X|² of a field's modes.

/// |X|² of the modes that a transform keeps; the others, their mirror images, count by weight.
#[derive(Debug, Clone, PartialEq)]
pub struct Power {
    shape: Vec<usize>,
    values: Vec<f64>,
}

impl Power {
    pub(crate) fn new(shape: Vec<usize>, values: Vec<f64>) -> Self {
        Self { shape, values }
    }

    /// |X|² of each kept mode.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Mean square of the field: Σ |X|² / N² over all modes.
    #[must_use]
    pub fn energy(&self) -> f64 {
        let kept = self.kept();
        let lines = self.values.chunks(kept);
        let sum: f64 = lines
            .map(|line| {
                line.iter()
                    .enumerate()
                    .map(|(i, x)| x * self.weight(i))
                    .sum::<f64>()
            })
            .sum();
        sum / self.unit()
    }

    /// Energy by whole waves along one axis, 0 to n/2, summed over the other axes.
    ///
    /// # Panics
    /// When there is no such axis.
    #[must_use]
    pub fn along(&self, axis: usize) -> Vec<f64> {
        let n = self.shape[axis];
        let mut energy = vec![0.0; n / 2 + 1];
        let kept = self.kept();
        let last = axis + 1 == self.shape.len();
        let inner: usize = self.shape[axis + 1..]
            .iter()
            .rev()
            .skip(1)
            .product::<usize>()
            * if last { 1 } else { kept };
        for (i, value) in self.values.iter().enumerate() {
            let wave = i / inner % if last { kept } else { n };
            energy[wave.min(n - wave)] += value * self.weight(i % kept);
        }
        energy.iter_mut().for_each(|sum| *sum /= self.unit());
        energy
    }

    /// How many modes a kept one stands for, by its place on the last axis.
    pub(crate) fn weight(&self, place: usize) -> f64 {
        let n = self.shape[self.shape.len() - 1];
        if place == 0 || 2 * place == n {
            1.0
        } else {
            2.0
        }
    }

    pub(crate) fn kept(&self) -> usize {
        self.shape[self.shape.len() - 1] / 2 + 1
    }

    /// N².
    pub(crate) fn unit(&self) -> f64 {
        let cells: usize = self.shape.iter().product();
        (cells as f64).powi(2)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use crate::Transform;

    #[test]
    fn every_axis_sees_the_whole_energy() {
        let shape = [5, 6, 7];
        let field: Vec<f32> = (0..210).map(|i| ((i * i) as f32 * 0.37).sin()).collect();
        let power = Transform::new(&shape).unwrap().power(&field).unwrap();
        for axis in 0..3 {
            let sum: f64 = power.along(axis).iter().sum();
            assert!((sum - power.energy()).abs() < 1e-12, "{axis}");
        }
    }
}
