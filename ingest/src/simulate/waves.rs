//! Writes files in The Well's layout made of plane waves, with any fields, boundaries and packing. They are
//! made quickly, for benchmarks and for imitations of data sets that are not at hand.

use std::collections::BTreeMap;
use std::path::Path;

use hdf5::types::VarLenUnicode;
use hdf5::{File, Group};
use ndarray::{ArrayD, IxDyn};
use wellspring_store::{Boundary, TensorOrder};

use crate::{Error, Result};

/// How values are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Contiguous storage.
    Contiguous,
    /// A chunk a frame.
    Chunked,
    /// Chunks of one frame, shuffled and deflated at this level.
    Gzip(u8),
}

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
        let file = File::create(path)?;
        text(&file, "dataset_name", &self.name)?;
        text(&file, "grid_type", "cartesian")?;
        number(&file, "n_spatial_dims", self.axes.len())?;
        number(&file, "n_trajectories", self.trajectories)?;
        let names: Vec<&str> = self.parameters.keys().map(String::as_str).collect();
        texts(&file, "simulation_parameters", &names)?;
        for (name, value) in &self.parameters {
            let attribute = file.new_attr::<f64>().create(name.as_str())?;
            attribute.write_scalar(value)?;
        }
        self.dimensions(&file)?;
        self.scalars(&file, &names)?;
        self.boundaries(&file)?;
        let ranks = [
            ("t0_fields", TensorOrder::Scalar),
            ("t1_fields", TensorOrder::Vector),
            ("t2_fields", TensorOrder::Tensor),
        ];
        let mut phase = seed as f64;
        for (group, order) in ranks {
            let fields: Vec<&WaveField> = self
                .fields
                .iter()
                .filter(|field| field.order == order)
                .collect();
            let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
            let group = file.create_group(group)?;
            texts(&group, "field_names", &names)?;
            for name in names {
                phase += 1.0;
                self.field(&group, name, order, phase)?;
            }
        }
        file.close()
    }

    fn dimensions(&self, file: &File) -> hdf5::Result<()> {
        let group = file.create_group("dimensions")?;
        let names: Vec<&str> = self.axes.iter().map(|axis| axis.0.as_str()).collect();
        texts(&group, "spatial_dims", &names)?;
        let axes = self
            .axes
            .iter()
            .map(|(name, points, _)| (name.as_str(), *points));
        for (name, points) in axes.chain([("time", self.frames)]) {
            let at: Vec<f32> = (0..points).map(|i| i as f32 / points as f32).collect();
            let dataset = group.new_dataset::<f32>().shape([points]).create(name)?;
            dataset.write_raw(&at)?;
            flags(
                &dataset,
                &[("sample_varying", false), ("time_varying", name == "time")],
            )?;
        }
        Ok(())
    }

    fn scalars(&self, file: &File, names: &[&str]) -> hdf5::Result<()> {
        let group = file.create_group("scalars")?;
        texts(&group, "field_names", names)?;
        for (name, value) in &self.parameters {
            let scalar = group.new_dataset::<f64>().shape(()).create(name.as_str())?;
            scalar.write_scalar(value)?;
            flags(
                &scalar,
                &[("sample_varying", false), ("time_varying", false)],
            )?;
        }
        Ok(())
    }

    fn boundaries(&self, file: &File) -> hdf5::Result<()> {
        let group = file.create_group("boundary_conditions")?;
        for (name, points, sides) in &self.axes {
            for (side, boundary) in sides.iter().enumerate() {
                let kind = format!("{boundary:?}").to_lowercase();
                let end = if side == 0 { "low" } else { "high" };
                let condition = group.create_group(&format!("{name}_{kind}_{end}"))?;
                texts(&condition, "associated_dims", &[name])?;
                texts(&condition, "associated_fields", &[])?;
                text(&condition, "bc_type", &kind.to_uppercase())?;
                let marked = side * (points - 1);
                let mask: Vec<bool> = (0..*points).map(|point| point == marked).collect();
                let dataset = condition
                    .new_dataset::<bool>()
                    .shape([*points])
                    .create("mask")?;
                dataset.write_raw(&mask)?;
                flags(
                    &condition,
                    &[("sample_varying", false), ("time_varying", false)],
                )?;
            }
        }
        Ok(())
    }

    fn field(&self, group: &Group, name: &str, order: TensorOrder, phase: f64) -> hdf5::Result<()> {
        let mut frame: Vec<usize> = self.axes.iter().map(|axis| axis.1).collect();
        frame.extend(vec![self.axes.len(); order as usize]);
        let shape = [&[self.trajectories, self.frames], frame.as_slice()].concat();
        let builder = group.new_dataset::<f32>().shape(shape);
        let chunk = [&[1, 1], frame.as_slice()].concat();
        let dataset = match self.packing {
            Packing::Contiguous => builder.create(name)?,
            Packing::Chunked => builder.chunk(chunk).create(name)?,
            Packing::Gzip(level) => builder.chunk(chunk).shuffle().deflate(level).create(name)?,
        };
        let varies = vec![true; self.axes.len()];
        let attribute = dataset.new_attr::<bool>().shape([varies.len()]);
        attribute.create("dim_varying")?.write_raw(&varies)?;
        flags(
            &dataset,
            &[("sample_varying", true), ("time_varying", true)],
        )?;
        for trajectory in 0..self.trajectories {
            for step in 0..self.frames {
                let values = wave(frame.iter().product(), phase + trajectory as f64, step);
                let array = ArrayD::from_shape_vec(IxDyn(&frame), values)
                    .map_err(|error| hdf5::Error::from(error.to_string()))?;
                let mut place = vec![
                    hdf5::SliceOrIndex::Index(trajectory),
                    hdf5::SliceOrIndex::Index(step),
                ];
                place.extend(frame.iter().map(|_| hdf5::SliceOrIndex::Unlimited {
                    start: 0,
                    step: 1,
                    block: 1,
                }));
                dataset.write_slice(&array, hdf5::Hyperslab::from(place))?;
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

fn unicode(value: &str) -> VarLenUnicode {
    // Only a text with a NUL byte is none.
    value.parse().unwrap_or_default()
}

fn text(at: &Group, name: &str, value: &str) -> hdf5::Result<()> {
    let attribute = at.new_attr::<VarLenUnicode>().create(name)?;
    attribute.write_scalar(&unicode(value))
}

fn texts(at: &Group, name: &str, values: &[&str]) -> hdf5::Result<()> {
    let values: Vec<VarLenUnicode> = values.iter().map(|value| unicode(value)).collect();
    let attribute = at
        .new_attr::<VarLenUnicode>()
        .shape([values.len()])
        .create(name)?;
    attribute.write_raw(&values)
}

fn number(at: &Group, name: &str, value: usize) -> hdf5::Result<()> {
    let attribute = at.new_attr::<i64>().create(name)?;
    attribute.write_scalar(&(value as i64))
}

fn flags(at: &hdf5::Location, flags: &[(&str, bool)]) -> hdf5::Result<()> {
    flags
        .iter()
        .try_for_each(|(name, flag)| at.new_attr::<bool>().create(*name)?.write_scalar(flag))
}
