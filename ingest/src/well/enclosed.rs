//! Checks that a file's contents lie in the file itself. An HDF5 file can name others, which may be missing
//! or be any file of this machine, and a damaged one can claim more values than there is memory for.

use hdf5::Dataset;
use hdf5::plist::dataset_create::Layout;

/// Bytes that a stored one can become: deflate's best.
const EXPANSION: u64 = 1032;

/// Why the values of a dataset must not be read, if so: they are in other files, or in chunks, for which
/// the library would take memory, larger than the file can have.
pub(super) fn objection(dataset: &Dataset) -> hdf5::Result<Option<&'static str>> {
    let created = dataset.dcpl()?;
    if created.get_layout()? == Layout::Virtual || !created.get_external()?.is_empty() {
        return Ok(Some("its values are in other files"));
    }
    let value = dataset.dtype()?.size() as u64;
    let chunk = created.get_chunk()?.unwrap_or_default().into_iter();
    let bytes = chunk.fold(value, |bytes, n| bytes.saturating_mul(n as u64));
    let most = dataset.file()?.size().saturating_mul(EXPANSION);
    Ok((bytes > most).then_some("its chunks are larger than the file can have"))
}
