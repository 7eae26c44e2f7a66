//! A training step and a forward pass of each model.

use anyhow::Result;
use serde_json::Value;

use crate::args;
use crate::commands::print;

pub fn run(args: &args::Bench) -> Result<Vec<Value>> {
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
