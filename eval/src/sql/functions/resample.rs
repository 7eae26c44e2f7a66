//! Bootstrap intervals of a mean over units that are independent, although the members of a unit are not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::unit::Unit;

/// Resamples drawn where not all are enumerated.
pub(super) const DRAWS: usize = 1000;
/// Number of units up to which every resample is counted, with its probability: C(2n − 1, n) of them.
const ENUMERATED: usize = 6;
/// Number of units up to which the draws are kept.
const KEPT: usize = 512;
/// Seed of the draws. It never changes, so that equal data have equal intervals.
pub(super) const SEED: u64 = 0;

/// Probability below the interval, and above it.
pub(super) const TAIL: f64 = 0.025;
/// Weights are sums of rounded ones.
const ROUNDING: f64 = 1e-12;

/// Gives intervals, one after another, with what it needs at hand.
#[derive(Default)]
pub(super) struct Resampler {
    resamples: BTreeMap<usize, Arc<Resamples>>,
    ascending: Vec<f64>,
    scratch: Scratch,
    means: Vec<(f64, f64)>,
}

impl Resampler {
    /// The 95 % interval of the members' mean, where there are two units at least. What is not finite
    /// gives NaN.
    pub(super) fn interval(&mut self, units: &[Unit]) -> Option<[f64; 2]> {
        let (first, others) = units
            .split_first()
            .filter(|(_, others)| !others.is_empty())?;
        if units.iter().any(|unit| !unit.sum.is_finite()) {
            return Some([f64::NAN; 2]);
        }
        let resamples = self.resamples.entry(units.len());
        let resamples = Arc::clone(resamples.or_insert_with(|| Resamples::of(units.len())));
        let is_even = others.iter().all(|unit| unit.count == first.count);
        if let Some(tail) = resamples.tail.as_ref().filter(|_| is_even) {
            return Some(self.ends(tail, units).map(|sum| sum / first.count));
        }
        self.means.clear();
        self.means.extend(resamples.means(units));
        self.means.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        Some([TAIL, 1.0 - TAIL].map(|share| quantile(&self.means, share)))
    }

    /// The interval of the mean of units that have one member each.
    fn ends(&mut self, tail: &Tail, units: &[Unit]) -> [f64; 2] {
        self.ascending.clear();
        self.ascending.extend(units.iter().map(|unit| unit.sum));
        self.ascending.sort_unstable_by(f64::total_cmp);
        let low = tail.end(&self.ascending, &mut self.scratch);
        // The highest are the lowest of the negated.
        self.ascending.reverse();
        self.ascending.iter_mut().for_each(|sum| *sum = -*sum);
        let high = -tail.end(&self.ascending, &mut self.scratch);
        [low, high].map(|sum| sum / units.len() as f64)
    }
}

/// The least value with so much weight up to it.
pub(super) fn quantile(sorted: &[(f64, f64)], share: f64) -> f64 {
    let mut below = 0.0;
    for &(value, weight) in sorted {
        below += weight;
        if below >= share - ROUNDING {
            return value;
        }
    }
    sorted.last().map_or(f64::NAN, |last| last.0)
}

/// Those resamples of n units in ascending order that can be the low end of the interval, whatever
/// the units are.
///
/// If every draw of one resample is of a unit no higher than another's, so is its sum. A resample
/// that so much weight is surely below cannot be the end, nor one that so little can be below: few
/// are left to be compared.
struct Tail {
    /// How often each of the resamples draws a unit, unit by unit.
    counts: Vec<f64>,
    weights: Vec<f64>,
    /// Weight of the resamples that are surely below the end.
    below: f64,
}

impl Tail {
    fn of(all: &Resamples) -> Self {
        let rows = || all.counts.chunks(all.units).zip(&all.weights);
        // The weight that another resample surely has in common with this one's side.
        let weigh = |on_side: &dyn Fn(&[f64]) -> bool| -> f64 {
            let side = rows().filter(|(other, _)| on_side(other));
            side.map(|(_, weight)| weight).sum()
        };
        let share = TAIL - ROUNDING;
        let (mut left, mut weights, mut below) = (Vec::new(), Vec::new(), 0.0);
        for (counts, weight) in rows() {
            let up_to = weigh(&|other| is_no_higher(other, counts));
            let from = weigh(&|other| is_no_higher(counts, other));
            if 1.0 - from + weight < share {
                below += weight;
            } else if up_to - weight < share {
                left.push(counts);
                weights.push(*weight);
            }
        }
        let of_unit = |unit| left.iter().map(move |counts: &&[f64]| counts[unit]);
        Self {
            counts: (0..all.units).flat_map(of_unit).collect(),
            weights,
            below,
        }
    }

