//! Reads frames of a file as planes: each component of a field on the whole selected grid, however the file
//! stores it.

use std::ops::Range;

use wellspring_store::{AxisSelection, ChannelMap, Transform};
use xxhash_rust::xxh3::xxh3_64;

use super::block::{self, ArrayBox, Failure, Scratch, Values};
use super::gather::{Cell, Gather, Slab, finite};
use super::storage::Layout;
use super::{OpenFile, StoredField};
use crate::well::glance::{Glance, StoredSlice};
use crate::{Error, Result};

/// Bytes of a slab of values that lie in a row: enough for long reads, few enough for a cache.
const ROW_SLAB: usize = 2 << 20;

/// Bytes of a slab of chunks, which are decoded together.
const CHUNK_SLAB: usize = 16 << 20;

/// Reads the frames of one field, in any order; in the order of steps it reads every byte once.
pub(crate) struct FieldReader<'a> {
    file: &'a OpenFile,
    field: &'a StoredField,
    index: usize,
    space: &'a [AxisSelection],
    values: Values,
    held: Option<LoadedRange>,
    /// The values that the last planes were of.
    last: Range<usize>,
    /// Whether some of them were never written.
    is_unwritten: bool,
    /// Whether zero takes the place of values that are not finite.
    zeroes: bool,
    /// For each step in memory: the number of values that were replaced by zero.
    zeroed: Vec<usize>,
    scratch: Scratch,
}

/// What the values in memory are of.
#[derive(Debug, PartialEq)]
struct LoadedRange {
    sample: usize,
    steps: Range<usize>,
    rows: Range<usize>,
}

impl<'a> FieldReader<'a> {
    pub(crate) fn new(file: &'a OpenFile, index: usize, space: &'a [AxisSelection]) -> Self {
        Self {
            field: &file.well.stored[index],
            values: Values::new(file.storage[index].element),
            file,
            index,
            space,
            held: None,
            last: 0..0,
            is_unwritten: false,
            zeroes: false,
            zeroed: Vec::new(),
            scratch: Scratch::default(),
        }
    }

    /// Lets zero take the place of values that are not finite.
    pub(crate) fn with_zeroes(self, zeroes: bool) -> Self {
        Self { zeroes, ..self }
    }

    /// The slabs that a frame is read in, in order.
    pub(crate) fn slabs(&self) -> Vec<Slab> {
        let axis = self.space[0];
        let whole = Slab {
            file: axis.start..axis.end,
            rows: 0..axis.count(),
        };
        if !self.field.dim_varying[0] {
            return vec![whole];
        }
        let row = self.frame_values() / (axis.end - axis.start).max(1)
            * self.file.storage[self.index].element.bytes();
        let (every, most) = match self.chunk() {
            None => (1, ROW_SLAB),
            Some(chunk) => (chunk[self.axis(0)], CHUNK_SLAB),
        };
        let rows = (most / (row * self.steps_at_once()).max(1)).max(1);
        let rows = rows.div_ceil(every) * every;
        let mut slabs = Vec::new();
        let mut start = axis.start;
        while start < axis.end {
            // Chunks begin at multiples of their length, wherever a crop does.
            let end = (start / every * every + rows).min(axis.end);
            let place = |cell: usize| (cell - axis.start).div_ceil(axis.stride);
            let rows = place(start)..place(end);
            if !rows.is_empty() {
                slabs.push(Slab {
                    file: start..end,
                    rows,
                });
            }
            start = end;
        }
        slabs
    }

    /// Whether the file has its values in f64.
    pub(crate) fn is_wide(&self) -> bool {
        matches!(self.values, Values::F64(_))
    }

    /// Fills planes with a slab of a frame, one for each component, with values as they are.
    ///
    /// # Errors
    /// As [`Self::planes`].
    pub(crate) fn raw_planes<X: Cell>(
        &mut self,
        sample: usize,
        step: usize,
        slab: &Slab,
        planes: &mut [&mut [X]],
    ) -> Result<()> {
        self.fill(
            sample,
            step,
            slab,
            planes,
            None,
            |gather, stored, component, plane| match stored {
                StoredSlice::F32(values) => gather.plane(values, component, X::of_f32, plane),
                StoredSlice::F64(values) => gather.plane(values, component, X::of_f64, plane),
            },
        )
    }

    /// Fills planes with a slab of a frame, one for each component, mapping every value to its stored one.
    ///
    /// # Errors
    /// [`Error::Bytes`], [`Error::Layout`], [`Error::Read`]; [`Error::Unwritten`];
    /// [`Error::NotFinite`] for a value that is not a number, [`Error::NotTransformable`] for one without a
    /// transform, [`Error::TooLarge`] for one that f32 cannot hold, as it is or mapped.
    pub(crate) fn planes(
        &mut self,
        sample: usize,
        step: usize,
        slab: &Slab,
        maps: &[ChannelMap],
        planes: &mut [&mut [f32]],
    ) -> Result<()> {
        self.fill(
            sample,
            step,
            slab,
            planes,
            maps.first().and_then(|map| map.transform),
            |gather, stored, component, plane| {
                let normalized = maps[component].normalized();
                match maps[component].transform {
                    None => mapped(gather, stored, component, normalized, plane),
                    Some(transform) => {
                        let map = |x| normalized(transform.forward(x));
                        mapped(gather, stored, component, map, plane);
                    }
                }
            },
        )
    }

