//! Reads boxes of a field's values from the file's bytes.

use std::ops::Range;

use super::filters::Decoder;
use super::storage::{Chunk, Chunks, Element, Layout, Storage};
use crate::source::extents::ReadAt;
use crate::well::glance::StoredSlice;

/// Values of a box as the file has them.
pub(super) enum Values {
    F32(Vec<f32>),
    F64(Vec<f64>),
}

impl Values {
    pub(super) fn new(element: Element) -> Self {
        match element {
            Element::F32 => Self::F32(Vec::new()),
            Element::F64 => Self::F64(Vec::new()),
        }
    }

    fn resize(&mut self, length: usize) {
        match self {
            Self::F32(values) => values.resize(length, 0.0),
            Self::F64(values) => values.resize(length, 0.0),
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::F32(values) => bytemuck::cast_slice_mut(values),
            Self::F64(values) => bytemuck::cast_slice_mut(values),
        }
    }

    /// Whether a number is among some of the values.
    pub(super) fn contain(&self, range: Range<usize>, number: f64) -> bool {
        match self {
            Self::F32(values) => values[range].iter().any(|&x| f64::from(x) == number),
            Self::F64(values) => values[range].contains(&number),
        }
    }

    /// The bytes of some of the values.
    pub(super) fn bytes(&self, range: Range<usize>) -> &[u8] {
        match self {
            Self::F32(values) => bytemuck::cast_slice(&values[range]),
            Self::F64(values) => bytemuck::cast_slice(&values[range]),
        }
    }

    /// A range of the values.
    pub(super) fn some(&self, range: Range<usize>) -> StoredSlice<'_> {
        match self {
            Self::F32(values) => StoredSlice::F32(&values[range]),
            Self::F64(values) => StoredSlice::F64(&values[range]),
        }
    }

    /// Puts zero where a value is not finite; how often, in each of so many equal parts.
    pub(super) fn zero_what_is_not_finite(&mut self, parts: usize) -> Vec<usize> {
        macro_rules! each {
            ($values:ident) => {{
                let length = ($values.len() / parts.max(1)).max(1);
                let parts = $values.chunks_mut(length);
                let zeroed = parts.map(|part| {
                    let odd = part.iter_mut().filter(|value| !value.is_finite());
                    odd.map(|value| *value = 0.0).count()
                });
                zeroed.collect()
            }};
        }
        match self {
            Self::F32(values) => each!(values),
            Self::F64(values) => each!(values),
        }
    }
}

/// A box of an array: where it begins and how far it goes, along each axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ArrayBox {
    pub(super) start: Vec<usize>,
    pub(super) count: Vec<usize>,
}

impl ArrayBox {
    pub(super) fn len(&self) -> usize {
        self.count.iter().product()
    }
}

/// Memory that is kept from one box to the next.
#[derive(Default)]
pub(super) struct Scratch {
    decoder: Decoder,
    stored: Vec<u8>,
    decoded: Vec<u8>,
}

/// Reads a box of values; the error says what is wrong with the field.
pub(super) fn read(
    storage: &Storage,
    file: &dyn ReadAt,
    region: &ArrayBox,
    into: &mut Values,
    scratch: &mut Scratch,
) -> Result<(), Failure> {
    into.resize(region.len());
    let size = storage.element.bytes();
    match &storage.layout {
        Layout::Contiguous(offset) => {
            let bytes = into.bytes_mut();
            let whole = ArrayBox {
                start: vec![0; region.count.len()],
                count: region.count.clone(),
            };
            runs(
                &storage.shape,
                &region.start,
                &whole.count,
                &whole.start,
                &region.count,
            )
            .try_for_each(|run| {
                let place = run.to * size..(run.to + run.length) * size;
                let at = offset + (run.from * size) as u64;
                file.read_at(at, &mut bytes[place]).map_err(Failure::Bytes)
            })
        }
        Layout::Chunked(chunks) => ChunkReader {
            chunks,
            file,
            region,
            size,
            scratch,
        }
        .read(into.bytes_mut()),
        Layout::Library => read_by_library(storage, region, into).map_err(Failure::Library),
    }
}

/// Why a box could not be read.
pub(super) enum Failure {
    Bytes(std::io::Error),
    Chunk(String),
    Library(hdf5::Error),
}

