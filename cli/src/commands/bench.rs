//! `wellspring bench`: measures this machine; what it writes is temporary.

mod ingest;
mod loader;
mod metrics;
mod step;

use anyhow::Result;
use serde_json::Value;

use super::{Session, print};
use crate::args::{self, BenchSubject};

pub fn run(session: &Session, args: &args::Bench) -> Result<()> {
    let figures = match args.subject {
        BenchSubject::Ingest => ingest::run(session, args)?,
        BenchSubject::Step => step::run(args)?,
        BenchSubject::Loader => loader::run(session, args)?,
        BenchSubject::Metrics => metrics::run(args)?,
    };
    if args.json {
        print(format!("{}\n", Value::Array(figures)))
    } else {
        Ok(())
    }
}
