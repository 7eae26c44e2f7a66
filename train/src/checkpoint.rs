//! Checkpoints: `checkpoints/STEP/{model,optimizer}.safetensors`, `average.safetensors` where the run has a moving
//! average of its weights, and, written last, `state.json` with their checksums and its own. A folder without
//! `state.json` is left by an interruption and does not count.
//!
//! The newest checkpoint is the newest one whose files have the right checksums and hold only finite numbers;
//! newer ones that are passed over are reported. A checkpoint with other numbers is never written.

mod choice;
mod find;
pub(crate) mod folders;
mod snapshot;

use std::collections::BTreeMap;

use candle_core::Device;
use serde::{Deserialize, Serialize};
use wellspring_store::{Location, Share, checksum, sealed};

use crate::config::MOST_STEPS;
use crate::domain::Domains;
use crate::inputs::InputReader;
use crate::model::{Columns, Surrogate};
use crate::optim::{AdamW, Average};
use crate::progress::Progress;
use crate::{Config, DeviceChoice, Error, Result, tensors};
pub use choice::{CheckpointChoice, ModelChoice, WeightChoice};
pub(crate) use folders::{Retention, begun, delete, folders, forget_after, retain, steps};
pub(crate) use snapshot::{TrainingState, commit};

const MODEL: &str = "model.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const AVERAGE: &str = "average.safetensors";
const STATE: &str = "state.json";

/// The file with what a rank holds of the optimizer: all of it, or its piece where there are several ranks.
fn optimizer_file(share: Share) -> String {
    match share {
        Share::WHOLE => OPTIMIZER.to_owned(),
        Share { rank, world } => format!("optimizer-{}-of-{world}.safetensors", rank + 1),
    }
}

/// Whether a file is the optimizer's, or a piece of it.
fn is_optimizer(name: &str) -> bool {
    let middle = name.strip_prefix("optimizer");
    let middle = middle.and_then(|name| name.strip_suffix(".safetensors"));
    middle.is_some_and(|middle| {
        middle
            .bytes()
            .all(|b| b.is_ascii_digit() || b"-of".contains(&b))
    })
}

/// Whether a file is one that a checkpoint may have beside its state.
pub(crate) fn is_file(name: &str) -> bool {
    name == MODEL || name == AVERAGE || is_optimizer(name)
}

/// `state.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Steps taken.
    pub step: u64,
    /// The last step's loss; none where nothing has been learned yet.
    pub loss: Option<f32>,
    /// What the model is made for.
    pub domains: Domains,
    /// Where the run stands beside its step; begins anew in early checkpoints.
    #[serde(default)]
    pub progress: Progress,
    /// Checksums (XXH3-64) of the other files.
    checksums: BTreeMap<String, String>,
}

impl State {
    /// The file of some weights: the average is the trained weights where there is none.
    fn weight_file(&self, weights: WeightChoice) -> &'static str {
        match weights {
            WeightChoice::Average if self.checksums.contains_key(AVERAGE) => AVERAGE,
            _ => MODEL,
        }
    }

    /// Names and checksums of its files.
    pub(crate) fn checksums(&self) -> Vec<(String, String)> {
        self.checksums.clone().into_iter().collect()
    }

    /// This state for other files.
    pub(crate) fn with_checksums(self, files: Vec<(String, String)>) -> Self {
        Self {
            checksums: files.into_iter().collect(),
            ..self
        }
    }

    /// The state of a checkpoint in the folder of some step.
    async fn read(place: &Location, step: u64) -> Result<Self> {
        let bytes = present(place).await?;
        let object = place.to_string();
        let state: Self = sealed::from_json(&bytes, &object).map_err(|error| match error {
            wellspring_store::Error::Altered { found, said, .. } => damaged(
                place,
                format!("it says that its checksum is {said}, and what it holds has {found}"),
            ),
            wellspring_store::Error::Malformed { reason, .. } => damaged(place, reason),
            error => error.into(),
        })?;
        if state.step != step || step > MOST_STEPS {
            let reason = format!(
                "it says step {}, its folder step {step}, and a run has at most {MOST_STEPS}",
                state.step
            );
            return Err(damaged(place, reason));
        }
        Ok(state)
    }

    /// A file beside it, as it was written.
    async fn file(&self, folder: &Location, name: &str) -> Result<File> {
        let place = folder.join(name);
        let bytes = present(&place).await?;
        if self.checksums.get(name) != Some(&checksum(&bytes)) {
            let found = bytes.len();
            let reason =
                format!("its checksum is not the one in {STATE}, and it has {found} bytes");
            return Err(damaged(&place, reason));
        }
        let file = File {
            object: place.to_string(),
            bytes,
        };
        match tensors::check_finite(&file.bytes, &file.object) {
            Ok(()) => Ok(file),
            Err(Error::NotFinite { tensor, .. }) => Err(damaged(
                &place,
                format!("{tensor} has {}", tensors::NOT_FINITE),
            )),
            Err(error) => Err(damaged(&place, error)),
        }
    }
}

