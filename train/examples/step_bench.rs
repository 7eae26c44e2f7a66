//! Times of training steps as lines of JSON, without the whole program:
//! `step_bench DEVICE PRECISION [CASE [REPETITIONS]]`, as `wellspring bench step --json`.
#![allow(clippy::print_stdout, reason = "its result")]

use std::error::Error;

use wellspring_train::{StepBench, bench_step};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let text =
        |place: usize, default: &str| arguments.get(place).cloned().unwrap_or(default.into());
    let bench = StepBench {
        device: text(0, "cpu").parse()?,
        precision: text(1, "f32").parse()?,
        only: text(2, ""),
        repeat: text(3, "7").parse()?,
    };
    bench_step(&bench, |figure| match serde_json::to_string(figure) {
        Ok(line) => println!("{line}"),
        Err(error) => println!("{error}"),
    })?;
    Ok(())
}
