//! How a file stores the values of a field: contiguous at an offset, in chunks, or in a way that only the
//! HDF5 library can read.

use std::collections::BTreeMap;

use hdf5::filters::Filter;
use hdf5::plist::dataset_create::Layout as Kind;
use hdf5::{Dataset, File};

use super::StoredField;
use super::filters::Step;
use super::unwritten::{self, UnwrittenFrames};
use crate::{Error, Result};

/// Chunks beyond this size are left to the library, which need not hold all of one.
const LARGEST_CHUNK: usize = 256 << 20;

/// A type that values have in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    F32,
    F64,
}

impl Element {
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

/// The place of a field's values, and how they are stored.
pub(super) struct Storage {
    pub(super) dataset: Dataset,
    pub(super) shape: Vec<usize>,
    pub(super) element: Element,
    pub(super) layout: Layout,
    pub(super) unwritten: UnwrittenFrames,
    /// A value that stands for one that was never written.
    pub(super) missing: Option<f64>,
}

pub(super) enum Layout {
    /// Contiguous values, from this offset on.
    Contiguous(u64),
    Chunked(Chunks),
    /// Whatever the library makes of it: another type or byte order, another filter, a fill value for
    /// what was never written.
    Library,
}

pub(super) struct Chunks {
    pub(super) shape: Vec<usize>,
    /// Chunks along each axis.
    pub(super) grid: Vec<usize>,
    pub(super) steps: Vec<Step>,
    /// Row-major over the grid.
    pub(super) table: Vec<Chunk>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk {
    pub(super) address: u64,
    pub(super) bytes: usize,
    /// A bit for each filter that it was written without.
    pub(super) skipped: u32,
}

impl Storage {
    /// Looks at a field's storage; reads no values.
    pub(super) fn of(file: &File, field: &StoredField, named: &str) -> Result<Self> {
        let failed = |source| Error::Read {
            file: named.to_owned(),
            object: field.path.clone(),
            source,
        };
        let dataset = file.dataset(&field.path).map_err(failed)?;
        let look = Look {
            native: native(&dataset).map_err(failed)?,
            shape: dataset.get_shape().map_err(failed)?,
            filters: dataset
                .dcpl()
                .and_then(|c| c.get_filters())
                .map_err(failed)?,
            file: file.size(),
            dataset: &dataset,
        };
        let (layout, unwritten) = look.layout(field).map_err(failed)?;
        if matches!(layout, Layout::Library) {
            readable(&look.filters, field, named)?;
        }
        let created = dataset.dcpl().map_err(failed)?;
        Ok(Self {
            missing: unwritten::missing_value(&created).map_err(failed)?,
            element: look.native.unwrap_or(Element::F64),
            shape: look.shape,
            dataset,
            layout,
            unwritten,
        })
    }
}

/// The type of a dataset's values, if that is one of this machine's.
fn native(dataset: &Dataset) -> hdf5::Result<Option<Element>> {
    let stored = dataset.dtype()?;
    let known = [
        (hdf5::Datatype::from_type::<f32>()?, Element::F32),
        (hdf5::Datatype::from_type::<f64>()?, Element::F64),
    ];
    let found = known.into_iter().find(|(known, _)| *known == stored);
    Ok(found
        .filter(|_| cfg!(target_endian = "little"))
        .map(|(_, element)| element))
}

/// Refuses a filter that cannot be undone here.
fn readable(filters: &[Filter], field: &StoredField, named: &str) -> Result<()> {
    match filters.iter().find(|filter| !filter.is_available()) {
        None => Ok(()),
        Some(filter) => Err(Error::Layout {
            file: named.to_owned(),
            object: field.path.clone(),
            reason: format!(
                "is stored with filter {} ({filter:?}), which this program cannot undo; \
                 repack it with gzip, or without a filter",
                filter.id()
            ),
        }),
    }
}

/// What is known of a dataset before its values are looked for.
struct Look<'a> {
    dataset: &'a Dataset,
    native: Option<Element>,
    shape: Vec<usize>,
    filters: Vec<Filter>,
    /// Bytes of the file, beyond which nothing can lie.
    file: u64,
}

impl Look<'_> {
    fn layout(&self, field: &StoredField) -> hdf5::Result<(Layout, UnwrittenFrames)> {
        let created = self.dataset.dcpl()?;
        match (created.get_layout()?, created.get_chunk()?) {
            (Kind::Contiguous, _) => match self.dataset.offset() {
                Some(offset) => Ok((self.contiguous(offset)?, UnwrittenFrames::Nothing)),
                None => Ok((Layout::Library, UnwrittenFrames::Everything)),
            },
            (Kind::Chunked, Some(chunk)) => self.chunked(&chunk, field),
            _ => Ok((Layout::Library, UnwrittenFrames::Nothing)),
        }
    }

