//! [`Work`]: one ingest. It begins with a claim, is done in pieces that leave records, and ends with the
//! manifest.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use wellspring_store::{
    self as store, Change, ChangeOutcome, DatasetWriter, Location, Manifest, Provenance, Reporter,
    Selection, Statistics, WriterOptions, checksum,
};

use crate::catalogue::Catalogue;
use crate::catalogue::options::{IngestOptions, Part};
use crate::catalogue::source::SourceFiles;
use crate::convert::layout::ShardLayout;
use crate::convert::ledger::{self, Ledger};
use crate::convert::records;
use crate::convert::statistics::{self, Piece};
use crate::convert::tasks::in_order_of_failure;
use crate::convert::writing::{Output, ShardInputs};
use crate::findings::judge::{self, Judge};
use crate::{Error, Result};

/// An ingest that has begun, or a data set that is there already.
pub(crate) enum WorkStart {
    Work(Box<Work>),
    Done(Box<Manifest>),
}

pub(crate) struct Work {
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) options: IngestOptions,
    /// Statistics that the options name; without them they are gathered.
    given: Option<Statistics>,
    /// Hash of everything that the bytes of the data set depend on.
    key: String,
    pub(crate) change: Change,
    pub(crate) ledger: Ledger,
}

impl Work {
    pub(crate) async fn begin(
        source: &Location,
        root: &Location,
        options: &IngestOptions,
        reporter: &dyn Reporter,
    ) -> Result<WorkStart> {
        let mut catalogue = catalogue(source, &options.selection, reporter).await?;
        catalogue.schema.set_transforms(&options.transforms)?;
        let catalogue = Arc::new(catalogue);
        let given = given(options, &catalogue).await?;
        let key = key(&catalogue, options, given.as_ref())?;
        let change = match Change::renew(root, &key, options.overwrite).await? {
            store::ChangeStart::Work(change) => *change,
            store::ChangeStart::Done(manifest) => return Ok(WorkStart::Done(manifest)),
        };
        Ok(WorkStart::Work(Box::new(Self {
            catalogue,
            options: options.clone(),
            given,
            key,
            ledger: Ledger::of(&change).await?,
            change,
        })))
    }

    /// Both passes, and the manifest.
    pub(crate) async fn whole(&self, reporter: &dyn Reporter) -> Result<Manifest> {
        self.gather(Part::WHOLE, reporter).await?;
        let output = self.output().await?;
        self.fill(Part::WHOLE, &output, reporter).await?;
        self.commit(&output, reporter).await
    }

    /// Settles a work that may have failed.
    pub(crate) async fn settled(&self, outcome: Result<Manifest>) -> Result<Manifest> {
        settled(&self.change, outcome, |there| self.has_made(there)).await
    }

    /// The data set that this work would make, if it is there.
    pub(crate) async fn made_by_another(&self) -> Option<Manifest> {
        let there = Manifest::load(self.root()).await.ok();
        there.filter(|there| self.has_made(there))
    }

    pub(crate) fn root(&self) -> &Location {
        self.change.root()
    }

    /// First pass: the moments of a part's pieces.
    pub(crate) async fn gather(&self, part: Part, reporter: &dyn Reporter) -> Result<()> {
        if self.given.is_some() {
            return Ok(());
        }
        let pieces = statistics::pieces(&self.catalogue);
        let mut missing = Vec::new();
        for index in part.of(pieces.len()) {
            let held = self.ledger.holds(&ledger::piece(index));
            if !held || self.ledger.moments(index).await?.is_none() {
                missing.push(index);
            }
        }
        let bytes = |&index: &usize| pieces[index].bytes(&self.catalogue);
        let total = missing.iter().map(bytes).sum();
        reporter.begin("statistics", Some(total), "bytes");
        let tasks = missing.into_iter().map(|index| {
            let piece: Piece = pieces[index].clone();
            async move {
                let bytes = piece.bytes(&self.catalogue);
                let moments = piece.moments(Arc::clone(&self.catalogue)).await?;
                self.ledger.put(&ledger::piece(index), &moments).await?;
                reporter.advance(bytes);
                Ok::<_, Error>(())
            }
        });
        in_order_of_failure(tasks, self.options.threads.max(1)).await?;
        reporter.end();
        Ok(())
    }

