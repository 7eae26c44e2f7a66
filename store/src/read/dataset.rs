//! [`Dataset`]: reads any run of frames of any trajectory.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use tokio::sync::OnceCell;

use crate::manifest::ShardId;
use crate::manifest::generation;
use crate::plan::rows::{RowIndex, WindowRows};
use crate::read::cache::ledger::WhenFull;
use crate::read::cache::{CacheOptions, Lease, ShardCache};
use crate::read::constants::{ConstantFields, out_of_range};
use crate::read::io_statistics::{Counters, IoStatistics};
use crate::shard::{ShardData, StoredValues};
use crate::{
    Conditioning, Error, Frames, Location, Manifest, Normalizer, Result, Schema, ShardProvider,
    Split, Value, Window, WindowSpec,
};

/// A data set that can be read.
#[derive(Debug)]
pub struct Dataset {
    root: Location,
    manifest: Arc<Manifest>,
    normalizer: Normalizer,
    index: BTreeMap<Split, RowIndex>,
    cache: Arc<ShardCache>,
    options: CacheOptions,
    /// Fields that do not vary in time, of the splits whose conditions were asked for.
    held_constants: BTreeMap<Split, OnceCell<Option<Arc<ConstantFields>>>>,
}

/// Frames of one trajectory, in open shards.
#[derive(Debug)]
pub(crate) struct Run {
    pieces: Vec<(WindowRows, Arc<ShardData>)>,
}

impl Dataset {
    /// Opens a data set: reads its manifest and nothing else.
    ///
    /// Uncompressed shards on a local disk are mapped into memory, unless [`CacheOptions::map`] says
    /// otherwise. While the data set is open, such a file must not be written to or truncated: values would
    /// change after they were checked, or the process would end with a bus error. This program never
    /// changes a shard; to replace one by hand, write another file and rename it.
    ///
    /// # Errors
    /// [`Error::NotADataset`], [`Error::UnsupportedFormat`], [`Error::Malformed`], [`Error::Io`].
    pub async fn open(root: &Location) -> Result<Self> {
        Self::open_with(root, CacheOptions::default()).await
    }

    /// [`Dataset::open`] with options of the cache.
    ///
    /// # Errors
    /// As [`Dataset::open`]; [`Error::Cache`] for a folder that cannot be used.
    pub async fn open_with(root: &Location, cache: CacheOptions) -> Result<Self> {
        Self::new(root, Manifest::load(root).await?, None, cache)
    }

    /// A data set on demand, whose shards an origin makes when they are first read. The manifest may be a
    /// [`Manifest::outline`].
    ///
    /// # Errors
    /// [`Error::Cache`] for a folder that cannot be used.
    pub fn of_origin(
        root: &Location,
        outline: Manifest,
        origin: Arc<dyn ShardProvider>,
        cache: CacheOptions,
    ) -> Result<Self> {
        Self::new(root, outline, Some(origin), cache)
    }

    fn new(
        root: &Location,
        manifest: Manifest,
        origin: Option<Arc<dyn ShardProvider>>,
        cache: CacheOptions,
    ) -> Result<Self> {
        let manifest = Arc::new(manifest);
        let index = manifest.splits.iter();
        let held_constants = manifest.splits.keys();
        Ok(Self {
            held_constants: held_constants
                .map(|&split| (split, OnceCell::new()))
                .collect(),
            normalizer: manifest.normalizer()?,
            index: index
                .map(|(&split, held)| (split, RowIndex::of(split, held)))
                .collect(),
            options: cache.clone(),
            cache: ShardCache::new(root.clone(), Arc::clone(&manifest), origin, cache)?,
            root: root.clone(),
            manifest,
        })
    }

    /// The newest earlier generation of the data set for which `holds` is true; none if no such generation
    /// is kept, since [`purge`](crate::purge) deletes them.
    ///
    /// # Errors
    /// As [`Dataset::open`].
    pub async fn earlier(&self, holds: impl Fn(&Manifest) -> bool) -> Result<Option<Self>> {
        let kept = generation::earlier(&self.root, holds).await?;
        let open = |manifest| Self::new(&self.root, manifest, None, self.options.clone());
        kept.map(open).transpose()
    }