    fn contiguous(&self, offset: u64) -> hdf5::Result<Layout> {
        let Some(element) = self.native else {
            return Ok(Layout::Library);
        };
        let end = bytes_of(&self.shape, element);
        let end = end.and_then(|bytes| offset.checked_add(bytes as u64));
        match end.filter(|&end| end <= self.file) {
            Some(_) => Ok(Layout::Contiguous(offset)),
            None => Err("its values would lie beyond the end of the file".into()),
        }
    }

    fn chunked(
        &self,
        chunk: &[usize],
        field: &StoredField,
    ) -> hdf5::Result<(Layout, UnwrittenFrames)> {
        if chunk.len() != self.shape.len() || chunk.contains(&0) {
            return Err("its chunks have other axes than its values".into());
        }
        let axes = self.shape.iter().zip(chunk);
        let grid: Vec<usize> = axes.map(|(n, c)| n.div_ceil(*c)).collect();
        let found = chunks(self.dataset, chunk, &grid)?;
        let varies = [field.field.sample_varying, field.field.time_varying];
        let unwritten = UnwrittenFrames::of(found.keys().copied(), chunk, &grid, varies);
        let steps: Option<Vec<Step>> = self.filters.iter().map(Step::of).collect();
        let bytes = self.native.and_then(|element| bytes_of(chunk, element));
        let layout = match (steps, bytes, &unwritten) {
            (Some(steps), Some(1..=LARGEST_CHUNK), UnwrittenFrames::Nothing) => {
                Layout::Chunked(Chunks {
                    shape: chunk.to_vec(),
                    grid,
                    steps,
                    table: found.into_values().collect(),
                })
            }
            _ => Layout::Library,
        };
        Ok((layout, unwritten))
    }
}

/// Bytes of an array, unless they are too many for a number.
fn bytes_of(shape: &[usize], element: Element) -> Option<usize> {
    let mut axes = shape.iter();
    axes.try_fold(element.bytes(), |bytes, &n| bytes.checked_mul(n))
}

/// The chunks that are in the file, by their place in the grid of chunks, row-major.
fn chunks(
    dataset: &Dataset,
    chunk: &[usize],
    grid: &[usize],
) -> hdf5::Result<BTreeMap<usize, Chunk>> {
    let place = |offset: &[u64]| {
        let mut axes = offset.iter().zip(chunk).zip(grid);
        axes.try_fold(0_usize, |place, ((&at, &c), &n)| {
            let at = usize::try_from(at).ok()? / c;
            let at = (at < n).then_some(at)?;
            place.checked_mul(n)?.checked_add(at)
        })
    };
    let mut found = BTreeMap::new();
    let mut stray = false;
    dataset.chunks_visit(|chunk| {
        let known = Chunk {
            address: chunk.addr,
            bytes: usize::try_from(chunk.size).unwrap_or(usize::MAX),
            skipped: chunk.filter_mask,
        };
        // Two chunks of one place, or one outside the grid: which values hold cannot be known.
        stray |= match place(chunk.offset) {
            Some(place) => found.insert(place, known).is_some(),
            None => true,
        };
        0
    })?;
    // A damaged address leads into another chunk more often than not.
    let mut places: Vec<(u64, u64)> = found
        .values()
        .map(|chunk| (chunk.address, chunk.bytes as u64))
        .collect();
    places.sort_unstable();
    let overlap = places
        .windows(2)
        .any(|pair| pair[0].0.saturating_add(pair[0].1) > pair[1].0);
    match stray || overlap {
        false => Ok(found),
        true => {
            Err("its index of chunks is damaged: chunks lie outside it, twice in it, or over one another".into())
        }
    }
}
