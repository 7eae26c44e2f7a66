//! Arguments of the commands for simulations and data sets, from `simulate` to `verify`.

use std::path::PathBuf;

use clap::Args;
use wellspring_eval::Format;
use wellspring_store::{Compression, Dtype, Normalization, NotFinite};

use super::words::one_of;

/// Simulate an equation and write The Well's HDF5
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wellspring simulate shear-flow sims
  wellspring simulate shear-flow sims --shape 64x128 --frames 41 --train 64 --seed 7
  wellspring simulate decaying-turbulence-3d cubes --shape 32x32x32 --train 8 --valid 2 --test 2")]
pub struct Simulate {
    /// Equation to solve: shear-flow, decaying-turbulence-3d or rayleigh-benard
    pub equation: String,

    /// Folder to write, with data/train, data/valid and data/test
    pub out: PathBuf,

    /// Grid points along each axis, such as 64x128
    #[arg(long, value_name = "NxM")]
    pub shape: Option<String>,

    /// Frames of each trajectory
    #[arg(long)]
    pub frames: Option<usize>,

    /// Number of training trajectories
    #[arg(long, default_value_t = 16)]
    pub train: usize,

    /// Number of validation trajectories
    #[arg(long, default_value_t = 2)]
    pub valid: usize,

    /// Number of test trajectories
    #[arg(long, default_value_t = 2)]
    pub test: usize,

    /// Random seed; equal seeds give equal files
    #[arg(long, default_value_t = 0)]
    pub seed: u64,

    /// Replace the files of an earlier simulation
    #[arg(long)]
    pub overwrite: bool,
}

/// Show what an HDF5 file, a data set, a run or a results folder contains
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wellspring inspect sims/data/train/shear_flow_Reynolds_1e+04_Schmidt_1e+00_0.hdf5
  wellspring inspect s3://bucket/ds
  wellspring inspect hf://datasets/polymathic-ai/shear_flow/data/train/FILE.hdf5
  wellspring inspect https://host/data/train/file.hdf5       only its structure is fetched
  wellspring inspect ds --plot --field velocity_x --step 5
  wellspring inspect runs/ckm                       its configuration, state and learning curves")]
pub struct Inspect {
    /// The file or folder: a path or a URL
    pub path: String,

    /// Draw a frame of an HDF5 file or a data set in the terminal
    #[arg(long)]
    pub plot: bool,

    /// The channel to draw; by default the first
    #[arg(long, requires = "plot")]
    pub field: Option<String>,

    /// The split of a data set to draw from; by default the first one that exists
    #[arg(long, requires = "plot")]
    pub split: Option<String>,

    /// The trajectory to draw
    #[arg(long, requires = "plot", default_value_t = 0)]
    pub trajectory: usize,

    /// The frame to draw
    #[arg(long, requires = "plot", default_value_t = 0)]
    pub step: usize,
}

/// Convert The Well's HDF5 to a data set of normalized Arrow shards
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wellspring ingest sims ds
  wellspring ingest /data/the_well/shear_flow s3://bucket/shear_flow --dtype f16 --compression zstd
  wellspring ingest sims ds --normalization zscore --stats /data/the_well/shear_flow/stats.yaml
  wellspring ingest sims small --fields velocity --crop 0..128,64..192 --stride 2 --time-stride 5
  wellspring ingest sims ds --transform density=log10 --transform velocity=asinh:0.1
  wellspring ingest more ds --append
  wellspring ingest sims ds --exclude 'old/*' --exclude-trajectory run_7.hdf5#3 --allow time
  wellspring ingest hf://datasets/polymathic-ai/shear_flow ds --on-demand
  wellspring ingest s3://bucket/shear_flow ds --on-demand --stats s3://bucket/shear_flow/stats.yaml
  wellspring ingest sims ds --part 3/16      on one of 16 machines, then once: ingest sims ds --finish

A broken simulation is refused, with its field, trajectory and step; an odd one is only reported. `wellspring
check` lists everything beforehand.

After an interruption, the same command continues where it stopped.")]
pub struct Ingest {
    /// A folder in The Well's layout (data/train/*.hdf5 ...), a file, or a URL of either
    pub source: String,

    /// The data set to write: a folder or a URL
    pub root: String,

    /// Type of the stored values
    #[arg(long, value_parser = one_of(Dtype::ALL, Dtype::name), default_value = Dtype::F32.name())]
    pub dtype: Dtype,

