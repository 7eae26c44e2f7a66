//! `wellspring ingest`: reads The Well's HDF5, and writes shards and, last, the manifest. An interruption
//! leaves no data set, but files from which the same command continues.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use wellspring_ingest::{FindingKind, IngestOptions, Part, Stage};
use wellspring_store::{
    AxisSelection, Error as StoreError, Location, Manifest, Selection, Transform,
};

use super::Session;
use crate::args;
use crate::failure::{Misuse, misuse};
use crate::progress::line;

pub fn run(session: &Session, args: &args::Ingest) -> Result<()> {
    let options = options(session, args)?;
    let manifest = session
        .wait(convert(session, args, &options))
        .map_err(misused)
        .with_context(|| format!("cannot ingest {}", args.source))?;
    if let Some(manifest) = manifest {
        line(&summary(&manifest, &args.root));
    }
    Ok(())
}

/// What was asked for: all of the work, a part, its end, or more trajectories.
async fn convert(
    session: &Session,
    args: &args::Ingest,
    options: &IngestOptions,
) -> Result<Option<Manifest>> {
    let source = session.locate(&args.source)?;
    let root = session.locate(&args.root)?;
    let reporter = &session.reporter;
    if let Some(part) = &args.part {
        let part: Part = typed(part.parse())?;
        let stage = match args.statistics {
            true => Stage::Statistics,
            false => Stage::Shards,
        };
        wellspring_ingest::ingest_part(&source, &root, options, part, stage, reporter).await?;
        line(&format!("part {part} is done"));
        return Ok(None);
    }
    if !session.collective.is_alone() && !args.on_demand && !args.append && !args.finish {
        return by_ranks(session, options, (&source, &root)).await;
    }
    if args.on_demand {
        let there = wellspring_ingest::promise(&source, &root, options, reporter).await?;
        if there.is_none() {
            line(&format!(
                "{} is promised: its shards are made when they are first read; next: wellspring train \
                 --set data.root={} --set data.lanes=4 --out RUN",
                args.root, args.root
            ));
        }
        return Ok(there);
    }
    let manifest = if args.finish {
        wellspring_ingest::finish(&source, &root, options, reporter).await?
    } else if args.append {
        wellspring_ingest::append(&source, &root, options, reporter).await?
    } else {
        wellspring_ingest::ingest(&source, &root, options, reporter).await?
    };
    Ok(Some(manifest))
}

/// Each rank does a part, and the first the end. What a part needs of others is there when all have come so far.
async fn by_ranks(
    session: &Session,
    options: &IngestOptions,
    (source, root): (&Location, &Location),
) -> Result<Option<Manifest>> {
    let (collective, reporter) = (&session.collective, &session.reporter);
    let share = collective.share();
    let part: Part = typed(format!("{}/{}", share.rank, share.world).parse())?;
    for stage in [Stage::Statistics, Stage::Shards] {
        wellspring_ingest::ingest_part(source, root, options, part, stage, reporter).await?;
        collective.barrier()?;
    }
    match collective.is_first() {
        true => Ok(Some(
            wellspring_ingest::finish(source, root, options, reporter).await?,
        )),
        false => Ok(None),
    }
}

fn options(session: &Session, args: &args::Ingest) -> Result<IngestOptions> {
    let defaults = IngestOptions::default();
    Ok(IngestOptions {
        dtype: args.dtype,
        compression: args.compression,
        transforms: transforms(&args.transform)?,
        normalization: args.normalization,
        stats: args
            .stats
            .as_deref()
            .map(|stats| session.locate(stats))
            .transpose()?,
        selection: selection(args)?,
        shard_bytes: args.shard_mib.saturating_mul(1 << 20),
        threads: args.threads.unwrap_or(defaults.threads),
        memory_bytes: args.memory_mib.saturating_mul(1 << 20),
        overwrite: args.overwrite,
    })
}

/// `FIELD=KIND` of each field.
fn transforms(texts: &[String]) -> Result<BTreeMap<String, Transform>> {
    let mut transforms = BTreeMap::new();
    for text in texts {
        let Some((field, kind)) = text.rsplit_once('=').filter(|(field, _)| !field.is_empty())
        else {
            misuse!(
                "--transform {text}: write FIELD=KIND, such as density=log10 or density=asinh:1e-3"
            );
        };
        let transform: Transform = typed(kind.parse())?;
        match transforms.insert(field.to_owned(), transform) {
            Some(other) if other != transform => {
                misuse!("--transform gives {field} both {other} and {transform}")
            }
            _ => {}
        }
    }
    Ok(transforms)
}

