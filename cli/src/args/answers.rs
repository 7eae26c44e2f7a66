//! Arguments of `eval`, and of the commands that show its results: `sql`, `report`, `figures` and `animate`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use wellspring_eval::{Format, ImageFormat, OnExisting};
use wellspring_train::DeviceChoice;

use super::Remote;
use super::models::ModelArgs;
use super::words::one_of;

/// Roll a model out and write its errors and spectra as tables
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wellspring eval runs/ckm ds -r results                           each patch size alone, one after another
  wellspring eval runs/ckm ds -r results --schedule 4,8,16 --rollout 20
  wellspring eval runs/ckm ds -r results --schedule 16x8x8         one p per axis
  wellspring eval runs/ckm ds -r results --schedule random:7
  wellspring eval runs/ckm ds -r results --schedule budget:250     small patches where the model is least sure
  wellspring eval runs/ckm ds -r results --jitter 7                patches at other random places at each step
  wellspring eval runs/ckm ds -r results --rollout 20 --members 8  an ensemble: spread, CRPS, coverage
  wellspring eval runs/ckm ds -r results --step best               the checkpoint with the best validation
  wellspring eval runs/ckm ds -r results --bands 0,0.4,0.8,1.6,4.5 errors in other bands
  wellspring eval persistence ds -r results --rollout 20           the baseline to beat

A budget of tokens gains little. On the demo's data (64x64, 16 starts, 12 leads) and the tokens of 8, its mean VRMSE
is 3 % (ckm) and 0.4 % (csm) below that of 8; at the tokens of 4,8,16 it is 2 % and 4 % above that of the cycle,
which is the better choice.

The errors of an ensemble and how well it tells them, by lead:
  wellspring sql -r results 'SELECT lead, avg(ratio), avg(crps), avg(coverage), avg(expected_coverage)
    FROM ensemble GROUP BY lead ORDER BY lead'

--schedule may be given several times; each is an evaluation of its own. What an interrupted evaluation has
done is found again by the same command. An evaluation that these tables hold already is done again and takes its
own place; one of the same name with other weights, or another rollout, context or starts, is refused: give it
a --name, or say with --existing what becomes of the two.")]
pub struct Eval {
    /// A trained run, or a baseline: persistence, mean, linear
    pub run: String,

    /// The data set: a folder or a URL
    pub root: String,

    /// The results to write to: a folder or a URL
    #[arg(long, short, default_value = "results")]
    pub results: String,

    /// Frames to predict from each start
    #[arg(long, default_value_t = 1)]
    pub rollout: usize,

    /// Patch sizes by step: 16 | 4,8,16 | 16x8x8 | list:4,4,16 | random:SEED | budget:TOKENS
    #[arg(long = "schedule", value_name = "SCHEDULE")]
    pub schedules: Vec<String>,

    /// Roll the grid along its periodic axes before each step, by less than a patch, and what is predicted back: the
    /// seed of the random shifts. The tables show it with the schedule, as in `16 jitter:7`
    #[arg(long, value_name = "SEED")]
    pub jitter: Option<u64>,

    /// Roll out an ensemble of N members from each start, which differ by what is random. Member m has the seed of
    /// --jitter plus m (by default from 0, where an axis is periodic), and with --schedule random:SEED that seed plus m.
    /// Metrics, spectra and pictures are those of the mean; the table ensembles and the view ensemble tell how the members
    /// spread
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(2..))]
    pub members: Option<usize>,

    /// Split to evaluate
    #[arg(long, default_value = "test")]
    pub split: String,

    /// Name in the tables; by default the name of the run's folder
    #[arg(long)]
    pub name: Option<String>,

    #[command(flatten)]
    pub model: ModelArgs,

    /// Steps between two starts in a trajectory; by default the length of a rollout
    #[arg(long, value_name = "STEPS")]
    pub every: Option<usize>,

    /// Frames of context for a baseline; models know their own
    #[arg(long, default_value_t = 6, value_name = "FRAMES")]
    pub context: usize,

    /// Steps from one frame to the next for a baseline; models know their own (data.stride)
    #[arg(long, default_value_t = 1, value_name = "STEPS")]
    pub stride: usize,

    /// Starts that are rolled out together
    #[arg(long, default_value_t = 4)]
    pub batch: usize,

    /// Number of rollouts whose frames are kept for pictures
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub keep: usize,

    /// Edges of the wavenumber bands, in radians per cell; by default those of The Well's three bands
    #[arg(long, value_name = "EDGES", value_delimiter = ',')]
    pub bands: Option<Vec<f32>>,

    /// Also measure whole rollouts: histogram distance and dynamic time warping. Holds their frames in memory
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