    /// Compression of the shards' buffers; none keeps local shards readable without a copy
    #[arg(
        long,
        value_parser = one_of(Compression::ALL, Compression::name),
        default_value = Compression::None.name()
    )]
    pub compression: Compression,

    /// Transform a field before it is normalized, for fields that span decades: log10 (positive scalars), or
    /// asinh:SCALE (any values; a line below SCALE, a logarithm above). Models see transformed values; metrics,
    /// pictures and SQL have the field's own units. May be given several times
    #[arg(long, value_name = "FIELD=KIND", conflicts_with = "stats")]
    pub transform: Vec<String>,

    /// How values are normalized before they are stored
    #[arg(
        long,
        value_parser = one_of(Normalization::ALL, Normalization::name),
        default_value = Normalization::Zscore.name()
    )]
    pub normalization: Normalization,

    /// Normalize by a stats.yaml of The Well instead of the statistics of the training split
    #[arg(long, value_name = "FILE")]
    pub stats: Option<String>,

    /// Target size of a shard; trajectories that fit are not cut
    #[arg(long, default_value_t = 64, value_name = "MIB")]
    pub shard_mib: u64,

    /// Shards to fill at the same time; by default one per core
    #[arg(long)]
    pub threads: Option<usize>,

    /// Memory for shards that are being filled; if it is short, fewer are filled at the same time
    #[arg(long, default_value_t = 512, value_name = "MIB")]
    pub memory_mib: u64,

    /// Replace an existing data set as soon as the new one is complete, or one that another command began
    #[arg(long)]
    pub overwrite: bool,

    /// Only these fields, such as pressure,velocity
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub fields: Vec<String>,

    /// Only these trajectories of each split; B is excluded
    #[arg(long, value_name = "A..B")]
    pub trajectories: Option<String>,

    /// Only these cells, as a range for each axis; the ends are excluded
    #[arg(long, value_name = "A..B,C..D")]
    pub crop: Option<String>,

    /// Only every Nth cell, along all axes or along each
    #[arg(long, value_name = "N or NxM")]
    pub stride: Option<String>,

    /// Only every Nth frame
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub time_stride: usize,

    /// Name of the data set, instead of the name in its files, which may then differ
    #[arg(long)]
    pub name: Option<String>,

    #[command(flatten)]
    pub choice: Choice,

    /// Do only one of N equal parts of the work, 0/N to N-1/N
    #[arg(long, value_name = "I/N", conflicts_with_all = ["finish", "append"])]
    pub part: Option<String>,

    /// With --part: gather only the part's statistics, which the shards of all parts need
    #[arg(long, requires = "part")]
    pub statistics: bool,

    /// Complete the data set when all parts are done
    #[arg(long, conflicts_with = "append")]
    pub finish: bool,

    /// Make shards only when they are first read, by a training for example. With --stats, no values are
    /// read before that. The same command without --on-demand makes the remaining shards
    #[arg(long, conflicts_with_all = ["part", "finish", "append"])]
    pub on_demand: bool,

    /// Add trajectories to an existing data set, stored in the same way
    #[arg(long, conflicts_with_all = ["dtype", "compression", "transform", "normalization", "stats", "shard_mib",
        "fields", "trajectories", "crop", "stride", "time_stride"])]
    pub append: bool,
}

/// Arguments that leave out parts of a source, or accept odd values.
#[derive(Debug, Args)]
pub struct Choice {
    /// Leave out the files that match a pattern of their name or of their path below SOURCE, with *, ? and **; may
    /// be given several times
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,

    /// Leave out a trajectory: its file, or a pattern of it, and its number in the file; may be given several
    /// times
    #[arg(long, value_name = "FILE#N")]
    pub exclude_trajectory: Vec<String>,

    /// Accept findings that are otherwise refused: time, fill, unwritten
    #[arg(long, value_delimiter = ',', value_name = "KINDS")]
    pub allow: Vec<String>,

    /// What becomes of values that are NaN or infinite: the source is refused, or they become zero in field
    /// units, for the statistics too
    #[arg(
        long,
        value_parser = one_of(NotFinite::ALL, NotFinite::name),
        default_value = NotFinite::Refuse.name()
    )]
    pub nan: NotFinite,
}

/// Report everything that is wrong or odd in simulations or a data set, without writing anything
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wellspring check sims && wellspring ingest sims ds
  wellspring check s3://bucket/shear_flow --format csv > findings.csv
  wellspring check sims --exclude 'old/*' --allow time
  wellspring check ds

Ingest refuses unreadable, mixed, unwritten, fill, not-finite and time; it only reports zero, still, outlier,
coordinates, leak, duplicate, left-out and remark. --exclude, --exclude-trajectory, --allow and --nan work as in
`wellspring ingest`; they do not apply to a data set.

Exit codes: 0 nothing would be refused, 1 something would, 2 wrong usage.")]
pub struct Check {
    /// A folder in The Well's layout, an HDF5 file, a data set, or a URL of any of them
    pub path: String,

    #[command(flatten)]
    pub choice: Choice,

    /// How the findings are written. Cells of csv are as they are: programs for spreadsheets take those that
    /// begin with = + - @ for formulas
    #[arg(long, value_parser = one_of(Format::ALL, Format::name), default_value = Format::Table.name())]
    pub format: Format,

    /// Trajectories to read at the same time; by default one per core
    #[arg(long)]
    pub threads: Option<usize>,
}

/// Remove a split from a data set, or delete the files of earlier generations
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wellspring drop ds test
  wellspring drop ds --purge --dry-run       list the files that nothing needs any longer
  wellspring drop ds --purge                 delete them")]
pub struct Drop {
    /// The data set: a folder or a URL
    pub root: String,

    /// The split to remove: train, valid or test
    #[arg(required_unless_present = "purge")]
    pub split: Option<String>,

    /// Delete the files that only earlier generations refer to, and those that killed or overtaken writers left.
    /// Files of work that may still continue are kept
    #[arg(long)]
    pub purge: bool,

    /// With --purge: list the files and their sizes, and delete nothing
    #[arg(long, requires = "purge", conflicts_with = "split")]
    pub dry_run: bool,
}

/// Check every byte of a data set against its manifest
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wellspring verify s3://bucket/ds && echo intact
  wellspring verify ds --repair sims         make damaged files again from the source")]
pub struct Verify {
    /// The data set: a folder or a URL
    pub root: String,

    /// Make damaged files again from the source of the data set
    #[arg(long, value_name = "SOURCE")]
    pub repair: Option<String>,
}