fn selection(args: &args::Ingest) -> Result<Selection> {
    if args.time_stride == 0 {
        misuse!("--time-stride must be at least 1");
    }
    let trajectories = args.trajectories.as_deref().map(range).transpose()?;
    Ok(Selection {
        fields: args.fields.clone(),
        trajectories,
        space: space(args.crop.as_deref(), args.stride.as_deref())?,
        time_stride: args.time_stride,
        name: args.name.clone(),
        ..args.choice.selection()?
    })
}

impl args::Choice {
    /// Everything but what these leave out and let through, whatever the order in which they were typed.
    pub fn selection(&self) -> Result<Selection> {
        for text in &self.allow {
            let kind: FindingKind = typed(text.trim().parse())?;
            if !kind.may_be_allowed() {
                misuse!("--allow {kind}: only time, fill and unwritten can be let through");
            }
        }
        let sorted = |texts: &[String]| {
            let all: BTreeSet<String> = texts.iter().map(|text| text.trim().to_owned()).collect();
            all.into_iter().collect()
        };
        Ok(Selection {
            exclude: sorted(&self.exclude),
            exclude_trajectories: sorted(&self.exclude_trajectory),
            allow: sorted(&self.allow),
            nan: self.nan,
            ..Selection::default()
        })
    }
}

/// The cells of each axis; nothing for all of them.
fn space(crop: Option<&str>, stride: Option<&str>) -> Result<Vec<AxisSelection>> {
    let crops = crop.map(|text| text.split(',').map(range).collect::<Result<Vec<_>>>());
    let crops = crops.transpose()?;
    let strides = stride.map(|text| text.split('x').map(every).collect::<Result<Vec<_>>>());
    let strides = strides.transpose()?;
    let axes = match (&crops, &strides) {
        (None, None) => return Ok(Vec::new()),
        (Some(crops), Some(strides)) if strides.len() > 1 && strides.len() != crops.len() => {
            misuse!("--crop and --stride are of different numbers of axes")
        }
        (Some(crops), _) => crops.len(),
        (None, Some(strides)) => strides.len(),
    };
    let crop = |axis| crops.as_ref().map_or((0, usize::MAX), |crops| crops[axis]);
    let stride = |axis: usize| match &strides {
        Some(strides) => *strides.get(axis).unwrap_or(&strides[0]),
        None => 1,
    };
    Ok((0..axes)
        .map(|axis| AxisSelection {
            start: crop(axis).0,
            end: crop(axis).1,
            stride: stride(axis),
        })
        .collect())
}

/// `3..8`, `3..` or `..8`.
/// `3..8` → (3, 8); either end may be absent.
pub fn range(text: &str) -> Result<(usize, usize)> {
    let ends = text.split_once("..").and_then(|(start, end)| {
        let end = if end.is_empty() {
            Some(usize::MAX)
        } else {
            end.parse().ok()
        };
        let start = if start.is_empty() {
            Some(0)
        } else {
            start.parse().ok()
        };
        Some((start?, end?)).filter(|(start, end)| start < end)
    });
    match ends {
        Some(ends) => Ok(ends),
        None => misuse!("{text} is not a range such as 3..8"),
    }
}

fn every(text: &str) -> Result<usize> {
    match text.parse() {
        Ok(stride) if stride > 0 => Ok(stride),
        _ => misuse!("{text} is not a stride such as 2"),
    }
}

/// What cannot be read as it was typed is a misuse.
pub fn typed<T, E: std::fmt::Display>(answer: Result<T, E>) -> Result<T> {
    answer.map_err(|error| Misuse(error.to_string()).into())
}

/// What the source does not offer a choice of is a misuse.
fn misused(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref() {
        Some(wellspring_ingest::Error::Store(choice @ StoreError::Choice { .. })) => {
            Misuse(choice.to_string()).into()
        }
        _ => error,
    }
}

/// Describes a data set in one line.
pub fn summary(manifest: &Manifest, root: &str) -> String {
    let splits: Vec<String> = manifest
        .splits
        .iter()
        .map(|(split, held)| format!("{} {split}", held.trajectories.len()))
        .collect();
    let shape: Vec<String> = manifest
        .schema
        .grid
        .shape()
        .iter()
        .map(usize::to_string)
        .collect();
    format!(
        "{root}: {} on {}, channels {}, trajectories {}",
        manifest.schema.name,
        shape.join(" × "),
        manifest.schema.channels().join(" "),
        splits.join(", ")
    )
}
