//! What is in one HDF5 file, for a person to read.

use std::fmt;
use std::path::Path;

use crate::Result;
use crate::well::WellFile;

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

/// Looks at a file without reading its fields.
///
/// # Errors
/// [`crate::Error::Open`] and [`crate::Error::Layout`] when it is not in The Well's layout.
pub fn inspect(path: &Path) -> Result<Summary> {
    hdf5::silence_errors(true);
    let file = WellFile::open(path, &path.display().to_string())?;
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
        let storage = file.storage(&stored.name);
        lines.push(format!("field {:<7} {storage}", stored.name));
    }
    Ok(Summary {
        text: lines.join("\n") + "\n",
    })
}
