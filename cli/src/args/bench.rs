//! Measurements of this machine.

use clap::{Args, ValueEnum};
use wellspring_train::{DeviceChoice, Precision};

use super::words::one_of;

/// Measure this machine: ingest, loader, streaming from a bucket, training step, metrics
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wellspring bench step --json
  wellspring bench step --device cuda --precision bf16 --case 7.6M
  wellspring bench loader
  wellspring bench loader --data ds --json       on the training split of a data set of one's own
  wellspring bench bucket --data s3://bucket/ds  streaming beside plain requests for the same bytes
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

    /// A data set for loader and bucket; noise of 128x256 for the loader by default
    #[arg(long, value_name = "ROOT")]
    pub data: Option<String>,

    /// Repetitions; the best counts, of steps on CUDA the median
    #[arg(long, default_value_t = 3)]
    pub repeat: usize,

    /// Where steps run; each has its own cases
    #[arg(
        long,
        value_parser = one_of(DeviceChoice::ALL, DeviceChoice::name),
        default_value = DeviceChoice::Cpu.name()
    )]
    pub device: DeviceChoice,

    /// Numbers of the steps' products
    #[arg(
        long,
        value_parser = one_of(Precision::ALL, Precision::name),
        default_value = Precision::F32.name()
    )]
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
