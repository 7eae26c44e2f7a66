//! Evaluates a Python function as a model.
//!
//! The evaluation has a thread of its own. Whenever it needs a step or has something to report, it asks the thread that
//! Python called from. So the function runs where its caller's settings hold (`torch.no_grad()` is of one thread),
//! and Ctrl-C is heard in between.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Mutex, PoisonError};

use numpy::PyReadonlyArrayDyn;
use pyo3::prelude::*;
use wellspring::ModelSubject;
use wellspring_eval::{
    Description, EvalOptions, Evaluation, OnExisting, Schedule, Subject, SubjectError,
};
use wellspring_store::{
    Conditioning, Conditions, Context, Dataset as StoredDataset, Frames, Location, Patch, Reporter,
};

use crate::conditions::{self, ScalarNames};
use crate::dataset::{self, Dataset};
use crate::failure::{Result, misuse, one_of};
use crate::predictor::Predictor;
use crate::threads::{LOOK, runtime};
use crate::{arrays, log};

/// What the evaluation's thread asks of Python's.
enum Request {
    Step {
        frames: Frames,
        conditions: Vec<Conditions>,
        patch: Patch,
        answer: Sender<Result<Frames, SubjectError>>,
    },
    Begin(String, Option<u64>, String),
    Advance(u64),
    Status(String),
    End,
    Note(String),
}

/// The way to Python's thread. Only one request is under way at a time from each thread that asks.
struct Line(Mutex<Sender<Request>>);

impl Line {
    fn send(&self, request: Request) -> bool {
        let line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        line.send(request).is_ok()
    }
}

impl Reporter for Line {
    fn begin(&self, stage: &str, total: Option<u64>, unit: &str) {
        self.send(Request::Begin(stage.to_owned(), total, unit.to_owned()));
    }

    fn advance(&self, by: u64) {
        self.send(Request::Advance(by));
    }

    fn status(&self, words: &str) {
        self.send(Request::Status(words.to_owned()));
    }

    fn end(&self) {
        self.send(Request::End);
    }

    fn note(&self, message: &str) {
        self.send(Request::Note(message.to_owned()));
    }
}

/// A Python function as a model.
struct Callable<'a> {
    line: &'a Line,
    description: Description,
    context: usize,
    stride: usize,
    has_patches: bool,
}

impl Subject for Callable<'_> {
    fn description(&self) -> Description {
        self.description.clone()
    }

    fn context(&self) -> usize {
        self.context
    }

    fn stride(&self) -> usize {
        self.stride
    }

    fn has_patches(&self) -> bool {
        self.has_patches
    }

    fn patches(&self) -> Vec<Patch> {
        Vec::new()
    }

    fn conditioning(&self) -> Conditioning {
        Conditioning::Everything
    }

    fn tokens(&self, patch: &Patch, space: &[usize]) -> Result<usize, SubjectError> {
        if !self.has_patches {
            return Ok(0);
        }
        let sizes = patch.sizes().iter().zip(space);
        Ok(sizes.map(|(&size, &n)| n.div_ceil(size.max(1))).product())
    }

    fn step(&self, context: Context<'_>, patch: &Patch) -> Result<Frames, SubjectError> {
        let (answer, answered) = mpsc::channel();
        self.line.send(Request::Step {
            frames: context.frames.clone(),
            conditions: context.conditions.to_vec(),
            patch: patch.clone(),
            answer,
        });
        answered.recv().unwrap_or_else(|_| Err(STOPPED.into()))
    }
}

/// A model of our own, which does not ask Python for its steps, and so must be told to end.
struct Stoppable<'a> {
    model: ModelSubject<'a>,
    is_stopped: &'a AtomicBool,
}

impl Subject for Stoppable<'_> {
    fn description(&self) -> Description {
        self.model.description()
    }

    fn context(&self) -> usize {
        self.model.context()
    }

    fn stride(&self) -> usize {
        self.model.stride()
    }

    fn patches(&self) -> Vec<Patch> {
        self.model.patches()
    }

    fn conditioning(&self) -> Conditioning {
        self.model.conditioning()
    }

    fn tokens(&self, patch: &Patch, space: &[usize]) -> Result<usize, SubjectError> {
        self.model.tokens(patch, space)
    }

    fn step(&self, context: Context<'_>, patch: &Patch) -> Result<Frames, SubjectError> {
        match self.is_stopped.load(Ordering::Relaxed) {
            true => Err(STOPPED.into()),
            false => self.model.step(context, patch),
        }
    }
}

const STOPPED: &str = "the evaluation was stopped";

/// How Python wants an evaluation.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct Wish {
    name: String,
    results: String,
    settings: Vec<(String, String)>,
    schedule: Option<String>,
    context: usize,
    stride: usize,
    split: String,
    rollout: usize,
    every: Option<usize>,
    batch: usize,
    keep: usize,
    bands: Option<Vec<f32>>,
    temporal: bool,
    existing: String,
    strategy: String,
    parameters: u64,
    weights: Option<String>,
    normalized: bool,
}

impl Wish {
    fn options(&self) -> Result<EvalOptions> {
        if self.rollout == 0 || self.context == 0 || self.stride == 0 {
            return Err(misuse("rollout, context and stride must be at least 1"));
        }
        Ok(EvalOptions {
            rollout: self.rollout,
            split: dataset::split(&self.split)?,
            every: self.every,
            batch: self.batch.max(1),
            keep: self.keep,
            bands: self.bands.clone(),
            temporal: self.temporal,
            existing: one_of(
                "existing",
                OnExisting::ALL,
                OnExisting::name,
                &self.existing,
            )?,
            ..EvalOptions::default()
        })
    }