    /// Location of the data set.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.root
    }

    /// Manifest of the data set.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Grid and fields of the data set.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.manifest.schema
    }

    /// The maps between field units and stored values, for the channels that vary in time.
    #[must_use]
    pub fn normalizer(&self) -> &Normalizer {
        &self.normalizer
    }

    /// The provider that makes shards when they are first read, for a data set on demand.
    #[must_use]
    pub fn origin(&self) -> Option<&Arc<dyn ShardProvider>> {
        self.cache.origin()
    }

    /// Requests, bytes and waiting time of all reading so far.
    #[must_use]
    pub fn io_statistics(&self) -> IoStatistics {
        self.cache.io_statistics()
    }

    /// Frames of one trajectory as they are stored (normalized): (T, 1, C, *space).
    ///
    /// # Errors
    /// [`Error::OutOfRange`]; [`Error::Damaged`] for a shard with other bytes than were written.
    pub async fn read(
        &self,
        split: Split,
        trajectory: usize,
        steps: Range<usize>,
    ) -> Result<Frames> {
        let time = steps.len();
        let pieces = self.locate(split, trajectory, steps, 1)?;
        self.gather(pieces, time).await
    }

    /// Each channel of some frames as it is stored, (T, *space), in the memory of an open shard, which stays as long as
    /// the values do: a mapped file where the shard is mapped. None where the frames are not neighbours there.
    ///
    /// # Errors
    /// As [`Dataset::read`].
    pub async fn stored(
        &self,
        split: Split,
        trajectory: usize,
        steps: Range<usize>,
    ) -> Result<Option<Vec<StoredValues>>> {
        let time = steps.len();
        let pieces = self.locate(split, trajectory, steps, 1)?;
        let (run, _lease) = self.run(pieces, time).await?;
        Ok(match run.pieces.as_slice() {
            [(piece, shard)] => shard.stored(piece.rows.clone()),
            _ => None,
        })
    }

    /// The frames of one window as they are stored (normalized): (T, 1, C, *space).
    ///
    /// # Errors
    /// As [`Dataset::read`].
    pub async fn read_window(
        &self,
        split: Split,
        spec: WindowSpec,
        window: Window,
    ) -> Result<Frames> {
        let trajectory = self.frames(split, window.trajectory as usize)?;
        let pieces = self.pieces(split, spec, window)?;
        self.gather(pieces, spec.frames(trajectory)).await
    }

    /// Times of one trajectory's frames, in the simulation's units.
    ///
    /// # Errors
    /// As [`Dataset::read`].
    pub async fn times(
        &self,
        split: Split,
        trajectory: usize,
        steps: Range<usize>,
    ) -> Result<Vec<f64>> {
        let time = steps.len();
        let pieces = self.locate(split, trajectory, steps, 1)?;
        let (run, _lease) = self.run(pieces, time).await?;
        Ok(run.times(time))
    }

    /// The fields of one trajectory that do not vary in time, as they are stored: (1, 1, C, *space)
    /// with the channels of [`Schema::constant_channels`]; nothing when there are none.
    ///
    /// # Errors
    /// As [`Dataset::read`].
    pub async fn constants(&self, split: Split, trajectory: usize) -> Result<Option<Frames>> {
        let fields = self.open_constants(split).await?;
        fields.map(|fields| fields.of(trajectory)).transpose()
    }

    async fn open_constants(&self, split: Split) -> Result<Option<ConstantFields>> {
        if self.manifest.split(split)?.constants.is_none() {
            return Ok(None);
        }
        let id = ShardId { split, index: None };
        let lease = Arc::new(self.cache.lease(&[id], WhenFull::Take).await?);
        let shard = open_in(std::slice::from_ref(&lease), id).await?;
        Ok(Some(ConstantFields::new(split, shard, self.schema())))
    }

    /// The fields of a split that do not vary in time, if they are asked for and there are any. They are opened
    /// once and then held as long as the data set is open, whatever else the cache holds.
    pub(crate) async fn held_constants(
        &self,
        split: Split,
        wanted: Conditioning,
    ) -> Result<Option<Arc<ConstantFields>>> {
        let Some(held) = self.held_constants.get(&split) else {
            return Ok(None);
        };
        if wanted != Conditioning::Everything {
            return Ok(None);
        }
        let open = async { Ok(self.open_constants(split).await?.map(Arc::new)) };
        held.get_or_try_init(|| open).await.cloned()
    }

    pub(crate) fn counters(&self) -> &Counters {
        self.cache.counters()
    }

    /// The cache, for a lease that outlives a borrow of the data set.
    pub(crate) fn cache(&self) -> &Arc<ShardCache> {
        &self.cache
    }

    /// The pieces of shards that hold a window's frames.
    pub(crate) fn pieces(
        &self,
        split: Split,
        spec: WindowSpec,
        window: Window,
    ) -> Result<Vec<WindowRows>> {
        let (trajectory, start) = (window.trajectory as usize, window.start as usize);
        let frames = self.frames(split, trajectory)?;
        let steps = start..start.saturating_add(spec.span(frames));
        self.locate(split, trajectory, steps, spec.stride)
    }

    /// Frames that a trajectory has.
    pub(crate) fn frames(&self, split: Split, trajectory: usize) -> Result<usize> {
        let held = self.manifest.split(split)?.trajectories.get(trajectory);
        Ok(held.map_or(0, |trajectory| trajectory.frames))
    }

    /// Bytes of a frame of a batch.
    pub(crate) fn frame_bytes(&self) -> u64 {
        let values = self.schema().channels().len() * self.schema().grid.cells();
        (values * size_of::<f32>()) as u64
    }

    /// Frames without values, (T, B, C, *space).
    pub(crate) fn empty<T: Value>(&self, time: usize, batch: usize) -> Frames<T> {
        let (channels, space) = (self.schema().channels().len(), self.schema().grid.shape());
        Frames::filled(time, batch, channels, space, T::default())
    }

    fn locate(
        &self,
        split: Split,
        trajectory: usize,
        steps: Range<usize>,
        stride: usize,
    ) -> Result<Vec<WindowRows>> {
        let held = self.manifest.split(split)?.trajectories.get(trajectory);
        let index = self.index.get(&split).filter(|_| held.is_some());
        let frames = held.map_or(0, |held| held.frames);
        match index {
            Some(index) if steps.start <= steps.end && steps.end <= frames => {
                Ok(index.pieces(trajectory, steps, stride))
            }
            _ => Err(out_of_range(split, trajectory, steps, frames)),
        }
    }

    /// So many frames of one trajectory, from their pieces.
    async fn gather(&self, pieces: Vec<WindowRows>, time: usize) -> Result<Frames> {
        let (run, _lease) = self.run(pieces, time).await?;
        let mut frames = self.empty(time, 1);
        run.copy(&mut frames, 0);
        Ok(frames)
    }

    pub(crate) async fn run(
        &self,
        pieces: Vec<WindowRows>,
        time: usize,
    ) -> Result<(Run, Arc<Lease>)> {
        let shards: Vec<ShardId> = pieces.iter().map(|piece| piece.shard).collect();
        let lease = Arc::new(self.cache.lease(&shards, WhenFull::Take).await?);
        let run = Run::open(pieces, time, std::slice::from_ref(&lease)).await?;
        Ok((run, lease))
    }
}