fn read_by_library(storage: &Storage, region: &ArrayBox, into: &mut Values) -> hdf5::Result<()> {
    use hdf5::{Hyperslab, SliceOrIndex};
    let slices = region.start.iter().zip(&region.count);
    let place: Vec<SliceOrIndex> = slices
        .map(|(&start, &count)| SliceOrIndex::SliceCount {
            start,
            step: 1,
            count,
            block: 1,
        })
        .collect();
    macro_rules! values {
        ($values:ident) => {
            if place.is_empty() {
                $values[0] = storage.dataset.read_scalar()?;
            } else {
                let found = storage
                    .dataset
                    .read_slice::<_, _, ndarray::IxDyn>(Hyperslab::from(place))?;
                $values
                    .iter_mut()
                    .zip(found.iter())
                    .for_each(|(place, &x)| *place = x);
            }
        };
    }
    match into {
        Values::F32(values) => values!(values),
        Values::F64(values) => values!(values),
    }
    Ok(())
}

/// Reads a box out of the chunks that it touches.
struct ChunkReader<'a> {
    chunks: &'a Chunks,
    file: &'a dyn ReadAt,
    region: &'a ArrayBox,
    /// Bytes of a value.
    size: usize,
    scratch: &'a mut Scratch,
}

impl ChunkReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> Result<(), Failure> {
        let (chunks, region) = (self.chunks, self.region);
        let axes = || region.start.iter().zip(&region.count).zip(&chunks.shape);
        let low: Vec<usize> = axes().map(|((&start, _), &c)| start / c).collect();
        let high: Vec<usize> = axes()
            .map(|((&start, &count), &c)| (start + count.max(1) - 1) / c + 1)
            .collect();
        let mut at = low.clone();
        loop {
            self.chunk(&at, into)?;
            if !advance(&mut at, &low, &high) {
                return Ok(());
            }
        }
    }

    /// Copies what a chunk, by its place in the grid of chunks, has in common with the box.
    fn chunk(&mut self, at: &[usize], into: &mut [u8]) -> Result<(), Failure> {
        let (shape, region, size) = (&self.chunks.shape, self.region, self.size);
        let ndim = at.len();
        // The intersection of the chunk's box and the region, as offsets into either.
        let (mut from, mut to, mut count) = (vec![0; ndim], vec![0; ndim], vec![0; ndim]);
        for axis in 0..ndim {
            let first = at[axis] * shape[axis];
            let start = first.max(region.start[axis]);
            let end = (first + shape[axis]).min(region.start[axis] + region.count[axis]);
            from[axis] = start - first;
            to[axis] = start - region.start[axis];
            count[axis] = end - start;
        }
        let places = at.iter().zip(&self.chunks.grid);
        let chunk = self.chunks.table[places.fold(0, |i, (&at, &n)| i * n + at)];
        let pieces = runs(shape, &from, &region.count, &to, &count);
        let whole = shape.iter().product::<usize>();
        if let Some(only) = pieces.clone().next().filter(|run| run.length == whole) {
            return self.decode(chunk, &mut into[only.to * size..(only.to + whole) * size]);
        }
        let mut decoded = std::mem::take(&mut self.scratch.decoded);
        decoded.resize(whole * size, 0);
        self.decode(chunk, &mut decoded)?;
        pieces.for_each(|run| {
            let place = run.to * size..(run.to + run.length) * size;
            into[place].copy_from_slice(&decoded[run.from * size..(run.from + run.length) * size]);
        });
        self.scratch.decoded = decoded;
        Ok(())
    }

    /// Decodes all values of a chunk.
    fn decode(&mut self, chunk: Chunk, into: &mut [u8]) -> Result<(), Failure> {
        let steps = &self.chunks.steps;
        if steps.is_empty() {
            if chunk.bytes != into.len() {
                let reason = format!("has {} bytes, not {}", chunk.bytes, into.len());
                return Err(Failure::Chunk(reason));
            }
            return self
                .file
                .read_at(chunk.address, into)
                .map_err(Failure::Bytes);
        }
        // No filter makes values much longer; a size beyond that is a lie that memory would pay for.
        if chunk.bytes > 2 * into.len() + 4096 {
            let reason = format!("claims {} stored bytes", chunk.bytes);
            return Err(Failure::Chunk(reason));
        }
        let Scratch {
            decoder, stored, ..
        } = &mut *self.scratch;
        stored.resize(chunk.bytes, 0);
        self.file
            .read_at(chunk.address, stored)
            .map_err(Failure::Bytes)?;
        decoder
            .decode(stored, steps, chunk.skipped, self.size, into)
            .map_err(Failure::Chunk)
    }
}

