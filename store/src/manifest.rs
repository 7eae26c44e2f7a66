//! `manifest.json`: what a data set holds. It is written last; without it there is no data set.

pub(crate) mod generation;
mod provenance;
mod schema;
pub mod sealed;
mod split;
mod stats;
mod transform;
mod validation;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Error, Location, Result};
pub use generation::{Change, ChangeOutcome, ChangeStart, Head, Litter, drop_split, litter, purge};
pub use provenance::{
    Attachment, AxisSelection, Contents, NotFinite, Provenance, Selection, SourceRecord,
    StoredValue,
};
pub use schema::{Axis, Boundary, Field, Grid, Schema, TensorOrder};
pub(crate) use split::check;
pub use split::{Shard, ShardId, Split, SplitManifest, Trajectory, checksum};
pub use stats::{
    BoundedChannel, ChannelMap, ChannelMoments, ChannelStatistics, Moments, Normalization,
    Normalizer, ScaleBound, Statistics,
};
pub use transform::{AsinhScale, Transform};

/// The latest version that this program reads. It writes the earliest that reads the same values: 3 where a field has
/// a [`Transform`], else 2 where [`Manifest::scale_bound`] is [`ScaleBound::Relative`], else 1.
pub const FORMAT_VERSION: u32 = 3;

/// The version of a data set with this schema and this bound.
pub(crate) fn version_of(schema: &Schema, bound: ScaleBound) -> u32 {
    let is_transformed = schema.fields.iter().any(|field| field.transform.is_some());
    match (is_transformed, bound) {
        (true, _) => 3,
        (false, ScaleBound::Relative) => 2,
        (false, ScaleBound::Absolute) => 1,
    }
}

/// Type of the stored values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32-bit floats.
    #[default]
    F32,
    /// 16-bit floats: half the bytes, three digits.
    F16,
}