    /// Sum of the resample at the low end: the least one that so much weight is not above.
    fn end(&self, ascending: &[f64], scratch: &mut Scratch) -> f64 {
        let Scratch { sums, up_to } = scratch;
        sums.clear();
        sums.resize(self.weights.len(), 0.0);
        for (counts, unit) in self.counts.chunks(sums.len()).zip(ascending) {
            let drawn = sums.iter_mut().zip(counts);
            drawn.for_each(|(sum, n)| *sum += n * unit);
        }
        // Each resample's weight goes to all ends at once: no sum waits for the one before it.
        up_to.clear();
        up_to.resize(sums.len(), self.below);
        for (sum, weight) in sums.iter().zip(&self.weights) {
            let ends = up_to.iter_mut().zip(sums.iter());
            ends.for_each(|(up_to, end)| *up_to += if sum <= end { *weight } else { 0.0 });
        }
        let ends = sums.iter().zip(up_to);
        let reached = ends.filter(|(_, up_to)| **up_to >= TAIL - ROUNDING);
        reached.fold(f64::INFINITY, |least, (&sum, _)| least.min(sum))
    }
}

/// Buffers of a comparison, with an entry for each resample that is compared.
#[derive(Default)]
struct Scratch {
    sums: Vec<f64>,
    /// The weight that is not above each.
    up_to: Vec<f64>,
}

/// Whether, draw by draw in ascending order, one resample has no higher unit than another.
fn is_no_higher(one: &[f64], other: &[f64]) -> bool {
    let mut lead = 0.0;
    one.iter().zip(other).all(|(one, other)| {
        lead += one - other;
        lead >= 0.0
    })
}

/// How often each of n units is drawn, resample by resample, and each resample's probability.
struct Resamples {
    units: usize,
    counts: Vec<f64>,
    weights: Vec<f64>,
    /// The tail, if all resamples are enumerated.
    tail: Option<Tail>,
}

impl Resamples {
    fn of(units: usize) -> Arc<Self> {
        static MADE: Mutex<BTreeMap<usize, Arc<Resamples>>> = Mutex::new(BTreeMap::new());
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(resamples) = made.get(&units) {
            return Arc::clone(resamples);
        }
        let resamples = Arc::new(if units <= ENUMERATED {
            Self::enumerate(units)
        } else {
            Self::draw(units)
        });
        if units <= KEPT {
            made.insert(units, Arc::clone(&resamples));
        }
        resamples
    }

    fn enumerate(units: usize) -> Self {
        let mut all = Self {
            units,
            counts: Vec::new(),
            weights: Vec::new(),
            tail: None,
        };
        let factorial = |n: usize| (1..=n).product::<usize>() as f64;
        let ways = factorial(units) / (units as f64).powi(units as i32);
        let mut counts = vec![0; units];
        all.compositions(&mut counts, 0, units, &|counts| {
            ways / counts.iter().map(|&n| factorial(n)).product::<f64>()
        });
        all.tail = Some(Tail::of(&all));
        all
    }

    /// Every way to spread `left` draws over the units from `place` on.
    fn compositions(
        &mut self,
        counts: &mut Vec<usize>,
        place: usize,
        left: usize,
        weight: &dyn Fn(&[usize]) -> f64,
    ) {
        if place + 1 == self.units {
            counts[place] = left;
            self.counts.extend(counts.iter().map(|&n| n as f64));
            self.weights.push(weight(counts));
            return;
        }
        for n in 0..=left {
            counts[place] = n;
            self.compositions(counts, place + 1, left - n, weight);
        }
    }

