//! What was typed: the command line's grammar and its help, and nothing else.

mod answers;
mod bench;
mod data;
mod demo;
mod models;

use clap::{Parser, Subcommand};

pub use answers::{Eval, ExistingArg, Report, Sql};
pub use bench::{Bench, BenchSubject};
pub use data::{
    CompressionArg, Drop, DtypeArg, Ingest, Inspect, NormalizationArg, Simulate, Verify,
};
pub use demo::{Demo, DemoSize};
pub use models::{Export, Import, Train};

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
    Drop(Drop),
    Train(Train),
    Eval(Eval),
    Sql(Sql),
    Report(Report),
    Export(Export),
    Import(Import),
    Bench(Bench),
}
