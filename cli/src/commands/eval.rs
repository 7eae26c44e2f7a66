//! `wellspring eval`: reads a run (or takes a baseline) and a data set, writes result tables. Each
//! evaluation is committed whole at its end; an interruption leaves the earlier ones.

use anyhow::{Context as _, Result};
use wellspring_eval::{EvalOptions, OnExisting, RunRecord, Schedule, Subject};
use wellspring_store::{Dataset, Location, Patch, Split};
use wellspring_train::{DeviceChoice, Predictor};

use super::Session;
use crate::args::{self, ExistingArg};
use crate::failure::misuse;
use crate::progress::line;

pub fn run(session: &Session, args: &args::Eval) -> Result<()> {
    if args.rollout == 0 {
        misuse!("--rollout 0: predict at least one frame");
    }
    let split: Split = match args.split.parse() {
        Ok(split) => split,
        Err(error) => misuse!("--split {}: {error}", args.split),
    };
    let dataset = session.wait(async { Dataset::open(&Location::parse(&args.root)?).await })?;
    let evaluation = Evaluation {
        results: Location::parse(&args.results)?,
        schedules: args.schedules.clone(),
        options: EvalOptions {
            rollout: args.rollout,
            split,
            every: args.every,
            batch: args.batch,
            keep: args.keep,
            existing: existing(args.existing),
            ..EvalOptions::default()
        },
    };
    let records = match Baseline::named(&args.run) {
        Some(baseline) => {
            let name = args.name.as_deref().unwrap_or(&args.run);
            vec![evaluation.baseline(session, &dataset, baseline, name, args.context)?]
        }
        None => {
            let run = Location::parse(&args.run)?;
            let device: DeviceChoice = match args.device.parse() {
                Ok(device) => device,
                Err(error) => misuse!("--device {}: {error}", args.device),
            };
            let predictor = session
                .wait(Predictor::load(&run, args.step, device))
                .with_context(|| format!("cannot load a model from {run}"))?;
            let name = args.name.clone().unwrap_or_else(|| folder_name(&args.run));
            evaluation.model(session, &dataset, &predictor, &name)?
        }
    };
    for record in &records {
        line(&describe(record));
    }
    line(&format!(
        "next: wellspring sql -r {} 'SELECT * FROM leaderboard'",
        args.results
    ));
    Ok(())
}
