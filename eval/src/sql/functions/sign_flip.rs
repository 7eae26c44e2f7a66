//! `sign_flip(difference, unit)`: the two-sided p value of the paired test that a mean difference is zero.
//!
//! If two evaluations are equally good, the differences of a unit (a trajectory) might as well all have the other sign.
//! So p is the share of all choices of the units' signs that bring the mean at least as far from zero as it is. With up
//! to 14 units every choice is counted: p is exact, and 2 / 2ⁿ at least. With more, 9,999 choices are drawn with a fixed
//! seed, and the given one is counted with them. One unit has p = 1.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::unit::{Unit, Units};

/// Number of units up to which every choice of signs is counted.
const ENUMERATED: usize = 14;
/// Choices drawn where not all are counted.
const DRAWS: u32 = 9_999;
/// Seed of the draws. It never changes, so that equal data have equal p values.
const SEED: u64 = 0;
/// Means that differ by so little, relative to the units, are equal: sums are rounded.
const ROUNDING: f64 = 1e-12;

/// The p value of each group; null for one without units.
pub(super) fn p_values(groups: &[Units]) -> ArrayRef {
    let values = groups.iter().map(|units| p_value(units));
    Arc::new(values.collect::<Float64Array>())
}

/// The p value; what is not finite gives NaN.
fn p_value(units: &[Unit]) -> Option<f64> {
    // A choice of signs leaves the number of values as it is, so sums do for means.
    let sums: Vec<f64> = units.iter().map(|unit| unit.sum).collect();
    let (first, others) = sums.split_first()?;
    let total: f64 = sums.iter().sum();
    let size: f64 = sums.iter().map(|sum| sum.abs()).sum();
    if !size.is_finite() {
        return Some(f64::NAN);
    }
    let far = total.abs() - ROUNDING * size;
    Some(match sums.len() {
        // The other sign of all units gives as much again.
        ..=ENUMERATED => f64::from(counted(*first, others, far)) / f64::from(1 << others.len()),
        _ => f64::from(1 + drawn(&sums, far)) / f64::from(1 + DRAWS),
    })
}

/// How many of all signs of these sums bring a total so far from zero.
fn counted(total: f64, sums: &[f64], far: f64) -> u32 {
    match sums.split_first() {
        None => u32::from(total.abs() >= far),
        Some((sum, others)) => {
            counted(total + sum, others, far) + counted(total - sum, others, far)
        }
    }
}

/// How many of the drawn signs of these sums bring their total so far from zero.
fn drawn(sums: &[f64], far: f64) -> u32 {
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let mut total = || -> f64 {
        let word = |sums: &[f64]| -> f64 {
            let signs: u64 = rng.random();
            let signed = sums.iter().enumerate();
            let signed = signed.map(|(bit, sum)| if (signs >> bit) & 1 == 0 { *sum } else { -sum });
            signed.sum()
        };
        sums.chunks(64).map(word).sum()
    };
    (0..DRAWS).map(|_| u32::from(total().abs() >= far)).sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn units(sums: &[f64]) -> Vec<Unit> {
        let unit = |(id, &sum): (usize, &f64)| Unit {
            id: id as i64,
            sum,
            count: 2.0,
        };
        sums.iter().enumerate().map(unit).collect()
    }

    fn p(sums: &[f64]) -> f64 {
        p_value(&units(sums)).unwrap()
    }

    /// Where all n units have one sign, two of the 2ⁿ choices are as far from zero.
    #[test]
    fn few_units_are_counted() {
        for n in 1..=ENUMERATED {
            let better: Vec<f64> = (1..=n).map(|i| -0.1 * i as f64).collect();
            assert_eq!(p(&better), 2.0 / f64::from(1 << n));
        }
        // ±3 ±1 ±1: of 5, 3, 3, 1 and their negatives, 5, 3 and 3 are as far as 3.
        assert_eq!(p(&[3.0, 1.0, -1.0]), 0.75);
        assert_eq!(p(&[1.0, -1.0]), 1.0);
        assert_eq!(p(&[0.0; 5]), 1.0);
    }

    /// 0.3 + 0.1 − 0.1 and 0.3 − 0.1 + 0.1 are the same, although their sums are not.
    #[test]
    fn rounding_makes_no_difference() {
        assert_ne!(0.3 + 0.1 - 0.1, 0.3 - 0.1 + 0.1);
        assert_eq!(p(&[0.3, 0.1, -0.1]), 0.75);
    }

    /// Drawn shares have a standard deviation of √(p (1 − p) / 9999), 0.005 at most.
    #[test]
    fn draws_come_near_the_count() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for n in [8, 10, 12] {
            let sums: Vec<f64> = (0..n).map(|_| rng.random_range(-1.0..1.5)).collect();
            let far = sums.iter().sum::<f64>().abs() - 1e-12;
            let share = f64::from(drawn(&sums, far)) / f64::from(DRAWS);
            assert!((share - p(&sums)).abs() < 0.02, "{n}: {share}");
        }
    }

    /// 80 of 100 equal units are better: 20 heads or fewer of 100 coins, or 80 or more, come once in 10⁹ times.
    #[test]
    fn many_units_are_drawn_the_same_way_each_time() {
        let better: Vec<f64> = (0..100)
            .map(|i| if i % 5 == 0 { 1.0 } else { -1.0 })
            .collect();
        assert_eq!(p(&better), 1e-4);
        // Ten heads too many of 100 coins or too few: 0.0569 by the binomial distribution.
        let slightly: Vec<f64> = (0..100).map(|i| if i < 60 { 1.0 } else { -1.0 }).collect();
        assert!((p(&slightly) - 0.0569).abs() < 0.01, "{}", p(&slightly));
        assert_eq!(p(&slightly), p(&slightly));
    }

    #[test]
    fn what_is_not_finite_has_no_value_and_no_units_are_null() {
        assert!(p(&[1.0, f64::NAN]).is_nan());
        assert!(p(&[f64::INFINITY, 1.0]).is_nan());
        assert_eq!(p_value(&[]), None);
    }
}