/// The next place in row-major order, unless that was the last.
fn advance(at: &mut [usize], low: &[usize], high: &[usize]) -> bool {
    for axis in (0..at.len()).rev() {
        at[axis] += 1;
        if at[axis] < high[axis] {
            return true;
        }
        at[axis] = low[axis];
    }
    false
}

/// Values that lie in a row in two arrays.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Run {
    from: usize,
    to: usize,
    length: usize,
}

/// The longest runs that a box of one array and the same box of another have in common.
#[derive(Clone)]
struct Runs {
    /// Axes that are not part of a run: how many steps, and how far each goes in either array.
    outer: Vec<(usize, usize, usize)>,
    at: Vec<usize>,
    next: Option<Run>,
}

fn runs(
    from_shape: &[usize],
    from_start: &[usize],
    to_shape: &[usize],
    to_start: &[usize],
    count: &[usize],
) -> Runs {
    let place = |shape: &[usize], start: &[usize]| {
        shape.iter().zip(start).fold(0, |at, (&n, &i)| at * n + i)
    };
    // Axes from the last on that are whole in both belong to one run, and so does the next one.
    let mut inner = count.len();
    let mut length = 1;
    while inner > 0 {
        inner -= 1;
        length *= count[inner];
        if count[inner] != from_shape[inner] || count[inner] != to_shape[inner] {
            break;
        }
    }
    let stride = |shape: &[usize], axis: usize| shape[axis + 1..].iter().product::<usize>();
    let outer: Vec<_> = (0..inner)
        .map(|axis| {
            (
                count[axis],
                stride(from_shape, axis),
                stride(to_shape, axis),
            )
        })
        .collect();
    let first = Run {
        from: place(from_shape, from_start),
        to: place(to_shape, to_start),
        length,
    };
    Runs {
        at: vec![0; outer.len()],
        next: (!count.contains(&0)).then_some(first),
        outer,
    }
}

impl Iterator for Runs {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        let run = self.next.take()?;
        let mut following = run;
        for axis in (0..self.outer.len()).rev() {
            let (count, from, to) = self.outer[axis];
            self.at[axis] += 1;
            following.from += from;
            following.to += to;
            if self.at[axis] < count {
                self.next = Some(following);
                break;
            }
            self.at[axis] = 0;
            following.from -= count * from;
            following.to -= count * to;
        }
        Some(run)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Copying by runs is copying value by value.
        #[test]
        fn runs_are_a_box(
            axes in prop::collection::vec((1..5_usize, 0..3_usize, 0..3_usize, 0..3_usize), 0..4),
        ) {
            let count: Vec<usize> = axes.iter().map(|a| a.0).collect();
            let from_start: Vec<usize> = axes.iter().map(|a| a.1).collect();
            let to_start: Vec<usize> = axes.iter().map(|a| a.2).collect();
            let from: Vec<usize> = axes.iter().map(|a| a.0 + a.1 + a.3).collect();
            let to: Vec<usize> = axes.iter().map(|a| a.0 + a.2).collect();
            let place = |shape: &[usize], at: &[usize]| shape.iter().zip(at).fold(0, |p, (n, i)| p * n + i);
            let mut pairs: Vec<(usize, usize)> = Vec::new();
            for run in runs(&from, &from_start, &to, &to_start, &count) {
                pairs.extend((0..run.length).map(|i| (run.from + i, run.to + i)));
            }
            let mut expected = Vec::new();
            let mut at = vec![0; count.len()];
            loop {
                let a: Vec<usize> = at.iter().zip(&from_start).map(|(i, s)| i + s).collect();
                let b: Vec<usize> = at.iter().zip(&to_start).map(|(i, s)| i + s).collect();
                expected.push((place(&from, &a), place(&to, &b)));
                if !advance(&mut at, &vec![0; count.len()], &count) {
                    break;
                }
            }
            prop_assert_eq!(pairs, expected);
        }
    }
}
