//! One file for each verb. Each opens with what it reads, what it writes, and what an
//! interruption leaves behind.

mod bench;
mod demo;
mod drop;
mod eval;
mod ingest;
mod inspect;
mod report;
mod simulate;
mod sql;
mod train;
mod verify;
mod weights;

use anyhow::{Context as _, Result};
use tokio::runtime::{Handle, Runtime};

use crate::args::{Cli, Command};
use crate::progress::Terminal;

/// What every command has: a runtime for input and output, and a place to draw progress.
pub struct Session {
    runtime: Runtime,
    pub reporter: Terminal,
}

impl Session {
    fn new(quiet: bool) -> Result<Self> {
        Ok(Self {
            runtime: Runtime::new().context("cannot start the threads for input and output")?,
            reporter: Terminal::new(quiet),
        })
    }

    pub fn handle(&self) -> &Handle {
        self.runtime.handle()
    }

    /// Waits for asynchronous work on this thread.
    pub fn wait<F: Future>(&self, work: F) -> F::Output {
        self.runtime.block_on(work)
    }
}

/// Runs what was typed.
pub fn run(cli: Cli) -> Result<()> {
    let session = Session::new(cli.quiet)?;
    match cli.command {
        Command::Demo(args) => demo::run(&session, &args),
        Command::Simulate(args) => simulate::run(&session, &args),
        Command::Inspect(args) => inspect::run(&session, &args),
        Command::Ingest(args) => ingest::run(&session, &args),
        Command::Verify(args) => verify::run(&session, &args),
        Command::Drop(args) => drop::run(&session, &args),
        Command::Train(args) => train::run(&session, &args),
        Command::Eval(args) => eval::run(&session, &args),
        Command::Sql(args) => sql::run(&session, &args),
        Command::Report(args) => report::run(&session, &args),
        Command::Export(args) => weights::export(&session, &args),
        Command::Import(args) => weights::import(&session, &args),
        Command::Bench(args) => bench::run(&session, &args),
    }
}

/// Writes an answer to standard output.
pub fn print(bytes: impl AsRef<[u8]>) -> Result<()> {
    use std::io::Write as _;
    let mut output = std::io::stdout().lock();
    output.write_all(bytes.as_ref())?;
    output.flush()?;
    Ok(())
}
