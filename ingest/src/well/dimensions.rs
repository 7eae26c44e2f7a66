//! Coordinates and times: one list for all trajectories of a file, or one for each.

use wellspring_store::{Axis, Boundary};

use super::attributes::Object;
use crate::Result;

/// A list of numbers for each trajectory, or one for all.
#[derive(Debug)]
pub(super) struct Rows(Vec<Vec<f64>>);

impl Rows {
    pub(super) fn of(&self, sample: usize) -> &[f64] {
        let row = self.0.get(sample).or(self.0.first());
        row.map_or(&[], Vec::as_slice)
    }
}

/// Coordinates along each of the named axes. Of coordinates that move, those of the first frame.
pub(super) fn coordinates(
    dimensions: &Object<'_>,
    names: &[String],
    samples: usize,
    remarks: &mut Vec<String>,
) -> Result<Vec<Rows>> {
    let mut axes = Vec::new();
    for name in names {
        let rows = rows(dimensions, name, samples, remarks)?;
        if rows.0.iter().flatten().any(|x| !x.is_finite()) {
            return Err(dimensions.layout(name, "has a coordinate that is not finite"));
        }
        axes.push(rows);
    }
    Ok(axes)
}

/// The named axes, with the coordinates of the first trajectory.
pub(super) fn axes(
    names: Vec<String>,
    coordinates: &[Rows],
    boundaries: Vec<[Boundary; 2]>,
) -> Vec<Axis> {
    let axes = names.into_iter().zip(coordinates).zip(boundaries);
    axes.map(|((name, coordinates), boundary)| Axis {
        name,
        coordinates: coordinates.of(0).to_vec(),
        boundary,
    })
    .collect()
}

/// The times of frames, which older files have for each trajectory without saying so.
pub(super) fn times(
    dimensions: &Object<'_>,
    samples: usize,
    remarks: &mut Vec<String>,
) -> Result<Rows> {
    let shape = dimensions.dataset("time")?.shape();
    let (frames, rows) = extent(dimensions, "time", &shape)?;
    let values = dimensions.values("time")?;
    let found = values.chunks(frames).map(<[f64]>::to_vec).collect();
    match rows {
        1 => Ok(Rows(found)),
        _ => for_samples(dimensions, "time", found, samples, remarks),
    }
}

/// The last extent of a shape, and how many lists of that length there are.
fn extent(dimensions: &Object<'_>, name: &str, shape: &[usize]) -> Result<(usize, usize)> {
    match shape.split_last() {
        Some((&length, before)) if !shape.contains(&0) => Ok((length, before.iter().product())),
        _ => {
            let reason = format!("has shape {shape:?}, which has no points");
            Err(dimensions.layout(name, reason))
        }
    }
}

/// The coordinates along an axis, of shape (samples, frames, points), where the first two may be absent.
fn rows(
    dimensions: &Object<'_>,
    name: &str,
    samples: usize,
    remarks: &mut Vec<String>,
) -> Result<Rows> {
    let dataset = dimensions.dataset(name)?;
    let shape = dataset.shape();
    let (points, rows) = extent(dimensions, name, &shape)?;
    let by_sample = dimensions.flag(&dataset, "sample_varying", false)? && shape.len() > 1;
    // Lists between that of one trajectory and that of the next: those of its frames.
    let every = if by_sample { rows / shape[0] } else { rows };
    if every > 1 && dimensions.flag(&dataset, "time_varying", false)? {
        remarks.push(format!(
            "dimensions/{name} moves in time: the coordinates of the first frame are kept as the axis's"
        ));
    }
    let values = dimensions.values(name)?;
    let found = values.chunks(points).step_by(every.max(1));
    let found: Vec<Vec<f64>> = found.map(<[f64]>::to_vec).collect();
    match by_sample {
        true => for_samples(dimensions, name, found, samples, remarks),
        false => Ok(Rows(found)),
    }
}

/// Keeps as many lists as there are trajectories; fewer are an error.
fn for_samples(
    dimensions: &Object<'_>,
    name: &str,
    mut rows: Vec<Vec<f64>>,
    samples: usize,
    remarks: &mut Vec<String>,
) -> Result<Rows> {
    if rows.len() < samples {
        let reason = format!("has {} rows for {samples} trajectories", rows.len());
        return Err(dimensions.layout(name, reason));
    }
    if rows.len() > samples {
        remarks.push(super::longer(
            &format!("dimensions/{name}"),
            rows.len(),
            samples,
        ));
        rows.truncate(samples);
    }
    Ok(Rows(rows))
}
