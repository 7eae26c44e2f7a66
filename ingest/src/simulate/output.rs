//! Writes trajectories as The Well's HDF5: <https://polymathic-ai.org/the_well/data_format/>.

use std::path::{Path, PathBuf};

use hdf5::types::VarLenUnicode;
use hdf5::{Dataset, File as HdfFile, Group, SliceOrIndex};
use ndarray::{ArrayD, IxDyn};
use wellspring_store::{Reporter, move_into_place};

use super::Equation;
use super::flow::{Flow, Snapshot};
use super::staged::disk;
use crate::{Error, Result};

const AXES: [&str; 3] = ["x", "y", "z"];

/// Runs a flow to its last frame and writes it as one file.
pub(super) fn write(
    equation: Equation,
    mut flow: Flow,
    folder: &Path,
    index: usize,
    frames: usize,
    reporter: &dyn Reporter,
) -> Result<PathBuf> {
    let path = folder.join(file_name(equation, &flow, index));
    let partial = path.with_extension("partial");
    let named = path.display().to_string();
    let file = Layout::create(&partial, &named, equation, &flow, frames)?;
    for frame in 0..frames {
        if frame > 0 && !flow.advance()? {
            return Err(Error::Diverged { file: named, frame });
        }
        file.put(frame, &flow.snapshot()?)?;
        reporter.advance(1);
    }
    file.close()?;
    move_into_place(&partial, &path).map_err(|source| disk(&path, source))?;
    Ok(path)
}

/// `shear_flow_Reynolds_1e+04_Schmidt_5e-01_0.hdf5`, as The Well names its files.
fn file_name(equation: Equation, flow: &Flow, index: usize) -> String {
    let parameters: Vec<String> = flow
        .parameters
        .iter()
        .map(|(name, value)| format!("{name}_{}", scientific(*value)))
        .collect();
    format!(
        "{}_{}_{index}.hdf5",
        equation.dataset_name(),
        parameters.join("_")
    )
}

/// Formats a number with one digit and an exponent, as C prints `%.0e`.
fn scientific(value: f64) -> String {
    let text = format!("{value:.0e}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let exponent: i32 = exponent.parse().unwrap_or(0);
            format!(
                "{digits}e{}{:02}",
                if exponent < 0 { '-' } else { '+' },
                exponent.abs()
            )
        }
        None => text,
    }
}

/// A file with all its groups and attributes, waiting for frames.
struct Layout {
    named: String,
    file: HdfFile,
    tracer: Dataset,
    pressure: Dataset,
    velocity: Dataset,
    shape: Vec<usize>,
}

impl Layout {
    fn create(
        path: &Path,
        named: &str,
        equation: Equation,
        flow: &Flow,
        frames: usize,
    ) -> Result<Self> {
        let shape = flow.shape().to_vec();
        let made = (|| {
            // A buffer would be written when its data set is closed, which reports no failure.
            let mut options = HdfFile::with_options();
            options.with_fapl(|access| access.sieve_buf_size(0));
            let file = options.create(path)?;
            root_attributes(&file, equation, flow)?;
            dimensions(&file, flow, frames)?;
            scalars(&file, flow)?;
            boundaries(&file, &shape)?;
            let t0 = fields(&file, "t0_fields", &["tracer", "pressure"])?;
            let tracer = field(&t0, "tracer", frames, &shape, 0)?;
            let pressure = field(&t0, "pressure", frames, &shape, 0)?;
            let t1 = fields(&file, "t1_fields", &["velocity"])?;
            let velocity = field(&t1, "velocity", frames, &shape, 1)?;
            fields(&file, "t2_fields", &[])?;
            Ok((file, tracer, pressure, velocity))
        })();
        let (file, tracer, pressure, velocity) = made.map_err(|source| Error::Write {
            file: named.to_owned(),
            object: "the layout".into(),
            source,
        })?;
        Ok(Self {
            named: named.to_owned(),
            file,
            tracer,
            pressure,
            velocity,
            shape,
        })
    }

    fn put(&self, frame: usize, snapshot: &Snapshot) -> Result<()> {
        let components = snapshot.velocity.len();
        let narrow = |field: &[f64]| field.iter().map(|&x| x as f32).collect::<Vec<f32>>();
        let cells = snapshot.tracer.len();
        // The components of a vector are its last, fastest axis.
        let velocity = (0..cells * components)
            .map(|i| snapshot.velocity[i % components][i / components] as f32)
            .collect();
        self.put_field(&self.tracer, "tracer", frame, narrow(&snapshot.tracer), &[])?;
        self.put_field(
            &self.pressure,
            "pressure",
            frame,
            narrow(&snapshot.pressure),
            &[],
        )?;
        self.put_field(&self.velocity, "velocity", frame, velocity, &[components])
    }

    fn put_field(
        &self,
        into: &Dataset,
        name: &str,
        frame: usize,
        values: Vec<f32>,
        tail: &[usize],
    ) -> Result<()> {
        let shape = [&self.shape, tail].concat();
        let failed = |source| Error::Write {
            file: self.named.clone(),
            object: format!("{name} at frame {frame}"),
            source,
        };
        let array = ArrayD::from_shape_vec(IxDyn(&shape), values)
            .map_err(|error| failed(hdf5::Error::from(error.to_string())))?;
        let mut place = vec![SliceOrIndex::Index(0), SliceOrIndex::Index(frame)];
        place.extend(shape.iter().map(|_| SliceOrIndex::Unlimited {
            start: 0,
            step: 1,
            block: 1,
        }));
        into.write_slice(&array, hdf5::Hyperslab::from(place))
            .map_err(failed)
    }

