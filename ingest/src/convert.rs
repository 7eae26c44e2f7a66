//! An ingest: statistics of the training split, then normalised shards, then the manifest.
//!
//! Both passes are cut into pieces that do not depend on one another, each of which leaves a record in
//! the [`Ledger`] when it is done. A whole ingest, a part of one, and one that goes on after an
//! interruption do the same: the pieces of their share that have no record. What a piece gives depends
//! on source and options alone, so the bytes of a data set do too. Memory is bounded by the shards that
//! are filled at the same time, and those by [`IngestOptions::memory_bytes`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use wellspring_store::{
    Affine, DatasetWriter, Location, Manifest, Provenance, Reporter, Selection, ShardWriter,
    SourceRecord, Split, SplitManifest, Statistics, Trajectory, WriterOptions,
};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::catalogue::{Catalogue, Row};
use crate::ledger::{self, Claim, Ledger, ShardRecord};
use crate::options::{IngestOptions, Part};
use crate::shards::{Filled, fill, fill_constants};
use crate::source::Source;
use crate::statistics::{self, Piece};
use crate::{Error, Result, leftovers};

/// Records that are read at the same time.
const RECORDS: usize = 16;

/// Converts The Well's HDF5 at `source` into a data set at `root`.
///
/// After an interruption the same call goes on where it stopped; when the data set is there already,
/// made of the same source by the same options, nothing is done.
///
/// # Errors
/// [`Error::NoFiles`], [`Error::Open`], [`Error::Layout`], [`Error::Mixed`], [`Error::NotFinite`],
/// [`Error::Selection`]; [`Error::Underway`] when another ingest into `root` was begun; and
/// [`Error::Store`] when `root` cannot be written or holds another data set.
pub async fn ingest(
    source: &Location,
    root: &Location,
    options: &IngestOptions,
    reporter: &dyn Reporter,
) -> Result<Manifest> {
    let work = match Work::begin(source, root, options, reporter).await? {
        Begun::Work(work) => work,
        Begun::Done(manifest) => return Ok(*manifest),
    };
    work.gather(Part::WHOLE).await?;
    let statistics = work.statistics().await?;
    work.fill(Part::WHOLE, &statistics).await?;
    work.commit(statistics).await
}

/// How far a part has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Its statistics are gathered.
    Statistics,
    /// Its shards are written.
    Shards,
}

/// Does one part of an ingest, up to a stage. The parts may run on any machines that see source and
/// root, in any order, but for one thing: shards need the statistics of all parts. [`finish`] makes
/// the data set of what the parts have left.
///
/// # Errors
/// As [`ingest`], and [`Error::Waiting`] when the statistics of other parts are missing.
pub async fn ingest_part(
    source: &Location,
    root: &Location,
    options: &IngestOptions,
    (part, until): (Part, Stage),
    reporter: &dyn Reporter,
) -> Result<()> {
    let Begun::Work(mut work) = Work::begin(source, root, options, reporter).await? else {
        return Ok(());
    };
    work.gather(part).await?;
    if until == Stage::Shards {
        work.ledger = work.ledger.again().await?;
        let statistics = work.statistics().await?;
        work.fill(part, &statistics).await?;
    }
    Ok(())
}

/// Makes a data set of what the parts of an ingest have left.
///
/// # Errors
/// As [`ingest`]; [`Error::Waiting`] and [`Error::Unfinished`] when parts are missing.
pub async fn finish(
    source: &Location,
    root: &Location,
    options: &IngestOptions,
    reporter: &dyn Reporter,
) -> Result<Manifest> {
    match Work::begin(source, root, options, reporter).await? {
        Begun::Work(work) => {
            let statistics = work.statistics().await?;
            work.commit(statistics).await
        }
        Begun::Done(manifest) => Ok(*manifest),
    }
}

/// Opens a source: what is in it, as far as it is selected.
pub(crate) async fn catalogue(
    source: &Location,
    selection: &Selection,
    reporter: &dyn Reporter,
) -> Result<Arc<Catalogue>> {
    hdf5::silence_errors(true);
    let source = Source::list(source).await?;
    if source.ignored > 0 {
        reporter.note(&format!(
            "{} files that are no HDF5 of a split are left out",
            source.ignored
        ));
    }
    Ok(Arc::new(
        Catalogue::open(source, selection.clone(), reporter).await?,
    ))
}

/// An ingest that has begun, or a data set that is there already.
enum Begun<'a> {
    Work(Box<Work<'a>>),
    Done(Box<Manifest>),
}

