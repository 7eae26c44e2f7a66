//! Padding: cells beside a grid that the windows of a patch size do not tile.
//!
//! Windows of k cells that move by s cover an axis of n cells when it is made
//!
//! k + s ⌈(n − k) / s⌉
//!
//! long (k where n is smaller); half of the added cells (rounded down) are below. A periodic axis is
//! continued from its other end. Other axes get, for csm, a learned value for each type of boundary, and for
//! ckm and fixed, which have no such weights, the cell at the edge. The decoder removes the added cells, so
//! losses and predictions are on the grid itself.

use candle_core::Tensor;
use wellspring_store::Boundary;

use crate::device::upload;
use crate::ops::{PaddingMode, View, window};
use crate::{Error, Result};

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

#[derive(Debug, Clone)]
enum Fill {
    /// The other end of the axis.
    Around,
    /// The cell at the edge.
    Edge,
    /// Values (2, C, …) that are learned for types of boundaries, by those below and above.
    Learned(Tensor, [Boundary; 2]),
}

impl Padding {
    /// Margins along each axis between its boundaries. `learned` are the values that csm has for boundaries.
    pub(super) fn new(
        margins: &[(usize, usize)],
        boundaries: &[[Boundary; 2]],
        learned: Option<&Tensor>,
    ) -> Self {
        let margin = |(&(low, high), &sides): (&(usize, usize), &[Boundary; 2])| Margin {
            low,
            high,
            fill: match (sides[0], learned) {
                (Boundary::Periodic, _) => Fill::Around,
                (_, Some(values)) => Fill::Learned(values.clone(), sides),
                (_, None) => Fill::Edge,
            },
        };
        Self(margins.iter().zip(boundaries).map(margin).collect())
    }

    /// Whether learned values come between the field embedding and the first convolution.
    pub(crate) fn is_learned(&self) -> bool {
        self.added()
            .any(|(_, margin)| matches!(margin.fill, Fill::Learned(..)))
    }

    /// Axes of (N, *space, C) that something is added to.
    fn added(&self) -> impl Iterator<Item = (usize, &Margin)> {
        let axes = self.0.iter().enumerate().map(|(axis, m)| (axis + 1, m));
        axes.filter(|(_, margin)| margin.low + margin.high > 0)
    }

    /// Pads fields (N, *space, C) with what they hold, and with zeros where values are learned.
    pub(crate) fn fields(&self, x: &Tensor) -> Result<Tensor> {
        let axes = self.0.iter().zip(&x.dims()[1..]);
        let views = axes.map(|(margin, &n)| View {
            from: -(margin.low as isize),
            length: margin.low + n + margin.high,
            beyond: match margin.fill {
                Fill::Around => PaddingMode::Around,
                Fill::Edge => PaddingMode::Edge,
                Fill::Learned(..) => PaddingMode::Zeros,
            },
        });
        Ok(window(x, &views.collect::<Vec<_>>())?)
    }

    /// Pads embedded fields, with learned values too; a corner gets the sum of its sides' values.
    pub(crate) fn features(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.fields(x)?;
        // Summed over the axes first, so that the items' cells are gone through once.
        let mut values: Option<Tensor> = None;
        for (axis, margin) in self.added() {
            if let Fill::Learned(learned, sides) = &margin.fill {
                let along = margin.learned(&x, axis, learned, *sides)?;
                values = Some(match values {
                    Some(values) => values.broadcast_add(&along)?,
                    None => along,
                });
            }
        }
        Ok(match values {
            Some(values) => x.broadcast_add(&values)?,
            None => x,
        })
    }

    /// Takes the padding off (N, *space, C).
    pub(crate) fn crop(&self, y: &Tensor) -> Result<Tensor> {
        let axes = self.0.iter().zip(&y.dims()[1..]);
        let views = axes.map(|(margin, &n)| View {
            from: margin.low as isize,
            length: n - margin.low - margin.high,
            beyond: PaddingMode::Zeros,
        });
        Ok(window(y, &views.collect::<Vec<_>>())?)
    }
}

impl Margin {
    /// What is learned for the two sides of an axis of the padded x, at their cells: of x's shape where the other
    /// axes are one long.
    fn learned(
        &self,
        x: &Tensor,
        axis: usize,
        values: &Tensor,
        sides: [Boundary; 2],
    ) -> Result<Tensor> {
        let (n, channels) = (x.dim(axis)?, x.dim(x.rank() - 1)?);
        let values = values.reshape((2, channels))?;
        if sides.contains(&Boundary::Periodic) {
            return Err(Error::Shape {
                what: "the boundaries of an axis",
                expected: "periodic on both sides, or on neither".into(),
                found: format!("{sides:?}"),
            });
        }
        // Which of the values each cell has.
        let mut which = vec![0.0_f32; 2 * n];
        for (side, cells) in [(sides[0], 0..self.low), (sides[1], n - self.high..n)] {
            cells.for_each(|cell| which[2 * cell + usize::from(side.code())] = 1.0);
        }
        let which = upload(&which, (n, 2), x.device())?;
        let mut shape = vec![1; x.rank()];
        (shape[axis], shape[x.rank() - 1]) = (n, channels);
        Ok(which.matmul(&values)?.reshape(shape)?)
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
            let padding = Padding::new(&[margin], &[[boundary; 2]], None);
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
