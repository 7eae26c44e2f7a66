//! `wellspring eval`: reads a run (or takes a baseline) and a data set, and writes result tables. Each
//! evaluation is committed at its end; an interruption leaves the earlier ones.

use anyhow::{Context as _, Result};
use wellspring_eval::{
    Baseline, BaselineSubject, EvalOptions, Evaluation, Ranks, RunRecord, Schedule, Subject,
    SubjectError,
};
use wellspring_store::{Axis, Boundary, Dataset, Location, Patch, Share, Split};
use wellspring_train::{Collective, DeviceChoice, Domain, ModelChoice, Predictor};

use super::Session;
use crate::args;
use crate::failure::misuse;
use crate::progress::line;
use crate::subject::ModelSubject;

pub fn run(session: &Session, args: &args::Eval) -> Result<()> {
    if args.rollout == 0 {
        misuse!("--rollout 0: predict at least one frame");
    }
    if args.stride == 0 {
        misuse!("--stride 0: the next frame is at least one step ahead");
    }
    let split: Split = match args.split.parse() {
        Ok(split) => split,
        Err(error) => misuse!("--split: {error}"),
    };
    let dataset = session.wait(async { Dataset::open(&session.locate(&args.root)?).await })?;
    let is_baseline = Baseline::named(&args.run).is_some();
    if is_baseline && (args.jitter.is_some() || args.members.is_some()) {
        misuse!(
            "--jitter, --members: {} is the same wherever the grid begins, so nothing of it is random",
            args.run
        );
    }
    let evaluator = Evaluator {
        results: session.locate(&args.results)?,
        options: EvalOptions {
            rollout: args.rollout,
            split,
            every: args.every,
            batch: args.batch,
            keep: args.keep,
            bands: args.bands.clone(),
            jitter: args.jitter.or_else(|| first_seed(args.members, &dataset)),
            members: args.members,
            temporal: args.temporal,
            existing: args.existing,
            ..EvalOptions::default()
        },
        dataset,
    };
    let records = match Baseline::named(&args.run) {
        Some(baseline) => {
            let name = args.name.as_deref().unwrap_or(&args.run);
            let ndim = evaluator.dataset.schema().grid.ndim();
            let subject = baseline.with_context(args.context, ndim).every(args.stride);
            vec![evaluator.baseline(session, &subject, name)?]
        }
        None => {
            let (run, predictor) = load(session, &args.run, args.model.choice(), args.device)?;
            let name = args.name.as_deref().or(run.name()).unwrap_or("model");
            evaluator.model(session, &predictor, name, &args.schedules)?
        }
    };
    for record in records.iter().flatten() {
        line(&describe(record));
    }
    let skipped = records.iter().filter(|record| record.is_none()).count();
    if skipped > 0 {
        line(&format!("{skipped} there already, not done again"));
    }
    line(&format!(
        "next: wellspring sql -r {} 'SELECT * FROM leaderboard ORDER BY vrmse'",
        super::typed_as(&args.results, &evaluator.results)
    ));
    Ok(())
}

/// The seed of an ensemble's first member, where none was typed: members differ by jitter, if the grid can be rolled.
fn first_seed(members: Option<usize>, dataset: &Dataset) -> Option<u64> {
    let axes = &dataset.schema().grid.axes;
    let is_periodic = |axis: &Axis| axis.boundary == [Boundary::Periodic; 2];
    members.and_then(|_| axes.iter().any(is_periodic).then_some(0))
}

/// A run, and a model of it.
pub fn load(
    session: &Session,
    run: &str,
    choice: ModelChoice,
    device: DeviceChoice,
) -> Result<(Location, Predictor)> {
    let run = session.locate(run)?;
    let loaded = Predictor::load(&run, choice, device, &session.reporter);
    let predictor = session
        .wait(loaded)
        .with_context(|| format!("cannot load a model from {run}"))?;
    Ok((run, predictor))
}

/// A model on the states of a data set, which are not always those that it was trained on.
pub fn on(predictor: &Predictor, dataset: &Dataset) -> Result<Predictor> {
    let domain = Domain::of(dataset, &predictor.config().model.inputs)?;
    Ok(predictor.on(&domain)?)
}

/// On what a command evaluates, how, and where it writes the results.
pub struct Evaluator {
    pub dataset: Dataset,
    pub results: Location,
    pub options: EvalOptions,
}

impl Evaluator {
    pub fn baseline(
        &self,
        session: &Session,
        subject: &BaselineSubject,
        name: &str,
    ) -> Result<Option<RunRecord>> {
        let ndim = self.dataset.schema().grid.ndim();
        let schedule = Schedule::fixed(Patch::uniform(1, ndim));
        self.evaluate(session, subject, name, &schedule)
    }

    /// Each schedule in turn; without any, each patch size that the model was trained with.
    pub fn model(
        &self,
        session: &Session,
        predictor: &Predictor,
        name: &str,
        schedules: &[String],
    ) -> Result<Vec<Option<RunRecord>>> {
        let predictor = on(predictor, &self.dataset)?;
        let ndim = self.dataset.schema().grid.ndim();
        let patches = predictor.patches()?;
        let schedules: Vec<Schedule> = if schedules.is_empty() {
            patches.iter().cloned().map(Schedule::fixed).collect()
        } else {
            let parsed: Result<_, _> = schedules
                .iter()
                .map(|text| Schedule::parse(text, ndim))
                .collect();
            match parsed {
                Ok(schedules) => schedules,
                Err(error) => misuse!("--schedule: {error}"),
            }
        };
        let subject = ModelSubject::new(&predictor)?;
        schedules
            .iter()
            .map(|schedule| self.evaluate(session, &subject, name, schedule))
            .collect()
    }

    fn evaluate(
        &self,
        session: &Session,
        subject: &dyn Subject,
        name: &str,
        schedule: &Schedule,
    ) -> Result<Option<RunRecord>> {
        let evaluation = Evaluation {
            subject,
            name,
            schedule,
            dataset: &self.dataset,
            options: &self.options,
        };
        let ranks = RanksOfLauncher(&*session.collective);
        let (handle, reporter) = (session.handle(), &session.reporter);
        wellspring_eval::evaluate_by_ranks(&self.results, evaluation, &ranks, handle, reporter)
            .with_context(|| format!("cannot evaluate {name}"))
    }
}

/// The processes that a launcher has started evaluate together.
struct RanksOfLauncher<'a>(&'a dyn Collective);

impl Ranks for RanksOfLauncher<'_> {
    fn share(&self) -> Share {
        self.0.share()
    }

    fn exchange(&self, own: &str) -> Result<Vec<String>, SubjectError> {
        Ok(wellspring_train::exchange_json(self.0, &own.to_owned())?)
    }
}

fn describe(record: &RunRecord) -> String {
    format!(
        "{} {} on {} {}: {} starts of {} trajectories, {} leads, {:.0} tokens, {:.3} s a frame",
        record.name,
        record.schedule,
        record.dataset,
        record.grid,
        record.starts,
        record.trajectories,
        record.rollout,
        record.tokens,
        record.seconds_per_frame
    )
}
