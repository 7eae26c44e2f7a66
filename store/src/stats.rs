//! Statistics of channels, and the affine map that shards are normalised by.
//!
//! They are The Well's: mean, standard deviation (of the population) and root mean square over
//! trajectories, time and space, and the same of the differences between successive frames.

mod affine;
mod moments;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Error, Result, Schema, TensorOrder};

pub use affine::{Affine, Normalization};
pub use moments::{ChannelMoments, Moments};

/// The Well clips denominators from below at this value.
const MIN_SCALE: f64 = 1e-4;

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
