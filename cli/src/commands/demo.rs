//! `wellspring demo`: all steps on simulated data. It writes everything to one folder, which must be empty or
//! from an earlier demo. An interruption leaves the files made so far, and the next demo starts over.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};
use wellspring_eval::{Baseline, EvalOptions, Format, OnExisting, ReportOptions, Results};
use wellspring_ingest::{Equation, IngestOptions, SimulateOptions};
use wellspring_store::{Dataset, Location};
use wellspring_train::{
    Config, DeviceChoice, ModelChoice, ModelConfig, Predictor, Start, Strategy,
};

use super::{Session, eval, print, report, train};
use crate::args::{self, DemoSize};
use crate::failure::misuse;
use crate::interrupt;
use crate::progress::line;

/// The demo's folder is known by this file.
const MARK: &str = "wellspring-demo";

pub fn run(session: &Session, args: &args::Demo) -> Result<()> {
    let began = Instant::now();
    let demo = Demo {
        session,
        folder: args.out.clone(),
        extent: DemoExtent::of(args.size),
        seed: args.seed,
    };
    demo.clear()?;
    demo.simulate()?;
    demo.ingest()?;
    for model in MODELS {
        demo.train(model)?;
    }
    demo.evaluate()?;
    let report = demo.report()?;
    demo.leaderboard()?;
    demo.farewell(&report, began)
}

/// A model of the demo. An elastic one takes as many steps as all fixed ones together, at the same patch sizes and so
/// at the same cost, as the paper compares them (section 4).
#[derive(Clone, Copy)]
struct DemoModel {
    name: &'static str,
    strategy: Strategy,
    patches: &'static [usize],
    /// What it is evaluated with.
    schedules: &'static [&'static str],
}

const MODELS: [DemoModel; 5] = [
    DemoModel::elastic("ckm", Strategy::Ckm),
    DemoModel::elastic("csm", Strategy::Csm),
    DemoModel::fixed("fixed4", &[4], &["4"]),
    DemoModel::fixed("fixed8", &[8], &["8"]),
    DemoModel::fixed("fixed16", &[16], &["16"]),
];

impl DemoModel {
    const fn elastic(name: &'static str, strategy: Strategy) -> Self {
        Self {
            name,
            strategy,
            patches: &[4, 8, 16],
            schedules: &["4", "8", "16", "4,8,16"],
        }
    }

    const fn fixed(
        name: &'static str,
        patches: &'static [usize],
        schedules: &'static [&'static str],
    ) -> Self {
        Self {
            name,
            strategy: Strategy::Fixed,
            patches,
            schedules,
        }
    }
}

/// What a size of the demo stands for.
struct DemoExtent {
    shape: Vec<usize>,
    frames: usize,
    trajectories: [usize; 3],
    dim: usize,
    heads: usize,
    blocks: usize,
    context: usize,
    /// Steps for each patch size that a model is trained with.
    steps: u64,
    batch: usize,
    rollout: usize,
}

impl DemoExtent {
    fn of(size: DemoSize) -> Self {
        match size {
            DemoSize::Tiny => Self {
                shape: vec![32, 32],
                frames: 12,
                trajectories: [2, 1, 1],
                dim: 32,
                heads: 2,
                blocks: 1,
                context: 3,
                steps: 2,
                batch: 1,
                rollout: 4,
            },
            DemoSize::Full => Self {
                shape: vec![64, 64],
                frames: 31,
                trajectories: [48, 2, 4],
                dim: 96,
                heads: 3,
                blocks: 3,
                context: 4,
                steps: 650,
                batch: 2,
                rollout: 12,
            },
        }
    }
}

struct Demo<'a> {
    session: &'a Session,
    folder: PathBuf,
    extent: DemoExtent,
    seed: u64,
}

