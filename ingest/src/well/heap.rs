//! Global heaps, where HDF5 keeps texts of any length: checked before the library sees them.
//!
//! HDF5 2's library walks from object to object of a collection by their sizes, and never ends where
//! one says that it takes no bytes (`H5HG__cache_heap_deserialize`). See "III.E. Disk Format: Level
//! 1E - Global Heap" of the HDF5 File Format Specification.

use std::io;

use crate::extents::ReadAt;

const SIGNATURE: [u8; 8] = *b"GCOL\x01\0\0\0";
/// Bytes of a collection's head and of an object's, where lengths take 8 bytes, as they do in every
/// file that a 64-bit library writes unless it is told otherwise.
const HEAD: u64 = 16;

/// Fails if `bytes`, which lie at an address of a file, begin a collection that cannot be walked through.
pub(super) fn check(file: &dyn ReadAt, address: u64, bytes: &[u8]) -> io::Result<()> {
    if !bytes.starts_with(&SIGNATURE) {
        return Ok(());
    }
    let damaged = || io::Error::other(format!("the global heap at byte {address} is damaged"));
    let end = length(bytes).ok_or_else(damaged)?;
    let mut at = HEAD;
    // What is left at the end may be too small for an object.
    while end.saturating_sub(at) >= HEAD {
        let object = address.checked_add(at).ok_or_else(damaged)?;
        let mut head = [0; HEAD as usize];
        match bytes.get(at as usize..).and_then(|rest| rest.first_chunk()) {
            Some(held) => head = *held,
            None => file.read_at(object, &mut head)?,
        }
        let size = length(&head).ok_or_else(damaged)?;
        let takes = match u16::from_le_bytes([head[0], head[1]]) {
            // Free space, its head included.
            0 => Some(size),
            _ => size
                .checked_next_multiple_of(8)
                .and_then(|size| size.checked_add(HEAD)),
        };
        let takes = takes.filter(|takes| *takes >= HEAD).ok_or_else(damaged)?;
        at = at.checked_add(takes).ok_or_else(damaged)?;
    }
    Ok(())
}

/// The length that a head ends with.
fn length(head: &[u8]) -> Option<u64> {
    let bytes = head.get(8..HEAD as usize)?.try_into().ok()?;
    Some(u64::from_le_bytes(bytes))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::fs::File;
    use std::io::Write as _;

    use super::*;

    /// A collection of two objects and free space, of which only the beginning is at hand.
    fn collection(sizes: [u64; 3]) -> (File, Vec<u8>) {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend(4096_u64.to_le_bytes());
        for (size, index) in sizes.into_iter().zip([1_u16, 2, 0]) {
            let start = bytes.len();
            bytes.extend(index.to_le_bytes());
            bytes.extend([0; 6]);
            bytes.extend(size.to_le_bytes());
            let takes = if index == 0 {
                0
            } else {
                16 + size.min(100).next_multiple_of(8)
            };
            bytes.resize(bytes.len().max(start + takes as usize), 0);
        }
        bytes.resize(4096, 0);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        bytes.truncate(40);
        (file, bytes)
    }

    #[test]
    fn a_walk_that_would_not_end_is_refused() {
        let rest = 4096 - 16 - (16 + 8) - (16 + 56);
        let (file, bytes) = collection([8, 50, rest]);
        check(&file, 0, &bytes).unwrap();
        for sizes in [
            [8, 50, 0],
            [8, 50, 15],
            [u64::MAX - 15, 50, rest],
            [8, u64::MAX, rest],
        ] {
            let (file, bytes) = collection(sizes);
            let error = check(&file, 0, &bytes).unwrap_err();
            assert!(
                error.to_string().contains("global heap"),
                "{sizes:?}: {error}"
            );
        }
        check(&file, 0, b"something else").unwrap();
        assert!(check(&file, 0, &SIGNATURE).is_err());
    }
}
