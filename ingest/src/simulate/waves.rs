//! Writes files in The Well's layout made of plane waves, with any fields, boundaries and packing. They are
//! made quickly, for benchmarks and for imitations of data sets that are not at hand.

use std::collections::BTreeMap;
use std::path::Path;

use wellspring_store::{Boundary, TensorOrder};

use crate::output::{
    BoundaryCondition, Dimension, FieldLayout, FieldWriter, Header, Packing, WellWriter,
};
use crate::{Error, Result};

/// A field of waves.
#[derive(Debug, Clone, PartialEq)]
pub struct WaveField {
    /// Name of the field.
    pub name: String,
    /// Rank of the field.
    pub order: TensorOrder,
}

impl WaveField {
    /// A field of a name and a rank.
    #[must_use]
    pub fn new(name: &str, order: TensorOrder) -> Self {
        Self {
            name: name.to_owned(),
            order,
        }
    }
}

/// A file to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct Waves {
    /// Name of the data set.
    pub name: String,
    /// Axis name, points, and what happens at its ends; the slowest first.
    pub axes: Vec<(String, usize, [Boundary; 2])>,
    /// The fields, t0 before t1 before t2.
    pub fields: Vec<WaveField>,
    /// Parameters of the simulation.
    pub parameters: BTreeMap<String, f64>,
    /// Trajectories.
    pub trajectories: usize,
    /// Frames of each.
    pub frames: usize,
    /// How values are packed.
    pub packing: Packing,
}

impl Waves {
    /// Writes the file; equal descriptions and seeds give equal values.
    ///
    /// # Errors
    /// [`Error::Write`], [`Error::Disk`].
    pub fn write(&self, path: &Path, seed: u64) -> Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|source| Error::Disk {
                path: folder.to_owned(),
                source,
            })?;
        }
        self.write_file(path, seed).map_err(|source| Error::Write {
            file: path.display().to_string(),
            object: "waves".into(),
            source,
        })
    }

    fn write_file(&self, path: &Path, seed: u64) -> hdf5::Result<()> {
        let file = WellWriter::create(path)?;
        let parameters = self.parameters.iter();
        let parameters: Vec<(&str, f64)> = parameters
            .map(|(name, &value)| (name.as_str(), value))
            .collect();
        file.header(&Header {
            dataset_name: &self.name,
            grid_type: "cartesian",
            dimensions: self.axes.len(),
            trajectories: self.trajectories,
            parameters: &parameters,
        })?;
        let axes: Vec<&str> = self.axes.iter().map(|axis| axis.0.as_str()).collect();
        file.dimensions(&axes, self.dimensions())?;
        file.scalars(&parameters, &[], |value| value)?;
        file.boundaries(self.boundaries())?;
        self.fields(&file, seed)?;
        file.close(())
    }

    /// The points of each axis, and times.
    fn dimensions(&self) -> Vec<Dimension<'_>> {
        let points = |count: usize| (0..count).map(|i| i as f32 / count as f32).collect();
        let axes = self.axes.iter();
        let axes = axes.map(|(name, count, _)| Dimension::fixed(name, points(*count)));
        axes.chain([Dimension::time(points(self.frames))]).collect()
    }

    fn boundaries(&self) -> impl Iterator<Item = BoundaryCondition<'_>> {
        let axes = self.axes.iter();
        axes.flat_map(|(axis, points, sides)| BoundaryCondition::at_ends(axis, *points, *sides))
    }

    fn fields(&self, file: &WellWriter, seed: u64) -> hdf5::Result<()> {
        let layout = FieldLayout {
            trajectories: self.trajectories,
            frames: self.frames,
            space: self.axes.iter().map(|axis| axis.1).collect(),
            packing: self.packing,
        };
        let mut phase = seed as f64;
        for order in [
            TensorOrder::Scalar,
            TensorOrder::Vector,
            TensorOrder::Tensor,
        ] {
            let fields = self.fields.iter().filter(|field| field.order == order);
            let names: Vec<&str> = fields.map(|field| field.name.as_str()).collect();
            let group = file.fields(order, &names)?;
            for name in names {
                phase += 1.0;
                self.fill(&layout.create(&group, name, order)?, phase)?;
            }
        }
        Ok(())
    }

    fn fill(&self, field: &FieldWriter, phase: f64) -> hdf5::Result<()> {
        for trajectory in 0..self.trajectories {
            for step in 0..self.frames {
                let values = wave(field.frame_len(), phase + trajectory as f64, step);
                field.put(trajectory, step, values)?;
            }
        }
        Ok(())
    }
}

/// Two waves along the cells, which move with the steps: smooth, and of no round numbers.
fn wave(cells: usize, phase: f64, step: usize) -> Vec<f32> {
    let long = |i: usize| (i as f64 * 0.001 + phase + 0.1 * step as f64) as f32;
    let short = |i: usize| (i as f64 * 0.17 - 0.3 * step as f64) as f32;
    (0..cells)
        .map(|i| 2.0 + long(i).sin() + 0.1 * short(i).cos())
        .collect()
}
