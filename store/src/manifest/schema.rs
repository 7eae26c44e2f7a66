//! The schema of a data set: its grid and its fields, in The Well's terms.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Boundary condition at one end of an axis; The Well has three kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Boundary {
    /// A wall.
    Wall,
    /// Open: things flow out.
    Open,
    /// Periodic: the axis continues at its other end.
    Periodic,
}

impl Boundary {
    /// The Well's code: wall 0, open 1, periodic 2.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// An axis of the grid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Axis {
    /// "x", "y", "z", ...
    pub name: String,
    /// Coordinates of the grid points, in the simulation's units.
    pub coordinates: Vec<f64>,
    /// Boundary types at the low and the high end.
    pub boundary: [Boundary; 2],
}

/// The points at which fields are known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Grid {
    /// The Well's grid type, "cartesian" for most.
    pub kind: String,
    /// The axes, slowest first.
    pub axes: Vec<Axis>,
}

impl Grid {
    /// Grid points along each axis.
    #[must_use]
    pub fn shape(&self) -> Vec<usize> {
        self.axes
            .iter()
            .map(|axis| axis.coordinates.len())
            .collect()
    }

    /// Total number of grid points.
    #[must_use]
    pub fn cells(&self) -> usize {
        self.shape().iter().product()
    }

    /// Number of spatial axes.
    #[must_use]
    pub fn ndim(&self) -> usize {
        self.axes.len()
    }
}

/// Rank of a field at a point: The Well's t0, t1 and t2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TensorOrder {
    /// A number (t0).
    Scalar,
    /// A number for each axis (t1).
    Vector,
    /// A number for each pair of axes (t2).
    Tensor,
}

/// A physical field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Name as in the source: "pressure", "velocity", "D".
    pub name: String,
    /// Rank of the field.
    pub order: TensorOrder,
    /// Whether it differs from frame to frame.
    pub time_varying: bool,
    /// Whether it differs from trajectory to trajectory.
    pub sample_varying: bool,
}

impl Field {
    /// The field's channels as The Well flattens them: `velocity_x`, `D_xy`; row-major over axes.
    #[must_use]
    pub fn channels(&self, grid: &Grid) -> Vec<String> {
        let axes = || grid.axes.iter().map(|axis| axis.name.as_str());
        let name = &self.name;
        match self.order {
            TensorOrder::Scalar => vec![name.clone()],
            TensorOrder::Vector => axes().map(|i| format!("{name}_{i}")).collect(),
            TensorOrder::Tensor => axes()
                .flat_map(|i| axes().map(move |j| format!("{name}_{i}{j}")))
                .collect(),
        }
    }
}

/// Grid and fields of a data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    /// The data set's name.
    pub name: String,
    /// The grid on which the fields are given.
    pub grid: Grid,
    /// Fields in The Well's order: t0, then t1, then t2.
    pub fields: Vec<Field>,
}

/// A tensor has as many components for each axis.
const MOST_AXES: usize = 8;

impl Schema {
    /// A periodic box of unit cells, with a number of points along each axis and fields that differ from frame to
    /// frame and from trajectory to trajectory.
    #[must_use]
    pub fn periodic(name: &str, axes: &[(&str, usize)], fields: &[(&str, TensorOrder)]) -> Self {
        let axis = |&(name, points): &(&str, usize)| Axis {
            name: name.into(),
            coordinates: (0..points).map(|i| i as f64).collect(),
            boundary: [Boundary::Periodic; 2],
        };
        let field = |&(name, order): &(&str, TensorOrder)| Field {
            name: name.into(),
            order,
            time_varying: true,
            sample_varying: true,
        };
        Self {
            name: name.into(),
            grid: Grid {
                kind: "cartesian".into(),
                axes: axes.iter().map(axis).collect(),
            },
            fields: fields.iter().map(field).collect(),
        }
    }

    /// The channels that vary in time, in order: what models see.
    #[must_use]
    pub fn channels(&self) -> Vec<String> {
        self.channels_where(|field| field.time_varying)
    }

    /// The channels that do not vary in time.
    #[must_use]
    pub fn constant_channels(&self) -> Vec<String> {
        self.channels_where(|field| !field.time_varying)
    }

    fn channels_where(&self, wanted: impl Fn(&Field) -> bool) -> Vec<String> {
        self.fields
            .iter()
            .filter(|field| wanted(field))
            .flat_map(|field| field.channels(&self.grid))
            .collect()
    }

    /// Boundary types, low and high side of each axis.
    #[must_use]
    pub fn boundaries(&self) -> Vec<[Boundary; 2]> {
        self.grid.axes.iter().map(|axis| axis.boundary).collect()
    }

    /// Checks that the parts fit one another.
    ///
    /// # Errors
    /// [`Error::Malformed`] for an empty grid, no field that varies in time, two channels of one
    /// name, or one named as a column of the shards; [`Error::FrameTooLarge`].
    pub fn validate(&self) -> Result<()> {
        let wrong =
            |reason: String| Err(Error::malformed(format!("schema of {}", self.name), reason));
        let limit = i32::MAX as usize;
        if self.grid.axes.is_empty() {
            return wrong("the grid has no axis".into());
        }
        if self.grid.axes.len() > MOST_AXES {
            return wrong(format!("the grid has more than {MOST_AXES} axes"));
        }
        if let Some(axis) = self
            .grid
            .axes
            .iter()
            .find(|axis| axis.coordinates.is_empty())
        {
            return wrong(format!("axis {} has no points", axis.name));
        }
        let cells = self
            .grid
            .shape()
            .iter()
            .try_fold(1_usize, |product, &n| product.checked_mul(n));
        match cells {
            Some(cells) if cells <= limit => {}
            cells => {
                return Err(Error::FrameTooLarge {
                    cells: cells.unwrap_or(usize::MAX),
                    limit,
                });
            }
        }
        let channels = self.channels();
        if channels.is_empty() {
            return wrong("no field varies in time".into());
        }
        let mut seen =
            std::collections::BTreeSet::from(["trajectory", "step", "time"].map(String::from));
        for channel in channels.into_iter().chain(self.constant_channels()) {
            if !seen.insert(channel.clone()) {
                return wrong(format!("the column name {channel} is taken twice"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn plane() -> Schema {
        let mut schema = crate::sample::schema();
        schema.fields.push(Field {
            name: "D".into(),
            order: TensorOrder::Tensor,
            time_varying: true,
            sample_varying: true,
        });
        schema
    }

    #[test]
    fn channels_are_named_as_the_well_flattens_them() {
        let expected = [
            "pressure",
            "velocity_x",
            "velocity_y",
            "D_xx",
            "D_xy",
            "D_yx",
            "D_yy",
        ];
        assert_eq!(plane().channels(), expected);
        assert_eq!(plane().constant_channels(), ["mask"]);
    }

    #[test]
    fn a_name_taken_twice_is_refused() {
        let mut schema = plane();
        schema.validate().unwrap();
        schema.fields[0].name = "time".into();
        assert!(schema.validate().unwrap_err().to_string().contains("time"));
        let mut schema = plane();
        schema.grid.axes[1].coordinates.clear();
        assert!(schema.validate().is_err());
    }
}
