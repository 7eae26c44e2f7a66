//! Arguments of `predict`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use wellspring_ingest::PredictionFormat;
use wellspring_store::Split;
use wellspring_train::DeviceChoice;

use super::models::ModelArgs;
use super::words::one_of;

/// At least one.
fn counted() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

/// Roll a model out and write the predicted frames as The Well's HDF5, or for NumPy
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wellspring predict runs/ckm ds --rollout 20 --to predicted   each test trajectory, from its first frame
  wellspring predict runs/ckm ds --rollout 20 --schedule 4,8,16 --to predicted
  wellspring predict runs/ckm ds --rollout 20 --every 10 --to predicted
  wellspring predict runs/ckm ds --rollout 20 --jitter 7 --to predicted
  wellspring predict runs/ckm ds --rollout 20 --format npz --to arrays      for numpy.load
  wellspring predict runs/ckm ds --rollout 20 --trajectories 0..4 --step best --to predicted
  wellspring predict persistence ds --rollout 20 --context 3 --to still
  wellspring ingest predicted predicted-ds                     then query and plot them like simulations:
  wellspring sql --data true=ds --data pred=predicted-ds 'SELECT p.trajectory, p.step, vrmse(t.u, p.u)
    FROM pred.frames p JOIN true.frames t USING (split, trajectory, time)'

OUT/data/SPLIT has a file for each rollout, named by trajectory and first step. It is a trajectory in The Well's
layout: the true frames of the context, then the predicted ones, in the fields' own units, at the times of the
frames that they stand for. Grid, boundaries, scalars and fields that do not vary in time are the data set's. The
group `prediction` of a file says which weights, schedule, data set, trajectory and start it is; prediction.json
in OUT/data says it of all. `wellspring ingest` numbers the trajectories in the order of the files.

With --format npz a file is an archive of arrays: each field by its name, (frames, *space), of a vector (frames, *space,
components); time; coordinate_NAME of each axis; scalar_NAME; and context, the number of true frames:
  predicted = numpy.load('arrays/data/test/trajectory_00000_start_00000.npz')
  predicted['velocity'][int(predicted['context']):]

The files get their places when all are complete. After an interruption, the same command starts over; where the same
predictions are there already, nothing is done.")]
pub struct Predict {
    /// A trained run, or a baseline: persistence, mean, linear
    pub run: String,

    /// The data set: a folder or a URL
    pub root: String,

    /// Folder to write, with data/SPLIT
    #[arg(long, value_name = "OUT")]
    pub to: PathBuf,

    /// How the rollouts are stored
    #[arg(
        long,
        value_parser = one_of(PredictionFormat::ALL, PredictionFormat::name),
        default_value = PredictionFormat::Hdf5.name()
    )]
    pub format: PredictionFormat,

    /// Frames to predict from each start
    #[arg(long, default_value = "1", value_name = "FRAMES", value_parser = counted())]
    pub rollout: usize,

    /// Patch sizes by step: 16 | 4,8,16 | 16x8x8 | list:4,4,16 | random:SEED | budget:TOKENS; by default those of the
    /// model in turn
    #[arg(long)]
    pub schedule: Option<String>,

    /// Roll the grid along its periodic axes before each step, by less than a patch, and what is predicted back: the
    /// seed of the random shifts
    #[arg(long, value_name = "SEED")]
    pub jitter: Option<u64>,

    /// Split whose trajectories are continued
    #[arg(long, default_value = "test")]
    pub split: Split,

    /// Only these trajectories of the split; B is excluded
    #[arg(long, value_name = "A..B")]
    pub trajectories: Option<String>,

    /// Steps between two starts in a trajectory; by default each has one, its first frame
    #[arg(long, value_name = "STEPS", value_parser = counted())]
    pub every: Option<usize>,

    #[command(flatten)]
    pub model: ModelArgs,

    /// Frames of context for a baseline; models know their own
    #[arg(long, default_value_t = 6, value_name = "FRAMES")]
    pub context: usize,

    /// Steps from one frame to the next for a baseline; models know their own (data.stride)
    #[arg(long, default_value = "1", value_name = "STEPS", value_parser = counted())]
    pub stride: usize,

    /// Starts that are rolled out together
    #[arg(long, default_value = "4", value_parser = counted())]
    pub batch: usize,

    /// Replace the files of earlier predictions
    #[arg(long)]
    pub overwrite: bool,

    /// Where the model runs
    #[arg(
        long,
        value_parser = one_of(DeviceChoice::ALL, DeviceChoice::name),
        default_value = DeviceChoice::Cpu.name()
    )]
    pub device: DeviceChoice,
}
