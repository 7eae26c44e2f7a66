//! The Well's layout, written: <https://polymathic-ai.org/the_well/data_format/>.

use std::path::Path;

use hdf5::types::VarLenUnicode;
use hdf5::{Dataset, File, Group, H5Type, Hyperslab, Location, SliceOrIndex};
use ndarray::{ArrayD, IxDyn};
use wellspring_store::TensorOrder;

use super::Packing;

/// The flags of what is the same for every trajectory and step.
const FIXED: [(&str, bool); 2] = [("sample_varying", false), ("time_varying", false)];

/// One HDF5 file while it is written: each of its groups once.
pub(super) struct WellWriter {
    file: File,
}

/// What a file says of itself as a whole.
pub(super) struct Header<'a> {
    pub(super) dataset_name: &'a str,
    /// Axes in space.
    pub(super) dimensions: usize,
    pub(super) trajectories: usize,
    pub(super) parameters: &'a [(&'a str, f64)],
}

/// Points in time or along an axis.
pub(super) struct Dimension<'a> {
    pub(super) name: &'a str,
    pub(super) points: Vec<f32>,
    pub(super) flags: &'a [(&'a str, bool)],
}

impl<'a> Dimension<'a> {
    /// Points that every trajectory and step has.
    pub(super) fn fixed(name: &'a str, points: Vec<f32>) -> Self {
        Self {
            name,
            points,
            flags: &FIXED,
        }
    }
}

/// What happens at one end of an axis, or at both.
pub(super) struct BoundaryCondition<'a> {
    /// Its group.
    pub(super) name: String,
    pub(super) axis: &'a str,
    /// `bc_type`.
    pub(super) kind: String,
    /// The points of the axis that it is about.
    pub(super) mask: Vec<bool>,
    /// Whether it has a place for values, which is empty.
    pub(super) has_values: bool,
}

impl WellWriter {
    pub(super) fn create(path: &Path) -> hdf5::Result<Self> {
        // A buffer would be written when its data set is closed, which tells nobody of a failure.
        let mut options = File::with_options();
        options.with_fapl(|access| access.sieve_buf_size(0));
        let file = options.create(path)?;
        Ok(Self { file })
    }

    pub(super) fn header(&self, header: &Header<'_>) -> hdf5::Result<()> {
        let number = |name: &str, value: usize| put(&self.file, name, &(value as i64));
        put_text(&self.file, "dataset_name", header.dataset_name)?;
        put_text(&self.file, "grid_type", "cartesian")?;
        number("n_spatial_dims", header.dimensions)?;
        number("n_trajectories", header.trajectories)?;
        put_names(&self.file, "simulation_parameters", header.parameters)?;
        for (name, value) in header.parameters {
            put(&self.file, name, value)?;
        }
        Ok(())
    }

    /// `dimensions`: the names of the axes in space, and the points of all.
    pub(super) fn dimensions<'a>(
        &self,
        axes: &[&str],
        dimensions: impl IntoIterator<Item = Dimension<'a>>,
    ) -> hdf5::Result<()> {
        let group = self.file.create_group("dimensions")?;
        put_texts(&group, "spatial_dims", axes)?;
        for Dimension {
            name,
            points,
            flags,
        } in dimensions
        {
            let dataset = group
                .new_dataset::<f32>()
                .shape([points.len()])
                .create(name)?;
            dataset.write_raw(&points)?;
            put_flags(&dataset, flags)?;
        }
        Ok(())
    }

    /// `scalars`: the parameters of the simulation once more, as this type.
    pub(super) fn scalars<T: H5Type>(
        &self,
        parameters: &[(&str, f64)],
        cast: impl Fn(f64) -> T,
    ) -> hdf5::Result<()> {
        let group = self.file.create_group("scalars")?;
        put_names(&group, "field_names", parameters)?;
        for (name, value) in parameters {
            let scalar = group.new_dataset::<T>().shape(()).create(*name)?;
            scalar.write_scalar(&cast(*value))?;
            put_flags(&scalar, &FIXED)?;
        }
        Ok(())
    }

    /// `boundary_conditions`.
    pub(super) fn boundaries<'a>(
        &self,
        conditions: impl IntoIterator<Item = BoundaryCondition<'a>>,
    ) -> hdf5::Result<()> {
        let group = self.file.create_group("boundary_conditions")?;
        for of in conditions {
            let condition = group.create_group(&of.name)?;
            put_texts(&condition, "associated_dims", &[of.axis])?;
            put_texts(&condition, "associated_fields", &[])?;
            put_text(&condition, "bc_type", &of.kind)?;
            put_flags(&condition, &FIXED)?;
            let mask = condition.new_dataset::<bool>().shape([of.mask.len()]);
            mask.create("mask")?.write_raw(&of.mask)?;
            if of.has_values {
                condition.new_dataset::<f32>().shape([0]).create("values")?;
            }
        }
        Ok(())
    }

    /// The group of all fields of a rank, of which there may be none.
    pub(super) fn fields(&self, order: TensorOrder, names: &[&str]) -> hdf5::Result<Group> {
        let name = format!("t{}_fields", order as usize);
        let group = self.file.create_group(&name)?;
        put_texts(&group, "field_names", names)?;
        Ok(group)
    }

    /// Closes the file itself, after `fields`; flushed before, so that no failure goes unheard.
    pub(super) fn close<F>(self, fields: F) -> hdf5::Result<()> {
        let flushed = self.file.flush();
        drop(fields);
        flushed.and_then(|()| self.file.close())
    }
}

