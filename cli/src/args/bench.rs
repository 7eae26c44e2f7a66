//! Measurements of this machine.

use clap::{Args, ValueEnum};

/// Measure this machine: ingest, loader, training step, metrics
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wellspring bench step --json
  wellspring bench loader
  wellspring bench ingest --case gzip")]
pub struct Bench {
    /// What to measure
    #[arg(value_enum)]
    pub subject: BenchSubject,

    /// Figures as JSON
    #[arg(long)]
    pub json: bool,

    /// Only cases whose name holds this
    #[arg(long, default_value = "")]
    pub case: String,

    /// Repetitions; the best counts
    #[arg(long, default_value_t = 3)]
    pub repeat: usize,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum BenchSubject {
    Ingest,
    Loader,
    Step,
    Metrics,
}
