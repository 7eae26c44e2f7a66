//! Mean and variance of a stream of values; results for parts can be merged in any grouping.

use serde::{Deserialize, Serialize};

use super::ChannelStatistics;

/// Count, mean and spread of values seen one after another, in f64; two can be merged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    count: f64,
    mean: f64,
    /// Sum of squared distances from the mean.
    spread: f64,
}

impl Moments {
    /// Moments of some values.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64> + Clone) -> Self {
        let (count, sum) = values
            .clone()
            .into_iter()
            .fold((0.0, 0.0), |(n, sum), x| (n + 1.0, sum + x));
        if count == 0.0 {
            return Self::default();
        }
        let mean = sum / count;
        let spread = values.into_iter().map(|x| (x - mean) * (x - mean)).sum();
        Self {
            count,
            mean,
            spread,
        }
    }

    /// Moments of both sets of values (Chan, Golub and LeVeque 1979).
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        let count = self.count + other.count;
        if count == 0.0 {
            return self;
        }
        let apart = other.mean - self.mean;
        Self {
            count,
            mean: self.mean + apart * other.count / count,
            spread: self.spread + other.spread + apart * apart * self.count * other.count / count,
        }
    }

    /// Mean of the values.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Standard deviation of the population.
    #[must_use]
    pub fn std(&self) -> f64 {
        self.variance().sqrt()
    }

    /// Root mean square.
    #[must_use]
    pub fn rms(&self) -> f64 {
        (self.variance() + self.mean * self.mean).sqrt()
    }

    fn is_empty(&self) -> bool {
        self.count == 0.0
    }

    fn variance(&self) -> f64 {
        if self.count > 0.0 {
            self.spread / self.count
        } else {
            0.0
        }
    }
}

/// Sums are kept side by side, so that a processor adds several at once; how many is part of what
/// the result is to the last bit.
const LANES: usize = 8;

/// Σ(x − origin) and Σ(x − origin)², with an origin near the mean so that nothing cancels.
struct Sums {
    origin: f64,
    first: [f64; LANES],
    second: [f64; LANES],
}

impl Sums {
    fn about(origin: f64) -> Self {
        Self {
            origin,
            first: [0.0; LANES],
            second: [0.0; LANES],
        }
    }

    #[inline(always)]
    fn add(&mut self, values: [f64; LANES]) {
        for (lane, value) in values.into_iter().enumerate() {
            let apart = value - self.origin;
            self.first[lane] += apart;
            self.second[lane] += apart * apart;
        }
    }

    fn moments(&self, count: usize) -> Moments {
        let count = count as f64;
        let first: f64 = self.first.iter().sum();
        let second: f64 = self.second.iter().sum();
        Moments {
            count,
            mean: self.origin + first / count,
            spread: (second - first * first / count).max(0.0),
        }
    }
}

/// Moments of `value(x)` for each x, in one pass: blocks of lanes first, then what is left of them.
#[inline(always)]
fn one_pass<X: Copy>(all: &[X], value: impl Fn(X) -> f64) -> Moments {
    /// Values that the origin is the mean of.
    const PROBES: usize = 16;
    if all.is_empty() {
        return Moments::default();
    }
    let probes = all.iter().step_by(all.len().div_ceil(PROBES));
    let origin = probes.clone().map(|&x| value(x)).sum::<f64>() / probes.count() as f64;
    let mut sums = Sums::about(origin);
    let (blocks, rest) = all.as_chunks::<LANES>();
    for block in blocks {
        sums.add(block.map(&value));
    }
    let mut last = [origin; LANES];
    for (place, &x) in last.iter_mut().zip(rest) {
        *place = value(x);
    }
    sums.add(last);
    sums.moments(all.len())
}

/// Moments of the differences of two frames, by [`one_pass`].
fn of_changes<X: Copy + Into<f64>>(frame: &[X], before: &[X]) -> Moments {
    const BLOCK: usize = 1 << 10;
    let mut moments = Moments::default();
    let mut changes = [0.0; BLOCK];
    for (frame, before) in frame.chunks(BLOCK).zip(before.chunks(BLOCK)) {
        for ((change, &x), &y) in changes.iter_mut().zip(frame).zip(before) {
            *change = x.into() - y.into();
        }
        moments = moments.merge(one_pass(&changes[..frame.len()], |x| x));
    }
    moments
}

/// Moments of one channel: of its values and of their change from frame to frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ChannelMoments {
    /// Moments of the values.
    pub value: Moments,
    /// Moments of the differences between successive frames.
    pub delta: Moments,
    /// Moments of the values in the field's own units, where [`ChannelMoments::value`] is of transformed ones.
    #[serde(default, skip_serializing_if = "Moments::is_empty")]
    pub own: Moments,
}

