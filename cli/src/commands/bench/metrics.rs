//! Metrics and spectra.

use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};
use wellspring_eval::Gauge;

use crate::args;
use crate::commands::print;

/// Every metric and spectrum of many frames, of the sizes that The Well's are timed on.
pub fn run(args: &args::Bench) -> Result<Vec<Value>> {
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
