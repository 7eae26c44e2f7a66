//! Simulations and data sets.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Simulate an equation and write The Well's HDF5
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wellspring simulate shear-flow sims
  wellspring simulate shear-flow sims --shape 64x128 --frames 41 --train 64 --seed 7
  wellspring simulate decaying-turbulence-3d cubes --shape 32x32x32 --train 8 --valid 2 --test 2")]
pub struct Simulate {
    /// shear-flow or decaying-turbulence-3d
    pub equation: String,

    /// Folder to write; gets data/train, data/valid and data/test
    pub out: PathBuf,

    /// Grid points along each axis, such as 64x128
    #[arg(long, value_name = "NxM")]
    pub shape: Option<String>,

    /// Frames in a trajectory
    #[arg(long)]
    pub frames: Option<usize>,

    /// Training trajectories
    #[arg(long, default_value_t = 16)]
    pub train: usize,

    /// Validation trajectories
    #[arg(long, default_value_t = 2)]
    pub valid: usize,

    /// Test trajectories
    #[arg(long, default_value_t = 2)]
    pub test: usize,

    /// Equal seeds give equal files
    #[arg(long, default_value_t = 0)]
    pub seed: u64,

    /// Replace files of an earlier simulation
    #[arg(long)]
    pub overwrite: bool,
}

/// Say what is in an HDF5 file, a data set, a run or a results folder
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wellspring inspect sims/data/train/shear_flow_Reynolds_1e+04_Schmidt_1e+00_0.hdf5
  wellspring inspect s3://bucket/ds
  wellspring inspect runs/ckm")]
pub struct Inspect {
    /// A path or URL
    pub path: String,
}

/// Turn The Well's HDF5 into normalised Arrow shards
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wellspring ingest sims ds
  wellspring ingest /data/the_well/shear_flow s3://bucket/shear_flow --dtype f16 --compression zstd
  wellspring ingest sims ds --normalization zscore --stats /data/the_well/shear_flow/stats.yaml")]
pub struct Ingest {
    /// A folder in The Well's layout (data/train/*.hdf5 ...), a file, or a URL of either
    pub source: String,

    /// The data set to write: a folder or a URL
    pub root: String,

    /// Type of the stored values
    #[arg(long, value_enum, default_value_t = DtypeArg::F32)]
    pub dtype: DtypeArg,

    /// Compression of the shards' buffers; none keeps local shards readable without a copy
    #[arg(long, value_enum, default_value_t = CompressionArg::None)]
    pub compression: CompressionArg,

    /// How values are normalised before they are stored
    #[arg(long, value_enum, default_value_t = NormalizationArg::Zscore)]
    pub normalization: NormalizationArg,

    /// The Well's stats.yaml to normalise by, instead of statistics of the training split
    #[arg(long, value_name = "FILE")]
    pub stats: Option<String>,

    /// Target size of a shard
    #[arg(long, default_value_t = 64, value_name = "MIB")]
    pub shard_mib: u64,

    /// Files converted at the same time; by default one per core
    #[arg(long)]
    pub threads: Option<usize>,

    /// Replace a data set that is there
    #[arg(long)]
    pub overwrite: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum DtypeArg {
    F32,
    F16,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum CompressionArg {
    None,
    Lz4,
    Zstd,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum NormalizationArg {
    Zscore,
    Rms,
    None,
}

/// Check every byte of a data set against its manifest
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  wellspring verify s3://bucket/ds && echo intact")]
pub struct Verify {
    /// The data set: a folder or a URL
    pub root: String,
}
