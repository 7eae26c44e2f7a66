//! Arguments of the commands for runs and their weights: `train`, `plan`, `export` and `import`.

use std::path::PathBuf;

use clap::Args;
use wellspring_train::{CheckpointChoice, ModelChoice, WeightChoice};

/// Train a surrogate model
#[derive(Debug, Args)]
#[command(after_help = "\
Every key except data.root has a default, so a configuration file may be short or absent:
  wellspring train --set data.root=ds --set model.strategy=ckm --out runs/ckm
  wellspring train config.toml --out runs/ckm --set train.steps=2000
  wellspring train --set preset=paper-25M --set data.root=ds --out runs/25M   the paper's recipe, key by key yours
  wellspring train --out runs/ckm --resume             continue from the newest sound checkpoint
  wellspring train --out runs/ckm --resume --set train.steps=4000 --set optim.horizon=4000
  wellspring train --out runs/ckm --resume --from 500 --set optim.lr=3e-4   go back to an earlier checkpoint
  wellspring train config.toml --out s3://bucket/runs/ckm --set train.device=cuda
  wellspring train --set preset=paper-100M --set data.root=ds --out runs/100M --estimate --memory 80
  wellspring train --out runs/both --set 'data.root=[\"ds1\", \"ds2\"]'   one model for several data sets
  wellspring train --out runs/3d --set data.root=ds3 --set 'model.patches=[16, \"16x8x8\"]'
  wellspring train --out runs/unet --set data.root=ds --set model.architecture=unet   or cnextunet, fno, tfno

Ctrl-C, SIGTERM or SIGHUP writes a checkpoint and stops, with exit code 130, 0 or 129; --resume continues with
the same result as without the interruption. Only one process at a time can write a run. --from STEP deletes the
checkpoints after that step, and what the log has of later steps does not count any longer.
The resolved configuration is written to RUN/config.toml; with --resume, --set changes it. The learning
rate's schedule ends at optim.horizon, by default the train.steps of the first start: more steps alone do not
change it. optim.clip=1.0 limits the gradient's norm. train.hours=12 ends the run by the clock instead.

Every validation.every steps, and at the end, the model predicts windows of the data set's split `valid`. The
checkpoint with the best mean VRMSE is kept (wellspring eval RUN DS --step best), and validation.patience=5 ends the
run after five validations in a row without a better one.

If no whole number of patches covers an axis, the grid
is padded: periodically along a periodic axis, else with its edge.")]
pub struct Train {
    /// A TOML configuration
    pub config: Option<PathBuf>,

    /// The run to write: a folder or a URL
    #[arg(long, value_name = "RUN")]
    pub out: String,

    /// Override a key of the configuration, such as optim.lr=3e-4 or model.strategy=csm; with --resume, of the
    /// run's own configuration
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// Continue from the run's newest sound checkpoint
    #[arg(long)]
    pub resume: bool,

    /// Only say what the run would take: weights, memory of a step at each patch size, the largest batch
    #[arg(long)]
    pub estimate: bool,

    /// With --estimate: memory of the machine in GiB; by default what is free
    #[arg(long, value_name = "GIB", requires = "estimate")]
    pub memory: Option<f64>,
    /// With --estimate: how many processes train it together, which share the optimizer's state and the batch
    #[arg(long, value_name = "N", requires = "estimate", default_value = "1",
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub ranks: usize,

    /// With --resume: go back to the checkpoint of this step; later ones are deleted
    #[arg(long, value_name = "STEP", requires = "resume")]
    pub from: Option<u64>,
}

/// Print every key of a training's configuration with its default and its meaning
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wellspring keys                    all of them
  wellspring keys > config.toml      a file to begin with; without changes it is a run with all defaults")]
pub struct Keys;

/// List and compare the trainings in a folder or below it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wellspring runs runs
  wellspring runs s3://bucket/sweep --json             with the configuration of each run
  wellspring sql --runs runs 'SELECT * FROM training_runs ORDER BY best'   the same table, for queries

loss, steps/s and wait % are means over the last 100 steps; best is the least one-step VRMSE of a validation,
mean over data sets and patch sizes. A run may be training meanwhile: its log is at most some minutes behind.

States:
  running   a process trains it: it holds the file lock; in a bucket, its log was written in the last 15 minutes
  stopped   it was asked to stop, and goes on with train --resume
  done      it has taken all of its steps
  failed    an error has ended it; the column why says which
  new       nothing was trained yet, only imported
  dead      none of these: its process was killed, and train --resume goes on from its last checkpoint")]
pub struct Runs {
    /// A folder or a URL: runs lie in it or in folders below
    pub root: String,

    /// Print all that is known of each run as JSON
    #[arg(long)]
    pub json: bool,
}

/// Predict what a run will read and what that costs: windows, bytes, requests, memory, rate
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wellspring plan config.toml
  wellspring plan --set data.root=s3://bucket/ds --set data.lanes=16 --set train.epochs=3
  wellspring plan config.toml --dry --json             from the manifests alone, without timing reads

data.lanes is the number of shards whose windows are mixed: each shard is then fetched once an epoch.
`wellspring train` ends with a comparison of the plan and the real costs.")]
pub struct Plan {
    /// A TOML configuration
    pub config: Option<PathBuf>,

    /// Override a key of the configuration, such as data.root=ds
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// Do not measure how fast the shards can be read
    #[arg(long)]
    pub dry: bool,

    /// Print the plan as JSON
    #[arg(long)]
    pub json: bool,
}

/// Which model of a run
#[derive(Debug, Clone, Copy, Args)]
pub struct ModelArgs {
    /// The checkpoint: a step, "best" by validation, or "newest", the newest sound one
    #[arg(long, default_value = "newest")]
    pub step: CheckpointChoice,

    /// The weights: "average", their moving average where the run has one (optim.ema), or "trained"
    #[arg(long, default_value = "average")]
    pub weights: WeightChoice,
}

impl ModelArgs {
    /// The choice that was typed.
    pub fn choice(self) -> ModelChoice {
        ModelChoice {
            checkpoint: self.step,
            weights: self.weights,
        }
    }
}

/// Write a checkpoint's weights as a PyTorch state dict in safetensors
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  wellspring export runs/ckm ckm.safetensors     then in Python: model.load_state_dict(load_file(...))")]
pub struct Export {
    /// The run: a folder or a URL
    pub run: String,

    /// The file to write: a path or a URL
    pub out: String,

    #[command(flatten)]
    pub model: ModelArgs,
}

/// Start a run from a PyTorch state dict in safetensors
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  wellspring import ckm.safetensors --out runs/released --set data.root=ds --set model.strategy=ckm
  wellspring import runs/ckm --out runs/tuned --set data.root=ds2     then: wellspring train --out runs/tuned --resume

From a run, channels and inputs are matched by name: those that the run has keep their weights, others begin
afresh, and both are told. Its configuration is taken over, but for the schedule's horizon.")]
pub struct Import {
    /// A safetensors file with the released model's parameter names, or a run
    pub weights: String,

    /// A TOML configuration of the model; by default that of the run
    pub config: Option<PathBuf>,

    /// Checkpoint of a run: a step, "best" by validation, or "newest", the newest sound one
    #[arg(long, default_value = "newest")]
    pub step: CheckpointChoice,

    /// The run to write: a folder or a URL
    #[arg(long, value_name = "RUN")]
    pub out: String,

    /// Override a key of the configuration
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}
