//! `wellspring drop`: writes the next generation of a data set, without a split; with `--purge`, deletes
//! what only earlier generations refer to. An interruption leaves one generation or the next.

use anyhow::Result;
use wellspring_store::Split;

use super::Session;
use super::ingest::summary;
use crate::args;
use crate::progress::line;

pub fn run(session: &Session, args: &args::Drop) -> Result<()> {
    let root = session.locate(&args.root)?;
    if let Some(split) = &args.split {
        let split: Split = super::ingest::typed(split.parse())?;
        let manifest = session.wait(wellspring_store::drop_split(&root, split))?;
        line(&summary(&manifest, &args.root));
    }
    if args.purge {
        let deleted = session.wait(wellspring_store::purge(&root))?;
        line(&format!("{deleted} files deleted"));
    }
    Ok(())
}
