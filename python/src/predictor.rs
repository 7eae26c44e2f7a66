//! A trained model of wellspring's own, from Python.

use std::sync::Arc;

use numpy::PyReadonlyArrayDyn;
use pyo3::prelude::*;
use wellspring_store::{Conditioning, Conditions, Context, Location, Patch};
use wellspring_train::{CheckpointChoice, DeviceChoice, ModelChoice, WeightChoice};

use crate::arrays;
use crate::conditions::{BatchConditions, ScalarNames};
use crate::dataset::Dataset;
use crate::failure::{Result, misuse};
use crate::log::LogNotes;
use crate::threads::{claim, wait};

/// A model with the weights of a checkpoint.
#[pyclass(frozen, module = "wellspring._native")]
pub struct Predictor {
    model: wellspring_train::Predictor,
    /// The scalars of the data set whose states it is for, where it was taken to one.
    scalars: Option<Arc<ScalarNames>>,
}

impl Predictor {
    /// The model, for an evaluation.
    pub fn held(&self) -> &wellspring_train::Predictor {
        &self.model
    }

    /// What goes with the frames of each window, for a model that sees it.
    fn conditions(&self, given: Option<BatchConditions<'_>>) -> Result<Vec<Conditions>> {
        if self.model.conditioning() == Conditioning::Nothing {
            return Ok(Vec::new());
        }
        let (Some(names), Some(given)) = (&self.scalars, given) else {
            return Err(misuse(
                "this model sees inputs beside frames (model.inputs): take it to a data set by on(dataset), and give \
                 it whole batches of a loader of that data set",
            ));
        };
        given.of_windows(names)
    }
}

#[pymethods]
impl Predictor {
    /// Loads a model of a run: `last`, `best` or the number of a step, its weights or their average.
    #[new]
    fn new(
        py: Python<'_>,
        run: &str,
        settings: Vec<(String, String)>,
        step: &str,
        weights: Option<&str>,
        device: &str,
    ) -> Result<Self> {
        claim()?;
        let typed = |error: String| misuse(error);
        let choice = ModelChoice {
            checkpoint: step
                .parse::<CheckpointChoice>()
                .map_err(|e| typed(e.to_string()))?,
            weights: weights
                .map(|text| {
                    text.parse::<WeightChoice>()
                        .map_err(|e| typed(e.to_string()))
                })
                .transpose()?
                .unwrap_or_default(),
        };
        let device: DeviceChoice = device.parse().map_err(|e| typed(format!("{e}")))?;
        let run = Location::parse_with(run, &settings)?;
        let loaded = || wellspring_train::Predictor::load(&run, choice, device, &LogNotes);
        Ok(Self {
            model: wait(py, loaded)??,
            scalars: None,
        })
    }

    /// The model on the states of a data set, which are not always those that it was trained on.
    fn on(&self, dataset: &Dataset) -> Result<Self> {
        let held = dataset.held()?;
        let domain = wellspring_train::Domain::of(&held, &self.model.config().model.inputs)?;
        Ok(Self {
            model: self.model.on(&domain)?,
            scalars: Some(dataset.scalars()),
        })
    }

    /// Kind of the model, such as ckm.
    #[getter]
    fn strategy(&self) -> &'static str {
        self.model.config().model.kind()
    }

    /// Frames that a step sees.
    #[getter]
    fn context(&self) -> usize {
        self.model.config().data.context
    }

    /// Steps of the data set from one frame of the context to the next.
    #[getter]
    fn stride(&self) -> usize {
        self.model.config().data.stride
    }

    /// Numbers that it has learned.
    #[getter]
    fn parameters(&self) -> usize {
        self.model.parameters()
    }

    /// Steps that it was trained for.
    #[getter]
    fn step(&self) -> u64 {
        self.model.step()
    }

    /// Identity of what it has learned.
    #[getter]
    fn weights(&self) -> &str {
        self.model.weights()
    }

    /// Its configuration as TOML.
    fn config(&self) -> Result<String> {
        Ok(self.model.config().to_toml()?)
    }

    /// Patch sizes that it was trained with, a size for each axis.
    #[getter]
    fn patches(&self) -> Result<Vec<Vec<usize>>> {
        let patches = self.model.patches()?.into_iter();
        Ok(patches.map(|patch| patch.sizes().to_vec()).collect())
    }

    /// The frame after a context (T, B, C, *space) of stored (normalized) values, with what the windows have beside
    /// their frames at those and the next one: (1, B, C, *space).
    fn predict<'py>(
        &self,
        py: Python<'py>,
        context: PyReadonlyArrayDyn<'py, f32>,
        patch: &str,
        given: Option<BatchConditions<'py>>,
    ) -> Result<Bound<'py, PyAny>> {
        claim()?;
        let conditions = self.conditions(given)?;
        let frames = arrays::to_frames(&context)?;
        let patch = Patch::parse(patch, frames.space().len())?;
        let context = Context {
            frames: &frames,
            conditions: &conditions,
        };
        let next = py.detach(|| self.model.predict(context, &patch))?;
        arrays::of_frames(py, next)
    }
}
