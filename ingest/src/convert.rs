//! The two passes: statistics of the training split, then normalised shards.
//!
//! Both cut a split into the same runs of rows, one run a task, a few tasks at a time. What a task
//! gives does not depend on the others, and results are joined in order: the bytes of a data set
//! depend on its source and options alone. Memory is bounded by tasks × shard size.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use wellspring_store::{
    Affine, ChannelMoments, ChannelStatistics, Compression, DatasetWriter, Dtype, Frames, Location,
    Manifest, Normalization, Reporter, Shard, ShardWriter, Split, SplitManifest, Statistics,
    WriterOptions,
};

use crate::catalogue::{Catalogue, Row};
use crate::source::Source;
use crate::{Error, Result};

/// How to convert.
#[derive(Debug, Clone)]
pub struct IngestOptions {
    /// Type of the stored values.
    pub dtype: Dtype,
    /// Compression of the shards.
    pub compression: Compression,
    /// How values are normalised.
    pub normalization: Normalization,
    /// The Well's `stats.yaml` to normalise by; without it, statistics of the training split (of
    /// every split, where there is none to train on).
    pub stats: Option<Location>,
    /// Target size of a shard.
    pub shard_bytes: u64,
    /// Runs of rows that are converted at the same time.
    pub threads: usize,
    /// Whether a data set that is there may be replaced.
    pub overwrite: bool,
}

impl Default for IngestOptions {
    fn default() -> Self {
        Self {
            dtype: Dtype::F32,
            compression: Compression::None,
            normalization: Normalization::Zscore,
            stats: None,
            shard_bytes: 64 << 20,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            overwrite: false,
        }
    }
}

/// Converts The Well's HDF5 at `source` into a data set at `root`.
///
/// An interruption leaves no data set; run it again.
///
/// # Errors
/// [`Error::NoFiles`], [`Error::Open`], [`Error::Layout`], [`Error::Mixed`], [`Error::NotFinite`], and
/// [`Error::Store`] when `root` cannot be written or holds a data set already.
pub async fn ingest(
    source: &Location,
    root: &Location,
    options: &IngestOptions,
    reporter: &dyn Reporter,
) -> Result<Manifest> {
    hdf5::silence_errors(true);
    let source = Source::list(source).await?;
    if source.ignored > 0 {
        reporter.note(&format!(
            "{} files that are no HDF5 of a split are left out",
            source.ignored
        ));
    }
    let work = Work {
        catalogue: Arc::new(Catalogue::open(source.files, reporter).await?),
        threads: options.threads.max(1),
        reporter,
    };
    let schema = work.catalogue.schema.clone();
    let statistics = match &options.stats {
        Some(place) => {
            let bytes = place.get().await?;
            Statistics::from_yaml(
                &String::from_utf8_lossy(&bytes),
                &schema,
                &place.to_string(),
            )?
        }
        None => work.statistics(options.shard_bytes).await?,
    };
    let constants = statistics.affine(options.normalization, &schema.constant_channels())?;
    let options = WriterOptions {
        schema,
        dtype: options.dtype,
        compression: options.compression,
        normalization: options.normalization,
        statistics,
        shard_bytes: options.shard_bytes,
        overwrite: options.overwrite,
    };
    let writer = DatasetWriter::create(root, options).await?;
    let splits = work.shards(&writer, &constants).await?;
    Ok(writer.finish(splits).await?)
}

/// The catalogue, and how much of it is worked on at a time.
struct Work<'a> {
    catalogue: Arc<Catalogue>,
    threads: usize,
    reporter: &'a dyn Reporter,
}

