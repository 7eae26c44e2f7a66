//! What windows are given beside their frames, to arrays and back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use numpy::{PyReadonlyArray2, PyReadonlyArray3, PyReadonlyArrayDyn};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use wellspring_store::{Conditions, Dataset, Frames, Manifest, Window};

use crate::arrays::to_frames;
use crate::failure::{Result, misuse};

/// Names of the scalars that any trajectory has, ascending.
#[derive(Debug)]
pub struct ScalarNames {
    /// Those that do not change in time.
    pub fixed: Vec<String>,
    /// Those that do.
    pub series: Vec<String>,
}

impl ScalarNames {
    pub fn of(manifest: &Manifest) -> Self {
        let trajectories = || manifest.splits.values().flat_map(|held| &held.trajectories);
        let sorted = |names: BTreeSet<&String>| names.into_iter().cloned().collect();
        Self {
            fixed: sorted(
                trajectories()
                    .flat_map(|held| held.parameters.keys())
                    .collect(),
            ),
            series: sorted(trajectories().flat_map(|held| held.series.keys()).collect()),
        }
    }
}

/// What windows are given beside their frames: `constants` (1, B, C, *space), `constant_scalars` (B, S), `scalars`
/// (B, T, S) and `times` (B, T).
pub fn arrays<'py>(
    py: Python<'py>,
    (dataset, names): (&Dataset, &ScalarNames),
    conditions: &[Conditions],
    normalized: bool,
) -> Result<Bound<'py, PyDict>> {
    let arrays = PyDict::new(py);
    let windows = conditions.len();
    let times: Vec<f64> = conditions
        .iter()
        .flat_map(|window| window.times.iter().copied())
        .collect();
    let frames = times.len() / windows.max(1);
    let constants: Option<Vec<f32>> = conditions
        .iter()
        .map(|window| window.constants.as_ref())
        .collect::<Option<Vec<_>>>()
        .map(|fields| {
            fields
                .iter()
                .flat_map(|field| field.data())
                .copied()
                .collect()
        });
    if let Some(values) = constants {
        let schema = dataset.schema();
        let (channels, space) = (schema.constant_channels().len(), schema.grid.shape());
        let mut fields = Frames::new(1, windows, channels, space, values)?;
        if !normalized {
            let normalizer = dataset.manifest().constant_normalizer()?;
            normalizer.denormalize(&mut fields);
        }
        arrays.set_item("constants", crate::arrays::of_frames(py, fields)?)?;
    }
    let ScalarNames { fixed, series } = names;
    let all = |names: &[String], frames: usize| -> Vec<f32> {
        let mut values = Vec::with_capacity(windows * frames * names.len());
        for window in conditions {
            for frame in 0..frames {
                let at = |name| window.scalars.get(name).and_then(|all| all.get(frame));
                values.extend(
                    names
                        .iter()
                        .map(|name| at(name).map_or(f32::NAN, |&x| x as f32)),
                );
            }
        }
        values
    };
    if !fixed.is_empty() {
        let values = crate::arrays::of_values(py, all(fixed, 1), &[windows, fixed.len()])?;
        arrays.set_item("constant_scalars", values)?;
    }
    if !series.is_empty() {
        let shape = [windows, frames, series.len()];
        let values = crate::arrays::of_values(py, all(series, frames), &shape)?;
        arrays.set_item("scalars", values)?;
    }
    arrays.set_item(
        "times",
        crate::arrays::of_values(py, times, &[windows, frames])?,
    )?;
    Ok(arrays)
}

/// What a batch has beside its frames, in the shapes of [`arrays`].
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct BatchConditions<'py> {
    constants: Option<PyReadonlyArrayDyn<'py, f32>>,
    constant_scalars: Option<PyReadonlyArray2<'py, f32>>,
    scalars: Option<PyReadonlyArray3<'py, f32>>,
    times: PyReadonlyArray2<'py, f64>,
}

impl BatchConditions<'_> {
    /// Those of each window. Windows are named by their place in the batch.
    pub fn of_windows(&self, names: &ScalarNames) -> Result<Vec<Conditions>> {
        let times = self.times.as_array();
        let (windows, frames) = times.dim();
        let constants = self.constants.as_ref().map(to_frames).transpose()?;
        let fixed = self.constant_scalars.as_ref().map(|held| held.as_array());
        let series = self.scalars.as_ref().map(|held| held.as_array());
        let widths = [
            (
                "constant_fields",
                constants.as_ref().map(|held| [held.batch(), 1]),
                1,
            ),
            (
                "constant_scalars",
                fixed.map(|held| held.dim().into()),
                names.fixed.len(),
            ),
            (
                "input_scalars",
                series.map(|held| [held.dim().0, held.dim().2]),
                names.series.len(),
            ),
        ];
        for (key, found, width) in widths {
            if found.is_some_and(|found| found != [windows, width]) {
                return Err(misuse(format!(
                    "{key} are of another batch or data set: expected {width} for each of {windows} windows"
                )));
            }
        }
        let of_window = |item: usize| {
            let mut scalars = BTreeMap::new();
            for (place, name) in names.fixed.iter().enumerate() {
                if let Some(held) = fixed {
                    scalars.insert(name.clone(), vec![f64::from(held[[item, place]]); frames]);
                }
            }
            for (place, name) in names.series.iter().enumerate() {
                if let Some(held) = series {
                    let frames = 0..held.dim().1;
                    let values = frames.map(|frame| f64::from(held[[item, frame, place]]));
                    scalars.insert(name.clone(), values.collect());
                }
            }
            Ok(Conditions {
                window: Window {
                    trajectory: item as u32,
                    start: 0,
                },
                constants: constants.as_ref().map(|held| Arc::new(of_item(held, item))),
                scalars,
                times: times.row(item).to_vec(),
            })
        };
        (0..windows).map(of_window).collect()
    }
}

/// One window of constant fields (1, B, C, *space): (1, 1, C, *space).
fn of_item(fields: &Frames, item: usize) -> Frames {
    let mut own = Frames::zeros(1, 1, fields.channels(), fields.space().to_vec());
    for channel in 0..fields.channels() {
        let cells = fields.channel(0, item, channel);
        own.channel_mut(0, 0, channel).copy_from_slice(cells);
    }
    own
}
