//! Metrics of arrays, (N, *space, C): The Well's layout.

use numpy::PyReadonlyArrayDyn;
use numpy::ndarray::{ArrayView1, ArrayViewD, Axis};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use rayon::prelude::*;
use wellspring_eval::{FieldMetrics, Score, Spatial};

use crate::arrays;
use crate::failure::{Result, misuse};
use crate::threads::claim;

/// Fields of a frame, each of whose cells follow one another.
struct Channels {
    cells: usize,
    values: Vec<f32>,
}

impl Channels {
    /// The channels of one frame (*space, C).
    fn of(frame: &ArrayViewD<'_, f32>) -> Self {
        let channels = frame.shape().last().copied().unwrap_or(0);
        let cells = frame.len() / channels.max(1);
        let mut values = vec![0.0; frame.len()];
        match frame.as_slice() {
            // As The Well has them: neighbours are the channels of one cell.
            Some(stored) => {
                for (cell, of_cell) in stored.chunks_exact(channels.max(1)).enumerate() {
                    for (channel, &value) in of_cell.iter().enumerate() {
                        values[channel * cells + cell] = value;
                    }
                }
            }
            None => {
                let axis = Axis(frame.ndim() - 1);
                let fields = values.chunks_exact_mut(cells.max(1));
                for (into, field) in fields.zip(frame.axis_iter(axis)) {
                    match field.as_slice() {
                        Some(stored) => into.copy_from_slice(stored),
                        None => into.iter_mut().zip(&field).for_each(|(to, &x)| *to = x),
                    }
                }
            }
        }
        Self { cells, values }
    }

    fn fields(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.cells.max(1))
    }
}

/// The grid of frames (N, *space, C).
fn space(shape: &[usize]) -> Result<&[usize]> {
    match shape {
        [_, space @ .., _] if !space.is_empty() && shape.iter().all(|&n| n > 0) => Ok(space),
        _ => Err(misuse(format!(
            "fields of shape {shape:?}: expected (..., *space, channels), and none of them 0"
        ))),
    }
}

/// Frames in turn, on all cores, with their channels in order.
fn by_field<T: Send>(
    py: Python<'_>,
    frames: &[&PyReadonlyArrayDyn<'_, f32>],
    measure: impl Fn(&[&[f32]]) -> Result<T, wellspring_eval::Error> + Sync,
) -> Result<Vec<T>> {
    claim()?;
    let views: Vec<ArrayViewD<'_, f32>> = frames.iter().map(|array| array.as_array()).collect();
    let count = views[0].shape()[0];
    let measured: Result<Vec<Vec<T>>, wellspring_eval::Error> = py.detach(|| {
        let of_frame = |n: usize| {
            let channels: Vec<Channels> = views
                .iter()
                .map(|view| Channels::of(&view.index_axis(Axis(0), n)))
                .collect();
            let fields: Vec<Vec<&[f32]>> =
                channels.iter().map(|all| all.fields().collect()).collect();
            let each = 0..fields[0].len();
            each.map(|c| measure(&fields.iter().map(|of| of[c]).collect::<Vec<_>>()))
                .collect()
        };
        (0..count).into_par_iter().map(of_frame).collect()
    });
    Ok(measured?.into_iter().flatten().collect())
}

/// Metrics of predictions, (N, *space, C), against the truth: arrays (N, C) by name, and with `spectral` arrays (N, C, bands) of
/// errors by band, and their edges.
#[pyfunction]
pub fn score<'py>(
    py: Python<'py>,
    prediction: PyReadonlyArrayDyn<'py, f32>,
    truth: PyReadonlyArrayDyn<'py, f32>,
    spectral: bool,
    bands: Option<Vec<f32>>,
) -> Result<Bound<'py, PyDict>> {
    let shape = truth.as_array().shape().to_vec();
    if prediction.as_array().shape() != shape {
        return Err(misuse(format!(
            "a prediction of shape {:?} against a truth of shape {shape:?}",
            prediction.as_array().shape()
        )));
    }
    let space = space(&shape)?;
    let found = PyDict::new(py);
    let of_field = [shape[0], shape[shape.len() - 1]];
    let put = |name: &str, values: Vec<f64>, more: &[usize]| -> Result<()> {
        let shape = [&of_field, more].concat();
        Ok(found.set_item(name, arrays::of_values(py, values, &shape)?)?)
    };
    if !spectral {
        let of = |fields: &[&[f32]]| Ok(Spatial::of(fields[0], fields[1]));
        let all = by_field(py, &[&truth, &prediction], of)?;
        for (i, name) in Spatial::NAMES.iter().enumerate() {
            put(name, all.iter().map(|one| one.values()[i]).collect(), &[])?;
        }
        return Ok(found);
    }
    let metrics = FieldMetrics::new(space)?;
    let metrics = match bands {
        Some(edges) => metrics.with_bands(edges)?,
        None => metrics,
    };
    let of = |fields: &[&[f32]]| metrics.score(fields[0], fields[1]);
    let all: Vec<Score> = by_field(py, &[&truth, &prediction], of)?;
    let count = all.first().map_or(0, |score| score.bands.len());
    let bands = || all.iter().flat_map(|score| &score.bands);
    put("mse", bands().map(|band| band.mse).collect(), &[count])?;
    put("nmse", bands().map(|band| band.nmse).collect(), &[count])?;
    let of_prediction = all
        .iter()
        .flat_map(|score| score.bands_of_prediction.iter());
    put(
        "nmse_of_prediction",
        of_prediction.copied().collect(),
        &[count],
    )?;
    let edges = all.first().map_or_else(Vec::new, |score| {
        let lows = score.bands.iter().map(|band| band.low);
        lows.chain(score.bands.last().map(|band| band.high))
            .collect()
    });
    let edge_count = edges.len();
    found.set_item("edges", arrays::of_values(py, edges, &[edge_count])?)?;
    Ok(found)
}

/// The Well's isotropic power spectrum of fields, (N, *space, C): edges of its bins in radians per cell, and the mean
/// |X|² in each, (N, C, bins).
#[pyfunction]
pub fn spectrum<'py>(
    py: Python<'py>,
    fields: PyReadonlyArrayDyn<'py, f32>,
) -> Result<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    let shape = fields.as_array().shape().to_vec();
    let metrics = FieldMetrics::new(space(&shape)?)?;
    let all = by_field(py, &[&fields], |fields| metrics.spectrum(fields[0]))?;
    let edges = all
        .first()
        .map_or_else(Vec::new, |(edges, _)| edges.clone());
    let bins = edges.len().saturating_sub(1);
    let power = all.into_iter().flat_map(|(_, power)| power).collect();
    let count = edges.len();
    Ok((
        arrays::of_values(py, edges, &[count])?,
        arrays::of_values(py, power, &[shape[0], shape[shape.len() - 1], bins])?,
    ))
}

/// The patch-artefact ratio of a residual field's energy by whole waves along an axis of `n` cells.
#[pyfunction]
pub fn artefact_ratio(
    residual: numpy::PyReadonlyArray1<'_, f64>,
    n: usize,
    patch: usize,
) -> Option<f64> {
    let residual: ArrayView1<'_, f64> = residual.as_array();
    wellspring_eval::artefact_ratio(&residual.to_vec(), n, patch)
}