    fn draw(units: usize) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(SEED);
        let mut counts = vec![0.0; DRAWS * units];
        for resample in counts.chunks_mut(units) {
            draw(resample, &mut rng);
        }
        Self {
            units,
            counts,
            weights: vec![1.0 / DRAWS as f64; DRAWS],
            tail: None,
        }
    }

    /// The mean of each resample, with its weight.
    fn means<'a>(&'a self, units: &'a [Unit]) -> impl Iterator<Item = (f64, f64)> + 'a {
        let mean = move |counts: &[f64]| {
            let drawn = counts.iter().zip(units);
            let (sum, count) = drawn.fold((0.0, 0.0), |(sum, count), (n, unit)| {
                (sum + n * unit.sum, count + n * unit.count)
            });
            sum / count
        };
        self.counts
            .chunks(self.units)
            .map(mean)
            .zip(self.weights.iter().copied())
    }
}

/// Counts how often each unit is drawn, in as many draws with replacement as there are units.
pub(super) fn draw(times: &mut [f64], rng: &mut ChaCha8Rng) {
    for _ in 0..times.len() {
        times[rng.random_range(0..times.len())] += 1.0;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn interval(units: &[Unit]) -> Option<[f64; 2]> {
        Resampler::default().interval(units)
    }

    fn units(means: &[f64]) -> Vec<Unit> {
        let unit = |(id, &sum): (usize, &f64)| Unit {
            id: id as i64,
            sum,
            count: 1.0,
        };
        means.iter().enumerate().map(unit).collect()
    }

    /// With two units, each resample that repeats one of them has probability ¼.
    #[test]
    fn few_units_are_enumerated() {
        assert_eq!(interval(&units(&[1.0, 3.0])), Some([1.0, 3.0]));
        for n in 2..=ENUMERATED {
            let all = Resamples::enumerate(n);
            assert!((all.weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            assert!(
                all.counts
                    .chunks(n)
                    .all(|counts| counts.iter().sum::<f64>() == n as f64)
            );
        }
        assert_eq!(Resamples::enumerate(4).weights.len(), 35);
    }

    /// The few resamples that are compared give what all of them give.
    #[test]
    fn the_tail_holds_the_ends() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for n in 2..=ENUMERATED {
            let all = Resamples::enumerate(n);
            let tail = all.tail.as_ref().unwrap();
            assert!(n < 4 || tail.weights.len() * 3 < all.weights.len());
            for round in 0..300 {
                let draw = |_| match round % 3 {
                    0 => f64::from(rng.random_range(-2..2)),
                    _ => rng.random_range(-1.0..1.0f64).exp(),
                };
                let units = units(&(0..n).map(draw).collect::<Vec<_>>());
                let mut means: Vec<(f64, f64)> = all.means(&units).collect();
                means.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
                for (end, share) in interval(&units).unwrap().into_iter().zip([0.025, 0.975]) {
                    assert!(
                        (end - quantile(&means, share)).abs() < 1e-14,
                        "{n} {units:?}"
                    );
                }
            }
        }
    }

    /// For many units the interval approaches mean ± 1.96 s/√n.
    #[test]
    fn many_units_come_near_the_normal_interval() {
        let values: Vec<f64> = (0..400).map(|i| (f64::from(i) * 0.7).sin()).collect();
        let mean = values.iter().sum::<f64>() / 400.0;
        let deviation = (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 400.0).sqrt();
        let half = 1.96 * deviation / 20.0;
        let [low, high] = interval(&units(&values)).unwrap();
        assert!(
            ((high - low) / (2.0 * half) - 1.0).abs() < 0.1,
            "{low} {high}"
        );
        assert!(low < mean && mean < high);
        assert_eq!(interval(&units(&values)), Some([low, high]));
    }

    #[test]
    fn one_unit_has_no_interval_and_what_is_not_finite_stays_so() {
        assert_eq!(interval(&units(&[1.0])), None);
        assert!(interval(&units(&[1.0, f64::NAN])).unwrap()[0].is_nan());
        assert!(interval(&units(&[1.0, f64::INFINITY])).unwrap()[1].is_nan());
    }

    /// Units count by their members.
    #[test]
    fn larger_units_weigh_more() {
        let mut both = units(&[1.0, 3.0]);
        both[1] = Unit {
            id: 1,
            sum: 9.0,
            count: 3.0,
        };
        assert_eq!(interval(&both), Some([1.0, 3.0]));
        let resamples = Resamples::of(2);
        assert!(resamples.means(&both).any(|mean| mean == (2.5, 0.5)));
    }
}
