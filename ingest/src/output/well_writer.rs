//! The Well's layout, written: <https://polymathic-ai.org/the_well/data_format/>.

use std::path::Path;

use hdf5::types::VarLenUnicode;
use hdf5::{Dataset, File, Group, H5Type, Hyperslab, Location, SliceOrIndex};
use ndarray::{ArrayD, IxDyn};
use wellspring_store::{Boundary, TensorOrder};

/// The flags of what is the same for every trajectory and step.
const FIXED: [(&str, bool); 2] = [("sample_varying", false), ("time_varying", false)];

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

/// One HDF5 file while it is written: each of its groups once.
pub(crate) struct WellWriter {
    file: File,
}

/// What a file says of itself as a whole.
pub(crate) struct Header<'a> {
    pub(crate) dataset_name: &'a str,
    /// "cartesian" for most.
    pub(crate) grid_type: &'a str,
    /// Axes in space.
    pub(crate) dimensions: usize,
    pub(crate) trajectories: usize,
    pub(crate) parameters: &'a [(&'a str, f64)],
}

/// Points in time or along an axis.
pub(crate) struct Dimension<'a, T = f32> {
    pub(crate) name: &'a str,
    pub(crate) points: Vec<T>,
    pub(crate) flags: &'a [(&'a str, bool)],
}

impl<'a, T> Dimension<'a, T> {
    /// Points that every trajectory and step has.
    pub(crate) fn fixed(name: &'a str, points: Vec<T>) -> Self {
        Self {
            name,
            points,
            flags: &FIXED,
        }
    }

    /// The times of the frames, which every trajectory has.
    pub(crate) fn time(points: Vec<T>) -> Self {
        Self {
            name: "time",
            points,
            flags: &[("sample_varying", false), ("time_varying", true)],
        }
    }
}

/// What happens at one end of an axis, or at both.
pub(crate) struct BoundaryCondition<'a> {
    /// Its group.
    pub(crate) name: String,
    pub(crate) axis: &'a str,
    /// `bc_type`.
    pub(crate) kind: String,
    /// The points of the axis that it is about.
    pub(crate) mask: Vec<bool>,
    /// Whether it has a place for values, which is empty.
    pub(crate) has_values: bool,
}

impl<'a> BoundaryCondition<'a> {
    /// What happens at the low and at the high end of an axis.
    pub(crate) fn at_ends(axis: &'a str, points: usize, sides: [Boundary; 2]) -> [Self; 2] {
        [0, 1].map(|side| {
            let kind = format!("{:?}", sides[side]);
            let end = ["low", "high"][side];
            let marked = side * points.saturating_sub(1);
            Self {
                name: format!("{axis}_{}_{end}", kind.to_lowercase()),
                axis,
                kind: kind.to_uppercase(),
                mask: (0..points).map(|point| point == marked).collect(),
                has_values: false,
            }
        })
    }
}

impl WellWriter {
    pub(crate) fn create(path: &Path) -> hdf5::Result<Self> {
        // A buffer would be written when its data set is closed, which tells nobody of a failure.
        let mut options = File::with_options();
        options.with_fapl(|access| access.sieve_buf_size(0));
        let file = options.create(path)?;
        Ok(Self { file })
    }

    pub(crate) fn header(&self, header: &Header<'_>) -> hdf5::Result<()> {
        let number = |name: &str, value: usize| put(&self.file, name, &(value as i64));
        put_text(&self.file, "dataset_name", header.dataset_name)?;
        put_text(&self.file, "grid_type", header.grid_type)?;
        number("n_spatial_dims", header.dimensions)?;
        number("n_trajectories", header.trajectories)?;
        put_names(&self.file, "simulation_parameters", header.parameters)?;
        for (name, value) in header.parameters {
            put(&self.file, name, value)?;
        }
        Ok(())
    }

