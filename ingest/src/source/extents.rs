//! [`ReadAt`]: reads ranges of a file, on any thread.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// A file whose ranges can be read, whatever it lies on.
pub(crate) trait ReadAt: Send + Sync {
    /// Fills `into` with the bytes from `offset` on; an end that comes before is an error.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;

    /// Length in bytes.
    fn length(&self) -> io::Result<u64>;
}

impl ReadAt for File {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let read = self.read_exact_at(into, offset);
        read.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => beyond_the_end(),
            _ => error,
        })
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

/// A range that a file does not have.
pub(crate) fn beyond_the_end() -> io::Error {
    let reason = "the file ends before it; it may be truncated";
    io::Error::new(io::ErrorKind::UnexpectedEof, reason)
}
