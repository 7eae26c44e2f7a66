//! Simulated trajectories, each in a file of The Well's layout.

use std::path::{Path, PathBuf};

use wellspring_store::{Boundary, Reporter, TensorOrder, move_into_place};

use super::Equation;
use super::flow::{Flow, Snapshot};
use crate::output::{
    BoundaryCondition, Dimension, FieldLayout, FieldWriter, Header, Packing, WellWriter, disk,
    unwritten,
};
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
    let file = TrajectoryFile::create(&partial, &named, equation, &flow, frames)?;
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

/// A file of one trajectory, waiting for frames.
struct TrajectoryFile {
    named: String,
    file: WellWriter,
    /// What the tracer is called.
    name: &'static str,
    tracer: FieldWriter,
    pressure: FieldWriter,
    velocity: FieldWriter,
}

impl TrajectoryFile {
    fn create(
        path: &Path,
        named: &str,
        equation: Equation,
        flow: &Flow,
        frames: usize,
    ) -> Result<Self> {
        let made = (|| {
            let file = WellWriter::create(path)?;
            describe(&file, equation, flow, frames)?;
            let layout = FieldLayout {
                trajectories: 1,
                frames,
                space: flow.shape(),
                packing: Packing::Chunked,
            };
            let name = equation.tracer();
            let t0 = file.fields(TensorOrder::Scalar, &[name, "pressure"])?;
            let tracer = layout.create(&t0, name, TensorOrder::Scalar)?;
            let pressure = layout.create(&t0, "pressure", TensorOrder::Scalar)?;
            let t1 = file.fields(TensorOrder::Vector, &["velocity"])?;
            let velocity = layout.create(&t1, "velocity", TensorOrder::Vector)?;
            file.fields(TensorOrder::Tensor, &[])?;
            Ok(Self {
                named: named.to_owned(),
                file,
                name,
                tracer,
                pressure,
                velocity,
            })
        })();
        made.map_err(|source| unwritten(named, "the layout", source))
    }

    fn put(&self, frame: usize, snapshot: &Snapshot) -> Result<()> {
        let narrow = |field: &[f64]| field.iter().map(|&x| x as f32).collect::<Vec<f32>>();
        let velocity = snapshot.velocity.iter();
        let fields = [
            (self.name, &self.tracer, vec![narrow(&snapshot.tracer)]),
            ("pressure", &self.pressure, vec![narrow(&snapshot.pressure)]),
            (
                "velocity",
                &self.velocity,
                velocity.map(|component| narrow(component)).collect(),
            ),
        ];
        for (name, field, components) in fields {
            let components: Vec<&[f32]> = components.iter().map(Vec::as_slice).collect();
            let failed =
                |source| unwritten(&self.named, format!("{name} at frame {frame}"), source);
            field
                .put_components(0, frame, &components)
                .map_err(failed)?;
        }
        Ok(())
    }

    fn close(self) -> Result<()> {
        let fields = [self.tracer, self.pressure, self.velocity];
        let closed = self.file.close(fields);
        closed.map_err(|source| unwritten(&self.named, "the end", source))
    }
}

/// Everything in the file but its fields.
fn describe(file: &WellWriter, equation: Equation, flow: &Flow, frames: usize) -> hdf5::Result<()> {
    let axes = &AXES[..flow.shape().len()];
    let parameters: Vec<(&str, f64)> = flow
        .parameters
        .iter()
        .map(|(&name, &value)| (name, value))
        .collect();
    file.header(&Header {
        dataset_name: equation.dataset_name(),
        grid_type: "cartesian",
        dimensions: axes.len(),
        trajectories: 1,
        parameters: &parameters,
    })?;
    file.dimensions(axes, dimensions(flow, frames))?;
    file.scalars(&parameters, &[], |value| value as f32)?;
    let ends = flow.shape().into_iter().zip(AXES).enumerate();
    file.boundaries(
        ends.flat_map(|(place, (n, axis))| match flow.has_walls(place) {
            true => BoundaryCondition::at_ends(axis, n, [Boundary::Wall; 2]).into(),
            false => vec![periodic(axis, n)],
        }),
    )
}

/// Times, and the points of each axis.
fn dimensions(flow: &Flow, frames: usize) -> Vec<Dimension<'static>> {
    let times = (0..frames).map(|frame| (frame as f64 * flow.interval) as f32);
    let time = Dimension {
        name: "time",
        points: times.collect(),
        flags: &[("sample_varying", false)],
    };
    let axes = AXES[..flow.shape().len()].iter().enumerate();
    let axes = axes.map(|(axis, name)| {
        let points = flow.points(axis).into_iter().map(|x| x as f32);
        Dimension::fixed(name, points.collect())
    });
    std::iter::once(time).chain(axes).collect()
}

/// The mask marks the points at either end of the axis.
fn periodic(axis: &'static str, points: usize) -> BoundaryCondition<'static> {
    BoundaryCondition {
        name: format!("{axis}_periodic"),
        axis,
        kind: "periodic".into(),
        mask: (0..points).map(|i| i == 0 || i + 1 == points).collect(),
        has_values: true,
    }
}
