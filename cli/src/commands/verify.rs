//! `wellspring verify`: reads every byte of a data set, writes nothing.

use anyhow::Result;
use wellspring_store::Dataset;

use super::Session;
use crate::args;
use crate::progress::line;

pub fn run(session: &Session, args: &args::Verify) -> Result<()> {
    let root = session.locate(&args.root)?;
    session.wait(async {
        let dataset = Dataset::open(&root).await?;
        dataset.verify(&session.reporter).await
    })?;
    line(&format!(
        "{}: every shard is as the manifest says",
        args.root
    ));
    Ok(())
}
