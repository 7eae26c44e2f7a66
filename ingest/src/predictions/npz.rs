//! One rollout as an archive of NumPy's arrays, which `numpy.load` reads.
//!
//! A field is an array (frames, *space), of a vector (frames, *space, components), of a tensor two axes of components more;
//! one that does not vary in time has no axis of frames. Beside them are `time`, `coordinate_NAME` of each axis,
//! `scalar_NAME` with a value for each frame, and `context`, the number of true frames. Arrays are in C order, not compressed.
//! The format of an array is NumPy's own (`numpy.lib.format`, version 1.0).

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::PathBuf;

use wellspring_store::{Frames, TensorOrder, move_into_place};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::file::{RolloutLayout, partial};
use crate::Result;
use crate::output::disk;

/// A file that waits for frames, which are in memory until it is closed.
pub(super) struct NpzFile {
    path: PathBuf,
    arrays: Vec<Array>,
    fields: Vec<FieldOfFrames>,
}

/// An array and its name.
struct Array {
    name: String,
    shape: Vec<usize>,
    values: Values,
}

enum Values {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I64(Vec<i64>),
}

/// A field that varies in time.
struct FieldOfFrames {
    /// Its channels among those of a frame.
    channels: Range<usize>,
    array: Array,
}

impl NpzFile {
    pub(super) fn new(path: PathBuf, layout: &RolloutLayout<'_>) -> Self {
        let (space, frames) = (layout.schema.grid.shape(), layout.times.len());
        let mut arrays = layout.numbers();
        let mut fields = Vec::new();
        for (field, channels) in layout.placed_fields() {
            let components = match field.order {
                TensorOrder::Scalar => Vec::new(),
                TensorOrder::Vector => vec![space.len()],
                TensorOrder::Tensor => vec![space.len(); 2],
            };
            let of_frame = [space.as_slice(), &components].concat();
            match &layout.constants {
                _ if field.time_varying => {
                    let shape = [&[frames], of_frame.as_slice()].concat();
                    let values = Vec::with_capacity(shape.iter().product());
                    let array = Array::new(&field.name, shape, Values::F32(values));
                    fields.push(FieldOfFrames { channels, array });
                }
                Some(constants) => {
                    let values = Values::F32(interleaved(constants, 0, channels).collect());
                    arrays.push(Array::new(&field.name, of_frame, values));
                }
                None => {}
            }
        }
        Self {
            path,
            arrays,
            fields,
        }
    }

    /// Takes the next frame of one of the rollouts side by side, in the fields' own units.
    pub(super) fn put(&mut self, frames: &Frames, batch: usize) {
        for field in &mut self.fields {
            if let Values::F32(values) = &mut field.array.values {
                values.extend(interleaved(frames, batch, field.channels.clone()));
            }
        }
    }

    /// Writes the file and gives it its name.
    pub(super) fn close(self) -> Result<()> {
        let fields = self.fields.iter().map(|field| &field.array);
        write(&self.path, self.arrays.iter().chain(fields))
            .and_then(|()| move_into_place(&partial(&self.path), &self.path))
            .map_err(|source| disk(&self.path, source))
    }
}

/// The components of each cell side by side.
fn interleaved(
    frames: &Frames,
    batch: usize,
    channels: Range<usize>,
) -> impl Iterator<Item = f32> + '_ {
    let components: Vec<&[f32]> = channels
        .map(|channel| frames.channel(0, batch, channel))
        .collect();
    (0..frames.cells()).flat_map(move |cell| {
        let values = components.iter().map(|component| component[cell]);
        values.collect::<Vec<f32>>()
    })
}

fn write<'a>(path: &std::path::Path, arrays: impl Iterator<Item = &'a Array>) -> io::Result<()> {
    let mut archive = ZipWriter::new(BufWriter::new(File::create(partial(path))?));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .large_file(true);
    for array in arrays {
        archive.start_file(format!("{}.npy", array.name), options)?;
        array.write(&mut archive)?;
    }
    archive.finish()?.flush()
}

impl RolloutLayout<'_> {
    /// What is known of a rollout beside its fields.
    fn numbers(&self) -> Vec<Array> {
        let frames = self.times.len();
        let axes = self.schema.grid.axes.iter().map(|axis| {
            let points = self.coordinates(axis).to_vec();
            let name = format!("coordinate_{}", axis.name);
            Array::new(&name, vec![points.len()], Values::F64(points))
        });
        let scalars = self.scalars.iter().map(|(name, values)| {
            let values = Values::F64(values[..frames.min(values.len())].to_vec());
            Array::new(&format!("scalar_{name}"), vec![values.len()], values)
        });
        let context = Values::I64(vec![self.source.context as i64]);
        let time = Values::F64(self.times.clone());
        let own = [
            Array::new("time", vec![frames], time),
            Array::new("context", Vec::new(), context),
        ];
        own.into_iter().chain(axes).chain(scalars).collect()
    }
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
            Self::I64(values) => values.len(),
        }
    }
}

impl Array {
    /// Names become names of files in the archive, which have no folders.
    fn new(name: &str, shape: Vec<usize>, values: Values) -> Self {
        Self {
            name: name.replace(['/', '\\'], "_"),
            shape,
            values,
        }
    }

    fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let kind = match self.values {
            Values::F32(_) => "<f4",
            Values::F64(_) => "<f8",
            Values::I64(_) => "<i8",
        };
        to.write_all(&header(kind, &self.shape))?;
        match &self.values {
            Values::F32(values) => little(values, |x| x.to_le_bytes(), to),
            Values::F64(values) => little(values, |x| x.to_le_bytes(), to),
            Values::I64(values) => little(values, |x| x.to_le_bytes(), to),
        }
    }
}

fn little<X: Copy, const N: usize>(
    values: &[X],
    bytes: impl Fn(X) -> [u8; N],
    to: &mut impl Write,
) -> io::Result<()> {
    /// Numbers that are written at once.
    const AT_ONCE: usize = 1 << 14;
    for values in values.chunks(AT_ONCE) {
        let bytes: Vec<u8> = values.iter().flat_map(|&x| bytes(x)).collect();
        to.write_all(&bytes)?;
    }
    Ok(())
}

/// What comes before the numbers of an array; its length is a multiple of 64.
fn header(kind: &str, shape: &[usize]) -> Vec<u8> {
    const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";
    let sides: String = shape.iter().map(|side| format!("{side},")).collect();
    let mut text =
        format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({sides}), }}").into_bytes();
    let before = MAGIC.len() + 2;
    let whole = (before + text.len() + 1).next_multiple_of(64);
    text.resize(whole - before - 1, b' ');
    text.push(b'\n');
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    [MAGIC, &length.to_le_bytes(), &text].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_numpys() {
        for (shape, text) in [(&[][..], "()"), (&[3], "(3,)"), (&[3, 4, 5], "(3,4,5,)")] {
            let header = header("<f4", shape);
            assert_eq!(header.len() % 64, 0);
            assert_eq!(&header[..8], b"\x93NUMPY\x01\x00");
            assert_eq!(header.last(), Some(&b'\n'));
            let length = usize::from(u16::from_le_bytes([header[8], header[9]]));
            assert_eq!(length + 10, header.len());
            let dict = String::from_utf8_lossy(&header[10..]);
            let expected = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {text}, }}");
            assert_eq!(dict.trim_end(), expected);
        }
    }
}
