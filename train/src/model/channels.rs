//! [`Columns`], what a model has weights for, and [`Channels`], what of it a state has.

use candle_core::Tensor;

use crate::{Error, Result};

/// What a model has weights for: columns of its first layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Columns {
    /// Channels of states, which it predicts.
    pub fields: usize,
    /// Inputs, which it only sees.
    pub inputs: usize,
    /// Frames of the context: a baseline has columns for each, a transformer the same for all.
    pub context: usize,
}

impl Columns {
    /// All of a frame.
    #[must_use]
    pub fn all(self) -> usize {
        self.fields.saturating_add(self.inputs)
    }

    /// All of a context.
    pub(super) fn of_context(self) -> usize {
        self.all().saturating_mul(self.context)
    }
}

impl From<usize> for Columns {
    /// Channels alone, of one frame.
    fn from(fields: usize) -> Self {
        Self {
            fields,
            inputs: 0,
            context: 1,
        }
    }
}

/// The channels and inputs of the frames that a model sees.
#[derive(Debug, Clone)]
pub(super) struct Channels {
    /// Channels and inputs that there are weights for.
    pub(super) vocabulary: Columns,
    /// Channels of the state, in order, as indices into the vocabulary.
    fields: Vec<u32>,
    /// Inputs that come after the channels, in order, as indices into the vocabulary of inputs.
    inputs: Vec<u32>,
}

impl Channels {
    /// All of a vocabulary.
    pub(super) fn all(vocabulary: Columns) -> Self {
        Self {
            vocabulary,
            fields: (0..vocabulary.fields as u32).collect(),
            inputs: (0..vocabulary.inputs as u32).collect(),
        }
    }

    /// These channels of the state.
    ///
    /// # Errors
    /// [`Error::Shape`] for a channel outside the vocabulary, and for none.
    pub(super) fn with_fields(&self, fields: Vec<u32>) -> Result<Self> {
        let known = self.vocabulary.fields;
        if fields.is_empty() || fields.iter().any(|&field| field as usize >= known) {
            return Err(Error::Shape {
                what: "channels for the model",
                expected: format!("some of {known}"),
                found: format!("{fields:?}"),
            });
        }
        Ok(Self {
            fields,
            ..self.clone()
        })
    }

    /// These inputs.
    ///
    /// # Errors
    /// [`Error::Shape`] for an input outside the vocabulary.
    pub(super) fn with_inputs(&self, inputs: Vec<u32>) -> Result<Self> {
        let known = self.vocabulary.inputs;
        if inputs.iter().any(|&input| input as usize >= known) {
            return Err(Error::Shape {
                what: "inputs for the model",
                expected: format!("some of {known}"),
                found: format!("{inputs:?}"),
            });
        }
        Ok(Self {
            inputs,
            ..self.clone()
        })
    }

    /// Channels of the state.
    pub(super) fn fields(&self) -> usize {
        self.fields.len()
    }

    /// Channels of a frame: those of the state, then inputs.
    pub(super) fn seen(&self) -> usize {
        self.fields.len() + self.inputs.len()
    }

    /// Rows or columns of a weight for the channels of the state.
    pub(super) fn of_state(&self, weight: &Tensor, axis: usize) -> Result<Tensor> {
        picked(
            weight,
            axis,
            self.fields.iter().copied(),
            self.vocabulary.fields,
        )
    }

    /// Columns of a weight for the channels of a frame.
    pub(super) fn of_frame(&self, weight: &Tensor, axis: usize) -> Result<Tensor> {
        picked(weight, axis, self.places(), self.vocabulary.all())
    }

    /// Columns of a weight for the channels of each frame of a context, frame by frame.
    pub(super) fn of_context(&self, weight: &Tensor, axis: usize) -> Result<Tensor> {
        let all = self.vocabulary.all() as u32;
        let frames = 0..self.vocabulary.context as u32;
        let places = frames.flat_map(|frame| self.places().map(move |place| frame * all + place));
        picked(weight, axis, places, self.vocabulary.of_context())
    }

    /// Places of a frame's channels in the vocabulary of channels and inputs.
    fn places(&self) -> impl Iterator<Item = u32> + Clone {
        let fields = self.vocabulary.fields as u32;
        let inputs = self.inputs.iter().map(move |place| fields + place);
        self.fields.iter().copied().chain(inputs)
    }
}

/// Rows or columns of a weight that has so many; the weight itself where all are picked in order.
fn picked(
    weight: &Tensor,
    axis: usize,
    places: impl Iterator<Item = u32> + Clone,
    of: usize,
) -> Result<Tensor> {
    if places.clone().eq(0..of as u32) {
        return Ok(weight.clone());
    }
    let places = Tensor::new(places.collect::<Vec<u32>>(), weight.device())?;
    Ok(weight.index_select(&places, axis)?)
}
