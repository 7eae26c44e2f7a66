//! The grammar of the command line and its help texts, and nothing else.

mod answers;
mod bench;
mod cluster;
mod data;
mod demo;
mod experiment;
mod models;
mod predict;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod python;
mod size;
mod words;

use std::time::Duration;

use clap::{ArgAction, Parser, Subcommand};

pub use answers::{Animate, Eval, Figures, Report, Sql};
pub use bench::{Bench, BenchSubject};
pub use cluster::{Cluster, Remote};
#[cfg(feature = "cluster")]
pub use cluster::{ClusterRole, Executor, Scheduler, Server};
pub use data::{Check, Choice, Drop, Ingest, Inspect, Simulate, Verify};
pub use demo::{Demo, DemoSize};
pub use experiment::Experiment;
pub use models::{Export, Import, Keys, Plan, Runs, Train};
pub use predict::Predict;

/// Train surrogate models on physics simulations and evaluate them.
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

Paths may be folders or URLs: s3://bucket/prefix, gs:// and az://. https:// and data sets of the Hugging
Face hub, hf://datasets/OWNER/NAME[@REVISION]/PATH, can only be read. The text after a bucket is the key
exactly as typed; in https:// and file:// URLs, %20 is a space.
Credentials and endpoints come from the environment (AWS_ACCESS_KEY_ID, AWS_PROFILE, AWS_ENDPOINT,
HF_TOKEN, ...) or from --storage-option; the names are object_store's, such as
  aws_endpoint=http://localhost:9000   another server; http:// means without TLS
  aws_profile=NAME                     a profile of ~/.aws, used if no keys are set; SSO works too
  aws_skip_signature=true              a public bucket, without credentials
  aws_request_payer=true               a bucket whose readers pay
  hf_token=TOKEN                       a gated data set of the hub")]
pub struct Cli {
    /// Show no progress, only results and errors
    #[arg(long, short, global = true)]
    pub quiet: bool,

    /// Write progress, notes and errors to standard error as lines of JSON, for a program that shows them itself
    #[arg(long, global = true, conflicts_with = "quiet")]
    pub progress_json: bool,

    /// Says what takes how long: -v shards, checkpoints and statistics, -vv also requests, batches and steps, -vvv
    /// also what the libraries below say
    #[arg(long, short, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,

    /// A setting of the places that are named, such as aws_endpoint=http://localhost:9000; wins
    /// over the environment. Each place takes what it knows
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub storage_option: Vec<String>,

    /// How long to retry requests to a bucket or web server that does not answer
    #[arg(long, global = true, value_name = "DURATION", default_value = "10m", value_parser = humantime::parse_duration)]
    pub retry_for: Duration,

    /// Read local shards instead of mapping them into memory. This is slower and counts towards
    /// data.memory_mib, but a file that is truncated meanwhile gives an error instead of a crash
    #[arg(long, global = true)]
    pub no_mmap: bool,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Demo(Demo),
    Experiment(Experiment),
    Simulate(Simulate),
    Inspect(Inspect),
    Check(Check),
    Ingest(Ingest),
    Verify(Verify),
    Keys(Keys),
    Plan(Plan),
    Drop(Drop),
    Train(Train),
    Runs(Runs),
    Eval(Eval),
    Predict(Predict),
    Sql(Sql),
    Cluster(Cluster),
    Report(Report),
    Figures(Figures),
    Animate(Animate),
    Export(Export),
    Import(Import),
    Bench(Bench),
}
