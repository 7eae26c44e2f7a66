//! Finds frames that were never written: the HDF5 library gives a fill value for them, which is not a
//! measurement.
//!
//! In chunked storage, a chunk that is not in the file was never written. In contiguous storage, or within
//! a chunk that is written in part, only the fill value tells: one that the writer chose for this, as NetCDF
//! does.

use std::collections::BTreeMap;

use hdf5::plist::DatasetCreate;
use hdf5::plist::dataset_create::FillValue;

/// Fill values from here on mean that nothing was measured: CMIP has 1e20 and NetCDF 9.97e36. A smaller
/// one may well be a value.
const MISSING: f64 = 1e18;

/// The frames of a field that were never written.
pub(super) enum UnwrittenFrames {
    Nothing,
    Everything,
    Chunks(WrittenChunks),
}

/// Chunks that are there, by the trajectories and steps that they hold.
pub(super) struct WrittenChunks {
    /// Trajectories and steps of a chunk.
    frames: [usize; 2],
    /// Chunks that hold the same trajectories and steps, one for each part of space.
    together: usize,
    /// Number of existing chunks.
    there: BTreeMap<[usize; 2], usize>,
}

impl UnwrittenFrames {
    /// Finds unwritten frames from the places of existing chunks, in a grid of chunks of which the first axes are
    /// those that `varies` says: trajectories, steps.
    pub(super) fn of(
        places: impl ExactSizeIterator<Item = usize>,
        chunk: &[usize],
        grid: &[usize],
        varies: [bool; 2],
    ) -> Self {
        let count = grid.iter().try_fold(1, |n: usize, &m| n.checked_mul(m));
        if count == Some(places.len()) {
            return Self::Nothing;
        }
        let leading = varies.iter().filter(|varies| **varies).count();
        let together = grid[leading..]
            .iter()
            .fold(1, |n: usize, &m| n.saturating_mul(m));
        let (mut sizes, mut frames, mut counts) = (chunk.iter(), [usize::MAX; 2], [1; 2]);
        for (axis, _) in varies.iter().enumerate().filter(|(_, varies)| **varies) {
            frames[axis] = sizes.next().copied().unwrap_or(1).max(1);
            counts[axis] = grid[axis.min(leading - 1)];
        }
        let mut there = BTreeMap::new();
        for place in places {
            let frame = place / together.max(1);
            let key = [frame / counts[1].max(1), frame % counts[1].max(1)];
            *there.entry(key).or_default() += 1;
        }
        Self::Chunks(WrittenChunks {
            frames,
            together,
            there,
        })
    }

    /// Whether some value of a frame was never written.
    pub(super) fn holds(&self, sample: usize, step: usize) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::Chunks(chunks) => {
                let at = [sample / chunks.frames[0], step / chunks.frames[1]];
                chunks.there.get(&at) != Some(&chunks.together)
            }
        }
    }
}

/// The fill value that stands for values that were never written, if the writer chose one.
pub(super) fn missing_value(created: &DatasetCreate) -> hdf5::Result<Option<f64>> {
    if created.get_fill_value_defined()? != FillValue::UserDefined {
        return Ok(None);
    }
    let value = created.get_fill_value_as::<f64>()?;
    Ok(value.filter(|value| value.is_finite() && value.abs() >= MISSING))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Chunks of 1 trajectory, 4 steps and half of space, of 2 trajectories and 10 steps.
    #[test]
    fn a_frame_is_there_where_all_its_chunks_are() {
        let (chunk, grid) = ([1, 4, 16, 32], [2, 3, 2, 1]);
        let of = |missing: &[usize]| {
            let places: Vec<usize> = (0..12).filter(|place| !missing.contains(place)).collect();
            UnwrittenFrames::of(places.into_iter(), &chunk, &grid, [true, true])
        };
        assert!(matches!(of(&[]), UnwrittenFrames::Nothing));
        // The second trajectory's middle steps, lower half of space.
        let some = of(&[6 + 2]);
        let found: Vec<_> = (0..2)
            .flat_map(|sample| (0..10).map(move |step| (sample, step)))
            .filter(|&(sample, step)| some.holds(sample, step))
            .collect();
        assert_eq!(found, [(1, 4), (1, 5), (1, 6), (1, 7)]);
    }

    #[test]
    fn axes_on_which_a_field_does_not_vary_have_no_chunks() {
        let steps = UnwrittenFrames::of([0, 2].into_iter(), &[2, 8], &[3, 1], [false, true]);
        assert!(!steps.holds(9, 1) && steps.holds(9, 2) && !steps.holds(0, 4));
        let samples = UnwrittenFrames::of([1].into_iter(), &[1, 8], &[2, 1], [true, false]);
        assert!(samples.holds(0, 7) && !samples.holds(1, 7));
        let neither = UnwrittenFrames::of([1].into_iter(), &[4], &[2], [false, false]);
        assert!(neither.holds(0, 0));
    }
}
