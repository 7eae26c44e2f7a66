//! `wellspring experiment`: reads an experiment's file, and writes data sets, runs, results and a report to one folder.
//! What is done is left as it is, so an interruption costs little, and the same command goes on.
//!
//! ```text
//! OUT/experiment.toml          what was asked for
//! OUT/simulations/DATA         HDF5 of what is simulated
//! OUT/data/DATA                data sets
//! OUT/runs/DATA/MODEL          trainings, MODEL-seedN where there are several seeds
//! OUT/results                  tables of all evaluations
//! OUT/report.html
//! ```

mod data;
mod file;
mod plan;
mod source;
mod training;

use std::time::Instant;

use anyhow::{Context as _, Result};
use wellspring_eval::{Baseline, EvalOptions, Format, OnExisting, ReportOptions, Results};
use wellspring_ingest::Part;
use wellspring_store::{Dataset, Location, Share};
use wellspring_train::ModelChoice;

use super::{Session, eval, print, report};
use crate::args;
use crate::failure::misuse;
use crate::progress::line;
use file::Experiment;
use training::TrainingRun;

/// The file that says what a folder is the place of.
const MARK: &str = "experiment.toml";

pub fn run(session: &Session, args: &args::Experiment) -> Result<()> {
    let source = source::read(&args.file)?;
    if args.print {
        return print(source.text);
    }
    let experiment = source.resolve(&args.set)?;
    let part = match args.part.as_deref().map(str::parse::<Part>) {
        None => Part::WHOLE,
        Some(Ok(part)) => part,
        Some(Err(error)) => misuse!("--part: {error}"),
    };
    let out = args.out.clone().unwrap_or(source.name);
    let work = Work::new(session, experiment, out, part.share())?;
    match args.plan {
        true => plan::run(&work),
        false => work.perform(),
    }
}

/// An experiment and the folder it goes to.
struct Work<'a> {
    session: &'a Session,
    experiment: Experiment,
    /// The folder as it was typed.
    out: String,
    place: Location,
    /// The part of the runs that this process does.
    share: Share,
}

impl<'a> Work<'a> {
    fn new(
        session: &'a Session,
        experiment: Experiment,
        out: String,
        share: Share,
    ) -> Result<Self> {
        let out = out.trim_end_matches('/').to_owned();
        let place = session.locate(&out)?;
        Ok(Self {
            session,
            experiment,
            out,
            place,
            share,
        })
    }

    fn perform(&self) -> Result<()> {
        let began = Instant::now();
        self.begin()?;
        for (name, section) in &self.experiment.data {
            data::there(self, name, section)?;
        }
        if self.share.rank == 0 {
            self.baselines()?;
        }
        let runs = self.experiment.runs().into_iter().enumerate();
        for (_, run) in runs.filter(|(place, _)| self.share.has(*place)) {
            self.train(&run)?;
            self.evaluate(&run)?;
        }
        self.by_the_first(|| self.end(began))
    }

    /// A place below the folder, as text and as it is reached.
    fn at(&self, below: &str) -> Result<(String, Location)> {
        let text = format!("{}/{below}", self.out);
        let place = self.session.locate(&text)?;
        Ok((text, place))
    }

    /// Makes the folder the experiment's, if it is empty or the experiment's already.
    fn begin(&self) -> Result<()> {
        let mark = self.place.join(MARK);
        self.by_the_first(|| {
            let is_marked = || anyhow::Ok(self.session.wait(mark.get_opt())?.is_some());
            if is_marked()? {
                return Ok(());
            }
            // What is there may be another part's that has begun meanwhile: it makes its mark first.
            if !self.session.wait(self.place.list())?.is_empty() && !is_marked()? {
                misuse!(
                    "{} holds something else; give --out another folder",
                    self.out
                );
            }
            let text = toml::to_string(&self.experiment)?;
            self.session.wait(mark.put(text))?;
            Ok(())
        })
    }

    /// Writes down what the folder holds, and shows it.
    fn end(&self, began: Instant) -> Result<()> {
        let text = toml::to_string(&self.experiment)?;
        self.session.wait(self.place.join(MARK).put(text))?;
        self.report()?;
        self.answers()?;
        self.farewell(began)
    }

    /// Work that one of several ranks does while the others wait.
    fn by_the_first(&self, work: impl FnOnce() -> Result<()>) -> Result<()> {
        if self.session.collective.is_first() {
            work()?;
        }
        Ok(self.session.collective.barrier()?)
    }

    /// Does a part of the work and says what it took.
    fn stage<T>(&self, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let began = Instant::now();
        let made = work().with_context(|| format!("the experiment stopped: {name}"))?;
        line(&format!(
            "{name:<52} {:>6.1} s",
            began.elapsed().as_secs_f64()
        ));
        Ok(made)
    }

    fn train(&self, run: &TrainingRun) -> Result<()> {
        let config = self.experiment.config(run, &self.root(&run.data)?)?;
        let (_, place) = self.at(&format!("runs/{}", run.folder()))?;
        self.stage(&format!("trained {}", run.folder()), || {
            training::to_its_end(self.session, &config, &place).map(drop)
        })
    }

