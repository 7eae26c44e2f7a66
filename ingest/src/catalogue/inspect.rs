//! Describes the contents of one HDF5 file for a person.

use std::fmt;

use wellspring_store::{AxisSelection, Frames, Location, Schema, Selection};

use crate::catalogue::selection;
use crate::catalogue::source::SourceFile;
use crate::source::Access;
use crate::well::{FieldReader, OpenFile, WellFile};
use crate::{Error, Result};

/// A file's content, displayed as a short table.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    text: String,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Looks at a file wherever it is, without reading its fields: of one in a bucket or behind a web
/// server, little more than its structure is fetched.
///
/// # Errors
/// [`Error::Open`] and [`Error::Layout`] when it is not in The Well's layout; [`Error::Store`] and
/// [`Error::Bytes`] when it cannot be fetched.
pub async fn inspect(place: &Location) -> Result<Summary> {
    hdf5::silence_errors(true);
    let file = SourceFile::single(place.clone());
    let look = |access: &Access, named: &str| summary(&WellFile::open(access, named)?);
    file.on_a_thread(look).await
}

fn summary(file: &WellFile) -> Result<Summary> {
    let schema = &file.schema;
    let shape: Vec<String> = schema.grid.shape().iter().map(usize::to_string).collect();
    let times = file.times(0);
    let mut lines = vec![
        format!("data set      {}", schema.name),
        format!("grid          {} {}", schema.grid.kind, shape.join(" × ")),
        format!("trajectories  {}", file.samples),
        format!(
            "frames        {}, time {} to {}",
            file.frames,
            times[0],
            times[times.len() - 1]
        ),
    ];
    for axis in &schema.grid.axes {
        let [low, high] = axis.boundary.map(|side| format!("{side:?}").to_lowercase());
        let ends = (
            axis.coordinates[0],
            axis.coordinates[axis.coordinates.len() - 1],
        );
        lines.push(format!(
            "axis {:<8} {} to {}, {low} below and {high} above",
            axis.name, ends.0, ends.1
        ));
    }
    for (name, value) in file.parameters(0) {
        lines.push(format!("scalar {name:<6} {value}"));
    }
    for stored in &schema.fields {
        let storage = file.storage(&stored.name)?;
        lines.push(format!("field {:<7} {storage}", stored.name));
    }
    Ok(Summary {
        text: lines.join("\n") + "\n",
    })
}

/// Reads one frame of a file, in its own units: (1, 1, C, *space), with the channels of the schema.
///
/// # Errors
/// As [`inspect`]; [`Error::Selection`] for a sample or step that is not there, and
/// [`Error::NotFinite`].
pub async fn read_frame(place: &Location, sample: usize, step: usize) -> Result<(Schema, Frames)> {
    hdf5::silence_errors(true);
    let file = SourceFile::single(place.clone());
    let read =
        move |access: &Access, named: &str| frame(&OpenFile::open(access, named)?, sample, step);
    file.on_a_thread(read).await
}

fn frame(file: &OpenFile, sample: usize, step: usize) -> Result<(Schema, Frames)> {
    let schema = file.well.schema.clone();
    if sample >= file.well.samples || step >= file.well.frames {
        let (samples, frames) = (file.well.samples, file.well.frames);
        let reason = format!(
            "there is no frame {step} of trajectory {sample}: the file has {samples} trajectories of \
             {frames} frames"
        );
        return Err(Error::Selection { reason });
    }
    let space: Vec<AxisSelection> = selection::space(&Selection::default(), &schema.grid)?;
    let (cells, row) = (
        schema.grid.cells(),
        schema.grid.cells() / schema.grid.shape()[0],
    );
    let mut frame = Frames::zeros(1, 1, schema.channels().len(), schema.grid.shape());
    let mut planes: Vec<&mut [f32]> = frame.data_mut().chunks_mut(cells).collect();
    let mut first = 0;
    for (index, field) in schema.fields.iter().enumerate() {
        if !field.time_varying {
            continue;
        }
        let count = field.channels(&schema.grid).len();
        let mut reader = FieldReader::new(file, index, &space);
        for slab in reader.slabs() {
            let at = slab.rows.start * row..slab.rows.end * row;
            let own = planes[first..first + count].iter_mut();
            let mut own: Vec<&mut [f32]> = own.map(|plane| &mut plane[at.clone()]).collect();
            reader.raw_planes(sample, step, &slab, &mut own)?;
        }
        first += count;
    }
    Ok((schema, frame))
}