struct Work<'a> {
    catalogue: Arc<Catalogue>,
    root: Location,
    options: &'a IngestOptions,
    /// Given, not gathered.
    given: Option<Statistics>,
    claim: Claim,
    ledger: Ledger,
    reporter: &'a dyn Reporter,
}

/// A shard to be written.
struct Job {
    split: Split,
    index: usize,
    rows: Vec<Row>,
}

impl<'a> Work<'a> {
    async fn begin(
        source: &Location,
        root: &Location,
        options: &'a IngestOptions,
        reporter: &'a dyn Reporter,
    ) -> Result<Begun<'a>> {
        let catalogue = catalogue(source, &options.selection, reporter).await?;
        let given = given(options, &catalogue).await?;
        let key = key(&catalogue, options, given.as_ref())?;
        let mut stale = Vec::new();
        if root.join("manifest.json").exists().await? {
            let there = Manifest::load(root).await;
            if !options.overwrite {
                return match there? {
                    manifest if made_by(&manifest, &key) => {
                        tidy(root, &manifest).await?;
                        Ok(Begun::Done(Box::new(manifest)))
                    }
                    _ => Err(exists(root)),
                };
            }
            // One that cannot be read is replaced all the same; its files are not known.
            if let Ok(manifest) = there {
                stale = manifest.paths().map(str::to_owned).collect();
            }
        }
        let claim = Claim { key, stale };
        let (ledger, claim) = Ledger::claim(root, &claim, options.overwrite).await?;
        // Only now: until here an interruption leaves the old data set as it was.
        root.join("manifest.json").delete().await?;
        Ok(Begun::Work(Box::new(Self {
            catalogue,
            root: root.clone(),
            options,
            given,
            claim,
            ledger,
            reporter,
        })))
    }

    /// First pass: the moments of a part's pieces.
    async fn gather(&self, part: Part) -> Result<()> {
        if self.given.is_some() {
            return Ok(());
        }
        let pieces = statistics::pieces(&self.catalogue);
        let mut missing = Vec::new();
        for index in part.of(pieces.len()) {
            if self.ledger.moments(index).await?.is_none() {
                missing.push(index);
            }
        }
        let bytes = |&index: &usize| pieces[index].bytes(&self.catalogue);
        let total = missing.iter().map(bytes).sum();
        self.reporter.begin("statistics", Some(total), "bytes");
        let tasks = missing.into_iter().map(|index| {
            let piece: Piece = pieces[index].clone();
            async move {
                let bytes = piece.bytes(&self.catalogue);
                let moments = piece.moments(Arc::clone(&self.catalogue)).await?;
                self.ledger.put(&ledger::piece(index), &moments).await?;
                self.reporter.advance(bytes);
                Ok::<_, Error>(())
            }
        });
        let mut tasks = futures::stream::iter(tasks).buffer_unordered(self.options.threads.max(1));
        while tasks.try_next().await?.is_some() {}
        self.reporter.end();
        Ok(())
    }

    /// Statistics of everything, once every piece is there.
    async fn statistics(&self) -> Result<Statistics> {
        if let Some(given) = &self.given {
            return Ok(given.clone());
        }
        let ledger = self.ledger.again().await?;
        let pieces = statistics::pieces(&self.catalogue);
        let found: Vec<_> = futures::stream::iter(0..pieces.len())
            .map(|index| ledger.moments(index))
            .buffered(RECORDS)
            .try_collect()
            .await?;
        let (total, moments) = (found.len(), found.into_iter().flatten().collect::<Vec<_>>());
        if moments.len() < total {
            return Err(Error::Waiting {
                root: self.root.to_string(),
                missing: total - moments.len(),
                total,
            });
        }
        Ok(statistics::merged(&self.catalogue, &pieces, moments))
    }

    async fn writer(&self, statistics: &Statistics) -> Result<DatasetWriter> {
        let options = WriterOptions {
            schema: self.catalogue.schema.clone(),
            dtype: self.options.dtype,
            compression: self.options.compression,
            normalization: self.options.normalization,
            statistics: statistics.clone(),
            shard_bytes: self.options.shard_bytes,
            overwrite: false,
        };
        Ok(DatasetWriter::create(&self.root, options).await?)
    }

    /// Second pass: a part's shards.
    async fn fill(&self, part: Part, statistics: &Statistics) -> Result<()> {
        let writer = self.writer(statistics).await?;
        let starts = self
            .catalogue
            .splits
            .keys()
            .map(|&split| (split, 0))
            .collect();
        let mut jobs: Vec<Job> = jobs(&self.catalogue, &writer, &starts);
        let share = part.of(jobs.len());
        jobs.truncate(share.end);
        let jobs = jobs.split_off(share.start);
        let writing = Writing {
            catalogue: &self.catalogue,
            writer: &writer,
            ledger: &self.ledger,
            options: self.options,
            reporter: self.reporter,
        };
        writing.shards(jobs).await?;
        let splits: Vec<Split> = self.catalogue.splits.keys().copied().collect();
        let affine = constant_affine(&self.catalogue, statistics, self.options)?;
        for index in part.of(splits.len()) {
            let nothing = async |shard| Ok(shard);
            writing
                .constants(splits[index], 0, &affine, nothing)
                .await?;
        }
        Ok(())
    }

    /// The manifest, from the records of all shards; then the records go.
    async fn commit(self, statistics: Statistics) -> Result<Manifest> {
        let writer = self.writer(&statistics).await?;
        let starts = self
            .catalogue
            .splits
            .keys()
            .map(|&split| (split, 0))
            .collect();
        let ledger = self.ledger.again().await?;
        let records = records(&self.catalogue, &writer, &ledger, &starts).await?;
        let records = match records.whole(&self.root) {
            Ok(records) => records,
            // Another process may have been faster, and have tidied up.
            Err(error) => {
                return match Manifest::load(&self.root).await {
                    Ok(manifest) if made_by(&manifest, &self.claim.key) => Ok(manifest),
                    _ => Err(error),
                };
            }
        };
        let mut splits = BTreeMap::new();
        for (&split, record) in &records {
            let trajectories = trajectories(&self.catalogue, split);
            splits.insert(split, record.manifest(trajectories));
        }
        let provenance = Provenance {
            program: program(),
            key: self.claim.key.clone(),
            selection: self.catalogue.selection.clone(),
            shard_bytes: self.options.shard_bytes,
            sources: sources(&self.catalogue, &records),
        };
        attach(&self.catalogue, &self.root).await?;
        let manifest = match writer.finish_with(splits, Some(provenance)).await {
            Err(error @ wellspring_store::Error::Exists { .. }) => {
                match Manifest::load(&self.root).await? {
                    manifest if made_by(&manifest, &self.claim.key) => Ok(manifest),
                    _ => Err(error),
                }
            }
            answer => answer,
        }?;
        tidy(&self.root, &manifest).await?;
        Ok(manifest)
    }
}

