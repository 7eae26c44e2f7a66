//! Applies a selection to a source: which fields, trajectories, cells and frames are taken.

use wellspring_store::{Axis, AxisSelection, Boundary, Grid, Schema, Selection};

use crate::{Error, Result};

/// The cells to take along each axis of a grid. One selection goes for all axes.
///
/// # Errors
/// [`Error::Selection`] for another number of axes than the grid has, or cells that it has not.
pub(crate) fn space(selection: &Selection, grid: &Grid) -> Result<Vec<AxisSelection>> {
    let shape = grid.shape();
    if selection.space.is_empty() {
        return Ok(shape.into_iter().map(AxisSelection::whole).collect());
    }
    let taken = match selection.space.as_slice() {
        [only] => vec![*only; shape.len()],
        axes => axes.to_vec(),
    };
    if taken.len() != shape.len() {
        let found = selection.space.len();
        let reason = format!(
            "{found} axes are selected of a grid that has {}",
            shape.len()
        );
        return Err(Error::Selection { reason });
    }
    let mut axes = Vec::new();
    for (taken, axis) in taken.into_iter().zip(&grid.axes) {
        let cells = axis.coordinates.len();
        // An end beyond any grid stands for the last cell.
        let taken = AxisSelection {
            end: if taken.end == usize::MAX {
                cells
            } else {
                taken.end
            },
            stride: taken.stride.max(1),
            ..taken
        };
        if taken.start >= taken.end || taken.end > cells {
            let reason = format!(
                "cells {}..{} are selected of axis {}, which has {cells}",
                taken.start, taken.end, axis.name
            );
            return Err(Error::Selection { reason });
        }
        axes.push(taken);
    }
    Ok(axes)
}

/// Trajectories that are left out: pattern of the file, and sample.
///
/// # Errors
/// [`Error::Selection`] for one that is not `FILE#SAMPLE`.
pub(crate) fn left_out(selection: &Selection) -> Result<Vec<(&str, usize)>> {
    fn parsed(text: &str) -> Option<(&str, usize)> {
        let (file, sample) = text.rsplit_once('#')?;
        Some((file, sample.parse().ok()?)).filter(|(file, _)| !file.is_empty())
    }
    let each = |text| {
        let reason = || format!("{text} is not a trajectory such as a.hdf5#3");
        parsed(text).ok_or_else(|| Error::Selection { reason: reason() })
    };
    let texts = selection.exclude_trajectories.iter();
    texts.map(|text| each(text)).collect()
}

/// The schema of what is taken.
///
/// # Errors
/// [`Error::Selection`] for a field that is not there, or a stride that leaves a periodic axis
/// uneven.
pub(crate) fn schema(
    selection: &Selection,
    space: &[AxisSelection],
    whole: &Schema,
) -> Result<Schema> {
    let axes = whole.grid.axes.iter().zip(space);
    let schema = Schema {
        name: selection.name.clone().unwrap_or(whole.name.clone()),
        grid: Grid {
            kind: whole.grid.kind.clone(),
            axes: axes
                .map(|(axis, taken)| cut(axis, *taken))
                .collect::<Result<_>>()?,
        },
        fields: taken_fields(selection, whole)?
            .into_iter()
            .map(|index| whole.fields[index].clone())
            .collect(),
    };
    schema.validate()?;
    Ok(schema)
}

/// The indices of the fields to take, in the order of the source.
pub(crate) fn taken_fields(selection: &Selection, whole: &Schema) -> Result<Vec<usize>> {
    let known = |name: &String| whole.fields.iter().any(|field| field.name == *name);
    if let Some(unknown) = selection.fields.iter().find(|name| !known(name)) {
        let names: Vec<&str> = whole
            .fields
            .iter()
            .map(|field| field.name.as_str())
            .collect();
        let reason = format!("there is no field {unknown}; there are {}", names.join(" "));
        return Err(Error::Selection { reason });
    }
    let fields = whole.fields.iter().enumerate();
    Ok(fields
        .filter(|(_, field)| selection.fields.is_empty() || selection.fields.contains(&field.name))
        .map(|(index, _)| index)
        .collect())
}

/// An axis with fewer cells. What is cut off leaves an open end; a stride keeps a period only where
/// it divides it.
fn cut(axis: &Axis, taken: AxisSelection) -> Result<Axis> {
    let cells = axis.coordinates.len();
    let whole = taken.start == 0 && taken.end == cells;
    let periodic = axis.boundary == [Boundary::Periodic; 2];
    if whole && periodic && !cells.is_multiple_of(taken.stride) {
        let reason = format!(
            "a stride of {} does not divide the {cells} cells of the periodic axis {}",
            taken.stride, axis.name
        );
        return Err(Error::Selection { reason });
    }
    let mut boundary = axis.boundary;
    if taken.start > 0 || (periodic && !whole) {
        boundary[0] = Boundary::Open;
    }
    if taken.end < cells || (periodic && !whole) {
        boundary[1] = Boundary::Open;
    }
    Ok(Axis {
        name: axis.name.clone(),
        coordinates: taken.cells().map(|cell| axis.coordinates[cell]).collect(),
        boundary,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn axis(boundary: [Boundary; 2]) -> Axis {
        Axis {
            name: "x".into(),
            coordinates: (0..8).map(f64::from).collect(),
            boundary,
        }
    }

    #[test]
    fn what_is_cut_off_leaves_an_open_end() {
        use Boundary::{Open, Periodic, Wall};
        let taken = |start, end, stride| AxisSelection { start, end, stride };
        let half = cut(&axis([Periodic; 2]), taken(0, 4, 1)).unwrap();
        assert_eq!(half.boundary, [Open; 2]);
        let coarse = cut(&axis([Periodic; 2]), taken(0, 8, 2)).unwrap();
        assert_eq!(
            (coarse.boundary, coarse.coordinates),
            ([Periodic; 2], vec![0.0, 2.0, 4.0, 6.0])
        );
        assert!(cut(&axis([Periodic; 2]), taken(0, 8, 3)).is_err());
        let upper = cut(&axis([Wall; 2]), taken(2, 8, 3)).unwrap();
        assert_eq!(
            (upper.boundary, upper.coordinates),
            ([Open, Wall], vec![2.0, 5.0])
        );
    }
}
