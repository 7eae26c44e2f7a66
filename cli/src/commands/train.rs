//! `wellspring train`: reads a configuration and a data set, writes a run. Ctrl-C or SIGTERM writes
//! a checkpoint first; `--resume` goes on from the last whole one.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use wellspring_store::{Dataset, Location};
use wellspring_train::{Config, Outcome};

use super::Session;
use crate::args;
use crate::failure::misuse;
use crate::progress::line;
use crate::{interrupt, settings};

pub fn run(session: &Session, args: &args::Train) -> Result<()> {
    let run = Location::parse(&args.out)?;
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
        .map(|root| {
            Ok(Arc::new(
                session.wait(Dataset::open(&Location::parse(root)?))?,
            ))
        })
        .collect()
}

/// Trains until the configuration's last step or a signal.
pub fn train(session: &Session, config: &Config, run: &Location, resume: bool) -> Result<Outcome> {
    let stop = interrupt::flag(session.handle())?;
    let datasets = open(session, config)?;
    wellspring_train::train(
        config,
        datasets,
        run,
        resume,
        &stop,
        session.handle(),
        &session.reporter,
    )
    .with_context(|| format!("cannot train {run}"))
}
