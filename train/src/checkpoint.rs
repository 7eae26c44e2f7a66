//! A run at rest: `checkpoints/STEP/{model,optimizer}.safetensors` and, last of all, `state.json`
//! with their checksums. A folder without a state is no checkpoint: an interruption left it.

use std::collections::BTreeMap;

use candle_core::Device;
use serde::{Deserialize, Serialize};
use wellspring_store::Location;
use xxhash_rust::xxh3::xxh3_64;

use crate::domain::Domains;
use crate::model::{Parameters, Surrogate};
use crate::optim::AdamW;
use crate::{Config, DeviceChoice, Error, Result};

const MODEL: &str = "model.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const STATE: &str = "state.json";

/// `state.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Steps taken.
    pub step: u64,
    /// The last step's loss; none where nothing has been learned yet.
    pub loss: Option<f32>,
    /// What the model is made for.
    pub domains: Domains,
    /// Checksums (XXH3-64) of the other files.
    checksums: BTreeMap<String, String>,
}

impl State {
    /// Identity of the weights: the checksum of their file.
    #[must_use]
    pub fn weights(&self) -> &str {
        self.checksums.get(MODEL).map_or("", String::as_str)
    }
}

/// One whole checkpoint.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    folder: Location,
    /// Its `state.json`.
    pub state: State,
}

impl Checkpoint {
    /// Writes one; what is there under the same step is written over.
    pub(crate) async fn write(
        run: &Location,
        (step, loss): (u64, Option<f32>),
        domains: &Domains,
        parameters: &Parameters,
        optimizer: &AdamW,
    ) -> Result<Self> {
        let folder = folder(run, step);
        let mut checksums = BTreeMap::new();
        for (name, bytes) in [
            (MODEL, parameters.to_safetensors()?),
            (OPTIMIZER, optimizer.to_safetensors()?),
        ] {
            checksums.insert(name.to_owned(), checksum(&bytes));
            folder.join(name).put(bytes).await?;
        }
        let state = State {
            step,
            loss,
            domains: domains.clone(),
            checksums,
        };
        let text = serde_json::to_vec_pretty(&state).map_err(|error| Error::Damaged {
            object: folder.join(STATE).to_string(),
            reason: error.to_string(),
        })?;
        folder.join(STATE).put(text).await?;
        Ok(Self { folder, state })
    }

    /// The checkpoint after a step, or the last one.
    ///
    /// # Errors
    /// [`Error::NoCheckpoint`] when there is none, [`Error::Damaged`] when its state is no state.
    pub async fn find(run: &Location, step: Option<u64>) -> Result<Self> {
        let step = match step {
            Some(step) => Some(step),
            None => steps(run).await?.pop(),
        };
        let missing = || Error::NoCheckpoint {
            run: run.to_string(),
            which: step
                .map(|step| format!(" of step {step}"))
                .unwrap_or_default(),
        };
        let folder = folder(run, step.ok_or_else(missing)?);
        let place = folder.join(STATE);
        let bytes = place.get_opt().await?.ok_or_else(missing)?;
        let state = serde_json::from_slice(&bytes).map_err(|error| Error::Damaged {
            object: place.to_string(),
            reason: error.to_string(),
        })?;
        Ok(Self { folder, state })
    }

    async fn read(&self, name: &str) -> Result<(Vec<u8>, String)> {
        let place = self.folder.join(name);
        let bytes = place.get().await?;
        if self.state.checksums.get(name) != Some(&checksum(&bytes)) {
            return Err(Error::Damaged {
                object: place.to_string(),
                reason: "its checksum is not the one in state.json".into(),
            });
        }
        Ok((bytes.to_vec(), place.to_string()))
    }

    /// The weights as they lie: a PyTorch state dict in safetensors.
    ///
    /// # Errors
    /// [`Error::Damaged`] when they are not what was written.
    pub async fn weights(&self) -> Result<Vec<u8>> {
        Ok(self.read(MODEL).await?.0)
    }

    /// A model with this checkpoint's weights, for the channels and boundaries of its first domain.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Weights`].
    pub async fn model(&self, config: &Config, device: DeviceChoice) -> Result<Surrogate> {
        let domains = &self.state.domains;
        let model = fresh(config, domains, &device.open()?)?;
        let (bytes, object) = self.read(MODEL).await?;
        model.parameters().load_safetensors(&bytes, &object)?;
        model.view(
            domains.places(domains.first())?,
            domains.first().boundaries.clone(),
        )
    }

    pub(crate) async fn optimizer(&self, parameters: &Parameters) -> Result<AdamW> {
        let mut optimizer = AdamW::new(parameters)?;
        let (bytes, object) = self.read(OPTIMIZER).await?;
        optimizer.load_safetensors(&bytes, self.state.step, &object)?;
        Ok(optimizer)
    }
}

/// A model with fresh weights for all channels of some domains.
pub(crate) fn fresh(config: &Config, domains: &Domains, device: &Device) -> Result<Surrogate> {
    let model = Surrogate::new(
        &config.model,
        domains.vocabulary().len(),
        domains.first().boundaries.clone(),
        config.train.seed,
        device,
    )?;
    Ok(model.in_precision(config.train.precision))
}

/// Deletes all but the last `keep` checkpoints. The state goes first, so a half-deleted one is none.
pub(crate) async fn retain(run: &Location, keep: usize) -> Result<()> {
    let steps = steps(run).await?;
    for &step in &steps[..steps.len().saturating_sub(keep)] {
        for name in [STATE, MODEL, OPTIMIZER] {
            folder(run, step).join(name).delete().await?;
        }
        if let Some(path) = folder(run, step).local_path() {
            // An object store has no folders; a disk would keep an empty one.
            tokio::fs::remove_dir(path).await.ok();
        }
    }
    Ok(())
}

/// Steps with a whole checkpoint, ascending.
pub(crate) async fn steps(run: &Location) -> Result<Vec<u64>> {
    let root = run.join("checkpoints");
    let held = root.list().await?;
    let mut steps: Vec<u64> = held
        .iter()
        .filter_map(|object| {
            object
                .below(&root)?
                .strip_suffix("/state.json")?
                .parse()
                .ok()
        })
        .collect();
    steps.sort_unstable();
    Ok(steps)
}

fn folder(run: &Location, step: u64) -> Location {
    run.join("checkpoints").join(&format!("{step:08}"))
}

fn checksum(bytes: &[u8]) -> String {
    format!("{:016x}", xxh3_64(bytes))
}