impl ChannelMoments {
    /// Takes in one frame of the channel, of f32 or f64, and, where there is one, the frame before it.
    pub fn add<X: Copy + Into<f64>>(&mut self, frame: &[X], before: Option<&[X]>) {
        self.value = self.value.merge(one_pass(frame, Into::into));
        if let Some(before) = before {
            self.delta = self.delta.merge(of_changes(frame, before));
        }
    }

    /// Takes in the values that a frame of the channel has before its transform.
    pub fn add_own<X: Copy + Into<f64>>(&mut self, frame: &[X]) {
        self.own = self.own.merge(one_pass(frame, Into::into));
    }

    /// Moments over both.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        Self {
            value: self.value.merge(other.value),
            delta: self.delta.merge(other.delta),
            own: self.own.merge(other.own),
        }
    }
}

impl From<ChannelMoments> for ChannelStatistics {
    fn from(moments: ChannelMoments) -> Self {
        Self {
            mean: moments.value.mean(),
            std: moments.value.std(),
            rms: moments.value.rms(),
            mean_delta: moments.delta.mean(),
            std_delta: moments.delta.std(),
            rms_delta: moments.delta.rms(),
            own_std: (!moments.own.is_empty()).then(|| moments.own.std()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn moments_of_one_to_five() {
        let moments = Moments::of([1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(moments.mean(), 3.0);
        assert!((moments.std() - 2.0_f64.sqrt()).abs() < 1e-15);
        assert!((moments.rms() - 11.0_f64.sqrt()).abs() < 1e-15);
    }

    #[test]
    fn a_large_mean_does_not_hide_a_small_spread() {
        let mut moments = ChannelMoments::default();
        for step in 0..100 {
            let frame: Vec<f32> = (0..64).map(|i| 1e4 + ((i + step) % 2) as f32).collect();
            moments.add(&frame, None);
        }
        assert!((moments.value.std() - 0.5).abs() < 1e-9);
    }

    /// A field that varies by `spread` about `offset`, frame by frame, and what its moments are.
    fn wave(offset: f64, spread: f64, step: usize) -> Vec<f64> {
        let value = |i: usize| offset + spread * (((i * 7 + step * 3) % 16) as f64 - 7.5);
        (0..640).map(value).collect()
    }

    /// Deviation of the numbers −7.5 to 7.5.
    const DEVIATION: f64 = 4.609_772_228_646_444;

    fn assert_near(found: f64, expected: f64, what: &str) {
        let error = (found - expected).abs() / expected.abs();
        assert!(error < 1e-6, "{what}: {found:e}, not {expected:e}");
    }

    /// Moments are right at every scale: from frames of f64, and of f32 if that can hold the values.
    #[test]
    fn moments_are_right_at_every_scale() {
        for (offset, spread) in [
            (0.0, 1e-30),
            (3e-24, 1e-24),
            (1e-10, 1e-16),
            (-1.0, 1e-3),
            (1e8, 1.0 / 1024.0),
            (1e30, 1e24),
            (0.0, 1e30),
        ] {
            let (mut wide, mut narrow) = (ChannelMoments::default(), ChannelMoments::default());
            let single = |frame: &[f64]| frame.iter().map(|&x| x as f32).collect::<Vec<f32>>();
            for step in 0..16 {
                let now = wave(offset, spread, step);
                let before = step.checked_sub(1).map(|step| wave(offset, spread, step));
                wide.add(&now, before.as_deref());
                let before = before.map(|before| single(&before));
                narrow.add(&single(&now), before.as_deref());
            }
            let both = if offset == 0.0 {
                vec![wide, narrow]
            } else {
                vec![wide]
            };
            for moments in both {
                let (value, std) = (moments.value, DEVIATION * spread);
                let name = format!("{offset:e} ± {spread:e}");
                assert!(
                    (value.mean() - offset).abs() <= 1e-6 * std,
                    "mean of {name}"
                );
                assert_near(value.std(), std, &format!("deviation of {name}"));
                assert_near(value.rms(), offset.hypot(std), &format!("rms of {name}"));
                // Every step is one of +3 or, three times in sixteen, of −13.
                let changes = (13.0 * 9.0 + 3.0 * 169.0) / 16.0;
                let rms = f64::sqrt(changes) * spread;
                assert_near(moments.delta.rms(), rms, &format!("changes of {name}"));
            }
        }
    }

    proptest! {
        #[test]
        fn merging_equals_one_pass(xs in prop::collection::vec(-1e3..1e3_f64, 1..50), cut in 0..50_usize) {
            let cut = cut.min(xs.len());
            let (a, b) = xs.split_at(cut);
            let merged = Moments::of(a.iter().copied()).merge(Moments::of(b.iter().copied()));
            let whole = Moments::of(xs.iter().copied());
            prop_assert!((merged.mean() - whole.mean()).abs() < 1e-9);
            prop_assert!((merged.std() - whole.std()).abs() < 1e-9);
        }
    }
}
