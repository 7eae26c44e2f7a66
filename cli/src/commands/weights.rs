//! `wellspring export` and `wellspring import`: a checkpoint's weights to and from a PyTorch state
//! dict in safetensors. Names and shapes are the same, so the bytes are.

use anyhow::Result;
use wellspring_train::Checkpoint;

use super::Session;
use crate::args;
use crate::failure::misuse;
use crate::progress::line;
use crate::settings;

pub fn export(session: &Session, args: &args::Export) -> Result<()> {
    let run = session.locate(&args.run)?;
    let (step, bytes) = session.wait(async {
        let checkpoint = Checkpoint::find(&run, args.step).await?;
        Ok::<_, wellspring_train::Error>((checkpoint.state.step, checkpoint.weights().await?))
    })?;
    session.wait(session.locate(&args.out)?.put(bytes))?;
    line(&format!("{}: the weights of step {step}", args.out));
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
        &weights,
        &args.weights,
    ))?;
    line(&format!(
        "{}: step 0; next: wellspring eval {} {}",
        args.out,
        args.out,
        config.data.root.list()[0]
    ));
    Ok(())
}
