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
    Affine, DatasetWriter, Location, Manifest, Provenance, Reporter, Selection, Split, Statistics,
    WriterOptions, checksum,
};

use crate::catalogue::Catalogue;
use crate::ledger::{self, Claim, Ledger};
use crate::options::{IngestOptions, Part};
use crate::source::Source;
use crate::statistics::{self, Piece};
use crate::writing::{Job, Writing, jobs};
use crate::{Error, Result, leftovers, records};

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
            .buffered(records::AT_ONCE)
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
        let mut todo: Vec<Job> = jobs(&self.catalogue, &writer, &BTreeMap::new());
        let share = part.of(todo.len());
        todo.truncate(share.end);
        let todo = todo.split_off(share.start);
        let writing = Writing {
            catalogue: &self.catalogue,
            writer: &writer,
            ledger: &self.ledger,
            options: self.options,
            reporter: self.reporter,
        };
        writing.shards(todo).await?;
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
        let ledger = self.ledger.again().await?;
        let records = records::all(&self.catalogue, &writer, &ledger, &BTreeMap::new()).await?;
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
            let trajectories = records::trajectories(&self.catalogue, split);
            splits.insert(split, record.manifest(trajectories));
        }
        let provenance = Provenance {
            program: program(),
            key: self.claim.key.clone(),
            selection: self.catalogue.selection.clone(),
            shard_bytes: self.options.shard_bytes,
            sources: records::sources(&self.catalogue, &records),
        };
        records::attach(&self.catalogue, &self.root).await?;
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
    Ok(checksum(whole.to_string().as_bytes()))
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
