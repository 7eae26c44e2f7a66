//! The data set format of wellspring: writing, reading, and loading for training. This page is the format's
//! specification.
//!
//! ```text
//! ROOT/manifest.json                  written last; without it there is no data set
//! ROOT/stats.yaml                     statistics in The Well's own layout
//! ROOT/SPLIT/NNNNN.STAMP.arrow        frames: Arrow IPC files
//! ROOT/SPLIT/constants.STAMP.arrow    fields that do not vary in time, where there are any
//! ROOT/sources/CHECKSUM.STAMP.json    what a source holds beside fields
//! ROOT/generations/NNNNN-ID.json      earlier manifests of a data set that was changed
//! ROOT/ingest/                        while it is made: a claim, and records of what is done
//! ```
//!
//! **Rows.** A row is a frame: `trajectory` (u32, its index in the split), `step` (u32), `time`
//! (f64), then one column for each channel, named as The Well flattens fields: `pressure`,
//! `velocity_x`, `D_xy`. A channel is a `FixedSizeList` of f32 or f16 of the canonical extension type
//! `arrow.fixed_shape_tensor`, so pyarrow sees tensors. Rows are sorted by (trajectory, step) across
//! the files of a split, so a window's channel is one contiguous run, or two where a file ends. A file
//! holds whole trajectories, as many as fit; a longer one is cut into files of its own.
//! Buffers are aligned to 64 bytes: an uncompressed file on a disk is mapped and not copied before a
//! batch is gathered. In `constants.arrow` a row is a trajectory and `step` is 0.
//!
//! **Values.** stored = (x − shift) / scale in f64, rounded once: mean and standard deviation
//! (`zscore`), 0 and root mean square (`rms`), or 0 and 1 (`none`), by The Well's definitions of the
//! [`Statistics`]. A scale is at least The Well's 10⁻⁴, or that times the channel's root mean square where
//! this is less than 1 ([`ScaleBound`]), so that units of any size are stored alike. If a field has a
//! [`Transform`] in the schema (`log10`, or `asinh:SCALE` for asinh(value / SCALE)), x is its transformed value, and
//! its statistics are of those; else x is its value. [`Normalizer`] goes both ways. Whoever reads shards without this
//! program undoes both: value = 10^(stored · scale + shift), or SCALE · sinh(stored · scale + shift).
//!
//! **Manifest.** JSON: format version (3 where a field has a transform, else 2 where the bound of a scale is not
//! 10⁻⁴, which earlier programs would misread, else 1), [`Schema`] (grid, coordinates, boundary types per axis and
//! side, fields), dtype, compression, normalization, statistics, and for each split its
//! [`Trajectory`]s (source, frames, parameters) and [`Shard`]s (path, rows, bytes, XXH3-64). A reader
//! refuses another version before it looks at anything else. Keys that version 1 does not name are
//! ignored. Its last key, `checksum`, is of everything else in it, as [`sealed`] says: an edited or damaged
//! manifest is refused. To edit a manifest by hand, delete that key; the next change of the data set writes
//! it again. Manifests without it, from before there was one, are read as they are.
//!
//! **Provenance.** [`Provenance`] in the manifest says which files a data set was made from, with
//! their checksums, and which part of them was taken. Everything that a file holds beside fields
//! (attributes, masks, coordinates, scalars) is kept exactly in `sources/CHECKSUM.STAMP.json`, its [`Contents`].
//!
//! **Names.** No two different works write under one name. Every file that a work writes before its manifest
//! carries a STAMP: `KEY` for a first generation, `g3-KEY` for a later one, where KEY is a checksum of
//! everything that the work depends on and of the manifest that it began with. Equal works may run side by
//! side, one after another, or in parts: they write the same bytes. Only the manifest says which files count;
//! earlier versions of this program left the stamp out, and so may other writers.
//!
//! **Commits.** Shards are written first. Then the manifest is written, only if there is none (`put-if-absent`)
//! or in place of the one that the work began with: of two writers one succeeds and the other gets an error.
//! `stats.yaml` and tidying up come last. An interruption leaves the data set unchanged, and the next attempt
//! continues with the files that are there.
//!
//! **On demand.** A data set may be read before it is written: [`Dataset::of_origin`] takes an
//! [`outline`](Manifest::outline) of its manifest and a [`ShardProvider`], which makes each shard when it is
//! first read. There is no manifest until the last shard is made.
//!
//! **Generations.** A data set changes (trajectories are added, a split is dropped, all of it is replaced) by a
//! manifest with the next [`Manifest::generation`], which takes the place of the one that it was made from if
//! that is still there: a conditional write in a bucket, a lock on `manifest.json` on a disk. The replaced one
//! is kept in `generations/`, where ID is [`Manifest::id`]. Shards are never changed, and readers of an older
//! generation still find theirs until [`purge`], or until the whole data set is replaced. [`Change`] has the
//! steps that all writers share.
//!
//! **Litter.** Generation numbers only grow. So a file that is stamped for an existing generation, and that
//! no manifest names, can never become valid, even if its writer lives: the next
//! writer deletes it, as [`purge`] does. A file that is stamped for the next generation may belong to a living
//! writer, on this machine or another, and stays. Nothing is assumed about ages or clocks. On a disk, files
//! that a killed process had begun (`NAME#1`) are recognized by their locks.
//!
//! **Order.** [`Plan`] says which windows come when: a pure function of (manifest, seed, epoch), and
//! of (rank, world) for a share. A run that resumes needs only the number of windows seen, at any world
//! size. [`Loader`] carries out a plan, in batches of f32, f16 or bf16. [`Dataset::read_cost`] gives the cost
//! beforehand, [`Dataset::io_statistics`] the real one afterwards. A batch may carry the [`Conditions`] of its
//! windows: fields that do not vary in time, scalars and times. Every stored byte goes through [`Location`], that
//! is, `object_store`; the exceptions are the memory map of a local shard and the cache folder of fetched shards.
//!
//! **Shuffling.** On a disk any window may come next. Shards in a bucket are fetched whole, in parts of
//! 8 MiB, and [`Order::Streamed`] mixes the windows of as many shards as it has lanes: each shard is
//! fetched once, though windows reach from one into the next, and a known number is held. For 256 shards of
//! 64 windows, each fetched once: most shards *held*, shards that *64 windows* in a row use, and how much likelier than
//! in a global shuffle neighbours are *near* each other:
//!
//! | order                                         | held | in 64 windows | near |
//! |-----------------------------------------------|-----:|--------------:|-----:|
//! | global shuffle                                |  256 |          56.9 |  1.0 |
//! | streamed, 32 lanes                            |   32 |          29.9 |  2.8 |
//! | streamed, 16 lanes                            |   16 |          16.8 |  7.0 |
//! | MosaicML streaming's `py1e` over 15 shards    |   16 |          15.3 |  8.9 |
//! | MosaicML streaming's `py1b` of 16 shards      |   16 |          15.8 |  8.3 |
//! | litdata's chunks, MosaicML streaming's `py1s` |    1 |           1.0 |  126 |
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
//! let mut moments = ChannelMoments::default();
//! moments.add(&[1.0, 3.0], None);
//! moments.add(&[2.0, 4.0], Some(&[1.0, 3.0]));
//! let options = WriterOptions {
//!     schema: Schema::periodic("tiny", &[("x", 2)], &[("u", TensorOrder::Scalar)]),
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
//!         writer.normalizer().normalize(&mut frame);
//!         shard.push((0, step as u32), step as f64, &frame)?;
//!     }
//!     let held = SplitManifest {
//!         trajectories: vec![Trajectory {
//!             source: "by hand".into(),
//!             frames: 2,
//!             parameters: BTreeMap::new(),
//!             ..Trajectory::default()
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
//! let normalizer = dataset.manifest().normalizer()?;
//! let loader = Loader::spawn(Arc::new(dataset), plan, LoaderOptions::default(), runtime.handle());
//! for batch in loader {
//!     let mut batch = batch?;
//!     normalizer.denormalize(&mut batch.frames);
//!     assert_eq!(batch.frames.channel(1, 0, 0), [2.0, 4.0]);
//! }
//! # Ok(())
//! # }
//! ```

