//! `wellspring export` and `wellspring import`: convert a checkpoint's weights to and from a PyTorch state dict
//! in safetensors. Names and shapes are equal, and so are the bytes. `import` also begins a run with the weights of
//! another run.

use anyhow::Result;
use wellspring_store::Location;
use wellspring_train::{Checkpoint, CheckpointChoice, Config, ModelChoice, StateDict};

use super::Session;
use crate::args;
use crate::failure::misuse;
use crate::progress::line;
use crate::settings;

pub fn export(session: &Session, args: &args::Export) -> Result<()> {
    let run = session.locate(&args.run)?;
    let checkpoint = session.wait(Checkpoint::find(
        &run,
        args.model.choice(),
        &session.reporter,
    ))?;
    let out = session.locate(&args.out)?;
    session.wait(out.put(checkpoint.weights().to_vec()))?;
    line(&format!(
        "{}: the weights of step {}",
        args.out, checkpoint.state.step
    ));
    Ok(())
}

pub fn import(session: &Session, args: &args::Import) -> Result<()> {
    let run = session.locate(&args.out)?;
    let source = session.locate(&args.weights)?;
    // A file is a state dict; a folder or a prefix with a configuration is a run.
    let is_file = source.local_path().is_some_and(|path| path.is_file());
    let held = match is_file {
        true => None,
        false => session.wait(source.join("config.toml").get_opt())?,
    };
    let config = match (&held, &args.config) {
        (Some(held), None) => begun_anew(&source, held, &args.set)?,
        (_, file) => settings::resolve(file.as_deref(), &args.set)?,
    };
    if config.data.root.list().is_empty() {
        misuse!(
            "no data set: add --set data.root=DS, whose fields and boundaries the weights are for"
        );
    }
    let datasets = super::train::open(session, &config)?;
    let reporter = &session.reporter;
    if held.is_some() {
        let choice = ModelChoice {
            checkpoint: args.step,
            ..ModelChoice::default()
        };
        let source = (&source, choice);
        let begun = wellspring_train::fine_tune(&config, &datasets, &run, source, reporter);
        line(&format!("{}: {}", args.out, session.wait(begun)?));
    } else {
        if args.step != CheckpointChoice::Newest {
            misuse!("--step: {} is no run, so it has no steps", args.weights);
        }
        let bytes = session.wait(source.get())?;
        let weights = StateDict {
            bytes: &bytes,
            object: &args.weights,
        };
        let begun = wellspring_train::import(&config, &datasets, &run, weights, reporter);
        session.wait(begun)?;
    }
    line(&format!(
        "{}: step 0; next: wellspring eval {} {}",
        args.out,
        args.out,
        config.data.root.list()[0]
    ));
    Ok(())
}

/// The configuration of a run for one that begins with its weights: the schedule's horizon is its own again.
fn begun_anew(source: &Location, held: &[u8], typed: &[String]) -> Result<Config> {
    let mut config = settings::resumed(&source.join("config.toml"), held, typed)?;
    if !typed
        .iter()
        .any(|set| set.trim_start().starts_with("optim.horizon"))
    {
        config.optim.horizon = None;
    }
    Ok(config)
}
