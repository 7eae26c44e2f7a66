//! The data sets of an experiment, made by its first part.

use std::time::Duration;

use anyhow::{Context as _, Result};
use wellspring_ingest::IngestOptions;
use wellspring_store::{Dataset, Location};

use super::Work;
use super::file::{DataSection, SimulateSection};
use crate::failure::misuse;
use crate::progress::line;

/// Time between two looks for what another part makes.
const LOOK: Duration = Duration::from_secs(2);

/// Makes a data set unless it is there; other parts than the first wait for it.
pub fn there(work: &Work<'_>, name: &str, section: &DataSection) -> Result<()> {
    let root = work.session.locate(&work.root(name)?)?;
    let source = match section {
        DataSection::Root(_) => None,
        DataSection::Ingest(source) => Some(source.clone()),
        DataSection::Simulate(_) => Some(work.at(&format!("simulations/{name}"))?.0),
    };
    match source {
        None => {
            work.session.wait(Dataset::open(&root))?;
            Ok(())
        }
        Some(_) if work.share.rank > 0 => wait_for(work, &root),
        Some(source) => work.by_the_first(|| {
            if let DataSection::Simulate(section) = section {
                simulate(work, name, section, &source)?;
            }
            if is_there(work, &root)? {
                return Ok(());
            }
            let source = work.session.locate(&source)?;
            work.stage(&format!("ingested {name} into Arrow shards"), || {
                let options = IngestOptions::default();
                let reporter = &work.session.reporter;
                let made = wellspring_ingest::ingest(&source, &root, &options, reporter);
                work.session.wait(made)?;
                Ok(())
            })
        }),
    }
}

fn simulate(work: &Work<'_>, name: &str, section: &SimulateSection, out: &str) -> Result<()> {
    let (equation, options) = (section.equation()?, section.options()?);
    let place = work.session.locate(out)?;
    let Some(path) = place.local_path() else {
        misuse!(
            "{out}: simulations are written to a folder; give --out one, or simulate and ingest {name} before"
        );
    };
    let count = options.train + options.valid + options.test;
    work.stage(&format!("simulated {count} of {name}"), || {
        wellspring_ingest::simulate(equation, &path, &options, &work.session.reporter)
            .with_context(|| format!("data.{name}"))?;
        Ok(())
    })
}

fn is_there(work: &Work<'_>, root: &Location) -> Result<bool> {
    match work.session.wait(Dataset::open(root)) {
        Ok(_) => Ok(true),
        Err(wellspring_store::Error::NotADataset { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn wait_for(work: &Work<'_>, root: &Location) -> Result<()> {
    let mut said = false;
    while !is_there(work, root)? {
        if !said {
            line(&format!("waiting for the first part to make {root}"));
            said = true;
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}
