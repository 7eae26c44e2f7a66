//! `wellspring inspect`: reads whatever is at a path and says what it is; writes nothing.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use wellspring_eval::{Format, Results};
use wellspring_store::{Dataset, Location, Manifest};
use wellspring_train::{Checkpoint, Config};

use super::Session;
use crate::args;
use crate::failure::misuse;

pub fn run(session: &Session, args: &args::Inspect) -> Result<()> {
    let text = describe(session, &args.path)?;
    super::print(&text)
}

fn describe(session: &Session, path: &str) -> Result<String> {
    let location = session.locate(path)?;
    if path.ends_with(".hdf5") || path.ends_with(".h5") {
        return Ok(wellspring_ingest::inspect(Path::new(path))?.to_string());
    }
    if session.wait(location.join("manifest.json").exists())? {
        let dataset = session.wait(Dataset::open(&location))?;
        return Ok(data_set(dataset.manifest()));
    }
    if session.wait(location.join("config.toml").exists())? {
        return session.wait(run_folder(&location));
    }
    if !session.wait(location.join("runs").list())?.is_empty() {
        return session.wait(async {
            let results = Results::open(&location).await?;
            let answer = Format::Table.write(
                &results
                    .sql("SELECT * FROM leaderboard ORDER BY dataset, split, vrmse")
                    .await?,
            )?;
            Ok(String::from_utf8_lossy(&answer).into_owned())
        });
    }
    misuse!(
        "{path} is no HDF5 file, data set (manifest.json), run (config.toml) or results folder (runs/)"
    )
}

fn data_set(manifest: &Manifest) -> String {
    let schema = &manifest.schema;
    let mut text = format!(
        "data set {} ({}), version {}\n",
        schema.name,
        manifest.id(),
        manifest.format_version
    );
    let _ = writeln!(text, "\ngrid: {}", schema.grid.kind);
    for axis in &schema.grid.axes {
        let (first, last) = (axis.coordinates.first(), axis.coordinates.last());
        let [low, high] = axis.boundary;
        let _ = writeln!(
            text,
            "  {:<4} {:>5} points, {} to {}, {low:?}–{high:?}",
            axis.name,
            axis.coordinates.len(),
            first.copied().unwrap_or_default(),
            last.copied().unwrap_or_default()
        );
    }
    let _ = writeln!(
        text,
        "\nchannels: mean, standard deviation, the same of changes between frames"
    );
    for channel in schema.channels().iter().chain(&schema.constant_channels()) {
        if let Ok(held) = manifest.statistics.channel(channel) {
            let _ = writeln!(
                text,
                "  {channel:<16} {:>12.5} {:>12.5} {:>12.5} {:>12.5}",
                held.mean, held.std, held.mean_delta, held.std_delta
            );
        }
    }
    let _ = writeln!(
        text,
        "\nstored: {:?}, compression {:?}, normalisation {:?}",
        manifest.dtype, manifest.compression, manifest.normalization
    );
    for (split, held) in &manifest.splits {
        let bytes: u64 = held.files().map(|shard| shard.bytes).sum();
        let _ = writeln!(
            text,
            "  {split:<6} {:>5} trajectories, {:>7} frames, {:>4} shards, {:.1} MiB",
            held.trajectories.len(),
            held.frames(),
            held.shards.len(),
            bytes as f64 / f64::from(1 << 20)
        );
    }
    text
}

async fn run_folder(run: &Location) -> Result<String> {
    let config = Config::load(run).await?;
    let mut text = format!("run {run}\n\n{}", config.to_toml()?);
    match Checkpoint::find(run, None).await {
        Ok(checkpoint) => {
            let state = checkpoint.state;
            let loss = state
                .loss
                .map_or_else(String::new, |loss| format!(", loss {loss:.4}"));
            let _ = writeln!(text, "\nlast checkpoint: step {}{loss}", state.step);
            for domain in state.domains.iter() {
                let channels = domain.channels.join(" ");
                let _ = writeln!(
                    text,
                    "trained on {} ({}): {channels}",
                    domain.name, domain.id
                );
            }
        }
        Err(error) => {
            let _ = writeln!(text, "\n{error}");
        }
    }
    Ok(text)
}