/// Where shards are written from, and what remembers them.
pub(crate) struct Writing<'a> {
    pub(crate) catalogue: &'a Arc<Catalogue>,
    pub(crate) writer: &'a DatasetWriter,
    pub(crate) ledger: &'a Ledger,
    pub(crate) options: &'a IngestOptions,
    pub(crate) reporter: &'a dyn Reporter,
}

impl Writing<'_> {
    /// Writes the shards of all splits, whose trajectories are numbered from a start on.
    pub(crate) async fn all_shards(&self, starts: &BTreeMap<Split, usize>) -> Result<()> {
        self.shards(jobs(self.catalogue, self.writer, starts)).await
    }

    /// Writes the shards that are not there yet.
    async fn shards(&self, jobs: Vec<Job>) -> Result<()> {
        let mut missing = Vec::new();
        for job in jobs {
            let name = ledger::shard(job.split, job.index);
            if self.ledger.shard(&name).await?.is_none() {
                missing.push(job);
            }
        }
        let rows = missing.iter().map(|job| job.rows.len() as u64);
        let total = rows.clone().sum::<u64>() * self.catalogue.frame_bytes();
        let largest = rows.max().unwrap_or(1) * self.writer.row_bytes() as u64;
        let at_once = self.options.memory_bytes / largest.max(1);
        let at_once = at_once.clamp(1, self.options.threads.max(1) as u64);
        self.reporter.begin("shards", Some(total), "bytes");
        let tasks = missing.into_iter().map(|job| self.shard(job));
        let mut tasks = futures::stream::iter(tasks).buffer_unordered(at_once as usize);
        while tasks.try_next().await?.is_some() {}
        self.reporter.end();
        Ok(())
    }

    async fn shard(&self, job: Job) -> Result<()> {
        let shard = self.writer.shard(job.split, job.index)?;
        let (rows, affine) = (job.rows.len() as u64, self.writer.affine().clone());
        let catalogue = Arc::clone(self.catalogue);
        let filled = fill(catalogue, job.split, job.rows, affine, shard).await?;
        self.keep(&ledger::shard(job.split, job.index), filled)
            .await?;
        self.reporter.advance(rows * self.catalogue.frame_bytes());
        Ok(())
    }

    /// Writes the constants of a split, if there are any and they are not there yet; its trajectories
    /// are numbered from `first` on, and `earlier` writes those before.
    pub(crate) async fn constants(
        &self,
        split: Split,
        first: usize,
        affine: &Affine,
        earlier: impl AsyncFnOnce(ShardWriter) -> Result<ShardWriter>,
    ) -> Result<()> {
        let name = ledger::constants(split);
        if affine.shift.is_empty() || self.ledger.shard(&name).await?.is_some() {
            return Ok(());
        }
        let shard = earlier(self.writer.constants(split)?).await?;
        let filled = fill_constants(self.catalogue, split, first, affine, shard).await?;
        self.keep(&name, filled).await
    }

    async fn keep(&self, name: &str, filled: Filled) -> Result<()> {
        let record = ShardRecord {
            shard: filled.shard.finish().await?,
            digests: filled.digests,
        };
        self.ledger.put(name, &record).await
    }
}