    /// `dimensions`: the names of the axes in space, and the points of all.
    pub(crate) fn dimensions<'a, T: H5Type>(
        &self,
        axes: &[&str],
        dimensions: impl IntoIterator<Item = Dimension<'a, T>>,
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
                .new_dataset::<T>()
                .shape([points.len()])
                .create(name)?;
            dataset.write_raw(&points)?;
            put_flags(&dataset, flags)?;
        }
        Ok(())
    }

    /// A group of texts and numbers beside The Well's own.
    pub(crate) fn notes(
        &self,
        group: &str,
        texts: &[(&str, &str)],
        numbers: &[(&str, u64)],
    ) -> hdf5::Result<()> {
        let group = self.file.create_group(group)?;
        for (name, text) in texts {
            put_text(&group, name, text)?;
        }
        numbers
            .iter()
            .try_for_each(|(name, number)| put(&group, name, number))
    }

    /// `scalars`: the parameters of the simulation once more, as this type, and scalars with a value for each frame.
    pub(crate) fn scalars<T: H5Type>(
        &self,
        parameters: &[(&str, f64)],
        series: &[(&str, Vec<f64>)],
        cast: impl Fn(f64) -> T,
    ) -> hdf5::Result<()> {
        let group = self.file.create_group("scalars")?;
        let names = parameters.iter().map(|(name, _)| *name);
        let names: Vec<&str> = names.chain(series.iter().map(|(name, _)| *name)).collect();
        put_texts(&group, "field_names", &names)?;
        for (name, value) in parameters {
            let scalar = group.new_dataset::<T>().shape(()).create(*name)?;
            scalar.write_scalar(&cast(*value))?;
            put_flags(&scalar, &FIXED)?;
        }
        for (name, values) in series {
            let values: Vec<T> = values.iter().map(|&value| cast(value)).collect();
            let scalar = group.new_dataset::<T>().shape([values.len()]);
            let scalar = scalar.create(*name)?;
            scalar.write_raw(&values)?;
            put_flags(
                &scalar,
                &[("sample_varying", false), ("time_varying", true)],
            )?;
        }
        Ok(())
    }

    /// `boundary_conditions`.
    pub(crate) fn boundaries<'a>(
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
    pub(crate) fn fields(&self, order: TensorOrder, names: &[&str]) -> hdf5::Result<Group> {
        let name = format!("t{}_fields", order as usize);
        let group = self.file.create_group(&name)?;
        put_texts(&group, "field_names", names)?;
        Ok(group)
    }

    /// Closes the file itself, after `fields`; flushed before, so that no failure goes unheard.
    pub(crate) fn close<F>(self, fields: F) -> hdf5::Result<()> {
        let flushed = self.file.flush();
        drop(fields);
        flushed.and_then(|()| self.file.close())
    }
}

/// What all fields of a file have in common.
pub(crate) struct FieldLayout {
    pub(crate) trajectories: usize,
    pub(crate) frames: usize,
    /// Points along each axis.
    pub(crate) space: Vec<usize>,
    pub(crate) packing: Packing,
}

impl FieldLayout {
    /// A field of shape (N, T, *space, *components), packed by frames.
    pub(crate) fn create(
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
        self.describe(&dataset, true, true)?;
        Ok(FieldWriter { dataset, frame })
    }

    /// A field that does not vary in time, written at once: of shape (N, *space, *components), or (*space, *components)
    /// where all trajectories have the same.
    pub(crate) fn write_constant(
        &self,
        group: &Group,
        (name, order): (&str, TensorOrder),
        sample_varying: bool,
        components: &[&[f32]],
    ) -> hdf5::Result<()> {
        let mut shape = vec![self.trajectories; usize::from(sample_varying)];
        shape.extend(&self.space);
        shape.extend(vec![self.space.len(); order as usize]);
        let dataset = group.new_dataset::<f32>().shape(shape).create(name)?;
        dataset.write_raw(&points(components))?;
        self.describe(&dataset, sample_varying, false)
    }

    /// Says along what a field varies.
    fn describe(&self, field: &Dataset, samples: bool, time: bool) -> hdf5::Result<()> {
        let axes = self.space.len();
        let varies = field.new_attr::<bool>().shape([axes]);
        varies.create("dim_varying")?.write_raw(&vec![true; axes])?;
        put_flags(
            field,
            &[("sample_varying", samples), ("time_varying", time)],
        )
    }
}

/// A field that waits for its frames.
pub(crate) struct FieldWriter {
    dataset: Dataset,
    /// Shape of a frame: (*space, *components).
    frame: Vec<usize>,
}

impl FieldWriter {
    /// Values of a frame.
    pub(crate) fn frame_len(&self) -> usize {
        self.frame.iter().product()
    }

    /// Writes a frame, given by component: each has a value for each point.
    pub(crate) fn put_components(
        &self,
        trajectory: usize,
        step: usize,
        components: &[&[f32]],
    ) -> hdf5::Result<()> {
        self.put(trajectory, step, points(components))
    }

    /// Writes a frame, the components of each point together.
    pub(crate) fn put(&self, trajectory: usize, step: usize, values: Vec<f32>) -> hdf5::Result<()> {
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

/// The components of each point together: they are a field's last, fastest axes.
fn points(components: &[&[f32]]) -> Vec<f32> {
    let cells = components.first().map_or(0, |first| first.len());
    (0..cells)
        .flat_map(|cell| components.iter().map(move |component| component[cell]))
        .collect()
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
