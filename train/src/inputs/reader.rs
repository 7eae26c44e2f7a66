//! [`InputReader`]: turns what goes with the frames of windows into the numbers that a model sees.

use wellspring_store::{Conditioning, Conditions, Frames};

use super::{Column, Input, InputValues};
use crate::domain::{Domain, Domains};
use crate::{Error, Result};

/// Reads the inputs of one domain that a model knows, with the statistics that it was trained with.
#[derive(Debug, Clone)]
pub(crate) struct InputReader {
    /// Channels of constant fields, each with its place among the data set's.
    constants: Vec<(usize, Column)>,
    /// Inputs with the same value in every cell.
    numbers: Vec<Number>,
    /// Their places in the model's vocabulary of inputs, constants first.
    places: Vec<u32>,
}

/// An input with the same value in every cell.
#[derive(Debug, Clone)]
enum Number {
    Scalar(String, Column),
    Boundary(f32),
    Dt(Column),
}

impl InputReader {
    /// A reader of what `domain` has of the inputs that a model of `domains` knows.
    ///
    /// # Errors
    /// [`Error::Shape`] for a type of boundary at a side where the model has never seen it.
    pub(crate) fn new(domain: &Domain, domains: &Domains) -> Result<Self> {
        let known = domains.inputs();
        let mut reader = Self {
            constants: Vec::new(),
            numbers: Vec::new(),
            places: Vec::new(),
        };
        let mut channels = 0;
        for own in &domain.inputs {
            let place = known.iter().position(|column| column.input == own.input);
            let constant = matches!(own.input, Input::Constant(_));
            let channel = channels;
            channels += usize::from(constant);
            let Some(place) = place else { continue };
            let learned = &known[place];
            let column = Column {
                mean: learned.mean,
                std: learned.std,
                ..own.clone()
            };
            match &own.input {
                Input::Constant(_) => reader.constants.push((channel, column)),
                Input::Scalar(name) => reader.numbers.push(Number::Scalar(name.clone(), column)),
                Input::Dt => reader.numbers.push(Number::Dt(column)),
                Input::Boundary { .. } if own.mean > 0.0 && learned.mean <= 0.0 => {
                    return Err(Error::Shape {
                        what: "boundaries of the data set",
                        expected: "types that the model has seen at the same sides".into(),
                        found: own.input.to_string(),
                    });
                }
                Input::Boundary { .. } => reader.numbers.push(Number::Boundary(own.mean as f32)),
            }
            reader.places.push(place as u32);
        }
        Ok(reader)
    }

    /// Places of the columns in the vocabulary of inputs, in the order of their values.
    pub(crate) fn places(&self) -> Vec<u32> {
        self.places.clone()
    }

    /// What it needs of the data beside frames.
    pub(crate) fn conditioning(&self) -> Conditioning {
        let is_given = |number: &Number| !matches!(number, Number::Boundary(_));
        match (self.constants.is_empty(), self.numbers.iter().any(is_given)) {
            (false, _) => Conditioning::Everything,
            (true, true) => Conditioning::Numbers,
            (true, false) => Conditioning::Nothing,
        }
    }

    /// The values for the first `time` of the windows' frames, `batch` windows on a grid; nothing where there are
    /// no inputs.
    ///
    /// # Errors
    /// [`Error::Shape`] for other conditions than the frames need; [`Error::Input`] for a value that is missing or
    /// not finite, which names its trajectory.
    pub(crate) fn values(
        &self,
        conditions: &[Conditions],
        frames: &Frames,
        time: usize,
    ) -> Result<Option<InputValues>> {
        if self.places.is_empty() {
            return Ok(None);
        }
        let batch = frames.batch();
        if self.conditioning() != Conditioning::Nothing && conditions.len() != batch {
            return Err(Error::Shape {
                what: "conditions that go with the frames",
                expected: format!("those of {batch} windows"),
                found: conditions.len().to_string(),
            });
        }
        Ok(Some(InputValues {
            constants: self.constant_fields(conditions, frames.space())?,
            numbers: self.all_numbers(conditions, time, batch)?,
            time,
            batch,
        }))
    }

    /// Normalized constant fields: (1, B, K, *space).
    fn constant_fields(
        &self,
        conditions: &[Conditions],
        space: &[usize],
    ) -> Result<Option<Frames>> {
        if self.constants.is_empty() {
            return Ok(None);
        }
        let (batch, count) = (conditions.len(), self.constants.len());
        let mut fields = Frames::zeros(1, batch, count, space.to_vec());
        for (item, given) in conditions.iter().enumerate() {
            let held = given.constants.as_ref();
            let held = held.filter(|held| held.space() == space);
            for (place, (channel, column)) in self.constants.iter().enumerate() {
                let held = held.filter(|held| *channel < held.channels());
                let Some(held) = held else {
                    return Err(absent(given, &column.input, "is missing".into()));
                };
                let cells = fields.channel_mut(0, item, place).iter_mut();
                for (cell, &stored) in cells.zip(held.channel(0, 0, *channel)) {
                    *cell = column.seen(f64::from(stored) * column.scale + column.shift);
                }
            }
        }
        Ok(Some(fields))
    }

    /// The other inputs: (T, B, N).
    fn all_numbers(
        &self,
        conditions: &[Conditions],
        time: usize,
        batch: usize,
    ) -> Result<Vec<f32>> {
        let mut values = Vec::with_capacity(time * batch * self.numbers.len());
        for (frame, item) in (0..time).flat_map(|frame| (0..batch).map(move |b| (frame, b))) {
            for number in &self.numbers {
                values.push(match number {
                    Number::Boundary(value) => *value,
                    Number::Scalar(name, column) => {
                        column.seen(scalar(&conditions[item], name, frame)?)
                    }
                    Number::Dt(column) => column.seen(step(&conditions[item], frame)?.ln()),
                });
            }
        }
        Ok(values)
    }
}

/// A scalar at a frame of a window.
fn scalar(given: &Conditions, name: &str, frame: usize) -> Result<f64> {
    let value = given.scalars.get(name).and_then(|values| values.get(frame));
    let refused = |reason: String| absent(given, &Input::Scalar(name.to_owned()), reason);
    match value {
        Some(value) if value.is_finite() => Ok(*value),
        Some(value) => Err(refused(format!(
            "is {value} at frame {frame} from step {}",
            given.window.start
        ))),
        None => Err(refused("is missing".into())),
    }
}

/// Time from a frame of a window to the next.
fn step(given: &Conditions, frame: usize) -> Result<f64> {
    let times = given.times.get(frame).zip(given.times.get(frame + 1));
    let step = times.map_or(f64::NAN, |(now, next)| next - now);
    match step.is_finite() && step > 0.0 {
        true => Ok(step),
        false => Err(absent(
            given,
            &Input::Dt,
            format!(
                "is {step} at frame {frame} from step {}",
                given.window.start
            ),
        )),
    }
}

fn absent(given: &Conditions, input: &Input, reason: String) -> Error {
    Error::Input {
        input: input.to_string(),
        trajectory: given.window.trajectory,
        from: String::new(),
        reason,
    }
}