/// What all fields of a file have in common.
pub(super) struct FieldLayout {
    pub(super) trajectories: usize,
    pub(super) frames: usize,
    /// Points along each axis.
    pub(super) space: Vec<usize>,
    pub(super) packing: Packing,
}

impl FieldLayout {
    /// A field of shape (N, T, *space, *components), packed by frames.
    pub(super) fn create(
        &self,
        group: &Group,
        name: &str,
        order: TensorOrder,
    ) -> hdf5::Result<FieldWriter> {
        let axes = self.space.len();
        let frame = [self.space.clone(), vec![axes; order as usize]].concat();
        let shape = [&[self.trajectories, self.frames], frame.as_slice()].concat();
        let builder = group.new_dataset::<f32>().shape(shape);
        let chunk = [&[1, 1], frame.as_slice()].concat();
        let dataset = match self.packing {
            Packing::Contiguous => builder.create(name)?,
            Packing::Chunked => builder.chunk(chunk).create(name)?,
            Packing::Gzip(level) => builder.chunk(chunk).shuffle().deflate(level).create(name)?,
        };
        let varies = dataset.new_attr::<bool>().shape([axes]);
        varies.create("dim_varying")?.write_raw(&vec![true; axes])?;
        put_flags(
            &dataset,
            &[("sample_varying", true), ("time_varying", true)],
        )?;
        Ok(FieldWriter { dataset, frame })
    }
}

/// A field that waits for its frames.
pub(super) struct FieldWriter {
    dataset: Dataset,
    /// Shape of a frame: (*space, *components).
    frame: Vec<usize>,
}

impl FieldWriter {
    /// Values of a frame.
    pub(super) fn frame_len(&self) -> usize {
        self.frame.iter().product()
    }

    /// Writes a frame, the components of each point together.
    pub(super) fn put(&self, trajectory: usize, step: usize, values: Vec<f32>) -> hdf5::Result<()> {
        let array = ArrayD::from_shape_vec(IxDyn(&self.frame), values)
            .map_err(|error| hdf5::Error::from(error.to_string()))?;
        let whole = SliceOrIndex::Unlimited {
            start: 0,
            step: 1,
            block: 1,
        };
        let mut place = vec![SliceOrIndex::Index(trajectory), SliceOrIndex::Index(step)];
        place.resize(2 + self.frame.len(), whole);
        self.dataset.write_slice(&array, Hyperslab::from(place))
    }
}

fn unicode(value: &str) -> VarLenUnicode {
    // Only a text with a NUL byte cannot be written.
    value.parse().unwrap_or_default()
}

fn put<T: H5Type>(at: &Location, name: &str, value: &T) -> hdf5::Result<()> {
    at.new_attr::<T>().create(name)?.write_scalar(value)
}

fn put_text(at: &Location, name: &str, value: &str) -> hdf5::Result<()> {
    put(at, name, &unicode(value))
}

fn put_texts(at: &Location, name: &str, values: &[&str]) -> hdf5::Result<()> {
    let values: Vec<VarLenUnicode> = values.iter().map(|value| unicode(value)).collect();
    let attribute = at.new_attr::<VarLenUnicode>().shape([values.len()]);
    attribute.create(name)?.write_raw(&values)
}

fn put_names(at: &Location, name: &str, parameters: &[(&str, f64)]) -> hdf5::Result<()> {
    let names: Vec<&str> = parameters.iter().map(|(name, _)| *name).collect();
    put_texts(at, name, &names)
}

fn put_flags(at: &Location, flags: &[(&str, bool)]) -> hdf5::Result<()> {
    flags
        .iter()
        .try_for_each(|(name, flag)| put(at, name, flag))
}
