//! A trained model as what evaluation wants: a context and a patch size in, the next frame out.

use candle_core::Device;
use wellspring_store::{Frames, Location, Patch};

use crate::checkpoint::{Checkpoint, Domain};
use crate::model::Surrogate;
use crate::{Config, DeviceChoice, Error, Result, step};

/// A model with the weights of a checkpoint.
#[derive(Debug)]
pub struct Predictor {
    config: Config,
    domain: Domain,
    step: u64,
    model: Surrogate,
    device: Device,
}

impl Predictor {
    /// Loads a run's checkpoint, the last one unless a step is named.
    ///
    /// # Errors
    /// [`Error::NoCheckpoint`], [`Error::Damaged`], [`Error::Weights`], [`Error::Device`].
    pub async fn load(run: &Location, step: Option<u64>, device: DeviceChoice) -> Result<Self> {
        let config = Config::load(run).await?;
        let checkpoint = Checkpoint::find(run, step).await?;
        let model = checkpoint.model(&config, device).await?;
        Ok(Self {
            config,
            step: checkpoint.state.step,
            domain: checkpoint.state.domain,
            model,
            device: device.open()?,
        })
    }

    /// The configuration that it was trained with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What it was trained on.
    #[must_use]
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Steps that it was trained for.
    #[must_use]
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Numbers that it has learned.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.model.parameters().count()
    }

    /// Patch sizes that it was trained with.
    #[must_use]
    pub fn patches(&self) -> Vec<Patch> {
        let ndim = self.domain.space.len();
        self.config
            .model
            .patches
            .iter()
            .map(|&size| Patch::uniform(size, ndim))
            .collect()
    }

    /// Tokens of a frame at a patch size.
    ///
    /// # Errors
    /// As [`Surrogate::tokens`].
    pub fn tokens(&self, patch: &Patch, space: &[usize]) -> Result<usize> {
        self.model.tokens(patch, space)
    }

    /// Checks that it can continue states of these channels, on a grid with these boundaries.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn check(&self, other: &Domain) -> Result<()> {
        let differs = |what, expected: String, found: String| {
            Err(Error::Shape {
                what,
                expected,
                found,
            })
        };
        if other.channels != self.domain.channels {
            return differs(
                "channels of the data set",
                self.domain.channels.join(" "),
                other.channels.join(" "),
            );
        }
        if other.boundaries != self.domain.boundaries {
            let text = |domain: &Domain| format!("{:?}", domain.boundaries);
            return differs(
                "boundaries of the data set",
                text(&self.domain),
                text(other),
            );
        }
        Ok(())
    }

    /// The frame after a context (T, B, C, *space) of stored values: (1, B, C, *space).
    ///
    /// # Errors
    /// As [`Surrogate::forward`].
    pub fn predict(&self, context: &Frames, patch: &Patch) -> Result<Frames> {
        step::predict(&self.model, context, patch, &self.device)
    }
}
