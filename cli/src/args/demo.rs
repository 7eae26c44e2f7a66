//! Arguments of `demo`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Simulate, ingest, train five models, evaluate them and report
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wellspring demo                    a few minutes on two cores; leaves ./demo
  wellspring demo --size tiny        the same steps in seconds, for a first look; models learn little

Two elastic models and three with a fixed patch size are trained. Each elastic one takes as many steps as the three
together, so both ways cost the same.")]
pub struct Demo {
    /// Folder for everything that the demo makes
    #[arg(long, default_value = "demo", value_name = "DIR")]
    pub out: PathBuf,

    /// How much to simulate and train
    #[arg(long, value_enum, default_value_t = DemoSize::Full)]
    pub size: DemoSize,

    /// Seed of the simulations, the weights and the order of training
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DemoSize {
    /// Takes seconds; the models learn little
    Tiny,
    /// Takes minutes on two cores; the models beat persistence
    Full,
}
