//! `wellspring drop`: writes the next generation of a data set, without a split. With `--purge` it deletes the
//! files that only earlier generations refer to, and those that killed writers left. An interruption leaves
//! either the old generation or the new one.

use anyhow::Result;
use wellspring_store::{Litter, Split};

use super::ingest::summary;
use super::{Session, print};
use crate::args;
use crate::progress::line;

pub fn run(session: &Session, args: &args::Drop) -> Result<()> {
    let root = session.locate(&args.root)?;
    if let Some(split) = &args.split {
        let split: Split = super::ingest::typed(split.parse())?;
        let manifest = session.wait(wellspring_store::drop_split(&root, split))?;
        line(&summary(&manifest, &args.root));
    }
    if args.dry_run {
        let found = session.wait(wellspring_store::litter(&root))?;
        for litter in &found {
            print(format!("{}\t{}\n", litter.bytes, litter.path))?;
        }
        line(&format!("{} would be deleted", amount(&found)));
    } else if args.purge {
        let deleted = session.wait(wellspring_store::purge(&root))?;
        line(&format!("{} deleted", amount(&deleted)));
    }
    Ok(())
}

fn amount(files: &[Litter]) -> String {
    let bytes: u64 = files.iter().map(|litter| litter.bytes).sum();
    format!("{} files of {bytes} bytes", files.len())
}
