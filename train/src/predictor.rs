//! [`Predictor`]: a trained model that predicts the next frame from a context and a patch size.

use wellspring_store::{Conditioning, Context, Frames, Location, Patch, Reporter};

use crate::checkpoint::Checkpoint;
use crate::domain::{Domain, Domains};
use crate::inputs::{Example, InputReader};
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
    inputs: InputReader,
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
        Self::new(config, domains, step, weights, model)
    }

    /// A model after some steps, for the inputs of its first domain.
    pub(crate) fn new(
        config: Config,
        domains: Domains,
        step: u64,
        weights: String,
        mut model: Surrogate,
    ) -> Result<Self> {
        if model.device().is_cpu() {
            // bf16 saves no time there.
            model = model.in_precision(Precision::F32);
        }
        let inputs = InputReader::new(domains.first(), &domains)?;
        Ok(Self {
            model: model.seeing(inputs.places())?,
            inputs,
            config,
            domains,
            step,
            weights,
        })
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
        let sizes = self.config.model.patches().into_iter();
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
    /// on another grid, with those of its inputs that it has learned.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] for channels or types of boundaries that it has not learned.
    pub fn on(&self, domain: &Domain) -> Result<Self> {
        let places = self.domains.places(domain)?;
        let inputs = InputReader::new(domain, &self.domains)?;
        let model = self.model.view(places, domain.boundaries.clone())?;
        Ok(Self {
            model: model.seeing(inputs.places())?,
            inputs,
            ..self.clone()
        })
    }

    /// What goes with the frames of a context, for the inputs that it sees.
    #[must_use]
    pub fn conditioning(&self) -> Conditioning {
        self.inputs.conditioning()
    }

    /// The frame after a context (T, B, C, *space) of stored values: (1, B, C, *space). A model that sees inputs
    /// needs the context's conditions.
    ///
    /// # Errors
    /// As [`Surrogate::forward`]; [`crate::Error::Input`] for an input that is missing or not finite.
    pub fn predict<'a>(&self, context: impl Into<Context<'a>>, patch: &Patch) -> Result<Frames> {
        let Context { frames, conditions } = context.into();
        let inputs = self.inputs.values(conditions, frames, frames.time())?;
        let example = Example {
            frames,
            inputs: inputs.as_ref(),
        };
        step::predict(&self.model, example, patch)
    }
}
