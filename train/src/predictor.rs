//! [`Predictor`]: a trained model that predicts the next frame from a context and a patch size.

use wellspring_store::{Frames, Location, Patch, Reporter};

use crate::checkpoint::Checkpoint;
use crate::domain::{Domain, Domains};
use crate::model::Surrogate;
use crate::{Config, DeviceChoice, ModelChoice, Precision, Result, step};

/// A model with the weights of a checkpoint.
#[derive(Debug, Clone)]
pub struct Predictor {
    config: Config,
    domains: Domains,
    step: u64,
    weights: String,
    model: Surrogate,
}

impl Predictor {
    /// Loads a model of a run; `reporter` hears of damaged checkpoints that are passed over.
    ///
    /// # Errors
    /// [`crate::Error::NoCheckpoint`], `NoBest`, `NoSoundCheckpoint`, `Damaged`, `Weights`, `Device`.
    pub async fn load(
        run: &Location,
        choice: ModelChoice,
        device: DeviceChoice,
        reporter: &dyn Reporter,
    ) -> Result<Self> {
        let config = Config::load(run).await?;
        let checkpoint = Checkpoint::find(run, choice, reporter).await?;
        let model = checkpoint.model(&config, device)?;
        let (step, weights) = (checkpoint.state.step, checkpoint.weights_id());
        let domains = checkpoint.state.domains;
        Ok(Self::new(config, domains, step, weights, model))
    }

    /// A model after some steps.
    pub(crate) fn new(
        config: Config,
        domains: Domains,
        step: u64,
        weights: String,
        mut model: Surrogate,
    ) -> Self {
        if model.device().is_cpu() {
            // bf16 saves no time there.
            model = model.in_precision(Precision::F32);
        }
        Self {
            config,
            domains,
            step,
            weights,
            model,
        }
    }

    /// The configuration that it was trained with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What it was trained on.
    #[must_use]
    pub fn domains(&self) -> &Domains {
        &self.domains
    }

    /// Steps that it was trained for.
    #[must_use]
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Identity of what it has learned; empty for a model in training.
    #[must_use]
    pub fn weights(&self) -> &str {
        &self.weights
    }

    /// Numbers that it has learned.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.model.parameters().count()
    }

    /// Patch sizes that it was trained with.
    ///
    /// # Errors
    /// Where one names another number of axes than the grid's.
    pub fn patches(&self) -> Result<Vec<Patch>> {
        let ndim = self.domains.first().space.len();
        let sizes = self.config.model.patches.iter();
        sizes.map(|size| size.on(ndim)).collect()
    }

    /// Tokens of a frame at a patch size.
    ///
    /// # Errors
    /// As [`Surrogate::tokens`].
    pub fn tokens(&self, patch: &Patch, space: &[usize]) -> Result<usize> {
        self.model.tokens(patch, space)
    }

    /// Takes it to the states of another domain: other channels of its vocabulary, in another order,
    /// on another grid.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] for channels or types of boundaries that it has not learned.
    pub fn on(&self, domain: &Domain) -> Result<Self> {
        let places = self.domains.places(domain)?;
        let model = self.model.view(places, domain.boundaries.clone())?;
        Ok(Self {
            model,
            ..self.clone()
        })
    }

    /// The frame after a context (T, B, C, *space) of stored values: (1, B, C, *space).
    ///
    /// # Errors
    /// As [`Surrogate::forward`].
    pub fn predict(&self, context: &Frames, patch: &Patch) -> Result<Frames> {
        step::predict(&self.model, context, patch)
    }
}
