//! `wellspring inspect`: reads a file or folder of any kind and describes it. It writes nothing.

mod curves;
mod plot;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::Result;
use wellspring_eval::{Format, Results};
use wellspring_store::{CacheOptions, Location, Manifest};
use wellspring_train::{Checkpoint, Config, ModelChoice};

use super::Session;
use crate::args;
use crate::failure::misuse;

pub fn run(session: &Session, args: &args::Inspect) -> Result<()> {
    match args.plot {
        // Its colours are control characters of our own.
        true => super::print_exactly(plot::draw(session, args)?.as_bytes()),
        false => super::print(describe(session, &args.path)?),
    }
}

fn describe(session: &Session, path: &str) -> Result<String> {
    let location = session.locate(path)?;
    if path.ends_with(".hdf5") || path.ends_with(".h5") {
        let summary = session.wait(wellspring_ingest::inspect(&location))?;
        return Ok(summary.to_string());
    }
    let has = |name: &str| session.wait(location.join(name).exists());
    if has("manifest.json")? || has("ingest/claim.json")? {
        let dataset = session.open(path, CacheOptions::default())?;
        let promised = dataset.origin().map(|origin| origin.missing());
        let promised = promised.map_or_else(String::new, |missing| {
            format!("promised: {missing} shards are made when they are first read\n")
        });
        return Ok(promised + &data_set(dataset.manifest()));
    }
    if has("config.toml")? {
        return session.wait(run_folder(session, &location));
    }
    if !session.wait(location.join("runs").list())?.is_empty() {
        return session.wait(async {
            let results = Results::open(&location, &session.reporter).await?;
            let answer = Format::Table.write(
                &results
                    .sql("SELECT * FROM leaderboard ORDER BY dataset, split, vrmse")
                    .await?,
            )?;
            Ok(String::from_utf8_lossy(&answer).into_owned())
        });
    }
    misuse!(
        "{path} is not an HDF5 file, data set (manifest.json), run (config.toml) or results folder (runs/)"
    )
}

fn data_set(manifest: &Manifest) -> String {
    let schema = &manifest.schema;
    let mut text = format!(
        "data set {} ({}), version {}, generation {}\n",
        schema.name,
        manifest.id(),
        manifest.format_version,
        manifest.generation
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
            first.copied().map_or_else(String::new, exact),
            last.copied().map_or_else(String::new, exact)
        );
    }
    text += &coordinates(manifest);
    text += "\nfields:\n";
    for field in &schema.fields {
        let rank = ["scalar", "vector", "tensor"][field.order as usize];
        let constant = if field.time_varying {
            ""
        } else {
            ", does not vary in time"
        };
        let shared = if field.sample_varying {
            ""
        } else {
            ", the same in all trajectories"
        };
        let transform = field.transform.map_or_else(String::new, |transform| {
            format!(", transformed by {transform}")
        });
        let _ = writeln!(
            text,
            "  {:<16} {rank}{constant}{shared}{transform}",
            field.name
        );
    }
    text += &channels(manifest);
    text += &parameters(manifest);
    let _ = writeln!(
        text,
        "\nstored: {:?}, compression {:?}, normalization {:?}",
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
    if let Some(made) = &manifest.provenance {
        let bytes: u64 = made.sources.iter().map(|source| source.bytes).sum();
        let _ = writeln!(
            text,
            "\nmade by {} from {} files, {:.1} MiB",
            made.program,
            made.sources.len(),
            bytes as f64 / f64::from(1 << 20)
        );
    }
    text
}

/// Axes along which some trajectories have coordinates of their own, and between which ends those lie.
fn coordinates(manifest: &Manifest) -> String {
    let mut axes: BTreeMap<&str, (usize, f64, f64)> = BTreeMap::new();
    for trajectory in manifest.splits.values().flat_map(|held| &held.trajectories) {
        for (axis, own) in &trajectory.coordinates {
            let (count, low, high) =
                axes.entry(axis)
                    .or_insert((0, f64::INFINITY, f64::NEG_INFINITY));
            *count += 1;
            *low = own.iter().copied().fold(*low, f64::min);
            *high = own.iter().copied().fold(*high, f64::max);
        }
    }
    let line = |(axis, (count, low, high)): (&&str, &(usize, f64, f64))| {
        format!("  {axis:<4} {count:>5} trajectories have their own, from {low} to {high}\n")
    };
    axes.iter().map(line).collect()
}