/// The shards of every split, whose trajectories are numbered from a start on.
fn jobs(
    catalogue: &Catalogue,
    writer: &DatasetWriter,
    starts: &BTreeMap<Split, usize>,
) -> Vec<Job> {
    let mut jobs = Vec::new();
    for &split in catalogue.splits.keys() {
        let rows = catalogue.rows(split, starts.get(&split).copied().unwrap_or(0));
        let ranges = writer.shards(rows.len()).into_iter().enumerate();
        jobs.extend(ranges.map(|(index, range)| Job {
            split,
            index,
            rows: rows[range].to_vec(),
        }));
    }
    jobs
}

/// What is recorded of a split.
pub(crate) struct SplitRecords {
    shards: Vec<ShardRecord>,
    constants: Option<ShardRecord>,
}

impl SplitRecords {
    pub(crate) fn manifest(&self, trajectories: Vec<Trajectory>) -> SplitManifest {
        SplitManifest {
            trajectories,
            shards: self
                .shards
                .iter()
                .map(|record| record.shard.clone())
                .collect(),
            constants: self.constants.as_ref().map(|record| record.shard.clone()),
        }
    }
}

pub(crate) fn trajectories(catalogue: &Catalogue, split: Split) -> Vec<Trajectory> {
    let entries = catalogue.splits[&split].iter();
    entries.map(|entry| entry.trajectory.clone()).collect()
}

/// The records of all shards, as far as they are there.
pub(crate) struct Records {
    splits: BTreeMap<Split, SplitRecords>,
    missing: Vec<String>,
}

impl Records {
    /// The records, if none is missing.
    pub(crate) fn whole(self, root: &Location) -> Result<BTreeMap<Split, SplitRecords>> {
        match self.missing.as_slice() {
            [] => Ok(self.splits),
            missing => Err(unfinished(root, missing)),
        }
    }
}

pub(crate) async fn records(
    catalogue: &Catalogue,
    writer: &DatasetWriter,
    ledger: &Ledger,
    starts: &BTreeMap<Split, usize>,
) -> Result<Records> {
    let mut names = Vec::new();
    for job in jobs(catalogue, writer, starts) {
        names.push((job.split, ledger::shard(job.split, job.index), false));
    }
    if !catalogue.schema.constant_channels().is_empty() {
        let splits = catalogue.splits.keys();
        names.extend(splits.map(|&split| (split, ledger::constants(split), true)));
    }
    let found: Vec<Option<ShardRecord>> = futures::stream::iter(&names)
        .map(|(_, name, _)| ledger.shard(name))
        .buffered(RECORDS)
        .try_collect()
        .await?;
    let (mut splits, mut missing) = (BTreeMap::new(), Vec::new());
    for ((split, name, constant), found) in names.into_iter().zip(found) {
        let held = splits.entry(split).or_insert(SplitRecords {
            shards: Vec::new(),
            constants: None,
        });
        match (found, constant) {
            (None, _) => missing.push(name),
            (Some(record), true) => held.constants = Some(record),
            (Some(record), false) => held.shards.push(record),
        }
    }
    Ok(Records { splits, missing })
}

