//! Arguments of `experiment`.

use clap::Args;

/// Train and evaluate several models on several data sets, as one file says
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wellspring experiment reproduce-tiny --plan            what it takes, before anything is done
  wellspring experiment reproduce-tiny                   everything, into ./reproduce-tiny
  wellspring experiment reproduce-tiny --print > my.toml a file to begin with
  wellspring experiment my.toml --out s3://bucket/my
  wellspring experiment my.toml --part 3/8               the fourth of eight machines; or in a Slurm array:
  wellspring experiment my.toml --part $SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT

The file names data sets (simulated, ingested, or there already), models (settings of wellspring train), seeds, a
budget for each patch size of a model, and what is predicted. Every model is trained on every data set with every
seed. What is done is left as it is: the same command goes on after an interruption, and does what was added to the
file. Parts share the runs out; the first also makes the data sets, for which the others wait. The last to end draws
the whole report; the command without --part draws it again.")]
pub struct Experiment {
    /// A TOML file, or one that is shipped: demo, demo-tiny, reproduce-tiny, reproduce-tiny-walls,
    /// reproduce-tiny-3d, reproduce-tiny-baselines, reproduce-25M, reproduce-100M
    pub file: String,

    /// The folder for everything: a path or a URL; by default the file's name
    #[arg(long, value_name = "DIR")]
    pub out: Option<String>,

    /// Do only one of N equal parts of the runs, 0/N to N-1/N
    #[arg(long, value_name = "I/N")]
    pub part: Option<String>,

    /// Change a key of the file: settings.train.device=cuda
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// Say what the runs are and what they take, by a few steps of each, and do nothing else
    #[arg(long, conflicts_with = "print")]
    pub plan: bool,

    /// Print the file
    #[arg(long)]
    pub print: bool,
}
