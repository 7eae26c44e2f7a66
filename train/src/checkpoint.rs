//! Checkpoints: `checkpoints/STEP/{model,optimizer}.safetensors` and, written last, `state.json`
//! with their checksums and its own. A folder without `state.json` is left by an interruption and does not count.
//!
//! The newest checkpoint is the newest one whose files have the right checksums and hold only finite numbers;
//! newer ones that are passed over are reported. A checkpoint with other numbers is never written.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::Device;
use serde::{Deserialize, Serialize};
use wellspring_store::{Location, Reporter, checksum, sealed};

use crate::claim::RunClaim;
use crate::config::MOST_STEPS;
use crate::domain::Domains;
use crate::inputs::InputReader;
use crate::model::{Columns, Parameters, Surrogate};
use crate::optim::AdamW;
use crate::{Config, DeviceChoice, Error, Result, tensors};

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
    /// Moments of AdamW, where they were asked for.
    optimizer: Option<File>,
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
    /// Only the weights, for predictions.
    Weights,
    /// Also the optimizer's moments, to resume training.
    Moments,
}

/// What a run has learned after a step.
pub(crate) struct Snapshot<'a> {
    pub(crate) step: u64,
    pub(crate) loss: Option<f32>,
    pub(crate) domains: &'a Domains,
    pub(crate) parameters: &'a Parameters,
    pub(crate) optimizer: &'a AdamW,
}

impl Snapshot<'_> {
    /// Makes it a checkpoint of a run; what is there under the same step is written over. Nothing of it stays where
    /// it fails.
    ///
    /// # Errors
    /// [`Error::NotFinite`] before anything is written, [`Error::Overtaken`], and what writing may give.
    pub(crate) async fn write(&self, run: &Location, claim: &RunClaim) -> Result<()> {
        let files = [
            (MODEL, self.parameters.to_safetensors()?),
            (OPTIMIZER, self.optimizer.to_safetensors()?),
        ];
        let folder = folder(run, self.step);
        for (name, bytes) in &files {
            tensors::check_finite(bytes, &folder.join(name).to_string())?;
        }
        claim.check().await?;
        let written = self.write_files(&folder, files, claim).await;
        if matches!(written, Err(Error::Store(_))) && claim.check().await.is_ok() {
            // A full disk needs the room; what stays is removed by the next training.
            delete(run, self.step).await.ok();
        }
        written
    }

    async fn write_files(
        &self,
        folder: &Location,
        files: [(&str, Vec<u8>); 2],
        claim: &RunClaim,
    ) -> Result<()> {
        let mut checksums = BTreeMap::new();
        for (name, bytes) in files {
            checksums.insert(name.to_owned(), checksum(&bytes));
            folder.join(name).put(bytes).await?;
        }
        let state = State {
            step: self.step,
            loss: self.loss,
            domains: self.domains.clone(),
            checksums,
        };
        let place = folder.join(STATE);
        let text = sealed::to_json(&state).map_err(|error| damaged(&place, error))?;
        claim.check().await?;
        Ok(place.put(text).await?)
    }
}

impl Checkpoint {
    /// The checkpoint after a step, or the newest sound one; `reporter` hears what is passed over.
    ///
    /// # Errors
    /// [`Error::NoCheckpoint`] when there is none, [`Error::Damaged`] when the one that was named is,
    /// [`Error::NoSoundCheckpoint`] when all are.
    pub async fn find(run: &Location, step: Option<u64>, reporter: &dyn Reporter) -> Result<Self> {
        let found = match step {
            Some(step) => Some(Self::named(run, step, Need::Weights).await?),
            None => Self::newest(run, Need::Weights, reporter).await?,
        };
        found.ok_or_else(|| Error::NoCheckpoint {
            run: run.to_string(),
            which: String::new(),
        })
    }

    /// The checkpoint that training can go on from, after a step or the newest; none where none was ever
    /// whole.
    pub(crate) async fn resumable(
        run: &Location,
        step: Option<u64>,
        reporter: &dyn Reporter,
    ) -> Result<Option<Self>> {
        match step {
            Some(step) => Self::named(run, step, Need::Moments).await.map(Some),
            None => Self::newest(run, Need::Moments, reporter).await,
        }
    }

    async fn named(run: &Location, step: u64, need: Need) -> Result<Self> {
        let held = folders(run).await?;
        if held.contains(&step) {
            return Self::open(run, step, need).await;
        }
        let held: Vec<String> = held.iter().map(u64::to_string).collect();
        let which = match held.is_empty() {
            true => format!(" of step {step}"),
            false => format!(" of step {step}, but of {}", held.join(", ")),
        };
        Err(Error::NoCheckpoint {
            run: run.to_string(),
            which,
        })
    }