/// Query results, trainings and data sets with SQL
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wellspring sql -r results 'SELECT * FROM leaderboard ORDER BY vrmse'
  wellspring sql -r results --format csv 'SELECT lead, avg(vrmse) FROM by_lead GROUP BY lead'
  wellspring sql -r results \"SELECT ratio, low, high, p FROM compare WHERE name = 'a' AND other = 'b' AND horizon = '1'\"
  wellspring sql -r results -f questions.sql --format json
  wellspring sql -r results                                a prompt; \\? lists its commands, \\q quits
  wellspring sql --explain-views                           the named views and their SQL
  wellspring sql --data s3://bucket/ds 'SELECT step, avg(band_energy(velocity_x, 1, 2)) FROM frames GROUP BY step'
  wellspring sql --data ds 'SELECT step, avg(field_rms(divergence(velocity_x, velocity_y))) FROM frames GROUP BY step'
  wellspring sql --data a=ds1 --data b=ds2 'SELECT avg(field_rms(pressure)) FROM b.frames'
  wellspring sql --runs runs \"SELECT config['optim.lr'], min(vrmse) FROM training GROUP BY 1\"
  wellspring sql --runs s3://bucket/runs 'SELECT step, smooth, vrmse FROM curves ORDER BY step'
  wellspring sql --cluster host:50050 -r s3://bucket/results 'SELECT * FROM leaderboard'

The table training has a row for each event of the runs of --runs: run, path, config (a map: config['optim.lr']),
segment, event (start, step, validation, skipped, read, rank, done, stopped, failed), step, time, data, patch, loss, lr,
norm, seconds, waited, lead, vrmse, ... What an event does not have is null. WHERE steps_after < 100 reads only the
segments with the last 100 steps of each run. training_folders has a row for each run; the views training_runs and
curves compare runs and their steps.

The table frames has the columns split, trajectory, step, time, the parameters of the simulation, and every channel
in its own units. Functions of channels: field_mean, field_var, field_rms, field_sum, field_min, field_max,
band_energy(field, low, high) with wavenumbers in radians per cell, vrmse(truth, prediction), and divergence(vx, vy[,
vz]), a field again, of central differences that wrap along periodic axes and are one-sided at walls. bootstrap(value,
trajectory) gives the 95 % interval of a mean over trajectories, as a struct of low and high, and
sign_flip(difference, trajectory) the p value of a mean difference, crossed_bootstrap(difference, trajectory, seed,
other_seed) its interval over trajectories and the seeds of two models. Queries read parts of shards and do not compare
checksums, which cover whole shards: `wellspring verify` does.

Exit codes: 0 success, 1 a query failed, 2 wrong usage.")]
pub struct Sql {
    /// The query; without it and without -f, a prompt opens
    pub query: Option<String>,

    /// The results, or trainings: a folder or a URL. By default ./results, which may be absent if --data or --runs
    /// is given
    #[arg(long, short)]
    pub results: Option<String>,

    /// Trainings: a run, or a folder with runs in it or below it, as a path or a URL; may be given several times.
    /// Their logs are the table training, also while they run
    #[arg(long, value_name = "DIR", conflicts_with = "cluster")]
    pub runs: Vec<String>,

    /// A data set, as a folder or a URL. Its frames are the table NAME.frames; frames is the table of the first one
    #[arg(long, value_name = "[NAME=]ROOT")]
    pub data: Vec<String>,

