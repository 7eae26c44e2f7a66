//! [`ModelSubject`]: a trained model as what can be evaluated.

use wellspring_eval::{Description, Subject, SubjectError};
use wellspring_store::{Conditioning, Context, Frames, Patch};
use wellspring_train::{Predictor, Result};

/// A model as a step function, and its patch sizes.
pub struct ModelSubject<'a>(&'a Predictor, Vec<Patch>);

impl<'a> ModelSubject<'a> {
    /// The model, with the patch sizes that it was trained with.
    ///
    /// # Errors
    /// Where one of them names another number of axes than the grid's.
    pub fn new(predictor: &'a Predictor) -> Result<Self> {
        Ok(Self(predictor, predictor.patches()?))
    }
}

impl Subject for ModelSubject<'_> {
    fn description(&self) -> Description {
        let model = &self.0.config().model;
        Description {
            strategy: model.kind().into(),
            parameters: self.0.parameters() as u64,
            dim: model.width() as u64,
            blocks: model.depth() as u64,
            train_steps: self.0.step(),
            train_dataset: self.0.domains().first().id.clone(),
            weights: Some(self.0.weights().to_owned()),
        }
    }

    fn context(&self) -> usize {
        self.0.config().data.context
    }

    fn stride(&self) -> usize {
        self.0.config().data.stride
    }

    fn patches(&self) -> Vec<Patch> {
        self.1.clone()
    }

    fn tokens(&self, patch: &Patch, space: &[usize]) -> Result<usize, SubjectError> {
        Ok(self.0.tokens(patch, space)?)
    }

    fn conditioning(&self) -> Conditioning {
        self.0.conditioning()
    }

    fn step(&self, context: Context<'_>, patch: &Patch) -> Result<Frames, SubjectError> {
        Ok(self.0.predict(context, patch)?)
    }
}
