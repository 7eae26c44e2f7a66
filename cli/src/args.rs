//! What was typed: the command line's grammar and its help, and nothing else.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Physics simulations in, answers about surrogate models out.
#[derive(Debug, Parser)]
#[command(
    name = "wellspring",
    version,
    arg_required_else_help = true,
    max_term_width = 100
)]
#[command(after_help = "\
Start here:
  wellspring demo                    the whole way on simulated data, in minutes on a CPU
  wellspring help train              what a command does, with examples

Paths may be folders or URLs: s3://bucket/prefix, gs://, az://, https:// (to read).
Credentials and endpoints come from the environment (AWS_ACCESS_KEY_ID, AWS_ENDPOINT, ...).")]
pub struct Cli {
    /// No progress on the terminal, only results and errors
    #[arg(long, short, global = true)]
    pub quiet: bool,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Demo(Demo),
    Simulate(Simulate),
    Inspect(Inspect),
    Ingest(Ingest),
    Verify(Verify),
    Train(Train),
    Eval(Eval),
    Sql(Sql),
    Report(Report),
    Export(Export),
    Import(Import),
    Bench(Bench),
}

/// Simulate, ingest, train three models, evaluate them and report
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wellspring demo                    a few minutes on two cores; leaves ./demo
  wellspring demo --size tiny        the same steps in seconds, for a first look; models learn little")]
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
    /// Seconds: shows the way, learns little
    Tiny,
    /// Minutes on two cores: the models beat persistence
    Full,
}

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

/// Train a surrogate model
#[derive(Debug, Args)]
#[command(after_help = "\
Every key has a default but data.root, so a configuration file may be short, or absent:
  wellspring train --set data.root=ds --set model.strategy=ckm --out runs/ckm
  wellspring train config.toml --out runs/ckm --set train.steps=2000
  wellspring train --out runs/ckm --resume             go on from the last checkpoint
  wellspring train config.toml --out s3://bucket/runs/ckm --set train.device=cuda
  wellspring train --out runs/both --set 'data.root=[\"ds1\", \"ds2\"]'   one model of several data sets
  wellspring train --out runs/3d --set data.root=ds3 --set 'model.patches=[16, \"16x8x8\"]'

Ctrl-C or SIGTERM writes a checkpoint and stops; --resume goes on as if nothing had happened.
The resolved configuration is left in RUN/config.toml.")]
pub struct Train {
    /// A TOML configuration
    pub config: Option<PathBuf>,

    /// The run to write: a folder or a URL
    #[arg(long, value_name = "RUN")]
    pub out: String,

    /// Override a key, such as optim.lr=3e-4 or model.strategy=csm
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// Go on from the run's last checkpoint
    #[arg(long)]
    pub resume: bool,
}

/// Roll a model out and write its errors and spectra as tables
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wellspring eval runs/ckm ds -r results                           each patch size alone, one after another
  wellspring eval runs/ckm ds -r results --schedule 4,8,16 --rollout 20
  wellspring eval runs/ckm ds -r results --schedule 16x8x8         one p per axis
  wellspring eval runs/ckm ds -r results --schedule random:7
  wellspring eval runs/ckm ds -r results --schedule budget:250     small patches where it is least sure
  wellspring eval persistence ds -r results --rollout 20           the baseline to beat

--schedule may be given several times; each is an evaluation of its own.")]
pub struct Eval {
    /// A trained run, or a baseline: persistence, mean, linear
    pub run: String,

    /// The data set: a folder or a URL
    pub root: String,

    /// Where the tables go: a folder or a URL
    #[arg(long, short, default_value = "results")]
    pub results: String,

    /// Frames to predict from each start
    #[arg(long, default_value_t = 1)]
    pub rollout: usize,

    /// Patch sizes by step: 16 | 4,8,16 | 16x8x8 | list:4,4,16 | random:SEED | budget:TOKENS
    #[arg(long = "schedule", value_name = "SCHEDULE")]
    pub schedules: Vec<String>,

    /// Split to evaluate
    #[arg(long, default_value = "test")]
    pub split: String,

    /// Name in the tables; by default the run's folder name
    #[arg(long)]
    pub name: Option<String>,

    /// Checkpoint by step; by default the last
    #[arg(long)]
    pub step: Option<u64>,

    /// Frames between two starts in a trajectory; by default as many as are predicted
    #[arg(long, value_name = "FRAMES")]
    pub every: Option<usize>,

    /// Starts at the beginning of a baseline's context; models know their own
    #[arg(long, default_value_t = 6, value_name = "FRAMES")]
    pub context: usize,

    /// Windows rolled out together
    #[arg(long, default_value_t = 4)]
    pub batch: usize,

    /// Rollouts whose frames are kept for pictures
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub keep: usize,

    /// Measure rollouts as a whole too: histogram distance, dynamic time warping (holds their frames)
    #[arg(long)]
    pub temporal: bool,

    /// What to do when these tables hold this evaluation already
    #[arg(long, value_enum, default_value_t = ExistingArg::Replace)]
    pub existing: ExistingArg,

    /// cpu or cuda
    #[arg(long, default_value = "cpu")]
    pub device: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ExistingArg {
    Replace,
    Add,
    Refuse,
    Skip,
}

/// Ask the result tables in SQL
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wellspring sql -r results 'SELECT * FROM leaderboard ORDER BY vrmse'
  wellspring sql -r results --format csv 'SELECT lead, avg(vrmse) FROM by_lead GROUP BY lead'
  wellspring sql -r results -f questions.sql --format json
  wellspring sql -r results                                a prompt; \\q leaves it
  wellspring sql --explain-views                           the named views and their SQL")]
pub struct Sql {
    /// A query; without one, and without -f, a prompt
    pub query: Option<String>,

    /// The results: a folder or a URL
    #[arg(long, short, default_value = "results")]
    pub results: String,

    /// A file of queries separated by semicolons; - reads standard input
    #[arg(long, short, value_name = "FILE", conflicts_with = "query")]
    pub file: Option<PathBuf>,

    /// table | csv | json | md | parquet
    #[arg(long, default_value = "table")]
    pub format: String,

    /// Print the SQL of the named views
    #[arg(long)]
    pub explain_views: bool,
}

/// Write one self-contained HTML report of the results
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  wellspring report results report.html")]
pub struct Report {
    /// The results: a folder or a URL
    pub results: String,

    /// The file to write
    pub out: PathBuf,

    /// Heading of the page
    #[arg(long)]
    pub title: Option<String>,
}

/// Write a checkpoint's weights as a PyTorch state dict in safetensors
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  wellspring export runs/ckm ckm.safetensors     then in Python: model.load_state_dict(load_file(...))")]
pub struct Export {
    /// The run: a folder or a URL
    pub run: String,

    /// The file to write
    pub out: PathBuf,

    /// Checkpoint by step; by default the last
    #[arg(long)]
    pub step: Option<u64>,
}

/// Start a run from a PyTorch state dict in safetensors
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  wellspring import ckm.safetensors --out runs/released --set data.root=ds --set model.strategy=ckm")]
pub struct Import {
    /// A safetensors file with the released model's parameter names
    pub weights: PathBuf,

    /// A TOML configuration of the model
    pub config: Option<PathBuf>,

    /// The run to write: a folder or a URL
    #[arg(long, value_name = "RUN")]
    pub out: String,

    /// Override a key of the configuration
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// Measure this machine: loader, training step, metrics
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wellspring bench step --json
  wellspring bench loader")]
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
    Loader,
    Step,
    Metrics,
}
