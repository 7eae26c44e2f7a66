//! `wellspring ingest`: reads The Well's HDF5, writes shards and, last of all, the manifest. An
//! interruption leaves no data set; running it again starts over.

use anyhow::{Context as _, Result};
use wellspring_ingest::IngestOptions;
use wellspring_store::{Compression, Dtype, Manifest, Normalization};

use super::Session;
use crate::args::{self, CompressionArg, DtypeArg, NormalizationArg};
use crate::progress::line;

pub fn run(session: &Session, args: &args::Ingest) -> Result<()> {
    let source = session.locate(&args.source)?;
    let root = session.locate(&args.root)?;
    let mut options = IngestOptions {
        dtype: dtype(args.dtype),
        compression: compression(args.compression),
        normalization: normalization(args.normalization),
        stats: args
            .stats
            .as_deref()
            .map(|stats| session.locate(stats))
            .transpose()?,
        shard_bytes: args.shard_mib << 20,
        overwrite: args.overwrite,
        ..IngestOptions::default()
    };
    if let Some(threads) = args.threads {
        options.threads = threads;
    }
    let manifest = session
        .wait(wellspring_ingest::ingest(
            &source,
            &root,
            &options,
            &session.reporter,
        ))
        .with_context(|| format!("cannot ingest {}", args.source))?;
    line(&summary(&manifest, &args.root));
    Ok(())
}

/// One line on what a data set holds.
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

fn dtype(typed: DtypeArg) -> Dtype {
    match typed {
        DtypeArg::F32 => Dtype::F32,
        DtypeArg::F16 => Dtype::F16,
    }
}

fn compression(typed: CompressionArg) -> Compression {
    match typed {
        CompressionArg::None => Compression::None,
        CompressionArg::Lz4 => Compression::Lz4,
        CompressionArg::Zstd => Compression::Zstd,
    }
}

fn normalization(typed: NormalizationArg) -> Normalization {
    match typed {
        NormalizationArg::Zscore => Normalization::Zscore,
        NormalizationArg::Rms => Normalization::Rms,
        NormalizationArg::None => Normalization::None,
    }
}
