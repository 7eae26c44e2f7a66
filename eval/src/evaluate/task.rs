//! The task of an evaluation: predicting the frames of a split of a data set, at a stride.

use serde::Serialize;
use wellspring_store::{Dtype, Manifest, Normalization, Split, Statistics, Trajectory, checksum};
use wellspring_store::{Field, Grid};

use crate::{Error, Result};

/// A task, and what people call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Task {
    /// Identity of the task: equal for equal tasks, sixteen hexadecimal digits.
    pub(super) id: String,
    /// Name of the data set, and the stride unless it is 1: `shear_flow every 2`.
    pub(super) name: String,
    /// Identity of the whole data set as it is stored, and the stride unless it is 1.
    pub(super) dataset_id: String,
    /// Cells along each axis: `128x256`.
    pub(super) grid: String,
    /// Names of the fields that vary in time, with commas between them.
    pub(super) fields: String,
}

/// Everything that distinguishes two tasks. It leaves out the other splits, the generation, the
/// sizes of shards, their compression, and the program that wrote them. If the sources are known, it leaves out
/// normalization and transforms too: they change how models see the values, and the values only by rounding.
#[derive(Serialize)]
struct Identity<'a> {
    name: &'a str,
    grid: &'a Grid,
    fields: Vec<Field>,
    dtype: Dtype,
    split: Split,
    stride: usize,
    trajectories: &'a [Trajectory],
    values: Values<'a>,
}

/// The values of the frames.
#[derive(Serialize)]
enum Values<'a> {
    /// Checksums of what was read of each source.
    Sources(Vec<&'a str>),
    /// Checksums of the shards, and how they are normalized.
    Shards(Vec<&'a str>, Normalization, &'a Statistics),
    /// Everything that a data set on demand promises, since it has no shards yet.
    Promised(String),
}

impl Task {
    /// The task of predicting the frames of a split, each `stride` steps after the one before.
    ///
    /// # Errors
    /// When there is no such split.
    pub(super) fn new(manifest: &Manifest, split: Split, stride: usize) -> Result<Self> {
        let (schema, held) = (&manifest.schema, manifest.split(split)?);
        let values = values(manifest, split)?;
        let mut identified = schema.fields.clone();
        if let Values::Sources(_) = values {
            let fields = identified.iter_mut();
            fields.for_each(|field| field.transform = None);
        }
        let identity = Identity {
            name: &schema.name,
            grid: &schema.grid,
            fields: identified,
            dtype: manifest.dtype,
            split,
            stride,
            trajectories: &held.trajectories,
            values,
        };
        let text = serde_json::to_vec(&identity).map_err(|error| Error::Malformed {
            object: format!("the manifest of {}", schema.name),
            reason: error.to_string(),
        })?;
        let sides: Vec<String> = schema.grid.shape().iter().map(usize::to_string).collect();
        let fields = schema.fields.iter().filter(|field| field.time_varying);
        let fields: Vec<&str> = fields.map(|field| field.name.as_str()).collect();
        Ok(Self {
            id: checksum(&text),
            name: at_stride(&schema.name, " every ", stride),
            dataset_id: at_stride(&manifest.id(), "/", stride),
            grid: sides.join("x"),
            fields: fields.join(","),
        })
    }
}

fn values(manifest: &Manifest, split: Split) -> Result<Values<'_>> {
    let files = manifest.split(split)?.files();
    let shards: Vec<&str> = files.map(|shard| shard.checksum.as_str()).collect();
    let made = manifest.provenance.iter().flat_map(|made| &made.sources);
    let sources = made.filter(|source| source.split == split);
    let sources: Vec<&str> = sources.map(|source| source.checksum.as_str()).collect();
    Ok(if shards.contains(&"") {
        Values::Promised(manifest.id())
    } else if sources.is_empty() {
        Values::Shards(shards, manifest.normalization, &manifest.statistics)
    } else {
        Values::Sources(sources)
    })
}

/// Adds the stride to a name if it is not 1, since predicting every frame is another task.
fn at_stride(name: &str, words: &str, stride: usize) -> String {
    match stride {
        1 => name.to_owned(),
        stride => format!("{name}{words}{stride}"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use wellspring_store::{
        Attachment, Compression, Provenance, Selection, Shard, SourceRecord, Transform,
    };

    use super::*;
    use crate::sample::plane;

    async fn manifest() -> Manifest {
        plane("memory:///task").await.manifest().clone()
    }

    fn id(manifest: &Manifest) -> String {
        Task::new(manifest, Split::Test, 1).unwrap().id
    }

    #[tokio::test]
    async fn what_has_no_part_in_a_task_does_not_change_it() {
        let one = manifest().await;
        let mut other = one.clone();
        let train = other.splits.get_mut(&Split::Train).unwrap();
        train.trajectories.pop();
        train
            .shards
            .push(Shard::of("train/1.arrow".into(), 1, b"more"));
        other.generation = 3;
        other.compression = Compression::Lz4;
        other.provenance = Some(Provenance {
            program: "another".into(),
            key: "k".into(),
            selection: Selection::default(),
            shard_bytes: 1,
            sources: Vec::new(),
        });
        assert_ne!(one.id(), other.id());
        assert_eq!(id(&one), id(&other));
    }

    #[tokio::test]
    async fn a_transform_is_another_task_only_where_nothing_tells_that_the_values_are_the_same() {
        let by_hand = manifest().await;
        let mut made = by_hand.clone();
        made.provenance = Some(Provenance {
            program: "another".into(),
            key: "k".into(),
            selection: Selection::default(),
            shard_bytes: 1,
            sources: vec![SourceRecord {
                name: "a.hdf5".into(),
                split: Split::Test,
                bytes: 1,
                checksum: "c".into(),
                structure: Attachment::of("sources", "json", b"{}"),
            }],
        });
        for (held, is_same) in [(by_hand, false), (made, true)] {
            let mut transformed = held.clone();
            transformed.schema.fields[0].transform = Some(Transform::Log10);
            assert_eq!(id(&held) == id(&transformed), is_same);
        }
    }

    #[tokio::test]
    async fn another_grid_field_trajectory_value_split_or_stride_is_another_task() {
        let one = manifest().await;
        let changes: [fn(&mut Manifest); 6] = [
            |m| m.schema.name.push('s'),
            |m| m.schema.grid.axes[0].coordinates[1] = 0.5,
            |m| drop(m.schema.fields.pop()),
            |m| {
                m.splits.get_mut(&Split::Test).unwrap().trajectories[0]
                    .source
                    .push('s')
            },
            |m| {
                m.splits.get_mut(&Split::Test).unwrap().shards[0]
                    .checksum
                    .push('0')
            },
            |m| m.dtype = Dtype::F16,
        ];
        let mut ids = vec![id(&one)];
        for change in changes {
            let mut other = one.clone();
            change(&mut other);
            ids.push(id(&other));
        }
        let of = |split, stride| Task::new(&one, split, stride).unwrap();
        ids.push(of(Split::Train, 1).id);
        ids.push(of(Split::Test, 2).id);
        let different: std::collections::BTreeSet<&String> = ids.iter().collect();
        assert_eq!(different.len(), ids.len());
        let strided = of(Split::Test, 2);
        assert_eq!(
            (strided.name.as_str(), strided.grid.as_str()),
            ("plane every 2", "16x16")
        );
        assert_eq!(strided.fields, "u,v");
    }
}
