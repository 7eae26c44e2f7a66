//! [`NameMatch`]: which channels and inputs of one model another has, by name, and weights carried over by that.

use std::fmt;

use candle_core::Tensor;

use crate::domain::Domains;
use crate::model::Surrogate;
use crate::{Error, Result, tensors};

/// Channels and inputs of a model that begins with the weights of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameMatch {
    /// Names that both have: their weights are taken over.
    pub kept: Vec<String>,
    /// Names that only the new model has: their weights are fresh.
    pub fresh: Vec<String>,
    /// Names that only the other model has: their weights are left out.
    pub left: Vec<String>,
    /// For each channel of the new model its place in the other, if it is there.
    channels: Vec<Option<usize>>,
    /// For each input, likewise.
    inputs: Vec<Option<usize>>,
    /// Channels of the other.
    theirs: usize,
}

impl NameMatch {
    /// Compares the vocabulary of a model with that of another, which it takes weights from.
    pub(super) fn of(own: &Domains, theirs: &Domains) -> Self {
        let places = |own: &[String], theirs: &[String]| {
            let place = |name: &String| theirs.iter().position(|other| other == name);
            own.iter().map(place).collect::<Vec<_>>()
        };
        let [(channels, inputs), (their_channels, their_inputs)] = [own, theirs].map(names);
        let all = [channels.clone(), inputs.clone()].concat();
        let their_all = [their_channels.clone(), their_inputs.clone()].concat();
        let (kept, fresh) = all
            .iter()
            .cloned()
            .partition(|name| their_all.contains(name));
        Self {
            kept,
            fresh,
            left: their_all
                .into_iter()
                .filter(|name| !all.contains(name))
                .collect(),
            channels: places(&channels, &their_channels),
            inputs: places(&inputs, &their_inputs),
            theirs: their_channels.len(),
        }
    }

    /// The other model's weights with the rows and columns of this one's names; those that are new are as in
    /// `fresh`. A safetensors file.
    ///
    /// # Errors
    /// [`Error::Weights`] for a file that is none.
    pub(super) fn carried(
        &self,
        weights: &[u8],
        object: &str,
        fresh: &Surrogate,
    ) -> Result<Vec<u8>> {
        let held = candle_core::safetensors::load_buffer(weights, &fresh.device());
        let mut held = held.map_err(|error| Error::Weights {
            object: object.to_owned(),
            reason: error.to_string(),
        })?;
        for weight in fresh.weights()? {
            let (Some(theirs), Some(channels)) = (held.get(&weight.name), weight.channels) else {
                continue;
            };
            let own = fresh.parameters().get(&weight.name)?;
            let mut places = self.channels.clone();
            if channels.with_inputs {
                let inputs = self.inputs.iter();
                places.extend(inputs.map(|place| place.map(|place| self.theirs + place)));
            }
            // Their frame is as long as what there are places for.
            let frame = theirs.dim(channels.axis).unwrap_or(0) / channels.frames;
            let frames = (0..channels.frames).flat_map(|at| {
                let places = places.iter();
                places.map(move |place| place.map(|place| at * frame + place))
            });
            let places: Vec<_> = frames.collect();
            if alike(theirs, own, channels.axis) {
                let picked = picked(theirs, own, channels.axis, &places)?;
                held.insert(weight.name, picked);
            }
        }
        tensors::write(held.into_iter())
    }
}

/// Names of a model's channels and of its inputs.
fn names(domains: &Domains) -> (Vec<String>, Vec<String>) {
    let channels = domains.vocabulary().into_iter().map(str::to_owned);
    let inputs = domains.inputs().into_iter();
    let inputs = inputs.map(|column| column.input.to_string());
    (channels.collect(), inputs.collect())
}

/// Whether two weights differ in one axis at most; others are refused when they are loaded.
fn alike(theirs: &Tensor, own: &Tensor, axis: usize) -> bool {
    let [theirs, own] = [theirs, own].map(|weight| {
        let mut dims = weight.dims().to_vec();
        dims.get_mut(axis).into_iter().for_each(|size| *size = 1);
        dims
    });
    theirs == own
}

/// Rows or columns of another model's weight at some places, and fresh ones where there is none.
fn picked(
    theirs: &Tensor,
    fresh: &Tensor,
    axis: usize,
    places: &[Option<usize>],
) -> Result<Tensor> {
    let mut parts = Vec::new();
    for (own, place) in places.iter().enumerate() {
        parts.push(match place {
            Some(place) => theirs.narrow(axis, *place, 1)?,
            None => fresh.narrow(axis, own, 1)?,
        });
    }
    Ok(Tensor::cat(&parts, axis)?)
}

impl fmt::Display for NameMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = |names: &[String]| match names.is_empty() {
            true => "none".to_owned(),
            false => names.join(" "),
        };
        write!(f, "taken over by name: {}", said(&self.kept))?;
        write!(f, "; begun afresh: {}", said(&self.fresh))?;
        write!(f, "; left out: {}", said(&self.left))
    }
}