    async fn newest(run: &Location, need: Need, reporter: &dyn Reporter) -> Result<Option<Self>> {
        let mut passed = Vec::new();
        let mut found = None;
        for &step in folders(run).await?.iter().rev() {
            match Self::open(run, step, need).await {
                Ok(checkpoint) => {
                    found = Some(checkpoint);
                    break;
                }
                Err(Error::Damaged { object, reason }) => {
                    passed.push(format!("{object}: {reason}"))
                }
                Err(error) => return Err(error),
            }
        }
        if found.is_none() && !steps(run).await?.is_empty() {
            return Err(Error::NoSoundCheckpoint {
                run: run.to_string(),
                damage: passed.join("; "),
            });
        }
        let taken = match &found {
            Some(checkpoint) => format!("taking the checkpoint of step {}", checkpoint.state.step),
            None => "there is no checkpoint before it".into(),
        };
        for damage in passed {
            reporter.note(&format!("warning: passed over {damage}; {taken}"));
        }
        Ok(found)
    }

    async fn open(run: &Location, step: u64, need: Need) -> Result<Self> {
        let folder = folder(run, step);
        let state = State::read(&folder.join(STATE), step).await?;
        let optimizer = match need {
            Need::Weights => None,
            Need::Moments => Some(state.file(&folder, OPTIMIZER).await?),
        };
        Ok(Self {
            model: state.file(&folder, MODEL).await?,
            optimizer,
            state,
        })
    }

    /// The weights as they lie: a PyTorch state dict in safetensors.
    #[must_use]
    pub fn weights(&self) -> &[u8] {
        &self.model.bytes
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

    /// AdamW as it was, where the checkpoint was opened to go on training; else as it begins.
    pub(crate) fn optimizer(&self, parameters: &Parameters) -> Result<AdamW> {
        let mut optimizer = AdamW::new(parameters)?;
        if let Some(File { object, bytes }) = &self.optimizer {
            optimizer.load_safetensors(bytes, self.state.step, object)?;
        }
        Ok(optimizer)
    }
}

/// A model with fresh weights for all channels of some domains.
pub(crate) fn fresh(config: &Config, domains: &Domains, device: &Device) -> Result<Surrogate> {
    let model = Surrogate::new(
        &config.model,
        Columns {
            fields: domains.vocabulary().len(),
            inputs: domains.inputs().len(),
        },
        domains.first().boundaries.clone(),
        config.train.seed,
        device,
    )?;
    Ok(model.in_precision(config.train.precision))
}

/// Deletes all but the last `keep` checkpoints up to a step. Those of later steps are damaged, or the run
/// would not be here; it comes by and writes them again.
pub(crate) async fn retain(run: &Location, keep: usize, step: u64) -> Result<()> {
    let mut steps = steps(run).await?;
    steps.retain(|&held| held <= step);
    for &step in &steps[..steps.len().saturating_sub(keep)] {
        delete(run, step).await?;
    }
    Ok(())
}

/// Deletes the checkpoints after a step, the newest first, so that one that is stopped leaves a run that
/// was never further; gives their steps.
pub(crate) async fn forget_after(run: &Location, step: u64) -> Result<Vec<u64>> {
    let mut later = steps(run).await?;
    later.retain(|&held| held > step);
    for &step in later.iter().rev() {
        delete(run, step).await?;
    }
    Ok(later)
}

/// Deletes a checkpoint. The state goes first, so a half-deleted one is none.
pub(crate) async fn delete(run: &Location, step: u64) -> Result<()> {
    for name in [STATE, MODEL, OPTIMIZER] {
        folder(run, step).join(name).delete().await?;
    }
    if let Some(path) = folder(run, step).local_path() {
        // An object store has no folders; a disk would keep an empty one, which hurts nobody.
        tokio::fs::remove_dir(path).await.ok();
    }
    Ok(())
}

/// Steps whose checkpoints have no state: their writing was stopped.
pub(crate) async fn begun(run: &Location) -> Result<Vec<u64>> {
    let states: BTreeSet<u64> = steps(run).await?.into_iter().collect();
    Ok((&folders(run).await? - &states).into_iter().collect())
}

/// Steps with a state, ascending.
pub(crate) async fn steps(run: &Location) -> Result<Vec<u64>> {
    let files = files(run).await?.into_iter();
    let states = files.filter(|(_, name)| name == STATE);
    Ok(states.map(|(step, _)| step).collect())
}

/// Steps with a folder, which an interrupted writing may have left without a state.
pub(crate) async fn folders(run: &Location) -> Result<BTreeSet<u64>> {
    let files = files(run).await?.into_iter();
    Ok(files.map(|(step, _)| step).collect())
}

/// Files of every checkpoint, by the step of its folder; other names are ignored.
async fn files(run: &Location) -> Result<BTreeSet<(u64, String)>> {
    let root = run.join("checkpoints");
    let held = root.list().await?;
    let file = |object: &Location| {
        let path = object.below(&root)?;
        let (folder, name) = path.split_once('/')?;
        Some((folder.parse().ok()?, name.to_owned()))
    };
    Ok(held.iter().filter_map(file).collect())
}

fn folder(run: &Location, step: u64) -> Location {
    run.join("checkpoints").join(&format!("{step:08}"))
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
