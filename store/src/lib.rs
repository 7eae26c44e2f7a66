//! The data set at rest, and the way back out of it. This page is the format's specification.
//!
//! ```text
//! ROOT/manifest.json          written last; without it there is no data set
//! ROOT/stats.yaml             statistics in The Well's own layout
//! ROOT/SPLIT/NNNNN.arrow      frames: Arrow IPC files
//! ROOT/SPLIT/constants.arrow  fields that do not vary in time, where there are any
//! ROOT/sources/CHECKSUM.json  what a source holds beside fields
//! ROOT/generations/NNNNN.json earlier and present manifests of a data set that was changed
//! ```
//!
//! **Rows.** A row is a frame: `trajectory` (u32, its index in the split), `step` (u32), `time`
//! (f64), then one column for each channel, named as The Well flattens fields: `pressure`,
//! `velocity_x`, `D_xy`. A channel is a `FixedSizeList` of f32 or f16 of the canonical extension type
//! `arrow.fixed_shape_tensor`, so pyarrow sees tensors. Rows are sorted by (trajectory, step) across
//! the files of a split, so a window's channel is one contiguous run, or two where a file ends.
//! Buffers are aligned to 64 bytes: an uncompressed file on a disk is mapped and not copied before a
//! batch is gathered. In `constants.arrow` a row is a trajectory and `step` is 0.
//!
//! **Values.** stored = (x − shift) / scale in f64, rounded once: mean and standard deviation
//! (`zscore`), 0 and root mean square (`rms`), or 0 and 1 (`none`), by The Well's definitions of the
//! [`Statistics`], with The Well's lower bound of 10⁻⁴ for scale. [`Affine`] goes both ways.
//!
//! **Manifest.** JSON: format version, [`Schema`] (grid, coordinates, boundary types per axis and
//! side, fields), dtype, compression, normalisation, statistics, and for each split its
//! [`Trajectory`]s (source, frames, parameters) and [`Shard`]s (path, rows, bytes, XXH3-64). A reader
//! refuses another version before it looks at anything else. Keys that version 1 does not name are
//! ignored.
//!
//! **Provenance.** [`Provenance`] in the manifest says which files a data set was made from, with
//! their checksums, and what was taken of them. All that a file holds beside fields (attributes, masks,
//! coordinates, scalars) lies exactly as it was in `sources/CHECKSUM.json`, its [`Contents`].
//!
//! **Commits.** Shards come first, `stats.yaml` next, the manifest last and only where none is
//! (`put-if-absent`): of two writers one wins and the other is told. What an interruption leaves is
//! no data set; the next attempt goes on with it or writes over it. While a data set is being made,
//! `ROOT/ingest/` may hold records of what is done.
//!
//! **Generations.** A data set changes (trajectories are added, a split is dropped) by a new manifest
//! with the next [`Manifest::generation`]: first `generations/NNNNN.json`, only where none is, then
//! `manifest.json`. Shards are never changed: new ones have names of their own
//! (`train/00000.g1.arrow`), and readers of an older generation still find theirs until [`purge`].
//!
//! **Order.** [`Plan`] says which windows come when: a pure function of (manifest, seed, epoch), and
//! of (rank, world) for a share. [`Loader`] carries a plan out. Every stored byte goes through
//! [`Location`], that is, `object_store`; the one exception is the memory map of a local shard.
//!
//! # Example
//!
//! Write two frames of a trajectory, and read them back through the loader:
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::sync::Arc;
//! use wellspring_store::*;
//!
//! # fn main() -> Result<()> {
//! let axis = Axis { name: "x".into(), coordinates: vec![0.0, 0.5], boundary: [Boundary::Periodic; 2] };
//! let field = Field { name: "u".into(), order: TensorOrder::Scalar, time_varying: true, sample_varying: true };
//! let schema = Schema {
//!     name: "tiny".into(),
//!     grid: Grid { kind: "cartesian".into(), axes: vec![axis] },
//!     fields: vec![field],
//! };
//! let mut moments = ChannelMoments::default();
//! moments.add(&[1.0, 3.0], None);
//! moments.add(&[2.0, 4.0], Some(&[1.0, 3.0]));
//! let options = WriterOptions {
//!     schema,
//!     dtype: Dtype::F32,
//!     compression: Compression::None,
//!     normalization: Normalization::Zscore,
//!     statistics: Statistics(BTreeMap::from([("u".into(), moments.into())])),
//!     shard_bytes: 64 << 20,
//!     overwrite: false,
//! };
//!
//! let runtime = tokio::runtime::Runtime::new().expect("threads");
//! let root = Location::parse("memory:///tiny")?;
//! let dataset = runtime.block_on(async {
//!     let writer = DatasetWriter::create(&root, options).await?;
//!     let mut shard = writer.shard(Split::Train, 0)?;
//!     for (step, values) in [[1.0, 3.0], [2.0, 4.0]].into_iter().enumerate() {
//!         let mut frame = Frames::new(1, 1, 1, vec![2], values.to_vec())?;
//!         writer.affine().normalise(&mut frame);
//!         shard.push((0, step as u32), step as f64, &frame)?;
//!     }
//!     let held = SplitManifest {
//!         trajectories: vec![Trajectory {
//!             source: "by hand".into(),
//!             frames: 2,
//!             parameters: BTreeMap::new(),
//!             series: BTreeMap::new(),
//!         }],
//!         shards: vec![shard.finish().await?],
//!         constants: None,
//!     };
//!     writer.finish(BTreeMap::from([(Split::Train, held)])).await?;
//!     Dataset::open(&root).await
//! })?;
//!
//! let order = Order::Shuffled { seed: 0, epoch: 0 };
//! let plan = Plan::new(dataset.manifest(), Split::Train, WindowSpec::of_length(2), order, Share::WHOLE)?;
//! let affine = dataset.manifest().affine();
//! let loader = Loader::spawn(Arc::new(dataset), plan, LoaderOptions::default(), runtime.handle());
//! for batch in loader {
//!     let mut frames = batch?.frames;
//!     affine.denormalise(&mut frames);
//!     assert_eq!(frames.channel(1, 0, 0), [2.0, 4.0]);
//! }
//! # Ok(())
//! # }
//! ```

mod cache;
mod dataset;
mod error;
mod frames;
mod generation;
mod loader;
mod location;
mod manifest;
mod patch;
mod plan;
mod provenance;
mod report;
#[cfg(test)]
mod sample;
mod schema;
mod shard;
mod stats;
mod verify;
mod window;
mod writer;

#[cfg(test)]
mod tests;

pub use dataset::{DEFAULT_CACHE_BYTES, Dataset};
pub use error::{Error, Result};
pub use frames::Frames;
pub use generation::{drop_split, latest, purge};
pub use loader::{Batch, Loader, LoaderOptions};
pub use location::Location;
pub use manifest::{
    Compression, Dtype, FORMAT_VERSION, Manifest, Shard, Split, SplitManifest, Trajectory, checksum,
};
pub use patch::Patch;
pub use plan::{Order, Plan, Share};
pub use provenance::{
    Attachment, AxisSelection, Contents, Provenance, Selection, SourceRecord, StoredValue,
};
pub use report::{Reporter, Silent};
pub use schema::{Axis, Boundary, Field, Grid, Schema, TensorOrder};
pub use shard::{Row, ShardWriter};
pub use stats::{Affine, ChannelMoments, ChannelStatistics, Moments, Normalization, Statistics};
pub use verify::{Flaw, Place, verify};
pub use window::{Window, WindowSpec};
pub use writer::{DatasetWriter, WriterOptions};
