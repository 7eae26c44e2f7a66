//! The commands, one file for each. Its docs say what the command reads, what it writes, and what an
//! interruption leaves behind.

mod animate;
mod bench;
mod check;
mod cluster;
mod demo;
mod drop;
mod eval;
mod experiment;
mod figures;
mod ingest;
mod inspect;
mod plan;
mod predict;
mod report;
mod runs;
mod simulate;
mod sql;
mod train;
mod verify;
mod weights;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::runtime::{Builder, Handle, Runtime};
use wellspring_store::{CacheOptions, Dataset, Location};
use wellspring_train::{Collective, Config, SingleProcess};

use crate::args::{Cli, Command};
use crate::failure::{self, Interruption, misuse};
use crate::plain;
pub use crate::plain::{print, print_data, print_exactly};
use crate::progress::Terminal;

/// Longer than the first rank takes to tell of an error and to end the job, on a busy machine too.
const FIRST_TELLS: Duration = Duration::from_secs(10);

/// What every command has: a runtime for input and output, and a place to draw progress.
pub struct Session {
    runtime: Runtime,
    pub reporter: Arc<Terminal>,
    /// Whether local shards are mapped.
    map: bool,
    /// Settings of buckets that were typed.
    storage: Vec<(String, String)>,
    /// The processes that a launcher has started to do this together.
    pub collective: Arc<dyn Collective>,
}

impl Session {
    fn new(cli: &Cli, reporter: Arc<Terminal>, collective: Arc<dyn Collective>) -> Result<Self> {
        let retry_for = humantime::format_duration(cli.retry_for).to_string();
        let mut settings = vec![("retry_for".to_owned(), retry_for)];
        for text in &cli.storage_option {
            let Some((key, value)) = text.split_once('=') else {
                misuse!("--storage-option takes KEY=VALUE, such as aws_region=eu-west-1");
            };
            settings.push((key.trim().to_owned(), value.to_owned()));
        }
        wellspring_store::report_outages(reporter.clone());
        Ok(Self {
            runtime: runtime(&mut Builder::new_multi_thread())?,
            reporter,
            map: !cli.no_mmap,
            storage: settings,
            collective,
        })
    }

    /// The settings of buckets that were given.
    #[cfg(feature = "cluster")]
    pub fn storage(&self) -> &[(String, String)] {
        &self.storage
    }

    /// A folder or a URL, with the settings of buckets that were typed.
    pub fn locate(&self, text: &str) -> wellspring_store::Result<Location> {
        Location::parse_with(text, &self.storage)
    }

    /// A data set, or one that is promised.
    pub fn open(&self, text: &str, cache: CacheOptions) -> Result<Dataset> {
        let (root, locate) = (self.locate(text)?, |text: &str| self.locate(text));
        let cache = CacheOptions {
            map: self.map,
            ..cache
        };
        let dataset = wellspring_ingest::open(&root, cache, locate, &self.reporter);
        Ok(self.wait(dataset)?)
    }

    pub fn handle(&self) -> &Handle {
        self.runtime.handle()
    }

    /// Waits for asynchronous work on this thread.
    pub fn wait<F: Future>(&self, work: F) -> F::Output {
        self.runtime.block_on(work)
    }
}

/// The threads for input and output: as many as a builder's settings ask for.
fn runtime(builder: &mut Builder) -> Result<Runtime> {
    wellspring_store::start_runtime(builder, None).context(
        "cannot start the threads for input and output; allow more memory or processes (ulimit -v, ulimit -u)",
    )
}

/// Runs what was typed. Of several ranks the first speaks, and an error of one ends all.
pub fn run(cli: Cli, terminal: Arc<Terminal>) -> Result<()> {
    let collective = match &cli.command {
        Command::Train(_)
        | Command::Eval(_)
        | Command::Ingest(_)
        | Command::Experiment(_)
        | Command::Bench(_) => wellspring_train::join()?,
        _ => Arc::new(SingleProcess),
    };
    plain::silence(!collective.is_first());
    let session = Session::new(&cli, terminal, Arc::clone(&collective))?;
    let done = dispatch(&session, cli.command);
    if let Err(error) = &done
        && !collective.is_alone()
        && !error.is::<Interruption>()
    {
        // What all have found the first tells, and by ending the job ends this sleep.
        if failure::is_of_all_ranks(error) && !collective.is_first() {
            std::thread::sleep(FIRST_TELLS);
        }
        failure::report_of_rank(error, collective.share().rank);
        collective.abort(1);
    }
    done
}

fn dispatch(session: &Session, command: Command) -> Result<()> {
    match command {
        Command::Demo(args) => demo::run(session, &args),
        Command::Experiment(args) => experiment::run(session, &args),
        Command::Simulate(args) => simulate::run(session, &args),
        Command::Inspect(args) => inspect::run(session, &args),
        Command::Check(args) => check::run(session, &args),
        Command::Ingest(args) => ingest::run(session, &args),
        Command::Verify(args) => verify::run(session, &args),
        Command::Keys(_) => print(Config::annotated()?),
        Command::Plan(args) => plan::run(session, &args),
        Command::Drop(args) => drop::run(session, &args),
        Command::Train(args) => train::run(session, &args),
        Command::Runs(args) => runs::run(session, &args),
        Command::Eval(args) => eval::run(session, &args),
        Command::Predict(args) => predict::run(session, &args),
        Command::Sql(args) => sql::run(session, &args),
        Command::Cluster(args) => cluster::run(session, &args),
        Command::Report(args) => report::run(session, &args),
        Command::Figures(args) => figures::run(session, &args),
        Command::Animate(args) => animate::run(session, &args),
        Command::Export(args) => weights::export(session, &args),
        Command::Import(args) => weights::import(session, &args),
        Command::Bench(args) => bench::run(session, &args),
    }
}

/// Refuses a place for HDF5 that is not a folder of this machine.
fn must_be_local(session: &Session, text: &str) -> Result<()> {
    match session.locate(text)?.local_path() {
        Some(_) => Ok(()),
        None => misuse!(
            "{text}: HDF5 can only be written to a folder; write it there, and copy it to a bucket then"
        ),
    }
}

/// A place as it was typed, but for passwords in URLs.
pub fn typed_as(text: &str, place: &Location) -> String {
    match place.local_path() {
        Some(_) => text.to_owned(),
        None => place.to_string(),
    }
}