/// The record of each source file, in the order of its trajectories.
pub(crate) fn sources(
    catalogue: &Catalogue,
    records: &BTreeMap<Split, SplitRecords>,
) -> Vec<SourceRecord> {
    let mut sums = vec![Xxh3::new(); catalogue.files.len()];
    let mut used = vec![false; catalogue.files.len()];
    for (split, held) in records {
        let mut digests = held.shards.iter().flat_map(|record| &record.digests);
        let mut constants = held.constants.iter().flat_map(|record| &record.digests);
        for entry in &catalogue.splits[split] {
            used[entry.file] = true;
            let own = digests.by_ref().take(entry.trajectory.frames);
            for digest in own.chain(constants.by_ref().take(1)) {
                sums[entry.file].update(&digest.to_le_bytes());
            }
        }
    }
    let files = catalogue.files.iter().zip(&catalogue.described);
    files
        .zip(sums.iter().zip(used))
        .filter(|(_, (_, used))| *used)
        .map(|((file, (bytes, structure)), (sum, _))| SourceRecord {
            name: file.below.clone(),
            split: file.split,
            bytes: *bytes,
            checksum: format!("{:016x}", sum.digest()),
            structure: structure.clone(),
        })
        .collect()
}

/// Stores what the sources hold beside fields.
pub(crate) async fn attach(catalogue: &Catalogue, root: &Location) -> Result<()> {
    for (index, (_, structure)) in catalogue.described.iter().enumerate() {
        let place = root.join(&structure.path);
        if !place.exists().await? {
            place.put(catalogue.contents(index).await?).await?;
        }
    }
    Ok(())
}

/// Removes what only the work on a data set needed, and what it replaced.
pub(crate) async fn tidy(root: &Location, manifest: &Manifest) -> Result<()> {
    let kept: BTreeSet<&str> = manifest.paths().collect();
    let key = manifest.provenance.as_ref().map_or("", |made| &made.key);
    let stale = ledger::stale(root, key).await?;
    for path in stale.iter().filter(|path| !kept.contains(path.as_str())) {
        root.join(path).delete().await?;
    }
    ledger::clear(&root.join("ingest")).await?;
    if let Some(folder) = root.local_path() {
        leftovers::sweep(&folder);
    }
    Ok(())
}

/// Statistics that were given instead of gathered.
async fn given(options: &IngestOptions, catalogue: &Catalogue) -> Result<Option<Statistics>> {
    let Some(place) = &options.stats else {
        return Ok(None);
    };
    let bytes = place.get().await?;
    let text = String::from_utf8_lossy(&bytes);
    let statistics = Statistics::from_yaml(&text, &catalogue.schema, &place.to_string())?;
    Ok(Some(statistics))
}

fn constant_affine(
    catalogue: &Catalogue,
    statistics: &Statistics,
    options: &IngestOptions,
) -> Result<Affine> {
    let channels = catalogue.schema.constant_channels();
    Ok(statistics.affine(options.normalization, &channels)?)
}

/// A name for the work: everything that the bytes of a data set depend on.
fn key(
    catalogue: &Catalogue,
    options: &IngestOptions,
    given: Option<&Statistics>,
) -> Result<String> {
    let names = catalogue.files.iter().map(|file| (file.split, &file.below));
    let sources: Vec<_> = names.zip(&catalogue.described).collect();
    let whole = serde_json::json!({
        "program": program(),
        "sources": sources,
        "selection": options.selection,
        "dtype": options.dtype,
        "compression": options.compression,
        "normalization": options.normalization,
        "statistics": given,
        "shard_bytes": options.shard_bytes,
    });
    Ok(format!("{:016x}", xxh3_64(whole.to_string().as_bytes())))
}

pub(crate) fn program() -> String {
    format!("wellspring {}", env!("CARGO_PKG_VERSION"))
}

fn made_by(manifest: &Manifest, key: &str) -> bool {
    manifest
        .provenance
        .as_ref()
        .is_some_and(|made| made.key == key)
}

fn exists(root: &Location) -> Error {
    Error::Store(wellspring_store::Error::Exists {
        root: root.to_string(),
    })
}

fn unfinished(root: &Location, missing: &[String]) -> Error {
    let some = missing
        .iter()
        .take(5)
        .cloned()
        .collect::<Vec<_>>()
        .join(" ");
    let more = if missing.len() > 5 { " ..." } else { "" };
    Error::Unfinished {
        root: root.to_string(),
        missing: format!("{} shards are missing ({some}{more})", missing.len()),
    }
}
