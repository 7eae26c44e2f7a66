//! `wellspring report`: reads result tables and logs of trainings, and writes one HTML file, completely or not at all.

use anyhow::Result;
use wellspring_eval::{ReportOptions, Results};
use wellspring_store::Location;

use super::Session;
use crate::args;
use crate::progress::line;

pub fn run(session: &Session, args: &args::Report) -> Result<()> {
    let options = ReportOptions {
        title: args
            .title
            .clone()
            .unwrap_or_else(|| ReportOptions::default().title),
    };
    let (results, out) = (session.locate(&args.results)?, session.locate(&args.out)?);
    let runs: Result<Vec<Location>, _> = args.runs.iter().map(|run| session.locate(run)).collect();
    write(session, &results, &runs?, &out, &options)?;
    line(&super::typed_as(&args.out, &out));
    Ok(())
}

/// Renders the page, with the learning curves of runs if there are any, and puts it in place whole.
pub fn write(
    session: &Session,
    results: &Location,
    runs: &[Location],
    out: &Location,
    options: &ReportOptions,
) -> Result<()> {
    let html = session.wait(async {
        let mut results = Results::open(results, &session.reporter).await?;
        if !runs.is_empty() {
            results.add_trainings(runs, &session.reporter).await?;
        }
        wellspring_eval::report(&results, options).await
    })?;
    Ok(session.wait(out.put(html))?)
}
