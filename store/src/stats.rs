//! Statistics of channels, and the affine map that shards are normalised by.
//!
//! They are The Well's: mean, standard deviation (of the population) and root mean square over
//! trajectories, time and space, and the same of the differences between successive frames.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Error, Frames, Result, Schema, TensorOrder};

/// The Well clips denominators from below at this value.
const MIN_SCALE: f64 = 1e-4;

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

    /// Their mean.
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

/// As [`one_pass`] of the differences of two lists.
fn of_changes(frame: &[f32], before: &[f32]) -> Moments {
    const BLOCK: usize = 1 << 10;
    let mut moments = Moments::default();
    let mut changes = [0.0; BLOCK];
    for (frame, before) in frame.chunks(BLOCK).zip(before.chunks(BLOCK)) {
        for ((change, &x), &y) in changes.iter_mut().zip(frame).zip(before) {
            *change = f64::from(x) - f64::from(y);
        }
        moments = moments.merge(one_pass(&changes[..frame.len()], |x| x));
    }
    moments
}

/// Moments of one channel: of its values and of their change from frame to frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ChannelMoments {
    /// Of the values.
    pub value: Moments,
    /// Of the differences between successive frames.
    pub delta: Moments,
}

impl ChannelMoments {
    /// Takes in one frame of the channel and, where there is one, the frame before it.
    pub fn add(&mut self, frame: &[f32], before: Option<&[f32]>) {
        self.value = self.value.merge(one_pass(frame, f64::from));
        if let Some(before) = before {
            self.delta = self.delta.merge(of_changes(frame, before));
        }
    }

    /// Moments over both.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        Self {
            value: self.value.merge(other.value),
            delta: self.delta.merge(other.delta),
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
        }
    }
}

/// Six numbers on one channel, in the field's own units.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ChannelStatistics {
    /// Mean.
    pub mean: f64,
    /// Standard deviation of the population.
    pub std: f64,
    /// Root mean square.
    pub rms: f64,
    /// Mean change from frame to frame.
    pub mean_delta: f64,
    /// Standard deviation of that change.
    pub std_delta: f64,
    /// Root mean square of that change.
    pub rms_delta: f64,
}

/// Statistics of every channel, constant ones included, by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Statistics(pub BTreeMap<String, ChannelStatistics>);

/// A number, or a list with one entry per component: a value in `stats.yaml`.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Components {
    One(f64),
    Many(Vec<f64>),
    Rows(Vec<Vec<f64>>),
}

/// Kind of statistic → field → components: the layout of `stats.yaml`.
type Yaml = BTreeMap<String, BTreeMap<String, Components>>;

