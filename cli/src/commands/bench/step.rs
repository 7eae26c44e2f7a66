//! Times a training step and a forward pass of each model.

use anyhow::Result;
use serde_json::Value;
use wellspring_train::StepBench;

use crate::args;
use crate::commands::print;

pub fn run(args: &args::Bench) -> Result<Vec<Value>> {
    if !args.json {
        print(format!(
            "{:<10}{:<10}{:>4}{:>6}{:>8}{:>11}{:>9}{:>10}{:>10}\n",
            "case",
            "strategy",
            "p",
            "batch",
            "tokens",
            "forward s",
            "step s",
            "peak MiB",
            "estimated"
        ))?;
    }
    let bench = StepBench {
        only: args.case.clone(),
        repeat: args.repeat,
        device: args.device,
        precision: args.precision,
    };
    let figures = wellspring_train::bench_step(&bench, |figure| {
        if !args.json {
            let peak = figure
                .peak_mib
                .map_or_else(|| "-".into(), |mib| format!("{mib:.0}"));
            let _ = print(format!(
                "{:<10}{:<10}{:>4}{:>6}{:>8}{:>11.4}{:>9.4}{peak:>10}{:>10.0}\n",
                figure.case,
                figure.strategy,
                figure.patch,
                figure.batch,
                figure.tokens,
                figure.forward_seconds,
                figure.step_seconds,
                figure.estimated_mib
            ));
        }
    })?;
    figures
        .iter()
        .map(|figure| Ok(serde_json::to_value(figure)?))
        .collect()
}