    /// Statistics of everything, once every piece is there.
    async fn statistics(&self) -> Result<Statistics> {
        if let Some(given) = &self.given {
            return Ok(given.clone());
        }
        let pieces = statistics::pieces(&self.catalogue);
        let found: Vec<_> = futures::stream::iter(0..pieces.len())
            .map(|index| self.ledger.moments(index))
            .buffered(records::AT_ONCE)
            .try_collect()
            .await?;
        let (total, moments) = (found.len(), found.into_iter().flatten().collect::<Vec<_>>());
        if moments.len() < total {
            return Err(Error::Waiting {
                root: self.root().to_string(),
                missing: total - moments.len(),
                total,
            });
        }
        Ok(statistics::merged(&self.catalogue, &pieces, moments))
    }

    /// What the second pass writes, once the first is done.
    pub(crate) async fn output(&self) -> Result<Output> {
        let writer = self.writer(self.statistics().await?)?;
        Ok(Output {
            layout: ShardLayout::new(&self.catalogue, &writer, &BTreeMap::new()),
            writer,
        })
    }

    fn writer(&self, statistics: Statistics) -> Result<DatasetWriter> {
        let options = WriterOptions {
            schema: self.catalogue.schema.clone(),
            dtype: self.options.dtype,
            compression: self.options.compression,
            normalization: self.options.normalization,
            statistics,
            shard_bytes: self.options.shard_bytes,
            overwrite: false,
        };
        Ok(DatasetWriter::of(&self.change, options)?)
    }

    pub(crate) fn writing<'a>(
        &'a self,
        output: &'a Output,
        reporter: &'a dyn Reporter,
    ) -> ShardInputs<'a> {
        ShardInputs {
            catalogue: &self.catalogue,
            output,
            ledger: &self.ledger,
            options: &self.options,
            reporter,
        }
    }

    /// Second pass: a part's shards.
    pub(crate) async fn fill(
        &self,
        part: Part,
        output: &Output,
        reporter: &dyn Reporter,
    ) -> Result<()> {
        tell_bounds(&output.writer, reporter);
        let writing = self.writing(output, reporter);
        let shards = output.layout.shards();
        writing.shards(&shards[part.of(shards.len())]).await?;
        let constants = output.layout.constants();
        for id in &constants[part.of(constants.len())] {
            let nothing = async |shard| Ok(shard);
            writing.constants(id.split, nothing).await?;
        }
        Ok(())
    }

    /// The manifest, from the records of all shards; then the records go.
    pub(crate) async fn commit(
        &self,
        output: &Output,
        reporter: &dyn Reporter,
    ) -> Result<Manifest> {
        let Output { writer, layout } = output;
        let records = records::all(layout, &self.ledger).await?;
        let records = records.whole(self.root())?;
        judge::tell(&records::findings(&self.catalogue, &records)?, reporter);
        let mut splits = BTreeMap::new();
        for (&split, record) in &records {
            let trajectories = records::trajectories(&self.catalogue, split);
            splits.insert(split, record.manifest(trajectories));
        }
        let provenance = Provenance {
            program: program(),
            key: self.key.clone(),
            selection: self.catalogue.selection.clone(),
            shard_bytes: self.options.shard_bytes,
            sources: records::sources(&self.catalogue, writer, &records),
        };
        records::attach(&self.catalogue, writer, self.root()).await?;
        Ok(writer.finish_with(splits, Some(provenance)).await?)
    }

    /// Whether a data set is what this work makes.
    pub(crate) fn has_made(&self, manifest: &Manifest) -> bool {
        let made = manifest.provenance.as_ref();
        made.is_some_and(|made| made.key == self.key)
    }
}