// A dependency that nothing uses is to be removed. Tests have more of them.
#![cfg_attr(not(test), warn(unused_crate_dependencies))]

mod array;
mod error;
mod loader;
mod location;
mod manifest;
mod plan;
mod read;
mod report;
#[cfg(test)]
mod sample;
mod shard;
mod threads;
mod write;

#[cfg(test)]
mod tests;

pub use array::{
    Conditioning, Conditions, Context, Frames, Length, Offsets, Patch, Value, Window, WindowSpec,
};
pub use error::{Error, Result, with_causes};
pub use loader::{Batch, Loader, LoaderOptions, ReadCost};
pub use location::{
    DEFAULT_RETRY_FOR, FileLock, Listing, Location, Version, begun_name, is_at, masked,
    move_into_place, remove_left, report_outages, sync_folder,
};
pub use manifest::{
    AsinhScale, Attachment, Axis, AxisSelection, Boundary, BoundedChannel, Change, ChangeOutcome,
    ChangeStart, ChannelMap, ChannelMoments, ChannelStatistics, Compression, Contents, Dtype,
    FORMAT_VERSION, Field, Grid, Head, Litter, Manifest, Moments, Normalization, Normalizer,
    NotFinite, Provenance, ScaleBound, Schema, Selection, Shard, ShardId, SourceRecord, Split,
    SplitManifest, Statistics, StoredValue, TensorOrder, Trajectory, Transform, checksum,
    drop_split, litter, purge, sealed,
};
pub use plan::{Order, Plan, Share};
pub use read::{
    CacheOptions, DEFAULT_CACHE_BYTES, Dataset, FrameColumns, IoStatistics, Scanner, ShardProvider,
    ShardRows,
};
pub use report::{Notes, Reporter, Silent};
pub use shard::{Row, ShardWriter, StoredValues};
pub use threads::start_runtime;
pub use write::{DatasetWriter, Flaw, Place, WriterOptions, verify};