impl Dtype {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::F32, Self::F16];

    /// Its name on the command line and in manifests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
        }
    }

    /// Bytes of one value.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }

    /// The least number with all its digits; smaller ones lose theirs, and become 0 in the end.
    #[must_use]
    pub fn least(self) -> f64 {
        match self {
            Self::F32 => f32::MIN_POSITIVE.into(),
            Self::F16 => half::f16::MIN_POSITIVE.into(),
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Compression of the shards' buffers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// No compression: local shards are read without a copy.
    #[default]
    None,
    /// LZ4 frames.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::None, Self::Lz4, Self::Zstd];

    /// Its name on the command line and in manifests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// The content of a data set, as `manifest.json` describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the format, at most [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Grid and fields.
    pub schema: Schema,
    /// Type of the stored values.
    pub dtype: Dtype,
    /// Compression of the shards.
    pub compression: Compression,
    /// How stored values are normalized.
    pub normalization: Normalization,
    /// Statistics of the channels, by which values are normalized: in field units, or of transformed values.
    pub statistics: Statistics,
    /// Lower bound of the scales by which values are divided.
    #[serde(default, skip_serializing_if = "is_absolute")]
    pub scale_bound: ScaleBound,
    /// Splits with their trajectories and shards.
    pub splits: BTreeMap<Split, SplitManifest>,
    /// Number of changes of the data set since it was made.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub generation: u64,
    /// Sources and options of the data set; none if its writer did not record them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<Provenance>,
}

fn is_zero(generation: &u64) -> bool {
    *generation == 0
}

fn is_absolute(bound: &ScaleBound) -> bool {
    *bound == ScaleBound::Absolute
}

impl Manifest {
    /// Reads a manifest; `object` names it in errors.
    ///
    /// # Errors
    /// [`Error::UnsupportedFormat`] before anything else is looked at; [`Error::Altered`] when it is not
    /// as it was written; [`Error::Malformed`] when its parts do not fit one another, or claim more than
    /// its shards can hold.
    pub fn from_json(bytes: &[u8], object: &str) -> Result<Self> {
        let manifest = Self::outline_from_json(bytes, object)?;
        for held in manifest.splits.values() {
            manifest.plausible(held, object)?;
        }
        Ok(manifest)
    }

    /// [`Manifest::from_json`] for an outline, whose shards may have no bytes yet.
    pub(crate) fn outline_from_json(bytes: &[u8], object: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            format_version: u64,
        }
        let malformed = |error: serde_json::Error| Error::malformed(object, error);
        let version: Version = serde_json::from_slice(bytes).map_err(malformed)?;
        if !(1..=u64::from(FORMAT_VERSION)).contains(&version.format_version) {
            return Err(Error::UnsupportedFormat {
                object: object.to_owned(),
                found: version.format_version,
                supported: FORMAT_VERSION,
            });
        }
        let manifest: Self = sealed::from_json(bytes, object)?;
        manifest.validate(object)?;
        Ok(manifest)
    }

    /// The text of `manifest.json`, with its checksum.
    #[must_use]
    pub fn to_json(&self) -> String {
        sealed::to_json(self).expect("texts, numbers and maps by name")
    }

    /// Reads the manifest of a data set.
    ///
    /// # Errors
    /// [`Error::NotADataset`] when there is none; see [`Manifest::from_json`].
    pub async fn load(root: &Location) -> Result<Self> {
        let place = root.join("manifest.json");
        match place.get_opt().await? {
            Some(bytes) => Self::from_json(&bytes, &place.to_string()),
            None => Err(Error::NotADataset {
                root: root.to_string(),
            }),
        }
    }

    /// Path of every object that the manifest names.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        let shards = self.splits.values().flat_map(SplitManifest::files);
        let made = self.provenance.iter().flat_map(|made| &made.sources);
        shards
            .map(|shard| shard.path.as_str())
            .chain(made.map(|source| source.structure.path.as_str()))
    }

    /// Identity of exactly this content, sixteen hexadecimal digits: a checksum of the whole manifest, with
    /// the checksums of its shards.
    #[must_use]
    pub fn id(&self) -> String {
        // Hashes the text that manifests had before they carried a checksum, so that ids do not change.
        let text = serde_json::to_string_pretty(self);
        let text = text.expect("texts, numbers and maps by name") + "\n";
        checksum(text.as_bytes())
    }

    /// The part of the manifest that is known before any shard is written, without sizes and checksums. Plans
    /// of the outline equal those of the whole.
    #[must_use]
    pub fn outline(&self) -> Self {
        let mut outline = self.clone();
        outline.provenance = None;
        for held in outline.splits.values_mut() {
            for shard in held.shards.iter_mut().chain(&mut held.constants) {
                (shard.bytes, shard.checksum) = (0, String::new());
            }
        }
        outline
    }

    /// The entry of a split.
    ///
    /// # Errors
    /// [`Error::NoSplit`] when there is none.
    pub fn split(&self, split: Split) -> Result<&SplitManifest> {
        self.splits.get(&split).ok_or_else(|| Error::NoSplit {
            root: self.schema.name.clone(),
            split: split.to_string(),
            available: self
                .splits
                .keys()
                .map(Split::to_string)
                .collect::<Vec<_>>()
                .join(", "),
        })
    }

    /// The maps between field units and stored values, for the channels that vary in time.
    ///
    /// # Errors
    /// [`Error::Malformed`] when a channel has no statistics, which no manifest that was read or
    /// written lacks.
    pub fn normalizer(&self) -> Result<Normalizer> {
        self.normalizer_of(true)
    }

    /// [`Manifest::normalizer`] for the fields that do not vary in time.
    ///
    /// # Errors
    /// As [`Manifest::normalizer`].
    pub fn constant_normalizer(&self) -> Result<Normalizer> {
        self.normalizer_of(false)
    }

    fn normalizer_of(&self, time_varying: bool) -> Result<Normalizer> {
        let channels = self.schema.channel_transforms(time_varying);
        self.statistics
            .normalizer(self.normalization, self.scale_bound, channels)
    }
}
