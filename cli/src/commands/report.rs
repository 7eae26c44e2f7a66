//! `wellspring report`: reads result tables, writes one HTML file, renamed into place when whole.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use wellspring_eval::{ReportOptions, Results};
use wellspring_store::Location;

use super::Session;
use crate::args;
use crate::progress::line;

pub fn run(session: &Session, args: &args::Report) -> Result<()> {
    let options = ReportOptions {
        title: args.title.clone(),
        ..ReportOptions::default()
    };
    let results = Location::parse(&args.results)?;
    write(session, &results, &args.out, &options)?;
    line(&format!("{}", args.out.display()));
    Ok(())
}

/// Renders the page and puts it in place whole.
pub fn write(session: &Session, results: &Location, out: &Path, options: &ReportOptions) -> Result<()> {
    let html = session.wait(async {
        let results = Results::open(results).await?;
        wellspring_eval::report(&results, options).await
    })?;
    let folder = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut page = tempfile::NamedTempFile::new_in(folder)
        .with_context(|| format!("cannot write into {}", folder.display()))?;
    page.write_all(html.as_bytes())
        .and_then(|()| page.as_file().sync_all())
        .with_context(|| format!("cannot write {}", out.display()))?;
    page.persist(out)
        .with_context(|| format!("cannot move the report to {}", out.display()))?;
    Ok(())
}
