//! One rollout in a file of The Well's layout.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use wellspring_store::{
    Axis, Field, Frames, Schema, TensorOrder, Trajectory, Window, move_into_place,
};

use super::PredictionSource;
use crate::Result;
use crate::output::{
    BoundaryCondition, Dimension, FieldLayout, FieldWriter, Header, Packing, WellWriter, disk,
    unwritten,
};

/// All that a file holds beside its frames.
pub(super) struct RolloutLayout<'a> {
    pub(super) schema: &'a Schema,
    pub(super) source: &'a PredictionSource,
    pub(super) window: Window,
    pub(super) trajectory: &'a Trajectory,
    /// A value for each frame.
    pub(super) scalars: BTreeMap<String, Vec<f64>>,
    pub(super) times: Vec<f64>,
    /// Fields that do not vary in time, in their own units: (1, 1, C, *space).
    pub(super) constants: Option<Frames>,
}

/// A file that waits for frames.
pub(super) struct PredictionFile {
    path: PathBuf,
    named: String,
    file: WellWriter,
    fields: Vec<PredictedField>,
}

/// A field that varies in time.
struct PredictedField {
    name: String,
    /// Its channels among those of a frame.
    channels: Range<usize>,
    writer: FieldWriter,
}

impl PredictionFile {
    pub(super) fn create(path: PathBuf, layout: &RolloutLayout<'_>) -> Result<Self> {
        let named = path.display().to_string();
        let made = (|| {
            let file = WellWriter::create(&partial(&path))?;
            layout.describe(&file)?;
            let fields = layout.fields(&file)?;
            Ok((file, fields))
        })();
        match made {
            Ok((file, fields)) => Ok(Self {
                path,
                named,
                file,
                fields,
            }),
            Err(source) => Err(unwritten(&named, "the layout", source)),
        }
    }

    /// Writes one of the rollouts side by side in frames of the fields' own units.
    pub(super) fn put(&self, place: usize, frames: &Frames, batch: usize) -> Result<()> {
        for field in &self.fields {
            let channels = field.channels.clone();
            let components: Vec<&[f32]> = channels
                .map(|channel| frames.channel(0, batch, channel))
                .collect();
            let written = field.writer.put_components(0, place, &components);
            written.map_err(|source| {
                unwritten(
                    &self.named,
                    format!("{} at frame {place}", field.name),
                    source,
                )
            })?;
        }
        Ok(())
    }

    /// Completes the file and gives it its name.
    pub(super) fn close(self) -> Result<()> {
        let closed = self.file.close(self.fields);
        closed.map_err(|source| unwritten(&self.named, "the end", source))?;
        move_into_place(&partial(&self.path), &self.path).map_err(|source| disk(&self.path, source))
    }
}

pub(super) fn partial(path: &Path) -> PathBuf {
    path.with_extension("partial")
}

impl RolloutLayout<'_> {
    /// Writes everything but the fields.
    fn describe(&self, file: &WellWriter) -> hdf5::Result<()> {
        let grid = &self.schema.grid;
        let parameters: Vec<(&str, f64)> = self
            .trajectory
            .parameters
            .iter()
            .map(|(name, &value)| (name.as_str(), value))
            .collect();
        file.header(&Header {
            dataset_name: &self.schema.name,
            grid_type: &grid.kind,
            dimensions: grid.ndim(),
            trajectories: 1,
            parameters: &parameters,
        })?;
        self.note(file)?;
        let names: Vec<&str> = grid.axes.iter().map(|axis| axis.name.as_str()).collect();
        let axes = grid.axes.iter();
        let axes = axes.map(|axis| Dimension::fixed(&axis.name, self.coordinates(axis).to_vec()));
        file.dimensions(&names, axes.chain([Dimension::time(self.times.clone())]))?;
        let scalars = self.scalars.iter();
        let series = scalars.filter(|(name, _)| self.trajectory.series.contains_key(*name));
        let series: Vec<(&str, Vec<f64>)> = series
            .map(|(name, values)| (name.as_str(), values.clone()))
            .collect();
        file.scalars(&parameters, &series, |value| value)?;
        file.boundaries(grid.axes.iter().flat_map(|axis| {
            BoundaryCondition::at_ends(&axis.name, axis.coordinates.len(), axis.boundary)
        }))
    }

    /// Says what predicts, and from where.
    fn note(&self, file: &WellWriter) -> hdf5::Result<()> {
        let (source, window) = (self.source, self.window);
        file.notes(
            "prediction",
            &[
                ("name", &source.name),
                ("weights", &source.weights),
                ("schedule", &source.schedule),
                ("dataset", &source.dataset),
                ("split", &source.split.to_string()),
            ],
            &[
                ("trajectory", window.trajectory.into()),
                ("start", window.start.into()),
                ("stride", source.stride as u64),
                ("context", source.context as u64),
                ("rollout", source.rollout as u64),
            ],
        )
    }

    pub(super) fn coordinates<'a>(&'a self, axis: &'a Axis) -> &'a [f64] {
        let own = self.trajectory.coordinates.get(&axis.name);
        own.unwrap_or(&axis.coordinates)
    }

    /// Makes the fields, and writes those that do not vary in time.
    fn fields(&self, file: &WellWriter) -> hdf5::Result<Vec<PredictedField>> {
        let layout = FieldLayout {
            trajectories: 1,
            frames: self.times.len(),
            space: self.schema.grid.shape(),
            packing: Packing::Chunked,
        };
        let mut predicted = Vec::new();
        for order in [
            TensorOrder::Scalar,
            TensorOrder::Vector,
            TensorOrder::Tensor,
        ] {
            let placed = self.placed_fields().into_iter();
            let placed: Vec<(&Field, Range<usize>)> =
                placed.filter(|(field, _)| field.order == order).collect();
            let names: Vec<&str> = placed
                .iter()
                .map(|(field, _)| field.name.as_str())
                .collect();
            let group = file.fields(order, &names)?;
            for (field, channels) in placed {
                if field.time_varying {
                    predicted.push(PredictedField {
                        name: field.name.clone(),
                        channels,
                        writer: layout.create(&group, &field.name, order)?,
                    });
                } else if let Some(values) = &self.constants {
                    let components: Vec<&[f32]> = channels
                        .map(|channel| values.channel(0, 0, channel))
                        .collect();
                    let named = (field.name.as_str(), order);
                    layout.write_constant(&group, named, field.sample_varying, &components)?;
                }
            }
        }
        Ok(predicted)
    }

    /// The fields that a file has, each with its channels: among those that vary in time, or among those that do not.
    pub(super) fn placed_fields(&self) -> Vec<(&Field, Range<usize>)> {
        let (mut varying, mut constant) = (0, 0);
        let placed = self.schema.fields.iter().map(|field| {
            let first = match field.time_varying {
                true => &mut varying,
                false => &mut constant,
            };
            let start = *first;
            *first += field.channels(&self.schema.grid).len();
            (field, start..*first)
        });
        let has_values = |field: &Field| field.time_varying || self.constants.is_some();
        placed.filter(|(field, _)| has_values(field)).collect()
    }
}
