//! The steps of a rollout: chooses the next patch size and predicts the next frame.

mod budget;
mod jitter;

use wellspring_store::{Context, Frames, Patch, Window};

use crate::error::SubjectError;
use crate::{Error, Result, Schedule, Subject};
use budget::Budget;
pub(crate) use budget::BudgetState;
pub(crate) use jitter::Jitter;

/// A patch size on the grid, and what it costs there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) patch: Patch,
    /// Tokens of a frame.
    pub(crate) tokens: usize,
}

/// A predicted frame.
pub(crate) struct Step {
    pub(crate) prediction: Frames,
    pub(crate) patch: Patch,
    /// What it cost for a window, what was tried beside it included.
    pub(crate) tokens: usize,
}

/// A subject that follows a schedule.
pub(crate) struct Rollout<'a> {
    subject: &'a dyn Subject,
    schedule: Schedule,
    jitter: Option<Jitter>,
    space: Vec<usize>,
    available: Vec<Patch>,
    budget: Option<Budget>,
}

impl<'a> Rollout<'a> {
    /// Checks every size that the schedule may use.
    pub(crate) fn new(
        subject: &'a dyn Subject,
        schedule: &Schedule,
        space: &[usize],
    ) -> Result<Self> {
        let refused = |source: SubjectError| Error::Patch {
            schedule: schedule.to_string(),
            source,
        };
        let available = subject.patches();
        let patches = schedule.patches(&available);
        if patches.is_empty() {
            return Err(refused("the model has no patch sizes".into()));
        }
        let size = |patch: &Patch| {
            Ok(Size {
                patch: patch.clone(),
                tokens: subject.tokens(patch, space)?,
            })
        };
        let sizes: Result<Vec<Size>, SubjectError> = patches.iter().map(size).collect();
        let sizes = sizes.map_err(refused)?;
        let budget = match schedule {
            Schedule::Budget { tokens } => {
                Some(Budget::new(*tokens as f64, sizes).map_err(|reason| refused(reason.into()))?)
            }
            _ => None,
        };
        Ok(Self {
            subject,
            schedule: schedule.clone(),
            jitter: None,
            space: space.to_vec(),
            available,
            budget,
        })
    }

    /// Moves the patches to random places before each step.
    pub(crate) fn with_jitter(self, jitter: Option<Jitter>) -> Self {
        Self { jitter, ..self }
    }

    /// What predicts.
    pub(crate) fn subject(&self) -> &'a dyn Subject {
        self.subject
    }

    /// Whether each window is decided about on its own.
    pub(crate) fn is_single(&self) -> bool {
        self.budget.is_some()
    }

    /// What a budget has spent and learned, where the schedule is one.
    pub(crate) fn state(&self) -> Option<BudgetState> {
        self.budget.as_ref().map(|budget| budget.state.clone())
    }

    /// Goes on from a state.
    pub(crate) fn restore(&mut self, state: &BudgetState) {
        if let Some(budget) = &mut self.budget {
            budget.state = state.clone();
        }
    }

    /// The frame after those seen of each window; `lead` counts from 0.
    pub(crate) fn step(
        &mut self,
        seen: Context<'_>,
        windows: &[Window],
        lead: usize,
    ) -> Result<Step, SubjectError> {
        let predict = |patch: &Patch| match &self.jitter {
            Some(jitter) => jitter.step(self.subject, seen, windows, lead, patch),
            None => self.subject.step(seen, patch),
        };
        if let Some(budget) = &mut self.budget {
            return budget.step(seen.frames, predict);
        }
        let patch = self
            .schedule
            .at(lead, &self.available)
            .ok_or("the schedule names no patch size")?;
        Ok(Step {
            prediction: predict(&patch)?,
            tokens: self.subject.tokens(&patch, &self.space)?,
            patch,
        })
    }
}