    #[command(flatten)]
    pub remote: Remote,

    /// Memory for queries, such as 2GiB. Sorts, joins and groups that need more use temporary files (TMPDIR).
    /// By default half of the machine's memory; with --cluster, each executor decides
    #[arg(long, value_name = "SIZE", value_parser = super::size::parse, conflicts_with = "cluster")]
    pub memory: Option<u64>,

    /// A file of queries separated by semicolons; - reads standard input
    #[arg(long, short, value_name = "FILE", conflicts_with = "query")]
    pub file: Option<PathBuf>,

    /// How the answer is written. Cells of csv are as they are: programs for spreadsheets take those that
    /// begin with = + - @ for formulas, so look at names from strangers before you open it in one
    #[arg(long, value_parser = one_of(Format::ALL, Format::name), default_value = Format::Table.name())]
    pub format: Format,

    /// Print the named views and their SQL
    #[arg(long)]
    pub explain_views: bool,
}

impl Sql {
    /// The results, typed or not.
    pub fn results(&self) -> &str {
        self.results.as_deref().unwrap_or("results")
    }
}

/// Write a self-contained HTML report of the results
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wellspring report results report.html
  wellspring report results report.html --runs runs     with the learning curves of the trainings")]
pub struct Report {
    /// The results: a folder or a URL
    pub results: String,

    /// The file to write: a path or a URL
    pub out: String,

    /// Trainings to show too: a run, or a folder with runs in it or below it, as a path or a URL; may be given
    /// several times
    #[arg(long, value_name = "DIR")]
    pub runs: Vec<String>,

    /// Title of the page
    #[arg(long)]
    pub title: Option<String>,
}

/// Write figures of the results, one file for each figure and data set
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wellspring figures results figures                                 SVG
  wellspring figures results figures --format svg,png
  wellspring figures results figures --dataset shear_flow --name ckm --name csm
  wellspring figures results figures --field pressure                errors of one field instead of means over all
  wellspring figures results figures --each-field                    a figure for each field

Existing files with the same names are replaced.")]
pub struct Figures {
    /// The results: a folder or a URL
    pub results: String,

    /// Where to write the files: a folder or a URL
    pub out: String,

    /// How each figure is stored: one, or both with a comma between them
    #[arg(
        long,
        value_delimiter = ',',
        value_parser = one_of(ImageFormat::ALL, ImageFormat::extension),
        default_value = ImageFormat::Svg.extension()
    )]
    pub format: Vec<ImageFormat>,

    /// Only the data sets with this name; may be given several times
    #[arg(long = "dataset", value_name = "NAME")]
    pub datasets: Vec<String>,

    /// Only evaluations with this name; may be given several times
    #[arg(long = "name", value_name = "NAME")]
    pub names: Vec<String>,

    /// Only this field; if it is given several times, the mean over the fields
    #[arg(long = "field", value_name = "FIELD")]
    pub fields: Vec<String>,

    /// Each field in figures of its own
    #[arg(long, conflicts_with = "fields")]
    pub each_field: bool,
}

/// Write a rollout as an animated PNG: truth, prediction and error
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wellspring animate results persistence out.png
  wellspring animate results ckm out.png --schedule 4,8,16 --field pressure

The animation shows the leads whose frames the evaluation kept: wellspring eval --keep.")]
pub struct Animate {
    /// The results: a folder or a URL
    pub results: String,

    /// The evaluation: its name in the tables, or its identity in the column run
    pub run: String,

    /// The file to write: a path or a URL
    pub out: String,

    /// Schedule of the evaluation, if several evaluations have the name
    #[arg(long)]
    pub schedule: Option<String>,

    /// Only this field; may be given several times
    #[arg(long = "field", value_name = "FIELD")]
    pub fields: Vec<String>,

    /// Trajectory to show; by default the first one that was kept
    #[arg(long, value_name = "N")]
    pub trajectory: Option<u32>,

    /// Time to show each frame, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 300)]
    pub delay: u16,
}