/// Settles a work. If it failed, another process may have completed an equal one and tidied up. If it cannot be
/// continued, its files are removed.
pub(crate) async fn settled(
    change: &Change,
    outcome: Result<Manifest>,
    is_made: impl Fn(&Manifest) -> bool,
) -> Result<Manifest> {
    let Err(error) = outcome else {
        return outcome;
    };
    match (change.outcome(is_made).await?, error) {
        (ChangeOutcome::Made(manifest), _) => Ok(*manifest),
        // That records or folders are gone, since they were tidied up, says nothing to anybody.
        (
            ChangeOutcome::Overtaken(told),
            Error::Waiting { .. }
            | Error::Unfinished { .. }
            | Error::Store(store::Error::Io { .. }),
        ) => Err(told.into()),
        (ChangeOutcome::Open, error) if error.refuses_values() => {
            change.give_up().await?;
            Err(error)
        }
        (_, error) => Err(error),
    }
}

/// Reports the channels that hardly vary, and are normalized by a bound instead of their spread.
pub(crate) fn tell_bounds(writer: &DatasetWriter, reporter: &dyn Reporter) {
    for channel in writer.bounded() {
        reporter.note(&format!(
            "{} hardly varies: its standard deviation or root mean square is {:e}, and it is divided \
             by the lower bound of scales, {:e}",
            channel.name, channel.spread, channel.scale
        ));
    }
}

/// Opens a source and catalogues the selected part. Reports oddities.
pub(crate) async fn catalogue(
    source: &Location,
    selection: &Selection,
    reporter: &dyn Reporter,
) -> Result<Catalogue> {
    catalogue_of(source, selection, |_| true, reporter).await
}

/// Opens the files of a source whose paths below it are needed.
pub(crate) async fn catalogue_of(
    source: &Location,
    selection: &Selection,
    is_needed: impl Fn(&str) -> bool,
    reporter: &dyn Reporter,
) -> Result<Catalogue> {
    hdf5::silence_errors(true);
    let judge = Judge::of(selection)?;
    let mut found = SourceFiles::list(source, &selection.exclude).await?;
    found.files.retain(|file| is_needed(&file.below));
    found
        .rest
        .notes()
        .iter()
        .for_each(|note| reporter.note(note));
    let mut findings = found.rest.findings();
    let opened = match found.holds_files(source) {
        Ok(()) => Catalogue::open(found, selection.clone(), judge, &mut findings, reporter).await,
        Err(error) => Err(error),
    };
    judge::tell(&findings, reporter);
    opened
}

/// Reads the statistics that the options name, if they name any.
async fn given(options: &IngestOptions, catalogue: &Catalogue) -> Result<Option<Statistics>> {
    let Some(place) = &options.stats else {
        return Ok(None);
    };
    if let Some((field, transform)) = options.transforms.first_key_value() {
        let reason = format!(
            "{place} does not say whether it is of {field} or of its {transform}: gather the statistics of \
             transformed fields (leave --stats out)"
        );
        return Err(Error::Selection { reason });
    }
    let bytes = place.get().await?;
    let text = String::from_utf8_lossy(&bytes);
    let (schema, normalization) = (&catalogue.schema, options.normalization);
    let statistics = Statistics::from_yaml(&text, schema, normalization, &place.to_string())?;
    Ok(Some(statistics))
}

/// A name for the work: everything that the bytes of a data set depend on.
fn key(
    catalogue: &Catalogue,
    options: &IngestOptions,
    given: Option<&Statistics>,
) -> Result<String> {
    let names = catalogue.files.iter().map(|file| (file.split, &file.below));
    let sources: Vec<_> = names.zip(&catalogue.described).collect();
    let mut whole = serde_json::json!({
        "program": program(),
        "sources": sources,
        "selection": options.selection,
        "dtype": options.dtype,
        "compression": options.compression,
        "normalization": options.normalization,
        "statistics": given,
        "shard_bytes": options.shard_bytes,
    });
    // Left out where there are none, so that works without transforms keep their keys.
    if !options.transforms.is_empty() {
        whole["transforms"] = serde_json::json!(options.transforms);
    }
    Ok(checksum(whole.to_string().as_bytes()))
}

pub(crate) fn program() -> String {
    format!("wellspring {}", env!("CARGO_PKG_VERSION"))
}
