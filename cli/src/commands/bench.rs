//! `wellspring bench`: measures this machine, writes nothing.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};
use wellspring_eval::Gauge;
use wellspring_ingest::{Equation, IngestOptions, SimulateOptions};
use wellspring_store::{
    Dataset, Loader, LoaderOptions, Location, Order, Plan, Share, Silent, Split, WindowSpec,
};

use super::{Session, print};
use crate::args::{self, BenchSubject};

pub fn run(session: &Session, args: &args::Bench) -> Result<()> {
    let figures = match args.subject {
        BenchSubject::Step => step(args)?,
        BenchSubject::Loader => loader(session, args)?,
        BenchSubject::Metrics => metrics(args)?,
    };
    if args.json {
        print(format!("{}\n", Value::Array(figures)))
    } else {
        Ok(())
    }
}

fn step(args: &args::Bench) -> Result<Vec<Value>> {
    if !args.json {
        print(format!(
            "{:<10}{:<10}{:>4}{:>8}{:>11}{:>9}{:>10}\n",
            "case", "strategy", "p", "tokens", "forward s", "step s", "peak MiB"
        ))?;
    }
    let figures = wellspring_train::bench_step(&args.case, args.repeat, |figure| {
        if !args.json {
            let peak = figure
                .peak_mib
                .map_or_else(|| "-".into(), |mib| format!("{mib:.0}"));
            let _ = print(format!(
                "{:<10}{:<10}{:>4}{:>8}{:>11.3}{:>9.3}{peak:>10}\n",
                figure.case,
                figure.strategy,
                figure.patch,
                figure.tokens,
                figure.forward_seconds,
                figure.step_seconds
            ));
        }
    })?;
    figures
        .iter()
        .map(|figure| Ok(serde_json::to_value(figure)?))
        .collect()
}

/// Windows of 6 + 1 frames of 128×256, shuffled, from shards on a disk whose pages are in memory,
/// beside a plain copy of as many bytes.
fn loader(session: &Session, args: &args::Bench) -> Result<Vec<Value>> {
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

/// Every metric and spectrum of many frames, of the sizes that The Well's are timed on.
fn metrics(args: &args::Bench) -> Result<Vec<Value>> {
    let cases: [(&str, &[usize], usize); 2] =
        [("2d", &[128, 256], 64 * 4), ("3d", &[64, 64, 64], 8 * 6)];
    let mut figures = Vec::new();
    for (name, space, fields) in cases
        .into_iter()
        .filter(|(name, ..)| name.contains(&args.case))
    {
        let cells = space.iter().product::<usize>();
        let wave = |i: usize, pace: f32| (i as f32 * pace).sin();
        let truth: Vec<f32> = (0..cells * fields).map(|i| wave(i, 0.37)).collect();
        let prediction: Vec<f32> = (0..cells * fields)
            .map(|i| wave(i, 0.37) + 0.1 * wave(i, 1.7))
            .collect();
        let pairs: Vec<_> = truth.chunks(cells).zip(prediction.chunks(cells)).collect();
        let gauge = Gauge::new(space)?;
        let mut best = f64::INFINITY;
        for _ in 0..args.repeat.max(1) {
            let began = Instant::now();
            std::hint::black_box(gauge.scores(&pairs)?);
            best = best.min(began.elapsed().as_secs_f64());
        }
        if !args.json {
            print(format!(
                "metrics {name}: {fields} fields of {cells} cells in {best:.3} s\n"
            ))?;
        }
        figures.push(json!({ "case": name, "fields": fields, "cells": cells, "seconds": best }));
    }
    Ok(figures)
}
