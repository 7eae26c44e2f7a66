//! A trained model of wellspring's own, from Python.

use numpy::PyReadonlyArrayDyn;
use pyo3::prelude::*;
use wellspring_store::{Conditioning, Location, Patch};
use wellspring_train::{CheckpointChoice, DeviceChoice, ModelChoice, WeightChoice};

use crate::arrays;
use crate::dataset::Dataset;
use crate::failure::{Result, misuse};
use crate::log::LogNotes;
use crate::threads::{claim, wait};

/// A model with the weights of a checkpoint.
#[pyclass(frozen, module = "wellspring._native")]
pub struct Predictor(wellspring_train::Predictor);

impl Predictor {
    /// The model, for an evaluation.
    pub fn held(&self) -> &wellspring_train::Predictor {
        &self.0
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
        let predictor = wait(py, loaded)??;
        Ok(Self(predictor))
    }

    /// The model on the states of a data set, which are not always those that it was trained on.
    fn on(&self, dataset: &Dataset) -> Result<Self> {
        let dataset = dataset.held()?;
        let domain = wellspring_train::Domain::of(&dataset, &self.0.config().model.inputs)?;
        Ok(Self(self.0.on(&domain)?))
    }

    /// Kind of the model, such as ckm.
    #[getter]
    fn strategy(&self) -> &'static str {
        self.0.config().model.kind()
    }

    /// Frames that a step sees.
    #[getter]
    fn context(&self) -> usize {
        self.0.config().data.context
    }

    /// Steps of the data set from one frame of the context to the next.
    #[getter]
    fn stride(&self) -> usize {
        self.0.config().data.stride
    }

    /// Numbers that it has learned.
    #[getter]
    fn parameters(&self) -> usize {
        self.0.parameters()
    }

    /// Steps that it was trained for.
    #[getter]
    fn step(&self) -> u64 {
        self.0.step()
    }

    /// Identity of what it has learned.
    #[getter]
    fn weights(&self) -> &str {
        self.0.weights()
    }

    /// Its configuration as TOML.
    fn config(&self) -> Result<String> {
        Ok(self.0.config().to_toml()?)
    }

    /// Patch sizes that it was trained with, a size for each axis.
    #[getter]
    fn patches(&self) -> Result<Vec<Vec<usize>>> {
        let patches = self.0.patches()?.into_iter();
        Ok(patches.map(|patch| patch.sizes().to_vec()).collect())
    }

    /// The frame after a context (T, B, C, *space) of stored (normalized) values: (1, B, C, *space).
    fn predict<'py>(
        &self,
        py: Python<'py>,
        context: PyReadonlyArrayDyn<'py, f32>,
        patch: &str,
    ) -> Result<Bound<'py, PyAny>> {
        claim()?;
        if self.0.conditioning() != Conditioning::Nothing {
            return Err(misuse(
                "this model sees inputs beside frames (model.inputs), which cannot be given here; evaluate() gives it \
                 those of the data set, and predict() writes its rollouts",
            ));
        }
        let frames = arrays::to_frames(&context)?;
        let patch = Patch::parse(patch, frames.space().len())?;
        let next = py.detach(|| self.0.predict(&frames, &patch))?;
        arrays::of_frames(py, next)
    }
}
