//! Evaluations, and what is asked of them.

use std::path::PathBuf;

use clap::Args;
use wellspring_eval::{Format, ImageFormat, OnExisting};
use wellspring_train::DeviceChoice;

use super::Remote;
use super::words::one_of;

/// Roll a model out and write its errors and spectra as tables
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wellspring eval runs/ckm ds -r results                           each patch size alone, one after another
  wellspring eval runs/ckm ds -r results --schedule 4,8,16 --rollout 20
  wellspring eval runs/ckm ds -r results --schedule 16x8x8         one p per axis
  wellspring eval runs/ckm ds -r results --schedule random:7
  wellspring eval runs/ckm ds -r results --schedule budget:250     small patches where it is least sure
  wellspring eval runs/ckm ds -r results --bands 0,0.4,0.8,1.6,4.5 errors in bands of one's own
  wellspring eval persistence ds -r results --rollout 20           the baseline to beat

A budget of tokens gains little. On the demo's data (64x64, 16 starts, 12 leads) and the tokens of 8, its mean VRMSE
is 3 % (ckm) and 0.4 % (csm) below that of 8; at the tokens of 4,8,16 it is 2 % and 4 % above that of the cycle,
which is the better choice.

--schedule may be given several times; each is an evaluation of its own. What an interrupted evaluation has
done is found again by the same command. An evaluation that these tables hold already is done again and takes its
own place; one of the same name with other weights, or another rollout, context or starts, is refused: give it
a --name, or say with --existing what becomes of the two.")]
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

    /// Steps between two starts in a trajectory; by default as far as is predicted
    #[arg(long, value_name = "STEPS")]
    pub every: Option<usize>,

    /// Frames that a baseline sees; models know their own
    #[arg(long, default_value_t = 6, value_name = "FRAMES")]
    pub context: usize,

    /// Steps from one of those frames to the next; models know their own (data.stride)
    #[arg(long, default_value_t = 1, value_name = "STEPS")]
    pub stride: usize,

    /// Windows rolled out together
    #[arg(long, default_value_t = 4)]
    pub batch: usize,

    /// Rollouts whose frames are kept for pictures
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub keep: usize,

    /// Edges of the bands of wavenumbers, in radians per cell; by default The Well's three bands
    #[arg(long, value_name = "EDGES", value_delimiter = ',')]
    pub bands: Option<Vec<f32>>,

    /// Measure rollouts as a whole too: histogram distance, dynamic time warping (holds their frames)
    #[arg(long)]
    pub temporal: bool,

    /// What to do when these tables hold an evaluation of this name, data, split and schedule.
    ///
    /// renew: do it again if it is the same one; refuse if weights, rollout, context or starts are others.
    /// replace: take its place, whichever it is. add: come beside it. refuse: end with an error. skip: do
    /// nothing if it is the same one; refuse if it is another
    #[arg(
        long,
        value_parser = one_of(OnExisting::ALL, OnExisting::name),
        default_value = OnExisting::Renew.name()
    )]
    pub existing: OnExisting,

    /// Where the model runs
    #[arg(
        long,
        value_parser = one_of(DeviceChoice::ALL, DeviceChoice::name),
        default_value = DeviceChoice::Cpu.name()
    )]
    pub device: DeviceChoice,
}

/// Ask results and data sets in SQL
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wellspring sql -r results 'SELECT * FROM leaderboard ORDER BY vrmse'
  wellspring sql -r results --format csv 'SELECT lead, avg(vrmse) FROM by_lead GROUP BY lead'
  wellspring sql -r results -f questions.sql --format json
  wellspring sql -r results                                a prompt; \\? says what it knows, \\q leaves it
  wellspring sql --explain-views                           the named views and their SQL
  wellspring sql --data s3://bucket/ds 'SELECT step, avg(band_energy(velocity_x, 1, 2)) FROM frames GROUP BY step'
  wellspring sql --data a=ds1 --data b=ds2 'SELECT avg(field_rms(pressure)) FROM b.frames'
  wellspring sql --cluster host:50050 -r s3://bucket/results 'SELECT * FROM leaderboard'

