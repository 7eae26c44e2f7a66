//! The structure of a file, checked against The Well's layout before any field is read.

use std::collections::BTreeMap;

use hdf5::File;
use wellspring_store::{Axis, Field, Grid, Schema};

use super::attributes::Object;
use super::{GROUPS, Scalar, StoredField, WellFile, boundary};
use crate::Result;
use crate::source::Access;

pub(super) fn describe(file: File, access: &Access, named: &str) -> Result<WellFile> {
    let root = Object::root(&file, named)?;
    let samples = root.number("n_trajectories")?;
    if samples == 0 {
        return Err(root.layout("n_trajectories", "is zero"));
    }
    let grid = grid(&root)?;
    let times = times(&root, samples)?;
    let frames = times[0].len();
    let stored = fields(&root, &grid, samples, frames)?;
    let schema = Schema {
        name: root.text("dataset_name")?,
        fields: stored.iter().map(|stored| stored.field.clone()).collect(),
        grid,
    };
    schema.validate()?;
    let scalars = scalars(&root, samples, frames)?;
    Ok(WellFile {
        named: named.to_owned(),
        access: access.clone(),
        schema,
        stored,
        samples,
        frames,
        times,
        scalars,
        file,
    })
}

fn grid(root: &Object<'_>) -> Result<Grid> {
    let dimensions = root.group("dimensions")?;
    let names = dimensions.texts("spatial_dims")?;
    let expected = root.number("n_spatial_dims")?;
    if names.len() != expected || expected == 0 {
        return Err(dimensions.layout(
            "spatial_dims",
            format!("names {} axes, not {expected}", names.len()),
        ));
    }
    let boundaries = boundary::read(root, &names)?;
    let mut axes = Vec::new();
    for (name, boundary) in names.into_iter().zip(boundaries) {
        let points = dimensions
            .dataset(&name)?
            .shape()
            .last()
            .copied()
            .unwrap_or(0);
        let coordinates = dimensions.values(&name)?;
        if points == 0 {
            return Err(dimensions.layout(&name, "has no points"));
        }
        if coordinates[..points].iter().any(|x| !x.is_finite()) {
            return Err(dimensions.layout(&name, "has a coordinate that is not finite"));
        }
        axes.push(Axis {
            // Of coordinates that vary between samples or frames, the first.
            coordinates: coordinates[..points].to_vec(),
            name,
            boundary,
        });
    }
    Ok(Grid {
        kind: root.text("grid_type")?,
        axes,
    })
}

fn times(root: &Object<'_>, samples: usize) -> Result<Vec<Vec<f64>>> {
    let dimensions = root.group("dimensions")?;
    let dataset = dimensions.dataset("time")?;
    let frames = dataset.shape().last().copied().unwrap_or(0);
    let values = dimensions.values("time")?;
    if frames == 0 {
        return Err(dimensions.layout("time", "has no frames"));
    }
    let times: Vec<Vec<f64>> = values.chunks(frames).map(<[f64]>::to_vec).collect();
    if times.len() != 1 && times.len() != samples {
        return Err(dimensions.layout(
            "time",
            format!("has {} rows for {samples} trajectories", times.len()),
        ));
    }
    Ok(times)
}

fn fields(
    root: &Object<'_>,
    grid: &Grid,
    samples: usize,
    frames: usize,
) -> Result<Vec<StoredField>> {
    let mut stored = Vec::new();
    for (group_name, order) in GROUPS {
        let Some(group) = root.group_opt(group_name) else {
            continue;
        };
        for name in group.texts("field_names")? {
            let dataset = group.dataset(&name)?;
            let field = Field {
                time_varying: group.flag(&dataset, "time_varying", true)?,
                sample_varying: group.flag(&dataset, "sample_varying", true)?,
                order,
                name: name.clone(),
            };
            let mut dim_varying = group.flags(&dataset, "dim_varying")?;
            dim_varying.resize(grid.ndim(), true);
            let mut expected = Vec::new();
            expected.extend(field.sample_varying.then_some(samples));
            expected.extend(field.time_varying.then_some(frames));
            expected.extend(
                grid.shape()
                    .iter()
                    .zip(&dim_varying)
                    .filter_map(|(&n, &varies)| varies.then_some(n)),
            );
            expected.extend(vec![grid.ndim(); order as usize]);
            if dataset.shape() != expected {
                let reason = format!("has shape {:?}, not {expected:?}", dataset.shape());
                return Err(group.layout(&name, reason));
            }
            stored.push(StoredField {
                path: format!("{group_name}/{name}"),
                field,
                dim_varying,
            });
        }
    }
    if stored.is_empty() {
        return Err(root.layout("t0_fields, t1_fields and t2_fields", "name no field"));
    }
    Ok(stored)
}

fn scalars(root: &Object<'_>, samples: usize, frames: usize) -> Result<BTreeMap<String, Scalar>> {
    let mut scalars = BTreeMap::new();
    let Some(group) = root.group_opt("scalars") else {
        return Ok(scalars);
    };
    for name in group.texts("field_names")? {
        let dataset = group.dataset(&name)?;
        let scalar = Scalar {
            sample_varying: group.flag(&dataset, "sample_varying", false)?,
            time_varying: group.flag(&dataset, "time_varying", false)?,
            values: group.values(&name)?,
        };
        let expected = if scalar.sample_varying { samples } else { 1 }
            * if scalar.time_varying { frames } else { 1 };
        if scalar.values.len() != expected || scalar.values.iter().any(|value| !value.is_finite()) {
            return Err(group.layout(&name, format!("is not {expected} finite numbers")));
        }
        scalars.insert(name, scalar);
    }
    Ok(scalars)
}