impl Run {
    /// Waits for the shards of some pieces, which have every one of `time` frames between them and each
    /// lie in one of the leases: what no piece fills would be whatever was in that memory before.
    pub(crate) async fn open(
        pieces: Vec<WindowRows>,
        time: usize,
        leases: &[Arc<Lease>],
    ) -> Result<Self> {
        let mut open = Vec::with_capacity(pieces.len());
        let mut filled = 0;
        for piece in pieces {
            if piece.time == filled {
                filled += piece.rows.len().div_ceil(piece.stride.max(1));
            }
            let shard = open_in(leases, piece.shard).await?;
            open.push((piece, shard));
        }
        if filled != time {
            return Err(Error::Shape {
                what: "frames of a window in its shards".into(),
                expected: time.to_string(),
                found: filled.to_string(),
            });
        }
        Ok(Self { pieces: open })
    }

    /// Times of its `time` frames.
    pub(crate) fn times(&self, time: usize) -> Vec<f64> {
        let mut times = vec![f64::NAN; time];
        for (piece, shard) in &self.pieces {
            let rows = piece.rows.clone().step_by(piece.stride.max(1));
            for (time, row) in times[piece.time..].iter_mut().zip(rows) {
                *time = shard.key(row).2;
            }
        }
        times
    }

    /// Copies the run into trajectory `batch` of some frames.
    pub(crate) fn copy<T: Value>(&self, frames: &mut Frames<T>, batch: usize) {
        for (piece, shard) in &self.pieces {
            let rows = piece.rows.clone();
            shard.copy(rows, piece.stride, frames, piece.time, batch);
        }
    }
}

