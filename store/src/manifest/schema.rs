//! The schema of a data set: its grid and its fields, in The Well's terms.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Error, Result, Transform};

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
    /// What its values go through before they are normalized; none where they stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transform: Option<Transform>,
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
            transform: None,
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

    /// The channels that vary in time, or those that do not, each with its transform.
    #[must_use]
    pub fn channel_transforms(&self, time_varying: bool) -> Vec<(String, Option<Transform>)> {
        let fields = self.fields.iter();
        let fields = fields.filter(|field| field.time_varying == time_varying);
        let channels = fields.flat_map(|field| {
            let channels = field.channels(&self.grid).into_iter();
            channels.map(|channel| (channel, field.transform))
        });
        channels.collect()
    }

    /// Gives fields their transforms, by name.
    ///
    /// # Errors
    /// [`Error::Choice`] for a field that is not there, and for a logarithm of a field that is not a scalar.
    pub fn set_transforms(&mut self, transforms: &BTreeMap<String, Transform>) -> Result<()> {
        let names: Vec<String> = self.fields.iter().map(|field| field.name.clone()).collect();
        for (name, transform) in transforms {
            let field = self.fields.iter_mut().find(|field| field.name == *name);
            let field = field.ok_or_else(|| Error::Choice {
                text: name.clone(),
                what: "field that is taken",
                choices: names.join(" or "),
            })?;
            field.transform = Some(*transform);
        }
        match self.logarithm_of_components() {
            None => Ok(()),
            Some(field) => Err(Error::Choice {
                text: field.name.clone(),
                what: "scalar field, as log10 needs one",
                choices: "asinh:SCALE for it, which takes components of either sign".into(),
            }),
        }
    }

    /// A field with several components and a logarithm.
    fn logarithm_of_components(&self) -> Option<&Field> {
        let is_odd = |field: &&Field| {
            field.transform == Some(Transform::Log10) && field.order != TensorOrder::Scalar
        };
        self.fields.iter().find(is_odd)
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
    /// name, one named as a column of the shards, or a logarithm of a vector; [`Error::FrameTooLarge`].
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
        match self.logarithm_of_components() {
            None => Ok(()),
            Some(field) => wrong(format!("log10 of {}, which is not a scalar", field.name)),
        }
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
            transform: None,
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
    fn transforms_are_of_fields_that_are_there_and_logarithms_of_scalars() {
        let give = |name: &str, transform: &str| {
            let mut schema = plane();
            let transforms = BTreeMap::from([(name.to_owned(), transform.parse().unwrap())]);
            schema.set_transforms(&transforms).map(|()| schema)
        };
        let schema = give("velocity", "asinh:2").unwrap();
        schema.validate().unwrap();
        let asinh = Some("asinh:2".parse().unwrap());
        let transforms = |schema: &Schema, time_varying| -> Vec<Option<Transform>> {
            let channels = schema.channel_transforms(time_varying).into_iter();
            channels.map(|(_, transform)| transform).collect()
        };
        let expected = [None, asinh, asinh, None, None, None, None];
        assert_eq!(transforms(&schema, true), expected);
        assert_eq!(transforms(&schema, false), [None]);
        let log = give("mask", "log10").unwrap();
        assert_eq!(transforms(&log, false), [Some(Transform::Log10)]);
        let unknown = give("density", "log10").unwrap_err().to_string();
        for name in ["density", "pressure", "velocity", "D", "mask"] {
            assert!(unknown.contains(name), "{unknown}");
        }
        let vector = give("velocity", "log10").unwrap_err().to_string();
        assert!(
            vector.contains("velocity") && vector.contains("asinh"),
            "{vector}"
        );
        let mut odd = plane();
        odd.fields
            .iter_mut()
            .for_each(|field| field.transform = Some(Transform::Log10));
        assert!(odd.validate().is_err());
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
