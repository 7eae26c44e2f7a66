//! `wellspring export` and `wellspring import`: convert a checkpoint's weights to and from a PyTorch state dict
//! in safetensors. Names and shapes are equal, and so are the bytes.

use anyhow::Result;
use wellspring_train::{Checkpoint, StateDict};

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
    let config = settings::resolve(args.config.as_deref(), &args.set)?;
    if config.data.root.list().is_empty() {
        misuse!(
            "no data set: add --set data.root=DS, whose fields and boundaries the weights are for"
        );
    }
    let weights = session.wait(session.locate(&args.weights)?.get())?;
    let datasets = super::train::open(session, &config)?;
    session.wait(wellspring_train::import(
        &config,
        &datasets,
        &run,
        StateDict {
            bytes: &weights,
            object: &args.weights,
        },
        &session.reporter,
    ))?;
    line(&format!(
        "{}: step 0; next: wellspring eval {} {}",
        args.out,
        args.out,
        config.data.root.list()[0]
    ));
    Ok(())
}