impl Work<'_> {
    /// First pass: statistics of the training split.
    async fn statistics(&self, run_bytes: u64) -> Result<Statistics> {
        let catalogue = &self.catalogue;
        let splits: Vec<Split> = match catalogue.splits.contains_key(&Split::Train) {
            true => vec![Split::Train],
            false => catalogue.splits.keys().copied().collect(),
        };
        let run = ((run_bytes / catalogue.frame_bytes().max(1)) as usize).max(1);
        let mut runs = Vec::new();
        for &split in &splits {
            runs.extend(
                catalogue
                    .rows(split)
                    .chunks(run)
                    .map(|rows| (split, rows.to_vec())),
            );
        }
        let frames: usize = runs.iter().map(|(_, rows)| rows.len()).sum();
        self.reporter.begin(
            "statistics",
            Some(frames as u64 * catalogue.frame_bytes()),
            "bytes",
        );
        let mut moments = vec![ChannelMoments::default(); catalogue.schema.channels().len()];
        let mut tasks = futures::stream::iter(runs)
            .map(|(split, rows)| moments_of(Arc::clone(catalogue), split, rows))
            .buffered(self.threads);
        while let Some((rows, of_run)) = tasks.try_next().await? {
            moments
                .iter_mut()
                .zip(of_run)
                .for_each(|(all, new)| *all = all.merge(new));
            self.reporter.advance(rows as u64 * catalogue.frame_bytes());
        }
        self.reporter.end();
        let mut statistics = named(catalogue.schema.channels(), moments);
        statistics.extend(self.constant_statistics(&splits).await?);
        Ok(Statistics(statistics))
    }

    /// Statistics of the fields that do not vary in time.
    async fn constant_statistics(
        &self,
        splits: &[Split],
    ) -> Result<BTreeMap<String, ChannelStatistics>> {
        let channels = self.catalogue.schema.constant_channels();
        let mut moments = vec![ChannelMoments::default(); channels.len()];
        if !channels.is_empty() {
            for entry in splits
                .iter()
                .flat_map(|split| &self.catalogue.splits[split])
            {
                let frame = self.catalogue.constants(entry).await?;
                for (channel, moments) in moments.iter_mut().enumerate() {
                    moments.add(frame.channel(0, 0, channel), None);
                }
            }
        }
        Ok(named(channels, moments))
    }

    /// Second pass: every split's shards.
    async fn shards(
        &self,
        writer: &DatasetWriter,
        constants: &Affine,
    ) -> Result<BTreeMap<Split, SplitManifest>> {
        let catalogue = &self.catalogue;
        let frames: usize = catalogue
            .splits
            .values()
            .flatten()
            .map(|entry| entry.trajectory.frames)
            .sum();
        self.reporter.begin(
            "shards",
            Some(frames as u64 * catalogue.frame_bytes()),
            "bytes",
        );
        let mut splits = BTreeMap::new();
        for (&split, entries) in &catalogue.splits {
            let held = SplitManifest {
                trajectories: entries
                    .iter()
                    .map(|entry| entry.trajectory.clone())
                    .collect(),
                shards: self.frames(writer, split).await?,
                constants: self.constants(writer, split, constants).await?,
            };
            splits.insert(split, held);
        }
        self.reporter.end();
        Ok(splits)
    }

    async fn frames(&self, writer: &DatasetWriter, split: Split) -> Result<Vec<Shard>> {
        let catalogue = &self.catalogue;
        let rows = catalogue.rows(split);
        let mut tasks = futures::stream::iter(writer.shards(rows.len()).into_iter().enumerate())
            .map(|(index, range)| {
                let (shard, rows) = (writer.shard(split, index), rows[range].to_vec());
                let (catalogue, affine) = (Arc::clone(catalogue), writer.affine().clone());
                async move {
                    let filled = fill(catalogue, split, rows, affine, shard?).await?;
                    Ok::<_, Error>(filled.finish().await?)
                }
            })
            .buffered(self.threads);
        let mut shards = Vec::new();
        while let Some(shard) = tasks.try_next().await? {
            self.reporter
                .advance(shard.rows as u64 * catalogue.frame_bytes());
            shards.push(shard);
        }
        Ok(shards)
    }

    async fn constants(
        &self,
        writer: &DatasetWriter,
        split: Split,
        affine: &Affine,
    ) -> Result<Option<Shard>> {
        if self.catalogue.schema.constant_channels().is_empty() {
            return Ok(None);
        }
        let mut shard = writer.constants(split)?;
        for (trajectory, entry) in self.catalogue.splits[&split].iter().enumerate() {
            let mut frame = self.catalogue.constants(entry).await?;
            affine.normalise(&mut frame);
            shard.push((trajectory as u32, 0), entry.times[0], &frame)?;
        }
        Ok(Some(shard.finish().await?))
    }
}

fn named(
    channels: Vec<String>,
    moments: Vec<ChannelMoments>,
) -> BTreeMap<String, ChannelStatistics> {
    channels
        .into_iter()
        .zip(moments.into_iter().map(Into::into))
        .collect()
}

/// Moments of a run of rows, and how many there were.
async fn moments_of(
    catalogue: Arc<Catalogue>,
    split: Split,
    rows: Vec<Row>,
) -> Result<(usize, Vec<ChannelMoments>)> {
    let (count, channels) = (rows.len(), catalogue.schema.channels().len());
    let start = (
        vec![ChannelMoments::default(); channels],
        None::<(Row, Frames)>,
    );
    let (moments, _) = catalogue
        .each_row(split, rows, start, |(moments, last), entry, row, file| {
            let before = match last.take() {
                Some((before, frame)) if before.trajectory == row.trajectory => Some(frame),
                // The run begins within a trajectory.
                _ if row.step > 0 => Some(file.frame(entry.sample, row.step - 1)?),
                _ => None,
            };
            let frame = file.frame(entry.sample, row.step)?;
            for (channel, moments) in moments.iter_mut().enumerate() {
                let before = before.as_ref().map(|frame| frame.channel(0, 0, channel));
                moments.add(frame.channel(0, 0, channel), before);
            }
            *last = Some((row, frame));
            Ok(())
        })
        .await?;
    Ok((count, moments))
}

/// Fills a shard with a run of rows.
async fn fill(
    catalogue: Arc<Catalogue>,
    split: Split,
    rows: Vec<Row>,
    affine: Affine,
    shard: ShardWriter,
) -> Result<ShardWriter> {
    let filling = catalogue.each_row(split, rows, shard, move |shard, entry, row, file| {
        let mut frame = file.frame(entry.sample, row.step)?;
        affine.normalise(&mut frame);
        Ok(shard.push(
            (row.trajectory as u32, row.step as u32),
            entry.times[row.step],
            &frame,
        )?)
    });
    filling.await
}