/// A kind's name in `stats.yaml` and where its value is kept.
type Kind = (&'static str, fn(&mut ChannelStatistics) -> &mut f64);

const KINDS: [Kind; 6] = [
    ("mean", |s| &mut s.mean),
    ("std", |s| &mut s.std),
    ("rms", |s| &mut s.rms),
    ("mean_delta", |s| &mut s.mean_delta),
    ("std_delta", |s| &mut s.std_delta),
    ("rms_delta", |s| &mut s.rms_delta),
];

impl Statistics {
    /// The file that The Well's loaders read: kind → field → number or list of components.
    ///
    /// # Errors
    /// When a channel of the schema has no statistics.
    pub fn to_yaml(&self, schema: &Schema) -> Result<String> {
        let mut yaml = Yaml::new();
        for (kind, value) in KINDS {
            let mut fields = BTreeMap::new();
            for field in &schema.fields {
                // The Well keeps the differences of time-varying fields only.
                if kind.ends_with("_delta") && !field.time_varying {
                    continue;
                }
                let values = field
                    .channels(&schema.grid)
                    .iter()
                    .map(|channel| self.channel(channel).map(|mut s| *value(&mut s)))
                    .collect::<Result<Vec<f64>>>()?;
                let components = match field.order {
                    TensorOrder::Scalar => Components::One(values[0]),
                    TensorOrder::Vector => Components::Many(values),
                    TensorOrder::Tensor => Components::Rows(
                        values
                            .chunks(schema.grid.ndim())
                            .map(<[f64]>::to_vec)
                            .collect(),
                    ),
                };
                fields.insert(field.name.clone(), components);
            }
            yaml.insert(kind.to_owned(), fields);
        }
        serde_yaml_ng::to_string(&yaml).map_err(|source| Error::malformed("statistics", source))
    }

    /// Reads The Well's `stats.yaml` for the fields of a schema; `object` names it in errors.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is no such file, or lacks a field or component.
    pub fn from_yaml(text: &str, schema: &Schema, object: &str) -> Result<Self> {
        let yaml: Yaml =
            serde_yaml_ng::from_str(text).map_err(|source| Error::malformed(object, source))?;
        let mut channels = BTreeMap::new();
        for field in &schema.fields {
            let names = field.channels(&schema.grid);
            let mut statistics = vec![ChannelStatistics::ZERO; names.len()];
            for (kind, place) in KINDS {
                let Some(components) = yaml.get(kind).and_then(|fields| fields.get(&field.name))
                else {
                    let needed = matches!(kind, "mean" | "std") || (kind == "rms");
                    if needed && !(kind == "rms" && yaml.contains_key("std")) {
                        return Err(Error::malformed(
                            object,
                            format!("no {kind} of {}", field.name),
                        ));
                    }
                    continue;
                };
                let values = match components {
                    Components::One(value) => vec![*value],
                    Components::Many(values) => values.clone(),
                    Components::Rows(rows) => rows.concat(),
                };
                if values.len() != names.len() || values.iter().any(|value| !value.is_finite()) {
                    let reason = format!(
                        "{kind} of {} is not {} finite numbers",
                        field.name,
                        names.len()
                    );
                    return Err(Error::malformed(object, reason));
                }
                for (statistics, value) in statistics.iter_mut().zip(values) {
                    *place(statistics) = value;
                }
            }
            channels.extend(names.into_iter().zip(statistics));
        }
        Ok(Self(channels))
    }

    /// The statistics of one channel.
    ///
    /// # Errors
    /// When there are none.
    pub fn channel(&self, name: &str) -> Result<ChannelStatistics> {
        self.0
            .get(name)
            .copied()
            .ok_or_else(|| Error::malformed("statistics", format!("no channel {name}")))
    }

    /// The map from field units to stored values, for these channels.
    ///
    /// # Errors
    /// When a channel has no statistics.
    pub fn affine(&self, normalization: Normalization, channels: &[String]) -> Result<Affine> {
        let mut affine = Affine::default();
        for channel in channels {
            let statistics = self.channel(channel)?;
            let (shift, scale) = match normalization {
                Normalization::Zscore => (statistics.mean, statistics.std.max(MIN_SCALE)),
                Normalization::Rms => (0.0, statistics.rms.max(MIN_SCALE)),
                Normalization::None => (0.0, 1.0),
            };
            affine.shift.push(shift);
            affine.scale.push(scale);
        }
        Ok(affine)
    }
}

impl ChannelStatistics {
    const ZERO: Self = Self {
        mean: 0.0,
        std: 0.0,
        rms: 0.0,
        mean_delta: 0.0,
        std_delta: 0.0,
        rms_delta: 0.0,
    };
}

/// How values are normalised before they are stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Normalization {
    /// Mean 0 and standard deviation 1; The Well's `ZScoreNormalization`.
    #[default]
    Zscore,
    /// Root mean square 1; The Well's `RMSNormalization`.
    Rms,
    /// In the field's own units.
    None,
}

/// stored = (value − shift) / scale, per channel.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Affine {
    /// In the field's units.
    pub shift: Vec<f64>,
    /// In the field's units, never zero.
    pub scale: Vec<f64>,
}

impl Affine {
    /// Field units → stored value, of one channel.
    #[inline(always)]
    pub fn stored(&self, channel: usize) -> impl Fn(f64) -> f32 + Copy + use<> {
        // A processor multiplies several times as fast as it divides; in f32 both are the same.
        let (shift, inverse) = (self.shift[channel], self.scale[channel].recip());
        move |value| ((value - shift) * inverse) as f32
    }

    /// Field units → stored values, in place.
    pub fn normalise(&self, frames: &mut Frames) {
        self.each(frames, |x, shift, scale| (x - shift) * scale.recip());
    }

    /// Stored values → field units, in place.
    pub fn denormalise(&self, frames: &mut Frames) {
        self.each(frames, |x, shift, scale| x * scale + shift);
    }

    fn each(&self, frames: &mut Frames, map: impl Fn(f64, f64, f64) -> f64) {
        let (cells, channels) = (frames.cells(), frames.channels());
        for (i, values) in frames.data_mut().chunks_mut(cells).enumerate() {
            let (shift, scale) = (self.shift[i % channels], self.scale[i % channels]);
            for value in values {
                *value = map(f64::from(*value), shift, scale) as f32;
            }
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

        #[test]
        fn denormalising_undoes_normalising(xs in prop::collection::vec(-1e3..1e3_f32, 8), shift in -10.0..10.0, scale in 0.1..10.0) {
            let affine = Affine { shift: vec![shift], scale: vec![scale] };
            let frames = Frames::new(1, 1, 1, vec![8], xs).unwrap();
            let mut there_and_back = frames.clone();
            affine.normalise(&mut there_and_back);
            affine.denormalise(&mut there_and_back);
            for (x, y) in frames.data().iter().zip(there_and_back.data()) {
                prop_assert!((x - y).abs() <= 1e-6 * (x.abs() + shift.abs() as f32 + 1.0));
            }
        }
    }
}
