//! `wellspring simulate`: reads nothing and writes The Well's HDF5. The files get their final place when all are
//! complete, so an interruption leaves none, and the same command starts over. Once they are there it does nothing.

use anyhow::{Context as _, Result};
use wellspring_ingest::{Equation, SimulateOptions};

use super::Session;
use crate::args;
use crate::failure::misuse;
use crate::progress::line;

pub fn run(session: &Session, args: &args::Simulate) -> Result<()> {
    let equation = equation(&args.equation)?;
    if let Some(out) = args.out.to_str() {
        super::must_be_local(session, out)?;
    }
    let mut options = SimulateOptions {
        train: args.train,
        valid: args.valid,
        test: args.test,
        seed: args.seed,
        overwrite: args.overwrite,
        ..SimulateOptions::of(equation)
    };
    if let Some(shape) = &args.shape {
        options.shape = shape_of(shape)?;
    }
    if let Some(frames) = args.frames {
        options.frames = frames;
    }
    let files = wellspring_ingest::simulate(equation, &args.out, &options, &session.reporter)
        .with_context(|| format!("cannot simulate into {}", args.out.display()))?;
    line(&format!(
        "{} trajectories in {}; next: wellspring ingest {} ds",
        files.len(),
        args.out.display(),
        args.out.display()
    ));
    Ok(())
}

fn equation(name: &str) -> Result<Equation> {
    match name.parse() {
        Ok(equation) => Ok(equation),
        Err(error) => misuse!("{error}"),
    }
}

/// `64x128` → `[64, 128]`.
fn shape_of(text: &str) -> Result<Vec<usize>> {
    let sizes: Result<Vec<usize>, _> = text.split('x').map(str::parse).collect();
    match sizes {
        Ok(sizes) => Ok(sizes),
        Err(_) => misuse!("--shape {text}: expected grid points along each axis, such as 64x128"),
    }
}