    fn callable<'a>(&self, line: &'a Line) -> Callable<'a> {
        Callable {
            line,
            description: Description {
                strategy: self.strategy.clone(),
                parameters: self.parameters,
                weights: self.weights.clone(),
                ..Description::default()
            },
            context: self.context,
            stride: self.stride,
            has_patches: self.schedule.is_some(),
        }
    }
}

/// What serves the requests: a step function of arrays, and an object that shows progress.
struct Server<'a, 'py> {
    step: &'a Bound<'py, PyAny>,
    progress: &'a Bound<'py, PyAny>,
    dataset: &'a StoredDataset,
    names: &'a ScalarNames,
    normalized: bool,
    has_patches: bool,
    /// The exception that ends the evaluation.
    raised: Option<PyErr>,
    is_stopped: &'a AtomicBool,
}

impl Server<'_, '_> {
    /// Answers until nobody asks any longer. What is raised here, Ctrl-C too, ends the evaluation at its next step.
    fn serve(&mut self, requests: Receiver<Request>) {
        let py = self.step.py();
        // Only this thread receives; the lock lets it do so without the interpreter's.
        let requests = Mutex::new(requests);
        loop {
            let next = py.detach(|| {
                let requests = requests.lock().unwrap_or_else(PoisonError::into_inner);
                requests.recv_timeout(LOOK)
            });
            let looked = match next {
                Ok(request) => self.answer(request),
                Err(RecvTimeoutError::Timeout) => log::hand_over(py),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if let Err(error) = looked.and_then(|()| py.check_signals()) {
                self.raise(error);
            }
        }
    }

    fn raise(&mut self, error: PyErr) {
        self.raised.get_or_insert(error);
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    fn answer(&mut self, request: Request) -> PyResult<()> {
        match request {
            Request::Step {
                frames,
                conditions,
                patch,
                answer,
            } => {
                let next = match self.raised {
                    Some(_) => Err(STOPPED.into()),
                    None => self.next(frames, &conditions, &patch).map_err(|error| {
                        self.raise(error);
                        STOPPED.into()
                    }),
                };
                // It has gone where this fails.
                let _ = answer.send(next);
            }
            _ if self.raised.is_some() => {}
            Request::Begin(stage, total, unit) => {
                self.progress.call_method1("begin", (stage, total, unit))?;
            }
            Request::Advance(by) => drop(self.progress.call_method1("advance", (by,))?),
            Request::Status(words) => drop(self.progress.call_method1("status", (words,))?),
            Request::End => drop(self.progress.call_method0("end")?),
            Request::Note(message) => drop(self.progress.call_method1("note", (message,))?),
        }
        Ok(())
    }

    fn next(
        &self,
        mut frames: Frames,
        conditions: &[Conditions],
        patch: &Patch,
    ) -> PyResult<Frames> {
        let py = self.step.py();
        let normalizer = self.dataset.normalizer();
        if !self.normalized {
            normalizer.denormalize(&mut frames);
        }
        let context = arrays::of_frames(py, frames)?;
        let given =
            conditions::arrays(py, (self.dataset, self.names), conditions, self.normalized)?;
        let patch = self.has_patches.then(|| patch.sizes().to_vec());
        let next = self.step.call1((context, given, patch))?;
        let next: PyReadonlyArrayDyn<'_, f32> = next.extract()?;
        let mut next = arrays::to_frames(&next)?;
        if !self.normalized {
            normalizer.normalize(&mut next);
        }
        Ok(next)
    }
}

/// Rolls out `step` (frames (T, B, C, *space), conditions, patch sizes → (1, B, C, *space)), or a model of our own in its
/// place, and commits its tables; gives the evaluation's row as JSON, or none if it was there already and is to be skipped.
#[pyfunction]
pub fn evaluate(
    step: &Bound<'_, PyAny>,
    progress: &Bound<'_, PyAny>,
    dataset: &Dataset,
    predictor: Option<PyRef<'_, Predictor>>,
    wish: Wish,
) -> Result<Option<String>> {
    let py = step.py();
    let (runtime, names, dataset) = (runtime()?, dataset.scalars(), dataset.held()?);
    let (options, results) = (
        wish.options()?,
        Location::parse_with(&wish.results, &wish.settings)?,
    );
    let ndim = dataset.schema().grid.ndim();
    let (sender, requests) = mpsc::channel();
    let line = Line(Mutex::new(sender));
    let is_stopped = AtomicBool::new(false);
    let model = predictor.as_ref().map(|own| ModelSubject::new(own.held()));
    let own = model.transpose()?.map(|model| Stoppable {
        model,
        is_stopped: &is_stopped,
    });
    let schedule = match &wish.schedule {
        Some(text) => Schedule::parse(text, ndim)?,
        None => Schedule::fixed(Patch::uniform(1, ndim)),
    };
    let mut server = Server {
        step,
        progress,
        dataset: &dataset,
        names: &names,
        normalized: wish.normalized,
        has_patches: wish.schedule.is_some(),
        raised: None,
        is_stopped: &is_stopped,
    };
    let (dataset, wish) = (&*dataset, &wish);
    let done = std::thread::scope(|scope| {
        let work = scope.spawn(move || {
            // When this ends, all ends of the line here are gone, and Python's thread is told so.
            let callable = wish.callable(&line);
            let evaluation = Evaluation {
                subject: match &own {
                    Some(own) => own,
                    None => &callable,
                },
                name: &wish.name,
                schedule: &schedule,
                dataset,
                options: &options,
            };
            wellspring_eval::evaluate(&results, evaluation, runtime.handle(), &line)
        });
        server.serve(requests);
        py.detach(|| work.join())
    });
    if let Some(raised) = server.raised {
        return Err(raised.into());
    }
    let record = done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    let json = record.map(|record| serde_json::to_string(&record));
    json.transpose().map_err(|error| misuse(error.to_string()))
}