    /// Where a data set lies, as text.
    fn root(&self, data: &str) -> Result<String> {
        match self.experiment.data.get(data) {
            Some(file::DataSection::Root(root)) => Ok(root.clone()),
            _ => Ok(self.at(&format!("data/{data}"))?.0),
        }
    }

    fn evaluator(&self, data: &str) -> Result<eval::Evaluator> {
        let root = self.session.locate(&self.root(data)?)?;
        let section = &self.experiment.evaluation;
        Ok(eval::Evaluator {
            dataset: self.session.wait(Dataset::open(&root))?,
            results: self.at("results")?.1,
            options: EvalOptions {
                rollout: section.rollout,
                split: section.split()?,
                every: section.every,
                batch: section.batch,
                keep: section.keep,
                existing: OnExisting::Skip,
                ..EvalOptions::default()
            },
        })
    }

    /// Baselines see what the models see.
    fn baselines(&self) -> Result<()> {
        let Some(first) = self.experiment.runs().into_iter().next() else {
            return Ok(());
        };
        let seen = self.experiment.config(&first, "")?.data;
        for data in self.experiment.data.keys() {
            let evaluator = self.evaluator(data)?;
            let ndim = evaluator.dataset.schema().grid.ndim();
            for name in &self.experiment.evaluation.baselines {
                if let Some(baseline) = Baseline::named(name) {
                    let subject = baseline.with_context(seen.context, ndim).every(seen.stride);
                    self.stage(&format!("evaluated {name} on {data}"), || {
                        evaluator.baseline(self.session, &subject, name)
                    })?;
                }
            }
        }
        Ok(())
    }

    fn evaluate(&self, run: &TrainingRun) -> Result<()> {
        let config = self.experiment.config(run, "")?;
        let schedules = self.experiment.schedules(&config);
        let (place, _) = self.at(&format!("runs/{}", run.folder()))?;
        let choice = ModelChoice::from(self.experiment.evaluation.checkpoint()?);
        let about = format!("rolled {} out by {}", run.folder(), schedules.join(" and "));
        self.stage(&about, || {
            let (_, predictor) = eval::load(self.session, &place, choice, config.train.device)?;
            let evaluator = self.evaluator(&run.data)?;
            evaluator.model(self.session, &predictor, &run.name(), &schedules)
        })?;
        Ok(())
    }

    fn report(&self) -> Result<()> {
        let options = ReportOptions {
            title: self.experiment.title.clone(),
        };
        let (_, all) = self.at("runs")?;
        let found = self.session.wait(all.list())?;
        let is_run = |folder: &Location| {
            let mut below = found.iter().filter_map(|place| place.below(folder));
            below.any(|name| name.ends_with("/config.toml"))
        };
        let folders = self.experiment.data.keys().map(|data| all.join(data));
        let runs: Vec<Location> = folders.filter(is_run).collect();
        self.stage("drew the report", || {
            let ((_, results), (_, out)) = (self.at("results")?, self.at("report.html")?);
            report::write(self.session, &results, &runs, &out, &options)
        })
    }

    /// Prints the leaderboard, and what of the paper's claims holds.
    fn answers(&self) -> Result<()> {
        let (_, results) = self.at("results")?;
        let reporter = &self.session.reporter;
        let results = self.session.wait(Results::open(&results, reporter))?;
        for query in [LEADERBOARD, CLAIMS] {
            let answer = self.session.wait(results.sql(query))?;
            if answer.iter().any(|rows| rows.num_rows() > 0) {
                print(format!("\n{query}\n\n"))?;
                print(Format::Table.write(&answer)?)?;
            }
        }
        Ok(())
    }

    fn farewell(&self, began: Instant) -> Result<()> {
        let out = &self.out;
        let mut text = format!(
            "\nreport: {out}/report.html   ({:.0} s in all)\n",
            began.elapsed().as_secs_f64()
        );
        if self.share.world > 1 {
            text += "It shows what all parts have done so far; the command without --part draws it again.\n";
        }
        if let Some(run) = self.experiment.runs().first() {
            let config = self.experiment.config(run, "")?;
            let (folder, root) = (run.folder(), self.root(&run.data)?);
            text += &format!(
                "\nTry next:\n  \
                 wellspring sql -r {out}/results 'SELECT * FROM table1'\n  \
                 wellspring eval {out}/runs/{folder} {root} -r {out}/results --schedule random:1 --rollout {}\n  \
                 wellspring train {out}/runs/{folder}/config.toml --out {out}/runs/{folder}-longer --set train.steps={}\n",
                self.experiment.evaluation.rollout,
                config.train.steps * 2,
            );
        }
        print(text)
    }
}

const LEADERBOARD: &str = "SELECT dataset, name, schedule, tokens, vrmse, of_persistence, last_lead, vrmse_last, seconds_per_frame
FROM leaderboard ORDER BY dataset, vrmse";

const CLAIMS: &str =
    "SELECT sentence, verdict, ratio, low, high, low_over_seeds, high_over_seeds, seeds FROM claims
ORDER BY dataset, split, claim, strategy, schedule, other_strategy, other_schedule";
