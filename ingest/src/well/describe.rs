//! Checks the structure of a file against The Well's layout, before any field is read.

use hdf5::File;
use wellspring_store::{Field, Grid, Schema, TensorOrder};

use super::attributes::Object;
use super::{GROUPS, StoredField, WellFile, boundary, dimensions, scalars};
use crate::Result;
use crate::source::Access;

pub(super) fn describe(file: File, access: &Access, named: &str) -> Result<WellFile> {
    let mut remarks = Vec::new();
    let root = Object::root(&file, named)?;
    let dimensions = root.group("dimensions")?;
    let axes = axes(&root, &dimensions)?;
    let headers = headers(&root)?;
    let samples = samples(&root, &headers, &mut remarks)?;
    let coordinates = dimensions::coordinates(&dimensions, &axes, samples, &mut remarks)?;
    let boundaries = boundary::read(&root, &axes, &mut remarks)?;
    let times = dimensions::times(&dimensions, samples, &mut remarks)?;
    let frames = times.of(0).len();
    // A data set numbers its frames in 32 bits.
    if u32::try_from(frames).is_err() || u32::try_from(samples).is_err() {
        let reason = "has more trajectories or frames than a data set can number";
        return Err(root.layout("dimensions/time", reason));
    }
    let grid = Grid {
        kind: root.text("grid_type")?,
        axes: dimensions::axes(axes, &coordinates, boundaries),
    };
    let stored = fields(&root, headers, &grid, samples, frames)?;
    let schema = Schema {
        name: root.text("dataset_name")?,
        fields: stored.iter().map(|stored| stored.field.clone()).collect(),
        grid,
    };
    schema.validate()?;
    Ok(WellFile {
        scalars: scalars::read(&root, samples, frames, &mut remarks)?,
        named: named.to_owned(),
        access: access.clone(),
        schema,
        stored,
        samples,
        frames,
        times,
        coordinates,
        remarks,
        file,
    })
}

/// The names of the axes of space.
fn axes(root: &Object<'_>, dimensions: &Object<'_>) -> Result<Vec<String>> {
    let names = dimensions.texts("spatial_dims")?;
    let expected = root.number("n_spatial_dims")?;
    match names.len() == expected && expected > 0 {
        true => Ok(names),
        false => {
            let reason = format!("names {} axes, not {expected}", names.len());
            Err(dimensions.layout("spatial_dims", reason))
        }
    }
}

/// What a field says of itself.
struct Header {
    group: &'static str,
    field: Field,
    /// Whether the field varies along each axis, as far as the file says.
    dim_varying: Vec<bool>,
    shape: Vec<usize>,
}

fn headers(root: &Object<'_>) -> Result<Vec<Header>> {
    let mut headers = Vec::new();
    for (group_name, order) in GROUPS {
        let Some(group) = root.group_opt(group_name)? else {
            continue;
        };
        for name in group.texts("field_names")? {
            headers.push(header(&group, group_name, order, name)?);
        }
    }
    match headers.is_empty() {
        true => Err(root.layout("t0_fields, t1_fields and t2_fields", "name no field")),
        false => Ok(headers),
    }
}

fn header(
    at: &Object<'_>,
    group: &'static str,
    order: TensorOrder,
    name: String,
) -> Result<Header> {
    let dataset = at.dataset(&name)?;
    Ok(Header {
        group,
        field: Field {
            time_varying: at.flag(&dataset, "time_varying", true)?,
            sample_varying: at.flag(&dataset, "sample_varying", true)?,
            order,
            name,
            transform: None,
        },
        dim_varying: at.flags(&dataset, "dim_varying")?,
        shape: dataset.shape(),
    })
}

/// How many trajectories there are: as many as the file says, unless its fields hold fewer. The Well's
/// own script to remove one leaves the number as it was.
fn samples(root: &Object<'_>, headers: &[Header], remarks: &mut Vec<String>) -> Result<usize> {
    let said = root.number("n_trajectories")?;
    let mut varying = headers.iter().filter(|header| header.field.sample_varying);
    let held = match varying.next() {
        Some(header) => header.shape.first().copied().unwrap_or(0),
        // All trajectories would be the same one.
        None => 1,
    };
    if said == 0 || held == 0 {
        return Err(root.layout("n_trajectories", "is zero, or its fields hold none"));
    }
    if held < said {
        remarks.push(format!(
            "n_trajectories is {said}, and the fields hold {held}: these are taken"
        ));
    }
    Ok(said.min(held))
}

fn fields(
    root: &Object<'_>,
    headers: Vec<Header>,
    grid: &Grid,
    samples: usize,
    frames: usize,
) -> Result<Vec<StoredField>> {
    let mut stored = Vec::new();
    for header in headers {
        let Header {
            group,
            field,
            mut dim_varying,
            shape,
        } = header;
        dim_varying.resize(grid.ndim(), true);
        let mut expected = Vec::new();
        expected.extend(field.sample_varying.then_some(samples));
        expected.extend(field.time_varying.then_some(frames));
        let space = grid.shape().into_iter().zip(&dim_varying);
        expected.extend(space.filter_map(|(n, &varies)| varies.then_some(n)));
        expected.extend(vec![grid.ndim(); field.order as usize]);
        let path = format!("{group}/{}", field.name);
        if shape != expected {
            let reason = format!("has shape {shape:?}, not {expected:?}");
            return Err(root.layout(&path, reason));
        }
        stored.push(StoredField {
            path,
            field,
            dim_varying,
        });
    }
    Ok(stored)
}
