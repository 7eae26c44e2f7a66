//! `wellspring bench`: measures this machine; it writes only temporary files.

mod bucket;
mod ingest;
mod loader;
mod metrics;
mod noise;
mod step;
mod train;

use anyhow::Result;
use serde_json::Value;

use super::Session;
use crate::args::{self, BenchSubject};

pub fn run(session: &Session, args: &args::Bench) -> Result<()> {
    let figures = match args.subject {
        BenchSubject::Ingest => ingest::run(session, args)?,
        BenchSubject::Step => step::run(args)?,
        BenchSubject::Loader => loader::run(session, args)?,
        BenchSubject::Bucket => bucket::run(session, args)?,
        BenchSubject::Train => train::run(session, args)?,
        BenchSubject::Metrics => metrics::run(args)?,
    };
    if args.json {
        super::print_data(format!("{}\n", Value::Array(figures)).as_bytes())
    } else {
        Ok(())
    }
}

/// Shortest of some times, in seconds.
fn best(repeat: usize, mut work: impl FnMut() -> Result<f64>) -> Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..repeat.max(1) {
        best = best.min(work()?);
    }
    Ok(best)
}
