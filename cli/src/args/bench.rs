//! Arguments of `bench`.

use clap::{Args, ValueEnum};
use wellspring_train::{DeviceChoice, Precision};

/// Measure this machine: ingest, loader, streaming from a bucket, training step, metrics
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wellspring bench step --json
  wellspring bench step --device cuda --precision bf16 --case 7.6M
  wellspring bench loader
  wellspring bench loader --data ds --json       on the training split of your own data set
  wellspring bench bucket --data s3://bucket/ds  streaming beside plain requests for the same bytes
  wellspring bench ingest --case gzip")]
pub struct Bench {
    /// What to measure
    #[arg(value_enum)]
    pub subject: BenchSubject,

    /// Print results as JSON
    #[arg(long)]
    pub json: bool,

    /// Only cases whose name contains this text
    #[arg(long, default_value = "")]
    pub case: String,

    /// Data set for loader and bucket; by default the loader reads generated noise on a 128x256 grid
    #[arg(long, value_name = "ROOT")]
    pub data: Option<String>,

    /// Number of repetitions; the best one counts, or the median for steps on CUDA
    #[arg(long, default_value_t = 3)]
    pub repeat: usize,

    /// Device for steps: cpu or cuda; each has its own cases
    #[arg(long, default_value_t = DeviceChoice::Cpu)]
    pub device: DeviceChoice,

    /// Precision of matrix products in steps: f32 or bf16
    #[arg(long, default_value_t = Precision::F32)]
    pub precision: Precision,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum BenchSubject {
    Ingest,
    Loader,
    Bucket,
    Step,
    Metrics,
}
