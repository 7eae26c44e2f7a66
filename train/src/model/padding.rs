//! Cells beside a grid, where windows that move by a patch do not tile it.
//!
//! Windows of k cells that move by s cover an axis of n cells when it is made
//!
//! k + s ⌈(n − k) / s⌉
//!
//! long (k where n is smaller), half of what is added (rounded down) below. What lies there:
//! around a periodic axis the other end; else, for csm, a learned value for each type of boundary,
//! and for ckm and fixed, which have no such weights, the cell at the edge again. The decoder takes the
//! cells off, so that losses and predictions are of the grid's own.

use candle_core::Tensor;
use wellspring_store::Boundary;

use super::Parameters;
use crate::Result;
use crate::config::Strategy;

/// Cells added below and above an axis of `length` cells, so that windows of `seen` cells that move
/// by `step` tile it.
pub(super) fn margin(length: usize, seen: usize, step: usize) -> (usize, usize) {
    let steps = length.saturating_sub(seen).div_ceil(step);
    let added = seen + steps * step - length;
    (added / 2, added - added / 2)
}

/// What is added along each axis of one geometry.
#[derive(Debug, Clone)]
pub(crate) struct Padding(Vec<Margin>);

#[derive(Debug, Clone)]
struct Margin {
    low: usize,
    high: usize,
    fill: Fill,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fill {
    /// The other end of the axis.
    Around,
    /// The cell at the edge.
    Edge,
    /// The learned values of the boundaries below and above.
    Learned([Boundary; 2]),
}

impl Padding {
    pub(super) fn new(
        margins: &[(usize, usize)],
        boundaries: &[[Boundary; 2]],
        strategy: Strategy,
    ) -> Self {
        let margin = |(&(low, high), &sides): (&(usize, usize), &[Boundary; 2])| Margin {
            low,
            high,
            fill: match (sides[0], strategy) {
                (Boundary::Periodic, _) => Fill::Around,
                (_, Strategy::Csm) => Fill::Learned(sides),
                (_, Strategy::Ckm | Strategy::Fixed) => Fill::Edge,
            },
        };
        Self(margins.iter().zip(boundaries).map(margin).collect())
    }

    /// Whether learned values come between the field embedding and the first convolution.
    pub(crate) fn is_learned(&self) -> bool {
        self.added()
            .any(|(_, margin)| matches!(margin.fill, Fill::Learned(_)))
    }

    /// Axes of (N, *space, C) that something is added to.
    fn added(&self) -> impl Iterator<Item = (usize, &Margin)> {
        let axes = self.0.iter().enumerate().map(|(axis, m)| (axis + 1, m));
        axes.filter(|(_, margin)| margin.low + margin.high > 0)
    }

    /// Pads fields (N, *space, C) with what they hold, and with zeros where values are learned.
    pub(crate) fn fields(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = x.clone();
        for (axis, margin) in self.added() {
            x = margin.extended(&x, axis)?;
        }
        Ok(x)
    }

    /// Pads embedded fields, with learned values too; a corner gets the sum of its sides' values.
    pub(crate) fn features(&self, x: &Tensor, p: &Parameters) -> Result<Tensor> {
        let mut x = self.fields(x)?;
        for (axis, margin) in self.added() {
            if let Fill::Learned(sides) = margin.fill {
                x = margin.learned(&x, axis, (sides, p))?;
            }
        }
        Ok(x)
    }

    /// Takes the padding off (N, *space, C).
    pub(crate) fn crop(&self, y: &Tensor) -> Result<Tensor> {
        let mut y = y.clone();
        for (axis, margin) in self.added() {
            let n = y.dim(axis)? - margin.low - margin.high;
            y = y.narrow(axis, margin.low, n)?;
        }
        Ok(y.contiguous()?)
    }
}

impl Margin {
    fn extended(&self, x: &Tensor, axis: usize) -> Result<Tensor> {
        if let Fill::Learned(_) = self.fill {
            return Ok(x.pad_with_zeros(axis, self.low, self.high)?);
        }
        let n = x.dim(axis)?;
        let cells: Vec<u32> = (0..self.low + n + self.high)
            .map(|at| self.source(at, n) as u32)
            .collect();
        let cells = Tensor::new(cells, x.device())?;
        Ok(x.contiguous()?.index_select(&cells, axis)?)
    }

    /// The cell of an axis of n that a padded one repeats.
    fn source(&self, at: usize, n: usize) -> usize {
        match self.fill {
            // Some multiple of n is added first, so that nothing is below zero.
            Fill::Around => (at + n * self.low.div_ceil(n) - self.low) % n,
            Fill::Edge | Fill::Learned(_) => at.saturating_sub(self.low).min(n - 1),
        }
    }

    /// Adds each side's learned value to its cells of the padded x.
    fn learned(
        &self,
        x: &Tensor,
        axis: usize,
        (sides, p): ([Boundary; 2], &Parameters),
    ) -> Result<Tensor> {
        let (n, channels) = (x.dim(axis)?, x.dim(x.rank() - 1)?);
        let values = p
            .get("patch_jitterer.padding_tokens")?
            .reshape((2, channels))?;
        let mut shape = vec![1; x.rank()];
        (shape[axis], shape[x.rank() - 1]) = (n, channels);
        let mut x = x.clone();
        for (side, cells) in [(sides[0], 0..self.low), (sides[1], n - self.high..n)] {
            let mask: Vec<f32> = (0..n)
                .map(|i| if cells.contains(&i) { 1.0 } else { 0.0 })
                .collect();
            let mask = Tensor::from_vec(mask, (n, 1), x.device())?;
            let value = values.narrow(0, usize::from(side.code()), 1)?;
            x = x.broadcast_add(&mask.matmul(&value)?.reshape(shape.as_slice())?)?;
        }
        Ok(x)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn margins_are_the_fewest_cells_that_let_windows_tile() {
        assert_eq!(margin(64, 16, 16), (0, 0));
        assert_eq!(margin(66, 16, 16), (7, 7));
        assert_eq!(margin(66, 4, 4), (1, 1));
        assert_eq!(margin(3, 8, 8), (2, 3));
        // csm: sixteen cells seen at a stride of four.
        assert_eq!(margin(33, 16, 4), (1, 2));
        assert_eq!(margin(15, 16, 4), (0, 1));
    }

    #[test]
    fn a_periodic_axis_goes_on_and_a_wall_stands_still() {
        let row = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let x = Tensor::new(&[1.0_f32, 2.0, 3.0], &Device::Cpu).unwrap();
        let x = x.reshape((1, 3, 1)).unwrap();
        let padded = |margin, boundary| {
            let padding = Padding::new(&[margin], &[[boundary; 2]], Strategy::Ckm);
            let padded = padding.fields(&x).unwrap();
            assert_eq!(row(&padding.crop(&padded).unwrap()), [1.0, 2.0, 3.0]);
            row(&padded)
        };
        assert_eq!(padded((0, 1), Boundary::Periodic), [1.0, 2.0, 3.0, 1.0]);
        // More than the axis has is wound around it.
        let wound = padded((4, 2), Boundary::Periodic);
        assert_eq!(wound, [3.0, 1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 1.0, 2.0]);
        assert_eq!(
            padded((2, 1), Boundary::Open),
            [1.0, 1.0, 1.0, 2.0, 3.0, 3.0]
        );
    }
}
