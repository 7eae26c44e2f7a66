//! What windows are given beside their frames, as arrays.

use std::collections::BTreeSet;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use wellspring_store::{Conditions, Dataset, Frames, Manifest};

use crate::failure::Result;

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