    /// Takes a plane of raw values through a transform.
    ///
    /// # Errors
    /// [`Error::NotTransformable`] for a value without one.
    pub(crate) fn transform_plane<X: Cell>(
        &self,
        transform: Transform,
        sample: usize,
        step: usize,
        plane: &mut [X],
    ) -> Result<()> {
        for x in plane {
            let value = (*x).into();
            let transformed = transform.forward(value);
            if !transformed.is_finite() {
                return Err(self.refused(value, Some(transform), sample, step));
            }
            *x = X::of_f64(transformed);
        }
        Ok(())
    }

    /// Fills planes with a slab of a frame, each by `plane_of` the stored values and a component. The `transform` is
    /// what it takes them through.
    fn fill<X: Cell>(
        &mut self,
        sample: usize,
        step: usize,
        slab: &Slab,
        planes: &mut [&mut [X]],
        transform: Option<Transform>,
        plane_of: impl Fn(&Gather, StoredSlice<'_>, usize, &mut [X]),
    ) -> Result<()> {
        self.load(sample, step, slab)?;
        let components = self.space.len().pow(self.field.field.order as u32);
        let gather = Gather::new(self.space, &self.field.dim_varying, components, slab);
        let first = match &self.held {
            Some(held) => (step.max(held.steps.start) - held.steps.start) * gather.frame,
            None => 0,
        };
        self.last = first..first + gather.frame;
        let storage = &self.file.storage[self.index];
        let is_missing = |missing| self.values.contain(self.last.clone(), missing);
        self.is_unwritten =
            storage.unwritten.holds(sample, step) || storage.missing.is_some_and(is_missing);
        if self.is_unwritten && !self.file.allow_unwritten {
            return Err(self.unwritten(sample, step));
        }
        for (component, plane) in planes.iter_mut().enumerate() {
            plane_of(&gather, self.stored(), component, plane);
            if !finite(plane) {
                let value = self.unfit(&gather, component, plane);
                return Err(self.refused(value, transform, sample, step));
            }
        }
        Ok(())
    }

    fn unwritten(&self, trajectory: usize, step: usize) -> Error {
        Error::Unwritten {
            file: self.file.well.named.clone(),
            object: self.field.path.clone(),
            trajectory,
            step,
        }
    }

    /// A glance at the stored values that the last planes were of; `fills` are those that the file names
    /// as missing.
    pub(crate) fn glance(&self, fills: &[f64]) -> Glance {
        let checksum = xxh3_64(self.values.bytes(self.last.clone()));
        let place = self.last.start / self.last.len().max(1);
        let zeroed = self.zeroed.get(place).copied().unwrap_or(0);
        Glance::at(self.stored(), checksum, zeroed, self.is_unwritten, fills)
    }

    /// A value of the last planes that stands for a missing one, unless that is since it was never written.
    pub(crate) fn fill_value(&self, fills: &[f64]) -> Option<f64> {
        let fill = self.stored().fill(fills);
        fill.filter(|_| !self.is_unwritten)
    }

    /// The stored values that the last planes were of.
    fn stored(&self) -> StoredSlice<'_> {
        self.values.some(self.last.clone())
    }

    /// The value in the file of the first cell of a plane that is not finite.
    fn unfit<X: Cell>(&self, gather: &Gather, component: usize, plane: &[X]) -> f64 {
        let mut wide = vec![0.0; plane.len()];
        match self.stored() {
            StoredSlice::F32(values) => gather.plane(values, component, f64::of_f32, &mut wide),
            StoredSlice::F64(values) => gather.plane(values, component, f64::of_f64, &mut wide),
        }
        let mut cells = wide.into_iter().zip(plane);
        let cell = cells.find(|(_, x)| !x.fits());
        cell.map_or(f64::NAN, |(value, _)| value)
    }

    /// Why a value cannot be taken, as it is or through a transform.
    fn refused(
        &self,
        value: f64,
        transform: Option<Transform>,
        trajectory: usize,
        step: usize,
    ) -> Error {
        let (file, object) = (self.file.well.named.clone(), self.field.path.clone());
        if !value.is_finite() {
            return Error::NotFinite {
                file,
                object,
                trajectory,
                step,
            };
        }
        let fails = |transform: &Transform| !transform.forward(value).is_finite();
        match transform.filter(fails).filter(|_| value.fits()) {
            Some(transform) => Error::NotTransformable {
                file,
                object,
                field: self.field.field.name.clone(),
                value,
                transform,
                trajectory,
                step,
            },
            None => Error::TooLarge {
                file,
                object,
                value,
                trajectory,
                step,
            },
        }
    }

