//! One pass over the windows of a split, in batches.

use std::sync::Arc;

use half::{bf16, f16};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use wellspring_store::{
    Batch, Conditioning, Dataset as StoredDataset, Loader, LoaderOptions, Order, Plan, Share,
    Value, WindowSpec,
};

use crate::arrays::{self, BatchNumber};
use crate::conditions::{self, ScalarNames};
use crate::dataset::{self, Dataset};
use crate::failure::{Result, misuse};
use crate::threads::{self, Origin, wait};

/// Batches that are still to come, in one of the types that Python may ask for.
enum Batches {
    F32(Loader<f32>),
    F16(Loader<f16>),
    Bf16(Loader<bf16>),
}

/// One pass over the windows of a split, read ahead by threads.
#[pyclass(module = "wellspring._native")]
pub struct Pass {
    dataset: Arc<StoredDataset>,
    names: Arc<ScalarNames>,
    /// None once a wait for a batch was broken off: that batch is lost.
    batches: Option<Batches>,
    normalized: bool,
    origin: Origin,
}

/// What Python says of a pass.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct Wish {
    split: String,
    frames: usize,
    stride: usize,
    every: usize,
    batch: usize,
    /// (seed, epoch); none for the order of trajectories and steps.
    shuffle: Option<(u64, u64)>,
    lanes: Option<usize>,
    seen: usize,
    rank: usize,
    world: usize,
    prefetch: usize,
    threads: usize,
    conditions: bool,
    dtype: String,
    normalized: bool,
}

impl Wish {
    fn plan(&self, dataset: &StoredDataset) -> Result<Plan> {
        let spec = WindowSpec {
            stride: self.stride.max(1),
            every: self.every.max(1),
            ..WindowSpec::of_length(self.frames)
        };
        let order = match (self.shuffle, self.lanes) {
            (None, _) => Order::Sequential,
            (Some((seed, epoch)), None) => Order::Shuffled { seed, epoch },
            (Some((seed, epoch)), Some(lanes)) => Order::Streamed { seed, epoch, lanes },
        };
        let split = dataset::split(&self.split)?;
        let share = Share {
            rank: self.rank,
            world: self.world,
        };
        let plan = Plan::new(dataset.manifest(), split, spec, order, share)?;
        Ok(plan.after(self.seen, share)?)
    }

    fn options(&self) -> LoaderOptions {
        LoaderOptions {
            batch: self.batch.max(1),
            prefetch: self.prefetch,
            threads: self.threads,
            conditions: match self.conditions {
                true => Conditioning::Everything,
                false => Conditioning::Nothing,
            },
        }
    }

    fn batches(&self, dataset: &Arc<StoredDataset>, plan: Plan) -> Result<Batches> {
        let (dataset, options) = (Arc::clone(dataset), self.options());
        let runtime = threads::runtime()?.handle();
        Ok(match (self.dtype.as_str(), self.normalized) {
            ("f32", _) => Batches::F32(Loader::spawn_as(dataset, plan, options, runtime)),
            ("f16", true) => Batches::F16(Loader::spawn_as(dataset, plan, options, runtime)),
            ("bf16", true) => Batches::Bf16(Loader::spawn_as(dataset, plan, options, runtime)),
            ("f16" | "bf16", false) => {
                return Err(misuse(format!(
                    "dtype {}: values in their own units need f32; or take normalized ones",
                    self.dtype
                )));
            }
            (other, _) => return Err(misuse(format!("dtype {other}: choose f32, f16 or bf16"))),
        })
    }
}

#[pymethods]
impl Pass {
    #[new]
    fn new(dataset: &Dataset, wish: Wish) -> Result<Self> {
        let (dataset, names) = (dataset.held()?, dataset.scalars());
        let plan = wish.plan(&dataset)?;
        Ok(Self {
            batches: Some(wish.batches(&dataset, plan)?),
            normalized: wish.normalized,
            origin: Origin::here(),
            dataset,
            names,
        })
    }

    /// The next batch: its frames (T, B, C, *space), its windows as (trajectory, start), and what goes with them, if
    /// it was asked for. None at the end of the pass.
    #[allow(clippy::type_complexity, reason = "a tuple for Python")]
    fn next<'py>(
        &mut self,
        py: Python<'py>,
    ) -> Result<
        Option<(
            Bound<'py, PyAny>,
            Vec<(u32, u32)>,
            Option<Bound<'py, PyDict>>,
        )>,
    > {
        self.origin.check("loader")?;
        let mut batches = self.batches.take().ok_or_else(|| {
            PyRuntimeError::new_err("this pass was interrupted; iterate over the loader again")
        })?;
        let found = match &mut batches {
            Batches::F32(loader) => match next(py, loader)? {
                Some(mut batch) => {
                    if !self.normalized {
                        let normalizer = self.dataset.normalizer();
                        py.detach(|| normalizer.denormalize(&mut batch.frames));
                    }
                    self.shown(py, batch).map(Some)
                }
                None => Ok(None),
            },
            Batches::F16(loader) => next(py, loader)?
                .map(|batch| self.shown(py, batch))
                .transpose(),
            Batches::Bf16(loader) => next(py, loader)?
                .map(|batch| self.shown(py, batch))
                .transpose(),
        };
        self.batches = Some(batches);
        found
    }
}

impl Pass {
    #[allow(clippy::type_complexity, reason = "a tuple for Python")]
    fn shown<'py, T: BatchNumber>(
        &self,
        py: Python<'py>,
        mut batch: Batch<T>,
    ) -> Result<(
        Bound<'py, PyAny>,
        Vec<(u32, u32)>,
        Option<Bound<'py, PyDict>>,
    )> {
        let windows = batch.windows.iter();
        let windows = windows.map(|window| (window.trajectory, window.start));
        let windows = windows.collect();
        let conditions = std::mem::take(&mut batch.conditions);
        let given = match conditions.as_slice() {
            [] => None,
            conditions => Some(conditions::arrays(
                py,
                (&self.dataset, &self.names),
                conditions,
                self.normalized,
            )?),
        };
        Ok((arrays::of_batch(py, batch)?, windows, given))
    }
}

fn next<T: Value>(py: Python<'_>, loader: &mut Loader<T>) -> Result<Option<Batch<T>>> {
    Ok(wait(py, || loader.next_batch())?.transpose()?)
}
