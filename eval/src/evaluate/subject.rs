//! [`Subject`]: a step function from a context and a patch size to the next frame, which is evaluated. A
//! model is one, and so are the baselines that it must beat.

use wellspring_store::{Conditioning, Context, Frames, Patch};

use crate::error::SubjectError;

/// A step function that can be evaluated. Frames are stored (normalized) values. Conditions are the data set's
/// own at every lead: what is given to a simulation is not predicted.
pub trait Subject: Sync {
    /// Description of the subject for the table of runs.
    fn description(&self) -> Description;

    /// Number of frames that a step sees.
    fn context(&self) -> usize;

    /// Steps of the data set from one frame of the context to the next.
    fn stride(&self) -> usize;

    /// Whether its steps use patches; by default they do. Without, the tables have no schedule.
    fn has_patches(&self) -> bool {
        true
    }

    /// Patch sizes from which random schedules draw.
    fn patches(&self) -> Vec<Patch>;

    /// What goes with the frames of a context; by default nothing.
    fn conditioning(&self) -> Conditioning {
        Conditioning::Nothing
    }

    /// Number of tokens of a frame at a patch size.
    ///
    /// # Errors
    /// When the size cannot be used on such a grid.
    fn tokens(&self, patch: &Patch, space: &[usize]) -> Result<usize, SubjectError>;

    /// The frame after a context: (T, B, C, *space) → (1, B, C, *space).
    ///
    /// # Errors
    /// When it cannot predict.
    fn step(&self, context: Context<'_>, patch: &Patch) -> Result<Frames, SubjectError>;
}

/// Description of a subject, for the table of runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Description {
    /// ckm, csm, fixed; unet, cnextunet, fno, tfno; baseline, without a learned model; or what others call their models.
    pub strategy: String,
    /// Number of learned parameters.
    pub parameters: u64,
    /// Features of a token.
    pub dim: u64,
    /// Number of blocks.
    pub blocks: u64,
    /// Number of training steps.
    pub train_steps: u64,
    /// Identity of the data set that it was trained on.
    pub train_dataset: String,
    /// Identity of the weights or name of the baseline; none if that is not known.
    pub weights: Option<String>,
}

/// A prediction without a learned model, which models must beat. Like a model, it sees stored values: of a field with a
/// transform, the mean and the line are of transformed values, and persistence is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Baseline {
    /// Persistence: repeats the last frame.
    Persistence,
    /// Repeats the mean of the context.
    Mean,
    /// Linear extrapolation: adds the last change to the last frame.
    Linear,
}

impl Baseline {
    /// All baselines by name.
    pub const NAMED: [(&str, Self); 3] = [
        ("persistence", Self::Persistence),
        ("mean", Self::Mean),
        ("linear", Self::Linear),
    ];

    /// The baseline with a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMED
            .into_iter()
            .find(|(known, _)| *known == name)
            .map(|(_, baseline)| baseline)
    }

    /// Name of the baseline.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Persistence => "persistence",
            Self::Mean => "mean",
            Self::Linear => "linear",
        }
    }

    /// The baseline as a step function that sees `context` frames, on grids of `ndim` axes.
    #[must_use]
    pub fn with_context(self, context: usize, ndim: usize) -> BaselineSubject {
        BaselineSubject {
            baseline: self,
            context: context.max(if self == Self::Linear { 2 } else { 1 }),
            stride: 1,
            ndim,
        }
    }
}

/// A baseline as a step function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BaselineSubject {
    baseline: Baseline,
    context: usize,
    stride: usize,
    ndim: usize,
}

impl BaselineSubject {
    /// Makes the baseline see and predict only every `stride`-th frame.
    #[must_use]
    pub fn every(self, stride: usize) -> Self {
        Self {
            stride: stride.max(1),
            ..self
        }
    }
}

impl Subject for BaselineSubject {
    fn description(&self) -> Description {
        Description {
            strategy: "baseline".into(),
            weights: Some(self.baseline.name().into()),
            ..Description::default()
        }
    }

    fn context(&self) -> usize {
        self.context
    }

    fn stride(&self) -> usize {
        self.stride
    }

    fn has_patches(&self) -> bool {
        false
    }

    /// One patch size of a single cell, since baselines work on grid points.
    fn patches(&self) -> Vec<Patch> {
        vec![Patch::uniform(1, self.ndim)]
    }

    fn tokens(&self, _: &Patch, _: &[usize]) -> Result<usize, SubjectError> {
        Ok(0)
    }

    fn step(&self, context: Context<'_>, _: &Patch) -> Result<Frames, SubjectError> {
        let context = context.frames;
        let last = context.time() - 1;
        let mut next = context.frame(last);
        match self.baseline {
            Baseline::Persistence => {}
            Baseline::Mean => {
                for time in 0..last {
                    let other = context.frame(time);
                    next.data_mut()
                        .iter_mut()
                        .zip(other.data())
                        .for_each(|(sum, x)| *sum += x);
                }
                let count = context.time() as f32;
                next.data_mut().iter_mut().for_each(|sum| *sum /= count);
            }
            Baseline::Linear => {
                let before = context.frame(last.saturating_sub(1));
                next.data_mut()
                    .iter_mut()
                    .zip(before.data())
                    .for_each(|(x, before)| *x += *x - before);
            }
        }
        Ok(next)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn baselines_continue_a_line_as_they_say() {
        let context = Frames::new(3, 1, 1, vec![2], vec![1.0, 0.0, 2.0, 0.0, 3.0, 6.0]).unwrap();
        let next = |name| {
            let subject = Baseline::named(name).unwrap().with_context(3, 1);
            subject
                .step((&context).into(), &Patch::uniform(1, 1))
                .unwrap()
                .into_data()
        };
        assert_eq!(next("persistence"), [3.0, 6.0]);
        assert_eq!(next("mean"), [2.0, 2.0]);
        assert_eq!(next("linear"), [4.0, 12.0]);
        assert_eq!(Baseline::named("magic"), None);
    }
}
