//! `wellspring export` and `wellspring import`: a checkpoint's weights to and from a PyTorch state
//! dict in safetensors. Names and shapes are the same, so the bytes are.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
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
    write_whole(&args.out, &bytes)?;
    line(&format!(
        "{}: the weights of step {step}",
        args.out.display()
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
    let object = args.weights.display().to_string();
    let weights = std::fs::read(&args.weights).with_context(|| format!("cannot read {object}"))?;
    let datasets = super::train::open(session, &config)?;
    session.wait(wellspring_train::import(
        &config, &datasets, &run, &weights, &object,
    ))?;
    line(&format!(
        "{}: step 0; next: wellspring eval {} {}",
        args.out,
        args.out,
        config.data.root.list()[0]
    ));
    Ok(())
}

/// Writes a file beside its place and moves it there.
pub fn write_whole(out: &Path, bytes: &[u8]) -> Result<()> {
    let folder = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // The umask takes away what others may not do.
    let mut file = tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .with_context(|| format!("cannot write into {}", folder.display()))?;
    file.write_all(bytes)
        .and_then(|()| file.as_file().sync_all())
        .with_context(|| format!("cannot write {}", out.display()))?;
    file.persist(out)
        .with_context(|| format!("cannot move a file to {}", out.display()))?;
    Ok(())
}