fn channels(manifest: &Manifest) -> String {
    let schema = &manifest.schema;
    let mut text = format!(
        "\n{:<18} {:>12} {:>12} {:>12} {:>12}\n",
        "channels:", "mean", "std", "mean change", "std change"
    );
    let varying = schema.channel_transforms(true).into_iter();
    for (channel, transform) in varying.chain(schema.channel_transforms(false)) {
        if let Ok(held) = manifest.statistics.channel(&channel) {
            let transform =
                transform.map_or_else(String::new, |transform| format!("  {transform}"));
            let _ = writeln!(
                text,
                "  {channel:<16} {:>12} {:>12} {:>12} {:>12}{transform}",
                digits(held.mean),
                digits(held.std),
                digits(held.mean_delta),
                digits(held.std_delta)
            );
        }
    }
    text
}

/// A number with six significant digits, whatever its size.
fn digits(value: f64) -> String {
    const DIGITS: i32 = 6;
    if value == 0.0 {
        return "0".into();
    }
    let scientific = format!("{value:.5e}");
    let exponent = scientific.split_once('e').and_then(|(_, e)| e.parse().ok());
    match exponent {
        Some(exponent @ -4..DIGITS) => {
            let decimals = usize::try_from(DIGITS - 1 - exponent).unwrap_or(0);
            format!("{value:.decimals$}")
        }
        _ => scientific,
    }
}

/// A number with all its digits, and no more zeros than people count.
fn exact(value: f64) -> String {
    match value == 0.0 || (1e-4..1e15).contains(&value.abs()) {
        true => value.to_string(),
        false => format!("{value:e}"),
    }
}

/// The values that each parameter takes over all trajectories.
fn parameters(manifest: &Manifest) -> String {
    const SHOWN: usize = 6;
    let mut values: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut series = BTreeSet::new();
    for trajectory in manifest.splits.values().flat_map(|held| &held.trajectories) {
        for (name, &value) in &trajectory.parameters {
            let known = values.entry(name).or_default();
            if !known.contains(&value) {
                known.push(value);
            }
        }
        series.extend(trajectory.series.keys());
    }
    let mut text = String::new();
    if !values.is_empty() || !series.is_empty() {
        text += "\nparameters:\n";
    }
    for (name, mut values) in values {
        values.sort_by(f64::total_cmp);
        let shown = values.iter().take(SHOWN).map(|&value| exact(value));
        let shown: Vec<String> = shown.collect();
        let (shown, last) = (shown.join(" "), values[values.len() - 1]);
        let more = match values.len() > SHOWN {
            true => format!(" ... {} ({} values)", exact(last), values.len()),
            false => String::new(),
        };
        let _ = writeln!(text, "  {name:<16} {shown}{more}");
    }
    for name in series {
        let _ = writeln!(text, "  {name:<16} varies in time");
    }
    text
}

async fn run_folder(session: &Session, run: &Location) -> Result<String> {
    let config = Config::load(run).await?;
    let mut text = format!("run {run}\n\n{}", config.to_toml()?);
    match Checkpoint::find(run, ModelChoice::default(), &session.reporter).await {
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
    match curves::draw(session, run).await {
        Ok(curves) => text += &curves,
        Err(error) => {
            let _ = writeln!(text, "\n{}", crate::failure::chain(error.as_ref()));
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_keep_their_digits_at_every_size() {
        for (value, expected) in [
            (0.0, "0"),
            (2.847_216_35, "2.84722"),
            (-0.001_234_567, "-0.00123457"),
            (0.000_999_999_9, "0.00100000"),
            (123_456.7, "123457"),
            (999_999.9, "1.00000e6"),
            (1e8, "1.00000e8"),
            (3.141_592_6e-24, "3.14159e-24"),
            (-7.5e30, "-7.50000e30"),
            (f64::MIN_POSITIVE, "2.22507e-308"),
        ] {
            assert_eq!(digits(value), expected);
        }
    }

    #[test]
    fn other_numbers_keep_all_of_theirs() {
        for (value, expected) in [
            (0.0, "0"),
            (9.81, "9.81"),
            (-1e4, "-10000"),
            (1e-24, "1e-24"),
        ] {
            assert_eq!(exact(value), expected);
        }
    }
}
