//! `wellspring train`: reads a configuration and a data set, and writes a run. On Ctrl-C, SIGTERM or SIGHUP it
//! writes a checkpoint and stops; `--resume` continues from the newest sound one.

mod estimate;
mod reads;
mod validator;

use std::sync::Arc;

use anyhow::{Context as _, Result};
use wellspring_store::{Dataset, Location, Share};
use wellspring_train::{Config, Outcome, Start, TrainOptions, Validate};

use super::Session;
use crate::args;
use crate::failure::misuse;
use crate::progress::line;
use crate::{interrupt, settings};
use reads::compared;
pub use reads::megabytes;
use validator::Validator;

pub fn run(session: &Session, args: &args::Train) -> Result<()> {
    let run = session.locate(&args.out)?;
    let config = configuration(session, args, &run)?;
    if config.data.root.list().is_empty() {
        misuse!("no data set: add --set data.root=DS, or root = \"DS\" under [data]");
    }
    if args.estimate {
        return estimate::run(session, &config, args);
    }
    let start = match args.from {
        Some(step) => Start::From(step),
        None if args.resume => Start::Resume,
        None => Start::New,
    };
    let outcome = train(session, &config, &run, start)?;
    let (out, step) = (&args.out, outcome.step);
    let next = format!("wellspring eval {out} {}", config.data.root.list()[0]);
    if outcome.stopped {
        line(&format!(
            "stopped at step {step}; go on with: wellspring train --out {out} --resume"
        ));
        return Err(interrupt::ended().into());
    }
    if args.resume && outcome.begun == step {
        line(&format!(
            "{out} is finished: it has taken all of its {step} steps, and is left as it is; more with \
             --resume --set train.steps=N --set optim.horizon=N; next: {next}"
        ));
    } else {
        let loss = outcome
            .loss
            .map_or_else(String::new, |loss| format!(", mean loss {loss:.4}"));
        let best = outcome.best.map_or_else(String::new, |best| {
            format!(", best VRMSE {:.4} at step {}", best.vrmse, best.step)
        });
        line(&format!(
            "{out}: {} parameters, {step} steps{loss}{best}; next: {next}",
            outcome.parameters,
        ));
    }
    Ok(())
}

/// What was typed; of a run that goes on without a file, laid over the configuration that it has.
fn configuration(session: &Session, args: &args::Train, run: &Location) -> Result<Config> {
    if args.config.is_none() && args.resume {
        let place = run.join("config.toml");
        match session.wait(place.get_opt())? {
            Some(held) => return settings::resumed(&place, &held, &args.set),
            // A job that is begun with --resume and its settings begins the run.
            None if !args.set.is_empty() => {}
            None => return Ok(session.wait(Config::load(run))?),
        }
    }
    settings::resolve(args.config.as_deref(), &args.set)
}

/// The data sets of a configuration.
pub fn open(session: &Session, config: &Config) -> Result<Vec<Arc<Dataset>>> {
    let roots = config.data.root.list().into_iter();
    roots
        .map(|root| Ok(Arc::new(session.open(root, config.data.cache())?)))
        .collect()
}

/// Trains until the configuration's last step or a signal.
pub fn train(session: &Session, config: &Config, run: &Location, start: Start) -> Result<Outcome> {
    let stop = interrupt::stop(session.handle())?;
    let datasets = open(session, config)?;
    // Data sets of its own: what validation reads is no part of the plan's costs.
    let measured = match config.validation.every {
        0 => Vec::new(),
        _ => open(session, config)?,
    };
    let validator = Validator::of(config, &measured, session.handle());
    let options = TrainOptions {
        config,
        datasets: datasets.clone(),
        start,
        validator: validator.as_ref().map(|found| found as &dyn Validate),
        stop: &stop,
        collective: &*session.collective,
    };
    let outcome = wellspring_train::train(run, options, session.handle(), &session.reporter)
        .with_context(|| format!("cannot train {run}"))?;
    account(config, &datasets, &outcome, session.collective.share())?;
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

/// Says what was fetched, beside the plan of the steps that were taken; of several ranks, what the first has fetched.
fn account(
    config: &Config,
    datasets: &[Arc<Dataset>],
    outcome: &Outcome,
    share: Share,
) -> Result<()> {
    let is_read = |dataset: &Arc<Dataset>| dataset.io_statistics().requests > 0;
    if !datasets.iter().any(is_read) {
        return Ok(());
    }
    let mut taken = config.clone();
    (taken.train.steps, taken.train.epochs) = (outcome.step, None);
    taken.train.hours = None;
    let read_estimates = wellspring_train::read_estimates(&taken, datasets, outcome.begun, share)?;
    let roots = config.data.root.list();
    for ((root, dataset), reading) in roots.iter().zip(datasets).zip(&read_estimates) {
        // One that was changed since the run began is read in an earlier generation.
        if is_read(dataset) {
            line(&compared(root, &reading.cost, &dataset.io_statistics()));
        }
    }
    Ok(())
}
