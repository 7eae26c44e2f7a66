//! `wellspring inspect`: reads whatever is at a path and says what it is; writes nothing.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use wellspring_eval::Results;
use wellspring_store::{Dataset, Location, Manifest};
use wellspring_train::Config;

use super::Session;
use crate::args;
use crate::failure::misuse;

pub fn run(session: &Session, args: &args::Inspect) -> Result<()> {
    let text = describe(session, &args.path)?;
    super::print(&text)
}

fn describe(session: &Session, path: &str) -> Result<String> {
    let location = Location::parse(path)?;
    if path.ends_with(".hdf5") || path.ends_with(".h5") {
        return Ok(wellspring_ingest::inspect(Path::new(path))?.to_string());
    }
    if session.wait(location.join("manifest.json").exists())? {
        let dataset = session.wait(Dataset::open(&location))?;
        return Ok(data_set(dataset.manifest()));
    }
    if session.wait(location.join("config.toml").exists())? {
        return run_folder(session, &location);
    }
    if !session.wait(location.join("runs").list())?.is_empty() {
        let results = session.wait(Results::open(&location))?;
        return Ok(session.wait(results.table("SELECT * FROM leaderboard"))?);
    }
    misuse!(
        "{path} is no HDF5 file, data set (manifest.json), run (config.toml) or results folder (runs/)"
    )
}
