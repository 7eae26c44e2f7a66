//! `wellspring verify`: reads every byte of a data set and names everything that is wrong. With
//! `--repair` it writes damaged files again, each whole; the manifest stays as it is.

use anyhow::{Context as _, Result, bail};
use wellspring_store::Flaw;

use super::{Session, print};
use crate::args;
use crate::failure::chain;
use crate::progress::line;

pub fn run(session: &Session, args: &args::Verify) -> Result<()> {
    let root = session.locate(&args.root)?;
    let (manifest, flaws) = session.wait(wellspring_store::verify(&root, &session.reporter))?;
    if flaws.is_empty() {
        line(&format!(
            "{}: every file is as the manifest says",
            args.root
        ));
        return Ok(());
    }
    print(list(flaws.as_slice()))?;
    let Some(source) = &args.repair else {
        bail!(
            "{} of the files of {} are damaged; `wellspring verify {} --repair SOURCE` makes them again",
            flaws.len(),
            args.root,
            args.root
        );
    };
    let source = session.locate(source)?;
    session
        .wait(wellspring_ingest::repair(
            &source,
            &root,
            &manifest,
            &flaws,
            &session.reporter,
        ))
        .with_context(|| format!("cannot repair {}", args.root))?;
    line(&format!("{} files made again", flaws.len()));
    Ok(())
}

/// A line for each file that is damaged.
fn list(flaws: &[Flaw]) -> String {
    let lines = flaws.iter().map(|flaw| chain(&flaw.error) + "\n");
    lines.collect()
}
