//! Times metrics and spectra.

use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};
use wellspring_eval::{FieldMetrics, Score};

use crate::args;
use crate::commands::print;

/// Times all metrics and spectra of many frames, at the sizes at which The Well's are timed.
pub fn run(args: &args::Bench) -> Result<Vec<Value>> {
    let cases: [(&str, &[usize], usize); 2] =
        [("2d", &[128, 256], 64 * 4), ("3d", &[64, 64, 64], 8 * 6)];
    let mut figures = Vec::new();
    for (name, space, fields) in cases
        .into_iter()
        .filter(|(name, ..)| name.contains(&args.case))
    {
        let cells = space.iter().product::<usize>();
        let (truth, prediction) = noisy(cells * fields);
        let pairs: Vec<_> = truth.chunks(cells).zip(prediction.chunks(cells)).collect();
        let metrics = FieldMetrics::new(space)?;
        let mut best = f64::INFINITY;
        let mut scores = Vec::new();
        for _ in 0..args.repeat.max(1) {
            let began = Instant::now();
            scores = std::hint::black_box(metrics.scores(&pairs)?);
            best = best.min(began.elapsed().as_secs_f64());
        }
        if !args.json {
            print(format!(
                "metrics {name}: {fields} fields of {cells} cells in {best:.3} s\n"
            ))?;
        }
        figures.push(json!({
            "case": name, "fields": fields, "cells": cells, "seconds": best, "means": means(&scores),
        }));
    }
    Ok(figures)
}

/// Noise, and the same with a tenth of other noise. `tests/python/bench_metrics.py` makes equal bits.
fn noisy(cells: usize) -> (Vec<f32>, Vec<f32>) {
    let noise = |cell: usize| {
        let mixed = (cell as u32).wrapping_mul(2_654_435_761);
        let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(2_246_822_519);
        ((mixed ^ (mixed >> 13)) >> 8) as f32 / 16_777_216.0 - 0.5
    };
    let truth: Vec<f32> = (0..cells).map(noise).collect();
    let errors = (cells..2 * cells).map(|cell| 0.1 * noise(cell));
    let prediction = truth.iter().zip(errors).map(|(x, error)| x + error);
    let prediction = prediction.collect();
    (truth, prediction)
}

/// What others' numbers are compared with: means over the fields.
fn means(scores: &[Score]) -> Value {
    let mean = |values: fn(&Score) -> Vec<f64>| {
        let mut means = scores
            .first()
            .map_or(Vec::new(), |score| vec![0.0; values(score).len()]);
        for score in scores {
            let values = means.iter_mut().zip(values(score));
            values.for_each(|(mean, value)| *mean += value / scores.len() as f64);
        }
        means
    };
    json!({
        "vrmse": mean(|score| vec![score.spatial.vrmse]),
        "band_mse": mean(|score| score.bands.iter().map(|band| band.mse).collect()),
        "band_nmse": mean(|score| score.bands.iter().map(|band| band.nmse).collect()),
        "spectrum": mean(|score| score.spectra.isotropic.iter().map(|line| line.power[0]).collect()),
    })
}
