//! The steps of a rollout: chooses the next patch size and predicts the next frame.

mod budget;

use wellspring_store::{Context, Frames, Patch};

use crate::error::SubjectError;
use crate::{Error, Result, Schedule, Subject};
use budget::Budget;
pub(crate) use budget::BudgetState;

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
    schedule: &'a Schedule,
    space: Vec<usize>,
    available: Vec<Patch>,
    budget: Option<Budget>,
}

impl<'a> Rollout<'a> {
    /// Checks every size that the schedule may use.
    pub(crate) fn new(
        subject: &'a dyn Subject,
        schedule: &'a Schedule,
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
            schedule,
            space: space.to_vec(),
            available,
            budget,
        })
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
    pub(crate) fn restore(&mut self, state: Option<BudgetState>) {
        if let (Some(budget), Some(state)) = (&mut self.budget, state) {
            budget.state = state;
        }
    }

    /// The frame after those seen; `lead` counts from 0.
    pub(crate) fn step(&mut self, seen: Context<'_>, lead: usize) -> Result<Step, SubjectError> {
        if let Some(budget) = &mut self.budget {
            return budget.step(seen.frames, |patch| self.subject.step(seen, patch));
        }
        let patch = self
            .schedule
            .at(lead, &self.available)
            .ok_or("the schedule names no patch size")?;
        Ok(Step {
            prediction: self.subject.step(seen, &patch)?,
            tokens: self.subject.tokens(&patch, &self.space)?,
            patch,
        })
    }
}
