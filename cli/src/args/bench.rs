//! Arguments of `bench`.

use clap::{Args, ValueEnum};
use wellspring_train::{DeviceChoice, Precision};

use super::words::one_of;

/// Measure this machine: ingest, loader, streaming from a bucket, training, metrics
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wellspring bench step --json
  wellspring bench step --device cuda --precision bf16 --case 7.6M
  wellspring bench train                         whole steps beside the same steps without their data
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

    /// Data set for loader, train and bucket; by default the first two read generated noise on a 128x256 grid
    #[arg(long, value_name = "ROOT")]
    pub data: Option<String>,

    /// Number of repetitions; the best one counts, or the median for steps on CUDA
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
    Train,
    Metrics,
}
