//! Looks at one frame of a field: whether it is all zero, which cells are outliers, which mark missing
//! values.

use crate::well::Cell;

/// Values that programs write for missing ones: NetCDF's for floats, and CF's and CMIP's.
const FILLS: [f64; 2] = [9.969_209_968_386_869e36, 1e20];

/// Factor by which a few cells must exceed all others to be outliers.
const APART: f64 = 1e6;

/// The most cells that are a few.
const FEW: usize = 8;

/// Cells of a frame that are looked at first.
const PROBES: usize = 64;

/// The stored values of a frame, or of a slab of it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum StoredSlice<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
}

/// What was seen; glances at the slabs of a frame make one at the frame.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Glance {
    /// A checksum of the stored values.
    pub(crate) checksum: u64,
    /// The largest magnitudes, falling, each with its sign.
    largest: [f64; FEW + 1],
    /// A value that stands for a missing one.
    pub(crate) fill: Option<f64>,
    /// Values that were not finite and became zero.
    pub(crate) replaced: usize,
    /// Whether some of it was never written.
    pub(crate) is_unwritten: bool,
}

impl Glance {
    /// Looks at values of which so many were replaced, and some may never have been written; `fills` are
    /// those that the file itself names as missing.
    pub(crate) fn at(
        values: StoredSlice<'_>,
        checksum: u64,
        replaced: usize,
        is_unwritten: bool,
        fills: &[f64],
    ) -> Self {
        let (largest, fill) = match values {
            StoredSlice::F32(values) => seen(values, fills),
            StoredSlice::F64(values) => seen(values, fills),
        };
        Self {
            checksum,
            largest,
            // What was never written has fill values.
            fill: fill.filter(|_| !is_unwritten),
            replaced,
            is_unwritten,
        }
    }

    /// A glance at both.
    pub(crate) fn and(self, other: &Self) -> Self {
        let mut all = [self.largest, other.largest].concat();
        all.sort_by(|a, b| b.abs().total_cmp(&a.abs()));
        let mut largest = [0.0; FEW + 1];
        largest.copy_from_slice(&all[..FEW + 1]);
        let both = [self.checksum.to_le_bytes(), other.checksum.to_le_bytes()].concat();
        Self {
            checksum: xxhash_rust::xxh3::xxh3_64(&both),
            largest,
            fill: self.fill.or(other.fill),
            replaced: self.replaced + other.replaced,
            is_unwritten: self.is_unwritten || other.is_unwritten,
        }
    }

    /// Whether every value is zero.
    pub(crate) fn is_zero(&self) -> bool {
        self.largest[0] == 0.0
    }

    /// The largest value, if it is one of a few that are far larger than all others.
    pub(crate) fn outlier(&self) -> Option<f64> {
        let mut pairs = self.largest.windows(2);
        let apart = |pair: &[f64]| pair[1] != 0.0 && pair[0].abs() >= APART * pair[1].abs();
        pairs.any(apart).then_some(self.largest[0])
    }
}

impl StoredSlice<'_> {
    /// A value that stands for a missing one.
    pub(crate) fn fill(self, fills: &[f64]) -> Option<f64> {
        match self {
            Self::F32(values) => fill(values, most(values), fills),
            Self::F64(values) => fill(values, most(values), fills),
        }
    }
}

fn seen<T: Cell>(values: &[T], fills: &[f64]) -> ([f64; FEW + 1], Option<f64>) {
    let most = most(values);
    (largest(values, most), fill(values, most, fills))
}

/// The largest magnitude; side by side, so that a processor compares several at once.
fn most<T: Cell>(values: &[T]) -> T {
    let larger = |a: T, b: T| if b > a { b } else { a };
    let (blocks, rest) = values.as_chunks::<16>();
    let mut lanes = [T::default(); 16];
    for block in blocks {
        for (lane, &value) in lanes.iter_mut().zip(block) {
            *lane = larger(*lane, value.magnitude());
        }
    }
    let rest = rest.iter().map(|value| value.magnitude());
    lanes.into_iter().chain(rest).fold(T::default(), larger)
}

