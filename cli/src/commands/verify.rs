//! `wellspring verify`: reads every byte of a data set and lists everything that is wrong. With `--repair` it
//! writes damaged files again, each completely or not at all; the manifest does not change.

use anyhow::{Context as _, Result, bail};
use wellspring_store::{Flaw, Place};

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
    let (unread, damaged): (Vec<Flaw>, Vec<Flaw>) = flaws.into_iter().partition(Flaw::is_unread);
    if !unread.is_empty() {
        bail!(
            "{} of the files of {} could not be read, so nothing is known of them (no permission, or a store \
             that does not answer); {} are damaged or missing",
            unread.len(),
            args.root,
            damaged.len()
        );
    }
    let (kept, flaws): (Vec<Flaw>, Vec<Flaw>) = damaged
        .into_iter()
        .partition(|flaw| matches!(flaw.place, Place::Generation(_)));
    if flaws.is_empty() {
        bail!(
            "{} earlier manifests of {} are damaged; what is in the data set now is whole. Restore them from a \
             copy, or delete them: then `purge` leaves the files that only they name",
            kept.len(),
            args.root
        );
    }
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