Frames have the columns split, trajectory, step, time, the parameters of the simulation, and every channel in
its own units. Functions over them: field_mean, field_var, field_rms, band_energy(field, low, high) with
wavenumbers in radians per cell, vrmse(truth, prediction). bootstrap(value, trajectory) is the 95 % interval
of a mean over trajectories: a struct of low and high. Queries read parts of shards, whose checksums are of the
whole, so nothing is compared with them: `wellspring verify` does that.

Exit codes: 0 an answer, 1 a query that failed, 2 a misuse.")]
pub struct Sql {
    /// A query; without one, and without -f, a prompt
    pub query: Option<String>,

    /// The results: a folder or a URL; by default ./results, if data sets are given only where it is there
    #[arg(long, short)]
    pub results: Option<String>,

    /// A data set whose frames are asked, as frames and NAME.frames: a folder or a URL
    #[arg(long, value_name = "[NAME=]ROOT")]
    pub data: Vec<String>,

    #[command(flatten)]
    pub remote: Remote,

    /// Memory that queries may have at a time, such as 2GiB; what sorts, joins and groups need beyond it goes to
    /// temporary files (TMPDIR). By default half of the machine's; with --cluster its executors decide
    #[arg(long, value_name = "SIZE", value_parser = super::size::parse, conflicts_with = "cluster")]
    pub memory: Option<u64>,

    /// A file of queries separated by semicolons; - reads standard input
    #[arg(long, short, value_name = "FILE", conflicts_with = "query")]
    pub file: Option<PathBuf>,

    /// How the answer is written. Cells of csv are as they are: programs for spreadsheets take those that
    /// begin with = + - @ for formulas, so look at names from strangers before you open it in one
    #[arg(long, value_parser = one_of(Format::ALL, Format::name), default_value = Format::Table.name())]
    pub format: Format,

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

    /// The file to write: a path or a URL
    pub out: String,

    /// Heading of the page
    #[arg(long)]
    pub title: Option<String>,
}

/// Write the figures of the results as files, one for each figure and data set
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wellspring figures results figures                                 SVG
  wellspring figures results figures --format svg,png
  wellspring figures results figures --dataset shear_flow --name ckm --name csm
  wellspring figures results figures --field pressure                errors of a field instead of means over all
  wellspring figures results figures --each-field                    and so for every field in turn

Files of the same names are replaced.")]
pub struct Figures {
    /// The results: a folder or a URL
    pub results: String,

    /// The folder to write into, or a URL
    pub out: String,

    /// How each figure is stored: one, or both with a comma between them
    #[arg(
        long,
        value_delimiter = ',',
        value_parser = one_of(ImageFormat::ALL, ImageFormat::extension),
        default_value = ImageFormat::Svg.extension()
    )]
    pub format: Vec<ImageFormat>,

    /// Only this data set, or those of this name; may be given several times
    #[arg(long = "dataset", value_name = "NAME")]
    pub datasets: Vec<String>,

    /// Only what was evaluated under this name; may be given several times
    #[arg(long = "name", value_name = "NAME")]
    pub names: Vec<String>,

    /// Only this field; several of them are averaged
    #[arg(long = "field", value_name = "FIELD")]
    pub fields: Vec<String>,

    /// Every field by itself
    #[arg(long, conflicts_with = "fields")]
    pub each_field: bool,
}

/// Write a rollout as an animated PNG: truth, prediction and error
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wellspring animate results persistence out.png
  wellspring animate results ckm out.png --schedule 4,8,16 --field pressure

It has the leads whose frames the evaluation kept: wellspring eval --keep.")]
pub struct Animate {
    /// The results: a folder or a URL
    pub results: String,

    /// An evaluation: its name in the tables, or the identity in the column run
    pub run: String,

    /// The file to write: a path or a URL
    pub out: String,

    /// Its schedule, where several have the name
    #[arg(long)]
    pub schedule: Option<String>,

    /// Only this field; may be given several times
    #[arg(long = "field", value_name = "FIELD")]
    pub fields: Vec<String>,

    /// By default the first trajectory that was kept
    #[arg(long, value_name = "N")]
    pub trajectory: Option<u32>,

    /// Time that a frame is seen, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 300)]
    pub delay: u16,
}
