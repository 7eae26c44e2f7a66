//! The writers whose orders are tried: the real ones, with files of a few bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStore;
use object_store::path::Path;

use super::super::*;
use crate::{
    Attachment, ChannelMoments, Compression, DatasetWriter, Dtype, Normalization, Provenance,
    Schema, Selection, Shard, SourceRecord, SplitManifest, Statistics, TensorOrder, Trajectory,
    WriterOptions, sample,
};

pub(super) const MANIFEST: &str = "ds/manifest.json";

/// A command, as a person would type it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Ingest(&'static str),
    Overwrite(&'static str),
    Append(&'static str),
    Drop(Split),
    Purge,
    Repair,
    /// An ingest that writes as if it were alone.
    Careless(&'static str),
    /// An append that puts its manifest in the place of any.
    Blind(&'static str),
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum End {
    /// The data set is, or was, this.
    Made(Bytes),
    Tidied,
    /// Another writer was first.
    Refused(&'static str),
    /// There was nothing to drop.
    NoSplit,
    /// There was nothing.
    Nothing,
}

impl Command {
    pub(super) async fn run(self, store: Arc<dyn ObjectStore>) -> End {
        let root = Location::from_store(store, Path::from("ds"), "script:/");
        let made = match self {
            Self::Ingest(work) => ingest(&root, work, false).await,
            Self::Overwrite(work) => ingest(&root, work, true).await,
            Self::Append(source) => append(&root, source).await,
            Self::Drop(split) => drop_split(&root, split).await,
            Self::Careless(work) => careless(&root, work).await,
            Self::Blind(source) => blind(&root, source).await,
            Self::Purge | Self::Repair => {
                let done = match self {
                    Self::Purge => purge(&root).await.map(drop),
                    _ => repair(&root).await,
                };
                return done.map_or_else(refused, |()| End::Tidied);
            }
        };
        made.map_or_else(refused, |manifest| End::Made(manifest.to_json().into()))
    }

    /// Whether what it writes carries a key of its own.
    pub(super) fn has_key(self) -> bool {
        matches!(self, Self::Ingest(_) | Self::Overwrite(_) | Self::Append(_))
    }

    /// Whether a manifest holds what it was to make.
    pub(super) fn is_made(self, manifest: &Manifest) -> bool {
        match self {
            Self::Ingest(work) => is_of(manifest, work),
            Self::Append(source) => holds(manifest, source),
            _ => false,
        }
    }
}

fn refused(error: Error) -> End {
    match error {
        Error::Overtaken { .. } => End::Refused("overtaken"),
        Error::Exists { .. } => End::Refused("exists"),
        Error::Underway { .. } => End::Refused("underway"),
        Error::NoSplit { .. } => End::NoSplit,
        Error::NotADataset { .. } => End::Nothing,
        error => panic!("{error}"),
    }
}

fn is_of(manifest: &Manifest, work: &str) -> bool {
    manifest.provenance.as_ref().unwrap().key == work
}

fn holds(manifest: &Manifest, source: &str) -> bool {
    let mut splits = manifest.splits.values();
    splits.any(|held| held.trajectories.iter().any(|held| held.source == source))
}

async fn ingest(root: &Location, work: &str, overwrite: bool) -> Result<Manifest> {
    let change = match Change::renew(root, work, overwrite).await? {
        ChangeStart::Work(change) => change,
        ChangeStart::Done(manifest) => return Ok(*manifest),
    };
    let made = make(&change, work).await;
    settled(&change, made, |there| is_of(there, work)).await
}

/// A shard, its record, and what the source holds beside fields.
async fn make(change: &Change, work: &str) -> Result<Manifest> {
    let writer = DatasetWriter::of(change, options(work))?;
    let shard = written(change, Split::Train, work).await?;
    let structure = attach(&writer, change.root()).await?;
    let splits = BTreeMap::from([(Split::Train, held(work, shard))]);
    let made = provenance(work, vec![source(Split::Train, structure)]);
    writer.finish_with(splits, Some(made)).await
}

async fn append(root: &Location, source: &str) -> Result<Manifest> {
    loop {
        let head = Head::load(root).await?;
        let before = head.manifest()?;
        if holds(&before, source) {
            Change::settle(root).await?;
            return Ok(before);
        }
        if let Some(change) = Change::extend(root, head, source, false).await? {
            let made = add(&change, &before, source).await;
            return settled(&change, made, |there| holds(there, source)).await;
        }
    }
}

async fn add(change: &Change, before: &Manifest, name: &str) -> Result<Manifest> {
    let writer = DatasetWriter::like(change, before, 1)?;
    let shard = written(change, Split::Test, name).await?;
    let structure = attach(&writer, change.root()).await?;
    let (splits, mut made) = added(before, name, shard);
    made.sources.push(source(Split::Test, structure));
    writer.finish_with(splits, Some(made)).await
}

fn added(
    before: &Manifest,
    name: &str,
    shard: Shard,
) -> (BTreeMap<Split, SplitManifest>, Provenance) {
    let mut splits = before.splits.clone();
    let test = splits.entry(Split::Test).or_default();
    test.shards.push(shard);
    test.trajectories.push(trajectory(name));
    (splits, before.provenance.clone().unwrap())
}

async fn settled(
    change: &Change,
    made: Result<Manifest>,
    is_made: impl Fn(&Manifest) -> bool,
) -> Result<Manifest> {
    let Err(error) = made else { return made };
    match change.outcome(is_made).await? {
        ChangeOutcome::Made(manifest) => Ok(*manifest),
        ChangeOutcome::Overtaken(told) => Err(told),
        ChangeOutcome::Open => Err(error),
    }
}

/// A shard with its record, looked for as an ingest looks for both before it publishes.
async fn written(change: &Change, split: Split, content: &str) -> Result<Shard> {
    let path = change.name(&format!("{split}/00000"), "arrow");
    let shard = Shard::of(path, 1, content.as_bytes());
    let place = change.root().join(&shard.path);
    let record = change.records().join(&format!("{split}/00000.json"));
    place.put(content.to_owned()).await?;
    record.put("done").await?;
    match record.exists().await? && place.exists().await? {
        true => Ok(shard),
        false => Err(Error::Task {
            reason: "its records are gone".into(),
        }),
    }
}

async fn attach(writer: &DatasetWriter, root: &Location) -> Result<Attachment> {
    let structure = writer.attached(&structure());
    if structure.fetch(root).await.is_err() {
        root.join(&structure.path).put(STRUCTURE).await?;
    }
    Ok(structure)
}

/// Writes every file of the data set as it was.
async fn repair(root: &Location) -> Result<()> {
    let manifest = Manifest::load(root).await?;
    for held in manifest.splits.values() {
        for (shard, trajectory) in held.shards.iter().zip(&held.trajectories) {
            root.join(&shard.path)
                .put(trajectory.source.clone())
                .await?;
        }
    }
    Ok(())
}

async fn careless(root: &Location, work: &str) -> Result<Manifest> {
    let change = Change::unclaimed(root, None).await?;
    let made = make(&change, work).await;
    settled(&change, made, |there| is_of(there, work)).await
}

async fn blind(root: &Location, source: &str) -> Result<Manifest> {
    let head = Head::load(root).await?;
    let mut next = head.manifest()?;
    let Some(change) = Change::extend(root, head, source, true).await? else {
        return Ok(next);
    };
    let shard = written(&change, Split::Test, source).await?;
    let (splits, _) = added(&next, source, shard);
    (next.splits, next.generation) = (splits, change.generation());
    root.join("manifest.json").put(next.to_json()).await?;
    Ok(next)
}

const STRUCTURE: &str = "what a file holds beside its fields";

fn structure() -> Attachment {
    Attachment::of("sources", "json", STRUCTURE.as_bytes())
}

fn source(split: Split, structure: Attachment) -> SourceRecord {
    SourceRecord {
        name: split.to_string(),
        split,
        bytes: 0,
        checksum: String::new(),
        structure,
    }
}

fn trajectory(source: &str) -> Trajectory {
    let mut trajectory = sample::trajectories(&[1]).remove(0);
    trajectory.source = source.into();
    trajectory
}

fn held(source: &str, shard: Shard) -> SplitManifest {
    SplitManifest {
        trajectories: vec![trajectory(source)],
        shards: vec![shard],
        constants: None,
    }
}

fn provenance(key: &str, sources: Vec<SourceRecord>) -> Provenance {
    Provenance {
        program: String::new(),
        key: key.into(),
        selection: Selection::default(),
        shard_bytes: 1,
        sources,
    }
}

/// Statistics differ from work to work.
fn options(work: &str) -> WriterOptions {
    let mut moments = ChannelMoments::default();
    let values: Vec<f32> = work.bytes().map(f32::from).collect();
    moments.add(&values, None);
    WriterOptions {
        schema: Schema::periodic("tiny", &[("x", 1)], &[("u", TensorOrder::Scalar)]),
        dtype: Dtype::F32,
        compression: Compression::None,
        normalization: Normalization::Zscore,
        statistics: Statistics(BTreeMap::from([("u".into(), moments.into())])),
        shard_bytes: 1,
        overwrite: false,
    }
}

/// A data set of a training and a validation split, made by an ingest of an earlier version.
pub(super) fn first() -> BTreeMap<String, Bytes> {
    let mut manifest = sample::manifest(Split::Train, &[1]);
    let options = options("first");
    manifest.schema = options.schema;
    manifest.statistics = options.statistics;
    manifest.normalization = options.normalization;
    manifest.splits.clear();
    for split in [Split::Train, Split::Valid] {
        let shard = Shard::of(format!("{split}/00000.arrow"), 1, b"first");
        manifest.splits.insert(split, held("first", shard));
    }
    manifest.provenance = Some(provenance("first", vec![source(Split::Valid, structure())]));
    let named = manifest
        .paths()
        .map(|path| (format!("ds/{path}"), "first".into()));
    let mut objects: BTreeMap<String, Bytes> = named.collect();
    objects.insert(format!("ds/{}", structure().path), STRUCTURE.into());
    objects.insert("ds/stats.yaml".into(), statistics(&manifest));
    objects.insert(MANIFEST.into(), manifest.to_json().into());
    objects
}

/// What `stats.yaml` says of a data set.
pub(super) fn statistics(manifest: &Manifest) -> Bytes {
    manifest
        .statistics
        .to_yaml(&manifest.schema)
        .unwrap()
        .into()
}
