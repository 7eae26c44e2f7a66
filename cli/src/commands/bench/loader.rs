//! The loader beside a plain copy.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};
use wellspring_ingest::{Equation, IngestOptions, SimulateOptions};
use wellspring_store::{
    Dataset, Loader, LoaderOptions, Location, Order, Plan, Share, Silent, Split, WindowSpec,
};

use crate::args;
use crate::commands::{Session, print};

/// Windows of 6 + 1 frames of 128×256, shuffled, from shards on a disk whose pages are in memory,
/// beside a plain copy of as many bytes.
pub fn run(session: &Session, args: &args::Bench) -> Result<Vec<Value>> {
    let folder = tempfile::tempdir()?;
    let options = SimulateOptions {
        shape: vec![128, 256],
        frames: 21,
        train: 4,
        valid: 0,
        test: 0,
        ..SimulateOptions::of(Equation::ShearFlow)
    };
    let simulations = folder.path().join("simulations");
    wellspring_ingest::simulate(
        Equation::ShearFlow,
        &simulations,
        &options,
        &session.reporter,
    )?;
    let source = Location::parse(&simulations.to_string_lossy())?;
    let root = Location::parse(&folder.path().join("dataset").to_string_lossy())?;
    session.wait(wellspring_ingest::ingest(
        &source,
        &root,
        &IngestOptions::default(),
        &Silent,
    ))?;
    let dataset = Arc::new(session.wait(Dataset::open(&root))?);
    let spec = WindowSpec::of_length(7);
    let plan = Plan::new(
        dataset.manifest(),
        Split::Train,
        spec,
        Order::Shuffled { seed: 0, epoch: 0 },
        Share::WHOLE,
    )?;
    let (mut best, mut bytes) = (f64::INFINITY, 0);
    for _ in 0..args.repeat.max(1) {
        let loader = Loader::spawn(
            Arc::clone(&dataset),
            plan.clone(),
            LoaderOptions::default(),
            session.handle(),
        );
        let began = Instant::now();
        bytes = 0;
        for batch in loader {
            bytes += size_of_val(batch?.frames.data());
        }
        best = best.min(began.elapsed().as_secs_f64());
    }
    let copied = copy_seconds(bytes, args.repeat);
    let rate = |seconds: f64| bytes as f64 / seconds / 1e9;
    let windows = plan.len() as f64 / best;
    if !args.json {
        print(format!(
            "loader: {windows:.0} windows/s, {:.2} GB/s; a plain copy: {:.2} GB/s; ratio {:.2}\n",
            rate(best),
            rate(copied),
            copied / best
        ))?;
    }
    Ok(vec![json!({
        "windows_per_second": windows,
        "gb_per_second": rate(best),
        "copy_gb_per_second": rate(copied),
        "of_copy": copied / best,
    })])
}

/// Shortest time to copy so many bytes, a window's worth at a time, into fresh memory.
fn copy_seconds(bytes: usize, repeat: usize) -> f64 {
    let window = 7 * 4 * 128 * 256 * size_of::<f32>();
    let source = vec![1_u8; bytes.max(window)];
    let mut best = f64::INFINITY;
    for _ in 0..repeat.max(1) {
        let began = Instant::now();
        for part in source.chunks(window) {
            std::hint::black_box(part.to_vec());
        }
        best = best.min(began.elapsed().as_secs_f64());
    }
    best
}