/// A sound checkpoint in memory.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// Content of its `state.json`.
    pub state: State,
    model: File,
    /// What only training needs, where it was asked for.
    training: Option<TrainingFiles>,
}

/// Files that training goes on from, beside the weights.
#[derive(Debug, Clone)]
struct TrainingFiles {
    /// One file, or a piece of each rank that wrote it.
    optimizer: Vec<File>,
    average: Option<File>,
}

/// The bytes of a file that are those that were written.
#[derive(Debug, Clone)]
struct File {
    object: String,
    bytes: Vec<u8>,
}

/// What of a checkpoint is needed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Need {
    /// Only some weights, for predictions.
    Weights(WeightChoice),
    /// Everything, to resume training.
    TrainingFiles,
}

impl Checkpoint {
    async fn open(run: &Location, step: u64, need: Need) -> Result<Self> {
        let folder = folders::folder(run, step);
        let state = State::read(&folder.join(STATE), step).await?;
        let (model, training) = match need {
            Need::Weights(weights) => (state.weight_file(weights), None),
            Need::TrainingFiles => (MODEL, Some(TrainingFiles::open(&state, &folder).await?)),
        };
        Ok(Self {
            model: state.file(&folder, model).await?,
            training,
            state,
        })
    }

    /// The weights as they lie: a PyTorch state dict in safetensors.
    #[must_use]
    pub fn weights(&self) -> &[u8] {
        &self.model.bytes
    }

    /// Identity of the weights: the checksum of their file.
    #[must_use]
    pub fn weights_id(&self) -> String {
        checksum(&self.model.bytes)
    }

    /// A model with this checkpoint's weights, for the channels and boundaries of its first domain.
    ///
    /// # Errors
    /// [`Error::Weights`] where the configuration is another model's.
    pub fn model(&self, config: &Config, device: DeviceChoice) -> Result<Surrogate> {
        let domains = &self.state.domains;
        let model = fresh(config, domains, &device.open()?)?;
        let File { object, bytes } = &self.model;
        model.parameters().load_safetensors(bytes, object)?;
        let first = domains.first();
        let seen = InputReader::new(first, domains)?.places();
        let model = model.view(domains.places(first)?, first.boundaries.clone())?;
        model.seeing(seen)
    }

    /// Takes an optimizer, and a moving average of the weights, to where they were.
    pub(crate) fn restore(
        &self,
        optimizer: &mut AdamW,
        average: Option<&mut Average>,
    ) -> Result<()> {
        let Some(training) = &self.training else {
            return Ok(());
        };
        let updates = self.state.progress.updates.unwrap_or(self.state.step);
        for File { object, bytes } in &training.optimizer {
            optimizer.load_safetensors(bytes, updates, object)?;
        }
        match (average, &training.average) {
            (Some(average), Some(File { object, bytes })) => {
                average.load_safetensors(bytes, object)
            }
            _ => Ok(()),
        }
    }
}

impl TrainingFiles {
    async fn open(state: &State, folder: &Location) -> Result<Self> {
        let average = match state.weight_file(WeightChoice::Average) {
            AVERAGE => Some(state.file(folder, AVERAGE).await?),
            _ => None,
        };
        let mut optimizer = Vec::new();
        for name in state.checksums.keys().filter(|name| is_optimizer(name)) {
            optimizer.push(state.file(folder, name).await?);
        }
        if optimizer.is_empty() {
            // Says that it is missing.
            optimizer.push(state.file(folder, OPTIMIZER).await?);
        }
        Ok(Self { optimizer, average })
    }
}

/// A model with fresh weights for all channels of some domains.
pub(crate) fn fresh(config: &Config, domains: &Domains, device: &Device) -> Result<Surrogate> {
    let model = Surrogate::new(
        &config.model,
        Columns {
            fields: domains.vocabulary().len(),
            inputs: domains.inputs().len(),
            context: config.data.context,
        },
        domains.first().boundaries.clone(),
        config.train.seed,
        device,
    )?;
    Ok(model.in_precision(config.train.precision))
}

/// A file that must be there.
async fn present(place: &Location) -> Result<Vec<u8>> {
    let bytes = place.get_opt().await?;
    let missing = || {
        damaged(
            place,
            "it is missing; writing it was interrupted, or it was lost",
        )
    };
    Ok(bytes.ok_or_else(missing)?.to_vec())
}

fn damaged(place: &Location, reason: impl ToString) -> Error {
    Error::Damaged {
        object: place.to_string(),
        reason: reason.to_string(),
    }
}