    /// Reads and decodes a slab of a frame, and what is stored with it, unless that is in memory.
    ///
    /// # Errors
    /// As [`Self::planes`], but for values, which are not looked at.
    pub(crate) fn load(&mut self, sample: usize, step: usize, slab: &Slab) -> Result<()> {
        let held = self.wanted(sample, step, slab);
        if self.held.as_ref() == Some(&held) {
            return Ok(());
        }
        self.held = None;
        let storage = &self.file.storage[self.index];
        if storage.unwritten.holds(sample, step) && !self.file.allow_unwritten {
            return Err(self.unwritten(sample, step));
        }
        let region = self.region(&held);
        let read = block::read(
            storage,
            self.file.bytes.as_ref(),
            &region,
            &mut self.values,
            &mut self.scratch,
        );
        read.map_err(|failure| self.failed(failure, sample, step))?;
        if self.zeroes {
            self.zeroed = self.values.zero_what_is_not_finite(held.steps.len());
        }
        self.held = Some(held);
        Ok(())
    }

    fn wanted(&self, sample: usize, step: usize, slab: &Slab) -> LoadedRange {
        let (together, frames) = (self.steps_at_once(), self.file.well.frames);
        let first = step / together * together;
        let varies = &self.field.field;
        LoadedRange {
            sample: if varies.sample_varying { sample } else { 0 },
            steps: match varies.time_varying {
                true => first..(first + together).min(frames),
                false => 0..1,
            },
            rows: match self.field.dim_varying[0] {
                true => slab.file.clone(),
                false => 0..1,
            },
        }
    }

    /// The box of the file that holds what is wanted.
    fn region(&self, held: &LoadedRange) -> ArrayBox {
        let mut region = ArrayBox {
            start: Vec::new(),
            count: Vec::new(),
        };
        let mut push = |range: Range<usize>| {
            region.start.push(range.start);
            region.count.push(range.len());
        };
        if self.field.field.sample_varying {
            push(held.sample..held.sample + 1);
        }
        if self.field.field.time_varying {
            push(held.steps.clone());
        }
        for (axis, selection) in self.space.iter().enumerate() {
            match (self.field.dim_varying[axis], axis) {
                (false, _) => {}
                (true, 0) => push(held.rows.clone()),
                (true, _) => push(selection.start..selection.end),
            }
        }
        for _ in 0..self.field.field.order as usize {
            push(0..self.space.len());
        }
        region
    }

    /// Index of a spatial axis in the stored array.
    fn axis(&self, axis: usize) -> usize {
        let field = &self.field.field;
        let varying = self.field.dim_varying[..axis]
            .iter()
            .filter(|&&varies| varies);
        usize::from(field.sample_varying) + usize::from(field.time_varying) + varying.count()
    }

    fn chunk(&self) -> Option<&[usize]> {
        match &self.file.storage[self.index].layout {
            Layout::Chunked(chunks) => Some(&chunks.shape),
            _ => None,
        }
    }

    /// Frames that chunks hold together.
    fn steps_at_once(&self) -> usize {
        match (self.chunk(), self.field.field.time_varying) {
            (Some(chunk), true) => chunk[usize::from(self.field.field.sample_varying)],
            _ => 1,
        }
    }

    /// Number of stored values of a frame.
    fn frame_values(&self) -> usize {
        let cells: usize = self
            .space
            .iter()
            .zip(&self.field.dim_varying)
            .filter_map(|(axis, &varies)| varies.then_some(axis.end - axis.start))
            .product();
        cells * self.space.len().pow(self.field.field.order as u32)
    }

    fn failed(&self, failure: Failure, sample: usize, step: usize) -> Error {
        let file = self.file.well.named.clone();
        let object = format!("{} of trajectory {sample} at step {step}", self.field.path);
        match failure {
            Failure::Bytes(source) => Error::Bytes {
                file,
                object,
                source,
            },
            Failure::Chunk(reason) => Error::Layout {
                file,
                object,
                reason: format!("lies in a chunk that {reason}"),
            },
            Failure::Library(source) => Error::Read {
                file,
                object,
                source,
            },
        }
    }
}

/// Fills a plane with a component of stored values, each mapped.
fn mapped(
    gather: &Gather,
    stored: StoredSlice<'_>,
    component: usize,
    map: impl Fn(f64) -> f32 + Copy,
    plane: &mut [f32],
) {
    match stored {
        StoredSlice::F32(values) => gather.plane(values, component, |x| map(x.into()), plane),
        // One that readers could not give back must not pass because it fits when mapped.
        StoredSlice::F64(values) => {
            let map = |x: f64| if x.fits() { map(x) } else { f32::NAN };
            gather.plane(values, component, map, plane);
        }
    }
}
