//! `wellspring train`: reads a configuration and a data set, writes a run. Ctrl-C or SIGTERM writes
//! a checkpoint first; `--resume` goes on from the last whole one.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use wellspring_store::{Dataset, Location};
use wellspring_train::{Config, Outcome};

use super::Session;
use super::plan::compared;
use crate::args;
use crate::failure::misuse;
use crate::progress::line;
use crate::{interrupt, settings};

pub fn run(session: &Session, args: &args::Train) -> Result<()> {
    let run = session.locate(&args.out)?;
    let config = match (&args.config, args.resume) {
        (None, true) if args.set.is_empty() => session.wait(Config::load(&run))?,
        (file, _) => settings::resolve(file.as_deref(), &args.set)?,
    };
    if config.data.root.list().is_empty() {
        misuse!("no data set: add --set data.root=DS, or root = \"DS\" under [data]");
    }
    let outcome = train(session, &config, &run, args.resume)?;
    if outcome.stopped {
        line(&format!(
            "stopped at step {}; go on with: wellspring train --out {} --resume",
            outcome.step, args.out
        ));
    } else {
        line(&format!(
            "{}: {} parameters, {} steps, loss {:.4}; next: wellspring eval {} {}",
            args.out,
            outcome.parameters,
            outcome.step,
            outcome.loss,
            args.out,
            config.data.root.list()[0]
        ));
    }
    Ok(())
}

/// The data sets of a configuration.
pub fn open(session: &Session, config: &Config) -> Result<Vec<Arc<Dataset>>> {
    let roots = config.data.root.list().into_iter();
    roots
        .map(|root| Ok(Arc::new(session.open(root, config.data.cache())?)))
        .collect()
}

/// Trains until the configuration's last step or a signal.
pub fn train(session: &Session, config: &Config, run: &Location, resume: bool) -> Result<Outcome> {
    let stop = interrupt::flag(session.handle())?;
    let datasets = open(session, config)?;
    let outcome = wellspring_train::train(
        config,
        datasets.clone(),
        run,
        resume,
        &stop,
        session.handle(),
        &session.reporter,
    )
    .with_context(|| format!("cannot train {run}"))?;
    account(config, &datasets, &outcome)?;
    say_what_is_left(config, &datasets);
    Ok(outcome)
}

/// Says how much of promised data sets was made.
fn say_what_is_left(config: &Config, datasets: &[Arc<Dataset>]) {
    for (root, dataset) in config.data.root.list().iter().zip(datasets) {
        match dataset.origin().map(|origin| origin.missing()) {
            None => {}
            Some(0) => line(&format!("{root} is whole: every shard was made")),
            Some(missing) => line(&format!(
                "{root}: {missing} shards are still promised; wellspring ingest with its source makes them"
            )),
        }
    }
}

/// Says what was fetched, beside the plan of the steps that were taken.
fn account(config: &Config, datasets: &[Arc<Dataset>], outcome: &Outcome) -> Result<()> {
    if datasets
        .iter()
        .all(|dataset| dataset.traffic().requests == 0)
    {
        return Ok(());
    }
    let mut taken = config.clone();
    (taken.train.steps, taken.train.epochs) = (outcome.step, None);
    let readings = wellspring_train::readings(&taken, datasets, outcome.begun)?;
    let roots = config.data.root.list();
    for ((root, dataset), reading) in roots.iter().zip(datasets).zip(&readings) {
        line(&compared(root, &reading.bill, &dataset.traffic()));
    }
    Ok(())
}