impl Demo<'_> {
    fn at(&self, below: &str) -> PathBuf {
        self.folder.join(below)
    }

    fn location(&self, below: &str) -> Result<Location> {
        Ok(Location::parse(&self.at(below).to_string_lossy())?)
    }

    /// Empties the folder if an earlier demo made it.
    fn clear(&self) -> Result<()> {
        let shown = self.folder.display();
        let used =
            std::fs::read_dir(&self.folder).is_ok_and(|mut entries| entries.next().is_some());
        if used && !self.at(MARK).exists() {
            misuse!("{shown} holds something else; give --out another folder");
        }
        for name in ["simulations", "dataset", "runs", "results"] {
            let path = self.at(name);
            if path.exists() {
                std::fs::remove_dir_all(&path)
                    .with_context(|| format!("cannot empty {}", path.display()))?;
            }
        }
        std::fs::create_dir_all(&self.folder)
            .and_then(|()| {
                std::fs::write(
                    self.at(MARK),
                    "made by wellspring demo; the next demo empties it\n",
                )
            })
            .with_context(|| format!("cannot write into {shown}"))
    }

    fn stage<T>(&self, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let began = Instant::now();
        let made = work().with_context(|| format!("the demo stopped: {name}"))?;
        line(&format!(
            "{name:<44} {:>6.1} s",
            began.elapsed().as_secs_f64()
        ));
        Ok(made)
    }

    fn simulate(&self) -> Result<()> {
        let equation = Equation::ShearFlow;
        let [train, valid, test] = self.extent.trajectories;
        let options = SimulateOptions {
            shape: self.extent.shape.clone(),
            frames: self.extent.frames,
            train,
            valid,
            test,
            seed: self.seed,
            overwrite: false,
        };
        self.stage(
            &format!("simulated {} shear flows", train + valid + test),
            || {
                wellspring_ingest::simulate(
                    equation,
                    &self.at("simulations"),
                    &options,
                    &self.session.reporter,
                )?;
                Ok(())
            },
        )
    }

    fn ingest(&self) -> Result<()> {
        let (source, root) = (self.location("simulations")?, self.location("dataset")?);
        let options = IngestOptions::default();
        self.stage("ingested them into Arrow shards", || {
            let work = wellspring_ingest::ingest(&source, &root, &options, &self.session.reporter);
            self.session.wait(work)?;
            Ok(())
        })
    }

    fn train(&self, model: DemoModel) -> Result<()> {
        let extent = &self.extent;
        let mut config = Config::default();
        config.data.root = self.at("dataset").to_string_lossy().into_owned().into();
        config.data.context = extent.context;
        config.model = ModelConfig {
            strategy: model.strategy,
            patches: model.patches.iter().map(|&size| size.into()).collect(),
            dim: extent.dim,
            heads: extent.heads,
            blocks: extent.blocks,
            groups: 4,
            ..ModelConfig::default()
        };
        config.optim.warmup = 50;
        config.train.steps = self.steps(model);
        config.train.batch = extent.batch;
        config.train.seed = self.seed;
        config.validation.every = (config.train.steps / 10).max(1);
        config.validation.rollout_every = config.train.steps;
        config.validation.rollout = extent.rollout;
        config.validation.windows = 16;
        let run = self.location(&format!("runs/{}", model.name))?;
        let about = format!("trained {} in {} steps", model.name, config.train.steps);
        self.stage(&about, || {
            let outcome = train::train(self.session, &config, &run, Start::New)?;
            if outcome.stopped {
                line("the demo was interrupted");
                return Err(interrupt::ended().into());
            }
            Ok(())
        })
    }

    fn steps(&self, model: DemoModel) -> u64 {
        self.extent.steps * model.patches.len() as u64
    }

    fn evaluate(&self) -> Result<()> {
        let root = self.location("dataset")?;
        let evaluator = eval::Evaluator {
            dataset: self.session.wait(Dataset::open(&root))?,
            results: self.location("results")?,
            options: EvalOptions {
                rollout: self.extent.rollout,
                // The folder is the demo's own, and so are the names in it.
                existing: OnExisting::Replace,
                ..EvalOptions::default()
            },
        };
        self.stage("rolled them out, cyclically and at each patch", || {
            let ndim = evaluator.dataset.schema().grid.ndim();
            let persistence = Baseline::Persistence.with_context(self.extent.context, ndim);
            evaluator.baseline(self.session, &persistence, "persistence")?;
            for model in MODELS {
                let run = self.location(&format!("runs/{}", model.name))?;
                let (device, reporter) = (DeviceChoice::Cpu, &self.session.reporter);
                let predictor = Predictor::load(&run, ModelChoice::default(), device, reporter);
                let predictor = self.session.wait(predictor)?;
                let schedules = model.schedules.iter().map(ToString::to_string);
                let schedules: Vec<String> = schedules.collect();
                evaluator.model(self.session, &predictor, model.name, &schedules)?;
            }
            Ok(())
        })
    }

    fn report(&self) -> Result<PathBuf> {
        let options = ReportOptions {
            title: "Compute-elastic surrogates of a shear flow".into(),
        };
        self.stage("drew the report", || {
            let (results, out) = (self.location("results")?, self.location("report.html")?);
            report::write(self.session, &results, &out, &options)
        })?;
        Ok(self.at("report.html"))
    }

    fn leaderboard(&self) -> Result<()> {
        let results = self.location("results")?;
        let answer = self.session.wait(async {
            let results = Results::open(&results, &self.session.reporter).await?;
            results.sql(LEADERBOARD).await
        })?;
        print(format!("\n{LEADERBOARD}\n\n"))?;
        print(Format::Table.write(&answer)?)
    }

    fn farewell(&self, report: &Path, began: Instant) -> Result<()> {
        let (report, folder) = (report.display(), self.folder.display());
        print(format!(
            "\nreport: {report}   ({:.0} s in all)\n\nTry next:\n  \
             wellspring sql -r {folder}/results 'SELECT * FROM table1'\n  \
             wellspring eval {folder}/runs/csm {folder}/dataset -r {folder}/results --schedule random:1 --rollout {}\n  \
             wellspring train {folder}/runs/ckm/config.toml --out {folder}/runs/longer --set train.steps={}\n",
            began.elapsed().as_secs_f64(),
            self.extent.rollout,
            self.steps(MODELS[0]) * 2
        ))
    }
}

const LEADERBOARD: &str =
    "SELECT name, schedule, tokens, vrmse, of_persistence, last_lead, vrmse_last, seconds_per_frame
FROM leaderboard ORDER BY vrmse";
