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
  wellspring inspect hf://datasets/polymathic-ai/shear_flow/data/train/FILE.hdf5
  wellspring inspect https://host/data/train/file.hdf5       only its structure is fetched
  wellspring inspect ds --plot --field velocity_x --step 5
  wellspring inspect runs/ckm")]
pub struct Inspect {
    /// A path or URL
    pub path: String,

    /// Draw a frame of an HDF5 file or a data set in the terminal
    #[arg(long)]
    pub plot: bool,

    /// The channel to draw; by default the first
    #[arg(long, requires = "plot")]
    pub field: Option<String>,

    /// The split to draw from, of a data set; by default the first that there is
    #[arg(long, requires = "plot")]
    pub split: Option<String>,

    /// The trajectory to draw
    #[arg(long, requires = "plot", default_value_t = 0)]
    pub trajectory: usize,

    /// The frame to draw
    #[arg(long, requires = "plot", default_value_t = 0)]
    pub step: usize,
}

/// Turn The Well's HDF5 into normalized Arrow shards
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wellspring ingest sims ds
  wellspring ingest /data/the_well/shear_flow s3://bucket/shear_flow --dtype f16 --compression zstd
  wellspring ingest sims ds --normalization zscore --stats /data/the_well/shear_flow/stats.yaml
  wellspring ingest sims small --fields velocity --crop 0..128,64..192 --stride 2 --time-stride 5
  wellspring ingest more ds --append
  wellspring ingest sims ds --exclude 'old/*' --exclude-trajectory run_7.hdf5#3 --allow time
  wellspring ingest hf://datasets/polymathic-ai/shear_flow ds --on-demand
  wellspring ingest s3://bucket/shear_flow ds --on-demand --stats s3://bucket/shear_flow/stats.yaml
  wellspring ingest sims ds --part 3/16      on one of 16 machines, then once: ingest sims ds --finish

A simulation that is broken is refused with field, trajectory and step, what is odd is told; `wellspring
check` gives all of it beforehand.

After an interruption, the same command goes on where it stopped.")]
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

    /// How values are normalized before they are stored
    #[arg(long, value_enum, default_value_t = NormalizationArg::Zscore)]
    pub normalization: NormalizationArg,

    /// The Well's stats.yaml to normalize by, instead of statistics of the training split
    #[arg(long, value_name = "FILE")]
    pub stats: Option<String>,

    /// Target size of a shard, which holds whole trajectories where they fit
    #[arg(long, default_value_t = 64, value_name = "MIB")]
    pub shard_mib: u64,

    /// Shards filled at the same time; by default one per core
    #[arg(long)]
    pub threads: Option<usize>,

    /// Memory that they may take together; fewer are filled at the same time where it is short
    #[arg(long, default_value_t = 512, value_name = "MIB")]
    pub memory_mib: u64,

    /// Replace a data set that is there, once the new one is whole, or one that was begun by another command
    #[arg(long)]
    pub overwrite: bool,

    /// Only these fields, such as pressure,velocity
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub fields: Vec<String>,

    /// Only these trajectories of each split, the end left out
    #[arg(long, value_name = "A..B")]
    pub trajectories: Option<String>,

    /// Only these cells, a range for each axis
    #[arg(long, value_name = "A..B,C..D")]
    pub crop: Option<String>,

    /// Only every Nth cell, of all axes or of each
    #[arg(long, value_name = "N or NxM")]
    pub stride: Option<String>,

    /// Only every Nth frame
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub time_stride: usize,

    /// What the data set is called, instead of what its files say; they may then say different names
    #[arg(long)]
    pub name: Option<String>,

    #[command(flatten)]
    pub choice: Choice,

    /// Do one of N equal parts of the work, 0/N to N-1/N
    #[arg(long, value_name = "I/N", conflicts_with_all = ["finish", "append"])]
    pub part: Option<String>,

    /// Only gather the statistics of this part; the shards of all parts need them
    #[arg(long, requires = "part")]
    pub statistics: bool,

    /// Make the data set of what the parts have left
    #[arg(long, conflicts_with = "append")]
    pub finish: bool,

    /// Only promise the data set: its shards are made when a training first reads them; with --stats the
    /// source is read for nothing else. The same command without this makes the rest
    #[arg(long, conflicts_with_all = ["part", "finish", "append"])]
    pub on_demand: bool,

    /// Add trajectories to a data set that is there, stored as its own are
    #[arg(long, conflicts_with_all = ["dtype", "compression", "normalization", "stats", "shard_mib",
        "fields", "trajectories", "crop", "stride", "time_stride"])]
    pub append: bool,
}

/// What is left out of a source, and what is let through.
#[derive(Debug, Args)]
pub struct Choice {
    /// Leave files out: a pattern of a name or of a path below SOURCE, with * ? and **; may be given several
    /// times
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,

    /// Leave a trajectory out: its file, or a pattern of it, and its number in the file; may be given several
    /// times
    #[arg(long, value_name = "FILE#N")]
    pub exclude_trajectory: Vec<String>,

    /// Let findings through that are refused otherwise: time, fill, unwritten
    #[arg(long, value_delimiter = ',', value_name = "KINDS")]
    pub allow: Vec<String>,

    /// What becomes of values that are NaN or infinite: the source is refused, or they become zero in field
    /// units, for the statistics too
    #[arg(long, value_enum, default_value_t = NanArg::Refuse)]
    pub nan: NanArg,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum NanArg {
    Refuse,
    Zero,
}

/// Say all that is wrong or odd in simulations or a data set, and write nothing
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wellspring check sims && wellspring ingest sims ds
  wellspring check s3://bucket/shear_flow --format csv > findings.csv
  wellspring check sims --exclude 'old/*' --allow time
  wellspring check ds

Refused are unreadable, mixed, unwritten, fill, not-finite and time; told are zero, still, outlier,
coordinates, leak, duplicate, left-out and remark. --exclude, --exclude-trajectory, --allow and --nan are those of
`wellspring ingest`; a data set has no use for them.

Exit codes: 0 nothing would be refused, 1 something would, 2 a misuse.")]
pub struct Check {
    /// A folder in The Well's layout, a file, or a data set, or a URL of any of them
    pub path: String,

    #[command(flatten)]
    pub choice: Choice,

    /// table | csv | json | md | parquet. Cells of csv are as they are: programs for spreadsheets take those that
    /// begin with = + - @ for formulas
    #[arg(long, default_value = "table")]
    pub format: String,

    /// Trajectories read at the same time; by default one per core
    #[arg(long)]
    pub threads: Option<usize>,
}

/// Take a split out of a data set
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wellspring drop ds test
  wellspring drop ds --purge --dry-run       list what no split refers to any longer, and what was left behind
  wellspring drop ds --purge                 delete it")]
pub struct Drop {
    /// The data set: a folder or a URL
    pub root: String,

    /// train, valid or test
    #[arg(required_unless_present = "purge")]
    pub split: Option<String>,

    /// Delete the files that only earlier generations refer to, and what killed or overtaken writers left. What
    /// belongs to a work that may still go on stays
    #[arg(long)]
    pub purge: bool,

    /// With --purge: list the files with their bytes, and delete nothing
    #[arg(long, requires = "purge", conflicts_with = "split")]
    pub dry_run: bool,
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
Examples:
  wellspring verify s3://bucket/ds && echo intact
  wellspring verify ds --repair sims         make what is damaged again, from its source")]
pub struct Verify {
    /// The data set: a folder or a URL
    pub root: String,

    /// Make damaged files again from what the data set was made from
    #[arg(long, value_name = "SOURCE")]
    pub repair: Option<String>,
}
