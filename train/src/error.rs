//! The errors of this crate: configurations, weights, checkpoints and runs.

use crate::tensors::NOT_FINITE;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every variant says which numbers, names or objects do not fit, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A configuration that is not TOML, has an unknown key or a value of the wrong type.
    #[error("the configuration cannot be read: {reason}")]
    Config {
        /// TOML's own words; they name the key.
        reason: String,
    },

    /// A value of the configuration that cannot be.
    #[error("{key} = {value}: {expected}")]
    Value {
        /// "model.dim", ...
        key: &'static str,
        /// The value as given.
        value: String,
        /// What it must be.
        expected: String,
    },

    /// A patch size that the model was not made for.
    #[error("the model has no patch size {patch}; it has {available}")]
    NoPatch {
        /// The patch size as given.
        patch: String,
        /// What there is.
        available: String,
    },

    /// More frames than the attention over time has distances for.
    #[error(
        "a context of {context} frames is longer than the {limit} that the bias over time has buckets for"
    )]
    LongContext {
        /// Frames given.
        context: usize,
        /// The most.
        limit: usize,
    },

    /// Frames of another shape than the model's.
    #[error("{what}: expected {expected}, found {found}")]
    Shape {
        /// Name of the array.
        what: &'static str,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },

    /// An input of the model that a trajectory lacks, or that is no number there.
    #[error(
        "{input} {reason} in trajectory {trajectory}{}; mend the data, or leave it out of model.inputs",
        beside(from)
    )]
    Input {
        /// Name of the input: "scalar:Reynolds".
        input: String,
        /// Index of the trajectory in its split.
        trajectory: u32,
        /// File and sample that the trajectory comes from, if they are known.
        from: String,
        /// "is missing", "is NaN at step 3".
        reason: String,
    },

    /// Weights that are not this model's.
    #[error("{object} does not hold this model's weights: {reason}")]
    Weights {
        /// File or URL.
        object: String,
        /// Missing and unexpected names, or shapes.
        reason: String,
    },

    /// Weights or moments that left the numbers.
    #[error("{tensor} of {object} has {}", NOT_FINITE)]
    NotFinite {
        /// File or URL.
        object: String,
        /// The first tensor with such a value.
        tensor: String,
    },

    /// A run without a whole checkpoint.
    #[error("{run} has no checkpoint{which}; train it first: wellspring train --out {run}")]
    NoCheckpoint {
        /// The run.
        run: String,
        /// " of step N" and those that there are, or nothing.
        which: String,
    },

    /// A run of which no validation was ever finite.
    #[error(
        "{run} has no best checkpoint: it was not validated (validation.every, and a split `valid` of the data set)"
    )]
    NoBest {
        /// The run.
        run: String,
    },

    /// A file of a run that is not what was written.
    #[error("{object} is damaged: {reason}; restore it from a copy, or take another checkpoint")]
    Damaged {
        /// URL of the file.
        object: String,
        /// What is wrong with it.
        reason: String,
    },

    /// A run all of whose checkpoints are damaged.
    #[error(
        "no checkpoint of {run} is sound: {damage}; restore these files from a copy, \
         or begin again in another folder"
    )]
    NoSoundCheckpoint {
        /// The run.
        run: String,
        /// Each file with what is wrong with it.
        damage: String,
    },

    /// A run where one was to begin.
    #[error("{run} holds a run already; go on with --resume or choose another folder")]
    RunExists {
        /// The run.
        run: String,
    },

    /// A run that another process is writing.
    #[error("{run} is being written by {holder}; wait for its end, or choose another folder")]
    Busy {
        /// The run.
        run: String,
        /// The process and its host, where they are known.
        holder: String,
    },

    /// A run that another process has taken over.
    #[error("{holder} has taken over {run}; this one writes nothing more")]
    Overtaken {
        /// The run.
        run: String,
        /// The process and its host, where they are known.
        holder: String,
    },

    /// A run whose file `lock` could not be locked.
    #[error("cannot lock {object}; is it yours to write?")]
    Lock {
        /// The file.
        object: String,
        /// The system's own words.
        source: std::io::Error,
    },

    /// A run whose last checkpoint could not be written.
    #[error(
        "the last checkpoint, of step {step}, could not be written; {}", after_loss(*kept)
    )]
    Unsaved {
        /// Step of the checkpoint.
        step: u64,
        /// The newest checkpoint that there is.
        kept: Option<u64>,
        /// Why.
        source: Box<Error>,
    },

    /// Threads that the system did not start.
    #[error(
        "cannot start the threads to compute with: {reason}; allow more memory or processes (ulimit -v, \
         ulimit -u), or fewer threads: RAYON_NUM_THREADS=2"
    )]
    Threads {
        /// The system's own words.
        reason: String,
    },

    /// A run that is resumed on another data set or with another model.
    #[error("{run} cannot go on: {reason}")]
    Resume {
        /// The run.
        run: String,
        /// What differs.
        reason: String,
    },

    /// A loss, a gradient or a weight that left the numbers.
    #[error("{what}; {}", after_divergence(*kept))]
    Diverged {
        /// The step.
        step: u64,
        /// "the loss is NaN with patches of 8x8", ...
        what: String,
        /// The checkpoint to go on from.
        kept: Option<u64>,
    },

    /// A device that this program cannot use.
    #[error("device {device}: {reason}")]
    Device {
        /// The device as given.
        device: String,
        /// Why not.
        reason: String,
    },

    /// Candle failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),

    /// Data or a run could not be read or written.
    #[error(transparent)]
    Store(#[from] wellspring_store::Error),
    /// One of several ranks could not write its part of a checkpoint.
    #[error("rank {rank} of the job: {what}")]
    Unwritten {
        /// The rank.
        rank: usize,
        /// What it says.
        what: String,
    },
    /// The ranks of a job do not reach one another, or do not agree.
    #[error("{what}")]
    Collective {
        /// What is wrong, and what to do.
        what: String,
    },
}

/// Where a trajectory comes from, in brackets.
fn beside(source: &str) -> String {
    match source {
        "" => String::new(),
        source => format!(" ({source})"),
    }
}

/// What to do when a run has diverged.
fn after_divergence(kept: Option<u64>) -> String {
    let milder = "a lower optim.lr, or with optim.clip = 1.0";
    match kept {
        Some(step) => format!(
            "the checkpoint of step {step} is kept: --resume with {milder}; --from STEP goes further back"
        ),
        None => format!("there is no checkpoint before it: begin again with {milder}"),
    }
}

/// What to do when the last checkpoint was not written.
fn after_loss(kept: Option<u64>) -> String {
    match kept {
        Some(step) => format!("that of step {step} is kept: --resume goes on from there"),
        None => "there is none before it".into(),
    }
}
