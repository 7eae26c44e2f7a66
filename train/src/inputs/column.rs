//! [`Column`]: an input of a data set with its statistics, and the inputs of several data sets as one vocabulary.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use wellspring_store::{Boundary, Dataset, Normalizer, Schema, SplitManifest};

use super::{Input, InputKind, Side, statistics};

/// A spread below this part of the values' magnitude is the rounding of equal values.
const LEAST_SPREAD: f64 = 1e-6;

/// An input with its statistics over the trajectories of a training split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// The input.
    pub input: Input,
    /// Mean in its own units; of `dt` that of the logarithm, and of a boundary its value, 0 or 1.
    pub mean: f64,
    /// Standard deviation in its own units.
    pub std: f64,
    /// Trajectories that the statistics are of; 0 where they were not asked for.
    pub trajectories: u64,
    /// What stored values are multiplied by for a constant field's own units, 1 for all else.
    pub scale: f64,
    /// What is then added, 0 for all else.
    pub shift: f64,
}

impl Column {
    pub(super) fn new(input: Input) -> Self {
        Self {
            input,
            mean: 0.0,
            std: 0.0,
            trajectories: 0,
            scale: 1.0,
            shift: 0.0,
        }
    }

    /// What the model sees of a value in its own units.
    pub(super) fn seen(&self, value: f64) -> f32 {
        let apart = value - self.mean;
        let seen = match self.input {
            Input::Dt => apart,
            Input::Boundary { .. } => value,
            _ if self.std <= LEAST_SPREAD * self.mean.hypot(self.std) => 0.0,
            _ => apart / self.std,
        };
        seen as f32
    }

    /// Adds the statistics of another data set.
    fn add(&mut self, other: &Self) {
        let all = (self.trajectories + other.trajectories) as f64;
        let share = |column: &Self| match all > 0.0 {
            true => column.trajectories as f64 / all,
            false => 0.5,
        };
        let (own, theirs) = (share(self), share(other));
        let mean = own * self.mean + theirs * other.mean;
        let square = |column: &Self| column.std.powi(2) + (column.mean - mean).powi(2);
        self.std = (own * square(self) + theirs * square(other)).sqrt();
        self.mean = mean;
        self.trajectories += other.trajectories;
    }
}

/// The inputs of some kinds that a data set has, without statistics: constant fields, scalars, boundaries, the time
/// step. Scalars are those of the training split, or of all splits where there is none.
pub(crate) fn columns(
    dataset: &Dataset,
    kinds: &BTreeSet<InputKind>,
    constants: &Normalizer,
) -> Vec<Column> {
    let schema = dataset.schema();
    let mut columns = Vec::new();
    for kind in kinds {
        match kind {
            InputKind::Constants => {
                let named = schema
                    .constant_channels()
                    .into_iter()
                    .zip(constants.channels());
                columns.extend(named.map(|(name, map)| Column {
                    scale: map.scale,
                    shift: map.shift,
                    ..Column::new(Input::Constant(name))
                }));
            }
            InputKind::Scalars => {
                let names = scalars(&statistics::learned_from(dataset.manifest()));
                columns.extend(names.into_iter().map(Input::Scalar).map(Column::new));
            }
            InputKind::Boundaries => columns.extend(boundaries(schema)),
            InputKind::Dt => columns.push(Column::new(Input::Dt)),
        }
    }
    columns
}

/// Names of the scalars of some splits.
pub(crate) fn scalars(splits: &[&SplitManifest]) -> BTreeSet<String> {
    let trajectories = splits.iter().flat_map(|held| &held.trajectories);
    let names = trajectories.flat_map(|held| held.parameters.keys().chain(held.series.keys()));
    names.cloned().collect()
}

/// Six columns for each axis: every type on either side.
fn boundaries(schema: &Schema) -> Vec<Column> {
    let kinds = [Boundary::Wall, Boundary::Open, Boundary::Periodic];
    let sides = schema.grid.axes.iter().flat_map(|axis| {
        let sides = [Side::Low, Side::High].into_iter().zip(axis.boundary);
        sides.map(|(side, is)| (axis.name.clone(), side, is))
    });
    let columns = sides.flat_map(|(axis, side, is)| {
        kinds.map(|kind| {
            let axis = axis.clone();
            Column {
                mean: f64::from(u8::from(kind == is)),
                ..Column::new(Input::Boundary { axis, side, kind })
            }
        })
    });
    columns.collect()
}

/// Every input of some data sets once, in the order of first appearance, with the statistics of all together.
pub(crate) fn pooled<'a>(data_sets: impl Iterator<Item = &'a [Column]>) -> Vec<Column> {
    let mut all: Vec<Column> = Vec::new();
    let mut places = BTreeMap::new();
    for column in data_sets.flatten() {
        let name = column.input.to_string();
        match places.get(&name) {
            Some(&place) => {
                let held: &mut Column = &mut all[place];
                held.add(column);
            }
            None => {
                places.insert(name, all.len());
                all.push(column.clone());
            }
        }
    }
    all
}
