//! `wellspring report`: reads result tables, writes one HTML file, renamed into place when whole.

use std::path::Path;

use anyhow::Result;
use wellspring_eval::{ReportOptions, Results};
use wellspring_store::Location;

use super::Session;
use super::weights::write_whole;
use crate::args;
use crate::progress::line;

pub fn run(session: &Session, args: &args::Report) -> Result<()> {
    let options = ReportOptions {
        title: args
            .title
            .clone()
            .unwrap_or_else(|| ReportOptions::default().title),
    };
    write(
        session,
        &session.locate(&args.results)?,
        &args.out,
        &options,
    )?;
    line(&format!("{}", args.out.display()));
    Ok(())
}

/// Renders the page and puts it in place whole.
pub fn write(
    session: &Session,
    results: &Location,
    out: &Path,
    options: &ReportOptions,
) -> Result<()> {
    let html = session.wait(async {
        let results = Results::open(results).await?;
        wellspring_eval::report(&results, options).await
    })?;
    write_whole(out, html.as_bytes())
}
