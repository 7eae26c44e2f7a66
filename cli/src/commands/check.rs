//! `wellspring check`: reads a source of simulations or a data set and prints everything that is wrong or odd
//! in it. It writes no files.

use std::sync::Arc;

use anyhow::{Result, bail};
use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt64Array};
use wellspring_eval::Format;
use wellspring_ingest::{Finding, IngestOptions, Severity};
use wellspring_store::CacheOptions;

use super::Session;
use super::sql::show;
use crate::args;
use crate::progress::line;

pub fn run(session: &Session, args: &args::Check) -> Result<()> {
    let findings = findings(session, args)?;
    if !findings.is_empty() || args.format != Format::Table {
        show(args.format, &[table(&findings)?])?;
    }
    let is_refused = |finding: &&Finding| finding.severity == Severity::Refused;
    match findings.iter().filter(is_refused).count() {
        0 => {
            line(&format!(
                "{}: {} findings, of which none would be refused",
                args.path,
                findings.len()
            ));
            Ok(())
        }
        refused => bail!(
            "{}: {} findings, of which {refused} would be refused",
            args.path,
            findings.len()
        ),
    }
}

fn findings(session: &Session, args: &args::Check) -> Result<Vec<Finding>> {
    let place = session.locate(&args.path)?;
    let reporter = &session.reporter;
    let is_file = place
        .name()
        .is_some_and(|name| name.ends_with(".hdf5") || name.ends_with(".h5"));
    if !is_file && session.wait(place.join("manifest.json").exists())? {
        let dataset = session.open(&args.path, CacheOptions::default())?;
        return Ok(session.wait(wellspring_ingest::check_dataset(&dataset, reporter))?);
    }
    let selection = args.choice.selection()?;
    let threads = args.threads.unwrap_or(IngestOptions::default().threads);
    let checking = wellspring_ingest::check(&place, &selection, threads, reporter);
    Ok(session.wait(checking)?)
}

/// A row for each finding.
fn table(findings: &[Finding]) -> Result<RecordBatch> {
    let texts = |text: fn(&Finding) -> Option<String>| -> ArrayRef {
        Arc::new(findings.iter().map(text).collect::<StringArray>())
    };
    let counts = |count: fn(&Finding) -> Option<usize>| -> ArrayRef {
        let counts = findings.iter().map(|finding| Some(count(finding)? as u64));
        Arc::new(counts.collect::<UInt64Array>())
    };
    let values: Float64Array = findings.iter().map(|finding| finding.value).collect();
    Ok(RecordBatch::try_from_iter_with_nullable([
        (
            "severity",
            texts(|found| Some(found.severity.to_string())),
            false,
        ),
        ("kind", texts(|found| Some(found.kind.to_string())), false),
        ("file", texts(|found| Some(found.file.clone())), false),
        ("field", texts(|found| found.field.clone()), true),
        ("trajectory", counts(|found| found.trajectory), true),
        ("step", counts(|found| found.step), true),
        ("value", Arc::new(values) as ArrayRef, true),
        ("message", texts(|found| Some(found.message.clone())), false),
    ])?)
}