/// The largest values. Where more than a few cells are near the largest, as they are in almost every
/// frame, that is as good as all of them: none stands out.
fn largest<T: Cell>(values: &[T], most: T) -> [f64; FEW + 1] {
    let most: f64 = most.into();
    let least = most / APART;
    let probes = values.iter().step_by(values.len().div_ceil(PROBES).max(1));
    let near = probes.filter(|value| value.magnitude().into() > least);
    if most == 0.0 || near.count() > FEW {
        return [most; FEW + 1];
    }
    let mut largest = [0.0_f64; FEW + 1];
    for &value in values {
        let value: f64 = value.into();
        if value.abs() > largest[FEW].abs() {
            largest[FEW] = value;
            largest.sort_by(|a, b| b.abs().total_cmp(&a.abs()));
        }
    }
    largest
}

fn fill<T: Cell>(values: &[T], most: T, named: &[f64]) -> Option<f64> {
    let known = FILLS.iter().chain(named).copied();
    let near = known.map(T::of_f64);
    let mut possible = near.filter(|fill| fill.magnitude() <= most && *fill != T::default());
    let found = possible.find(|fill| values.contains(fill));
    found.map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(values: &[f32]) -> Glance {
        Glance::at(StoredSlice::F32(values), 1, 0, false, &[-999.0])
    }

    fn waves(cells: usize) -> Vec<f32> {
        (0..cells).map(|i| (i as f32 * 0.1).sin()).collect()
    }

    #[test]
    fn a_few_cells_stand_out_of_all_others() {
        for count in 1..=FEW {
            let mut frame = waves(1000);
            for cell in 0..count {
                frame[100 * cell + 7] = -3e6;
            }
            assert_eq!(at(&frame).outlier(), Some(-3e6), "{count}");
            // They are found in one of two slabs as well.
            let (a, b) = frame.split_at(500);
            assert_eq!(at(a).and(&at(b)).outlier(), Some(-3e6), "{count}");
        }
        let mut many = waves(1000);
        many[..FEW + 1].fill(3e6);
        assert_eq!(at(&many).outlier(), None);
        assert_eq!(at(&waves(1000)).outlier(), None);
    }

    #[test]
    fn a_pulse_and_a_source_at_rest_do_not_stand_out() {
        let pulse = |i: i32| (-f64::from((i - 500).pow(2)) / 8.0).exp() as f32;
        let pulse: Vec<f32> = (0..1000).map(pulse).collect();
        assert_eq!(at(&pulse).outlier(), None);
        let mut source = vec![0.0; 1000];
        source[500] = 1e9;
        assert_eq!(at(&source).outlier(), None);
        assert!(at(&[0.0, -0.0]).is_zero() && !at(&source).is_zero());
    }

    #[test]
    fn units_do_not_matter() {
        for scale in [1e-30_f32, 1e-24, 1.0, 1e20] {
            let mut frame: Vec<f32> = waves(1000).iter().map(|x| x * scale).collect();
            assert_eq!(at(&frame).outlier(), None, "{scale}");
            assert!(!at(&frame).is_zero());
            frame[3] = 5e6 * scale;
            assert_eq!(at(&frame).outlier(), Some(f64::from(5e6 * scale)));
        }
    }

    #[test]
    fn what_stands_for_missing_values_is_known() {
        let with = |value: f32| {
            let mut frame = waves(100);
            frame[40] = value;
            at(&frame).fill
        };
        assert_eq!(with(9.96921e36), Some(f64::from(9.96921e36_f32)));
        assert_eq!(with(1e20), Some(f64::from(1e20_f32)));
        assert_eq!(with(-999.0), Some(-999.0));
        assert_eq!(with(-998.0), None);
        let wide = [1.0, 9.969_209_968_386_869e36];
        let glance = Glance::at(StoredSlice::F64(&wide), 1, 0, false, &[]);
        assert_eq!(glance.fill, Some(wide[1]));
    }
}