    /// Closes the file itself, and nothing of it before that could fail unheard.
    fn close(self) -> Result<()> {
        let Self { named, file, .. } = self;
        let flushed = file.flush();
        drop([self.tracer, self.pressure, self.velocity]);
        flushed
            .and_then(|()| file.close())
            .map_err(|source| Error::Write {
                file: named,
                object: "the end".into(),
                source,
            })
    }
}

fn text(value: &str) -> VarLenUnicode {
    // Only a NUL byte, which no name here has, cannot be written.
    value.parse().unwrap_or_default()
}

fn put_text(at: &Group, name: &str, value: &str) -> hdf5::Result<()> {
    at.new_attr::<VarLenUnicode>()
        .create(name)?
        .write_scalar(&text(value))
}

fn put_texts(at: &Group, name: &str, values: &[&str]) -> hdf5::Result<()> {
    let values: Vec<VarLenUnicode> = values.iter().map(|value| text(value)).collect();
    at.new_attr::<VarLenUnicode>()
        .shape([values.len()])
        .create(name)?
        .write_raw(&values)
}

fn put_flags(at: &Dataset, flags: &[(&str, bool)]) -> hdf5::Result<()> {
    flags
        .iter()
        .try_for_each(|(name, flag)| at.new_attr::<bool>().create(*name)?.write_scalar(flag))
}

fn root_attributes(file: &HdfFile, equation: Equation, flow: &Flow) -> hdf5::Result<()> {
    put_text(file, "dataset_name", equation.dataset_name())?;
    put_text(file, "grid_type", "cartesian")?;
    file.new_attr::<i64>()
        .create("n_spatial_dims")?
        .write_scalar(&(flow.shape().len() as i64))?;
    file.new_attr::<i64>()
        .create("n_trajectories")?
        .write_scalar(&1)?;
    let names: Vec<&str> = flow.parameters.keys().copied().collect();
    put_texts(file, "simulation_parameters", &names)?;
    for (name, value) in &flow.parameters {
        file.new_attr::<f64>().create(*name)?.write_scalar(value)?;
    }
    Ok(())
}

fn dimensions(file: &HdfFile, flow: &Flow, frames: usize) -> hdf5::Result<()> {
    let group = file.create_group("dimensions")?;
    put_texts(&group, "spatial_dims", &AXES[..flow.shape().len()])?;
    let times: Vec<f32> = (0..frames)
        .map(|frame| (frame as f64 * flow.interval) as f32)
        .collect();
    let time = group.new_dataset::<f32>().shape([frames]).create("time")?;
    time.write_raw(&times)?;
    put_flags(&time, &[("sample_varying", false)])?;
    for ((&n, &(extent, low)), name) in flow.shape().iter().zip(&flow.domain).zip(AXES) {
        let at: Vec<f32> = (0..n)
            .map(|i| (low + extent * i as f64 / n as f64) as f32)
            .collect();
        let axis = group.new_dataset::<f32>().shape([n]).create(name)?;
        axis.write_raw(&at)?;
        put_flags(&axis, &[("sample_varying", false), ("time_varying", false)])?;
    }
    Ok(())
}

fn scalars(file: &HdfFile, flow: &Flow) -> hdf5::Result<()> {
    let group = file.create_group("scalars")?;
    let names: Vec<&str> = flow.parameters.keys().copied().collect();
    put_texts(&group, "field_names", &names)?;
    for (name, &value) in &flow.parameters {
        let scalar = group.new_dataset::<f32>().shape(()).create(*name)?;
        scalar.write_scalar(&(value as f32))?;
        put_flags(
            &scalar,
            &[("sample_varying", false), ("time_varying", false)],
        )?;
    }
    Ok(())
}

fn boundaries(file: &HdfFile, shape: &[usize]) -> hdf5::Result<()> {
    let group = file.create_group("boundary_conditions")?;
    for (&n, axis) in shape.iter().zip(AXES) {
        let condition = group.create_group(&format!("{axis}_periodic"))?;
        put_texts(&condition, "associated_dims", &[axis])?;
        put_texts(&condition, "associated_fields", &[])?;
        put_text(&condition, "bc_type", "periodic")?;
        for flag in ["sample_varying", "time_varying"] {
            condition
                .new_attr::<bool>()
                .create(flag)?
                .write_scalar(&false)?;
        }
        // The mask marks the points at either end of the axis.
        let mask: Vec<bool> = (0..n).map(|i| i == 0 || i + 1 == n).collect();
        condition
            .new_dataset::<bool>()
            .shape([n])
            .create("mask")?
            .write_raw(&mask)?;
        condition.new_dataset::<f32>().shape([0]).create("values")?;
    }
    Ok(())
}

fn fields(file: &HdfFile, group: &str, names: &[&str]) -> hdf5::Result<Group> {
    let group = file.create_group(group)?;
    put_texts(&group, "field_names", names)?;
    Ok(group)
}

/// A field of shape (1, T, *space, *components), one chunk a frame.
fn field(
    group: &Group,
    name: &str,
    frames: usize,
    space: &[usize],
    order: u32,
) -> hdf5::Result<Dataset> {
    let components = vec![space.len(); order as usize];
    let frame = [space, &components].concat();
    let shape = [&[1, frames], frame.as_slice()].concat();
    let chunk = [&[1, 1], frame.as_slice()].concat();
    let field = group
        .new_dataset::<f32>()
        .shape(shape)
        .chunk(chunk)
        .create(name)?;
    let varies = vec![true; space.len()];
    field
        .new_attr::<bool>()
        .shape([space.len()])
        .create("dim_varying")?
        .write_raw(&varies)?;
    put_flags(&field, &[("sample_varying", true), ("time_varying", true)])?;
    Ok(field)
}