/// Waits for a shard that one of some leases holds.
async fn open_in(leases: &[Arc<Lease>], id: ShardId) -> Result<Arc<ShardData>> {
    for lease in leases {
        if let Some(shard) = lease.open(id).await? {
            return Ok(shard);
        }
    }
    Err(Error::NotHeld {
        split: id.split.to_string(),
        shard: id.index,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::sample;

    /// Files are read where there is no runtime too, as in a forked process.
    #[test]
    fn a_local_data_set_needs_no_threads() {
        let folder = tempfile::tempdir().unwrap();
        let root = Location::parse(folder.path().to_str().unwrap()).unwrap();
        let written = sample::write(&root, &[7], sample::options(&[7]));
        tokio::runtime::Runtime::new()
            .unwrap()
            .block_on(written)
            .unwrap();
        let read = futures::executor::block_on(async {
            let dataset = Dataset::open(&root).await.unwrap();
            assert_eq!(dataset.times(Split::Train, 0, 0..2).await.unwrap().len(), 2);
            let frames = dataset.read(Split::Train, 0, 1..3).await.unwrap();
            let stored = dataset
                .stored(Split::Train, 0, 1..3)
                .await
                .unwrap()
                .unwrap();
            (frames, stored)
        });
        for (channel, stored) in read.1.into_iter().enumerate() {
            let StoredValues::F32(stored) = stored else {
                panic!("the sample is in f32");
            };
            let cells = read.0.cells();
            for time in 0..2 {
                assert_eq!(
                    read.0.channel(time, 0, channel),
                    &stored[time * cells..][..cells]
                );
            }
        }
    }

    /// A window whose shard nobody holds, or that misses a frame, is an error: its memory was used before.
    #[tokio::test]
    async fn a_window_is_whole_or_refused() {
        let root = Location::parse("memory:///ds").unwrap();
        let options = sample::options(&[7]);
        sample::write(&root, &[7], options).await.unwrap();
        let dataset = sample::open(&root).await;
        let pieces = dataset.locate(Split::Train, 0, 0..2, 1).unwrap();
        let shards: Vec<ShardId> = pieces.iter().map(|piece| piece.shard).collect();
        let lease = dataset.cache.lease(&shards, WhenFull::Take).await.unwrap();
        let leases = [Arc::new(lease)];
        Run::open(pieces.clone(), 2, &leases).await.unwrap();
        let error = Run::open(pieces.clone(), 2, &[]).await.unwrap_err();
        assert!(matches!(error, Error::NotHeld { .. }), "{error}");
        let error = Run::open(pieces, 3, &leases).await.unwrap_err();
        assert!(error.to_string().contains("expected 3, found 2"), "{error}");
    }
}
