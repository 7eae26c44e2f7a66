//! Gathers the stored values of a frame into planes, with strides and repetition, mapping every value.

use std::ops::Range;

use wellspring_store::AxisSelection;

/// Cells along the first axis that are read together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Slab {
    /// Range in the file.
    pub(super) file: Range<usize>,
    /// Range in the planes.
    pub(crate) rows: Range<usize>,
}

/// The map from the stored values of a frame to a plane.
pub(super) struct Gather {
    /// Number of stored values of the frame.
    pub(super) frame: usize,
    /// For each axis of the plane but the last: number of places, and stored values from one to the next.
    outer: Vec<(usize, usize)>,
    /// Places and spacing along the last axis of the plane, or over all axes that lie evenly.
    inner: (usize, usize),
    /// The first cell.
    start: usize,
}

impl Gather {
    /// The map for a field with `components` components, which varies along some axes.
    pub(super) fn new(
        space: &[AxisSelection],
        dim_varying: &[bool],
        components: usize,
        slab: &Slab,
    ) -> Self {
        let mut axes = Vec::new();
        let (mut stride, mut start, mut dense) = (components, 0, true);
        for (axis, selection) in space.iter().enumerate().rev() {
            let (cells, rows) = match axis {
                0 => (slab.file.clone(), slab.rows.len()),
                _ => (selection.start..selection.end, selection.count()),
            };
            if !dim_varying[axis] {
                dense &= rows == 1;
                axes.push((rows, 0));
                continue;
            }
            if axis == 0 {
                // The first selected cell of the slab may lie within it.
                let ahead = (slab.file.start - selection.start) % selection.stride;
                start = (selection.stride - ahead) % selection.stride * stride;
            }
            dense &= selection.stride == 1;
            axes.push((rows, stride * selection.stride));
            stride *= cells.len();
        }
        axes.reverse();
        if dense {
            let cells = axes.iter().map(|axis| axis.0).product();
            axes = vec![(cells, components)];
        }
        let inner = axes.pop().unwrap_or((1, 0));
        Self {
            frame: stride,
            outer: axes,
            inner,
            start,
        }
    }

    /// Fills a plane with a component of a frame's stored values, each mapped.
    pub(super) fn plane<T: Copy, X>(
        &self,
        values: &[T],
        component: usize,
        map: impl Fn(T) -> X + Copy,
        plane: &mut [X],
    ) {
        let (length, step) = self.inner;
        let mut at = vec![0; self.outer.len()];
        let mut place = self.start + component;
        for line in plane.chunks_exact_mut(length.max(1)) {
            fill(&values[place..], step, line, map);
            for axis in (0..at.len()).rev() {
                let (count, stride) = self.outer[axis];
                at[axis] += 1;
                place += stride;
                if at[axis] < count {
                    break;
                }
                at[axis] = 0;
                place -= count * stride;
            }
        }
    }
}

/// What a plane is of.
pub(crate) trait Cell: Copy + Default + PartialOrd + Into<f64> {
    fn of_f32(value: f32) -> Self;
    fn of_f64(value: f64) -> Self;
    fn magnitude(self) -> Self;
    /// Whether it is a number, and one that f32 holds.
    fn fits(self) -> bool;
}

impl Cell for f32 {
    #[inline(always)]
    fn of_f32(value: f32) -> Self {
        value
    }

    #[inline(always)]
    fn of_f64(value: f64) -> Self {
        value as f32
    }

    #[inline(always)]
    fn magnitude(self) -> Self {
        self.abs()
    }

    #[inline(always)]
    fn fits(self) -> bool {
        self.abs() <= f32::MAX
    }
}

impl Cell for f64 {
    #[inline(always)]
    fn of_f32(value: f32) -> Self {
        value.into()
    }

    #[inline(always)]
    fn of_f64(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn magnitude(self) -> Self {
        self.abs()
    }

    #[inline(always)]
    fn fits(self) -> bool {
        self.abs() <= f32::MAX.into()
    }
}

/// Fills a line with every `step`-th value, mapped; a constant step becomes a vectorized loop.
#[inline(always)]
fn fill<T: Copy, X>(values: &[T], step: usize, line: &mut [X], map: impl Fn(T) -> X) {
    match step {
        0 => line.iter_mut().for_each(|x| *x = map(values[0])),
        1 => each::<1, T, X>(values, line, map),
        2 => each::<2, T, X>(values, line, map),
        3 => each::<3, T, X>(values, line, map),
        4 => each::<4, T, X>(values, line, map),
        _ => {
            let values = values.iter().step_by(step);
            line.iter_mut()
                .zip(values)
                .for_each(|(x, &value)| *x = map(value));
        }
    }
}

#[inline(always)]
fn each<const STEP: usize, T: Copy, X>(values: &[T], line: &mut [X], map: impl Fn(T) -> X) {
    let (groups, rest) = values.as_chunks::<STEP>();
    let whole = groups.len().min(line.len());
    let (line, last) = line.split_at_mut(whole);
    for (x, group) in line.iter_mut().zip(groups) {
        *x = map(group[0]);
    }
    // The last value may have less than a whole step behind it.
    if let (Some(x), Some(&value)) = (last.first_mut(), rest.first()) {
        *x = map(value);
    }
}

/// Whether all values are numbers that f32 holds; in blocks, so that the compiler makes vectors of it.
pub(super) fn finite<X: Cell>(plane: &[X]) -> bool {
    plane
        .chunks(1 << 12)
        .all(|block| block.iter().fold(true, |all, x| all & x.fits()))
}
