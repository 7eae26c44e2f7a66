//! How the values of a field lie in a file: at an offset, in chunks, or in a way that only the HDF5
//! library knows.

use hdf5::{Dataset, File};

use super::StoredField;
use super::filters::Step;
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

/// Where the values of a field are.
pub(super) struct Storage {
    pub(super) dataset: Dataset,
    pub(super) shape: Vec<usize>,
    pub(super) element: Element,
    pub(super) layout: Layout,
}

pub(super) enum Layout {
    /// All of them in a row, from this offset on.
    Contiguous(u64),
    Chunked(Chunks),
    /// Whatever the library makes of it: another type or byte order, another filter, values that were
    /// never written.
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
        let stored = dataset.dtype().map_err(failed)?;
        let native = [
            (hdf5::Datatype::from_type::<f32>(), Element::F32),
            (hdf5::Datatype::from_type::<f64>(), Element::F64),
        ];
        let native = native
            .into_iter()
            .find_map(|(known, element)| (known.ok()? == stored).then_some(element));
        let shape = dataset.shape();
        // Addresses are counted from the end of a user block, of which few files have one.
        let layout = match native {
            Some(element) if file.userblock() == 0 && cfg!(target_endian = "little") => {
                layout(&dataset, &shape, element, file.size()).map_err(failed)?
            }
            _ => Layout::Library,
        };
        if matches!(layout, Layout::Library) {
            readable(&dataset, field, named)?;
        }
        Ok(Self {
            dataset,
            shape,
            element: native.unwrap_or(Element::F64),
            layout,
        })
    }
}

/// Refuses a filter that nobody here can undo.
fn readable(dataset: &Dataset, field: &StoredField, named: &str) -> Result<()> {
    match dataset
        .filters()
        .iter()
        .find(|filter| !filter.is_available())
    {
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

/// Where the values lie in a file of so many bytes, beyond which nothing can.
fn layout(dataset: &Dataset, shape: &[usize], element: Element, file: u64) -> hdf5::Result<Layout> {
    if let Some(offset) = dataset.offset() {
        let end = bytes_of(shape, element).and_then(|bytes| offset.checked_add(bytes as u64));
        return match end.filter(|&end| end <= file) {
            Some(_) => Ok(Layout::Contiguous(offset)),
            None => Err("its values would lie beyond the end of the file".into()),
        };
    }
    let Some(chunk) = dataset.chunk() else {
        return Ok(Layout::Library);
    };
    let steps: Option<Vec<Step>> = dataset.filters().iter().map(Step::of).collect();
    match (steps, bytes_of(&chunk, element)) {
        (Some(steps), Some(bytes)) if bytes <= LARGEST_CHUNK && bytes > 0 => {
            chunks(dataset, shape, chunk, steps, file)
        }
        _ => Ok(Layout::Library),
    }
}

/// Bytes of an array, unless they are too many for a number.
fn bytes_of(shape: &[usize], element: Element) -> Option<usize> {
    let mut axes = shape.iter();
    axes.try_fold(element.bytes(), |bytes, &n| bytes.checked_mul(n))
}

fn chunks(
    dataset: &Dataset,
    shape: &[usize],
    chunk: Vec<usize>,
    steps: Vec<Step>,
    file: u64,
) -> hdf5::Result<Layout> {
    let grid: Vec<usize> = shape
        .iter()
        .zip(&chunk)
        .map(|(n, c)| n.div_ceil(*c))
        .collect();
    let count = grid.iter().product();
    // Each takes a byte at least.
    if dataset.num_chunks() != Some(count) || count as u64 > file {
        // Some were never written; the library knows what they hold.
        return Ok(Layout::Library);
    }
    let empty = Chunk {
        address: u64::MAX,
        bytes: 0,
        skipped: 0,
    };
    let mut table = vec![empty; count];
    dataset.chunks_visit(|found| {
        let places = found.offset.iter().zip(&chunk).zip(&grid);
        let place = places.fold(0, |place, ((&at, &c), &n)| place * n + at as usize / c);
        let Some(entry) = table.get_mut(place) else {
            return -1;
        };
        *entry = Chunk {
            address: found.addr,
            bytes: found.size as usize,
            skipped: found.filter_mask,
        };
        0
    })?;
    if table.iter().any(|chunk| chunk.address == u64::MAX) {
        return Ok(Layout::Library);
    }
    Ok(Layout::Chunked(Chunks {
        shape: chunk,
        grid,
        steps,
        table,
    }))
}
