//! Checks heaps, where HDF5 keeps texts of any length and the names of links, before the library reads them.
//!
//! The library of HDF5 2 walks from object to object of a collection by their sizes, and never ends if an
//! object has size zero (`H5HG__cache_heap_deserialize`). See "III.E. Disk Format: Level 1E - Global Heap"
//! of the HDF5 File Format Specification. It lists the free blocks of a local heap (level 1D,
//! `H5HL__fl_deserialize`), and never ends if a block leads back to an earlier one.

use std::io;

use crate::source::extents::ReadAt;

const SIGNATURE: [u8; 8] = *b"GCOL\x01\0\0\0";
const LOCAL: [u8; 8] = *b"HEAP\0\0\0\0";
/// Offset that marks the end of a list of free blocks.
const NONE: u64 = 1;
/// Bytes of a collection's head and of an object's, where lengths take 8 bytes, as they do in every
/// file that a 64-bit library writes unless it is told otherwise.
const HEAD: u64 = 16;
/// Offset of the length in the head of an object.
const LENGTH: usize = 8;

/// First bytes of every HDF5 file, after a user block if it has one.
const SUPERBLOCK: [u8; 8] = *b"\x89HDF\r\n\x1a\n";

/// Where a file begins whose addresses are counted from there: at 0, or behind a user block of 512, 1024,
/// 2048... bytes. See "II. Disk Format: Level 0" of the specification.
pub(super) fn base(file: &dyn ReadAt, size: u64) -> io::Result<u64> {
    let mut at = 0;
    while size.saturating_sub(at) >= SUPERBLOCK.len() as u64 {
        let mut found = [0; SUPERBLOCK.len()];
        file.read_at(at, &mut found)?;
        if found == SUPERBLOCK {
            return Ok(at);
        }
        at = if at == 0 { 512 } else { 2 * at };
    }
    // The library will say that this is not HDF5.
    Ok(0)
}

/// Fails if `bytes`, which lie at a place of a file whose addresses begin at `base`, begin a heap that
/// cannot be walked through.
pub(super) fn check(file: &dyn ReadAt, base: u64, address: u64, bytes: &[u8]) -> io::Result<()> {
    if bytes.starts_with(&LOCAL) {
        return check_local(file, base, address, bytes);
    }
    if !bytes.starts_with(&SIGNATURE) {
        return Ok(());
    }
    let damaged = || io::Error::other(format!("the global heap at byte {address} is damaged"));
    let end = number(bytes, LENGTH).ok_or_else(damaged)?;
    let mut at = HEAD;
    // What is left at the end may be too small for an object.
    while end.saturating_sub(at) >= HEAD {
        let object = address.checked_add(at).ok_or_else(damaged)?;
        let mut head = [0; HEAD as usize];
        match bytes.get(at as usize..).and_then(|rest| rest.first_chunk()) {
            Some(held) => head = *held,
            None => file.read_at(object, &mut head)?,
        }
        let size = number(&head, LENGTH).ok_or_else(damaged)?;
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

/// Walks a local heap's list of free blocks. One that leads out of the heap the library refuses itself.
fn check_local(file: &dyn ReadAt, base: u64, address: u64, bytes: &[u8]) -> io::Result<()> {
    let field = |at| number(bytes, at);
    let (Some(size), Some(mut free), Some(segment)) = (field(LENGTH), field(16), field(24)) else {
        return Ok(());
    };
    let segment = base.saturating_add(segment);
    // Brent's way to find a circle: compared is a block that is renewed after 1, 2, 4, 8... steps.
    let (mut seen, mut steps, mut renewed) = (free, 0_u64, 1_u64);
    while free != NONE && free <= size.saturating_sub(HEAD) {
        let mut head = [0; 8];
        let place = segment.checked_add(free);
        // Beyond the file's end: the library says so when it reads the heap.
        if place.is_none_or(|place| file.read_at(place, &mut head).is_err()) {
            return Ok(());
        }
        free = u64::from_le_bytes(head);
        if free == seen {
            let reason = format!("the free list of the local heap at byte {address} has no end");
            return Err(io::Error::other(reason));
        }
        steps += 1;
        if steps == renewed {
            (seen, steps, renewed) = (free, 0, 2 * renewed);
        }
    }
    Ok(())
}

/// The number at a place of some bytes.
fn number(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + 8)?.try_into().ok()?;
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
        check(&file, 0, 0, &bytes).unwrap();
        for sizes in [
            [8, 50, 0],
            [8, 50, 15],
            [u64::MAX - 15, 50, rest],
            [8, u64::MAX, rest],
        ] {
            let (file, bytes) = collection(sizes);
            let error = check(&file, 0, 0, &bytes).unwrap_err();
            assert!(
                error.to_string().contains("global heap"),
                "{sizes:?}: {error}"
            );
        }
        check(&file, 0, 0, b"something else").unwrap();
        assert!(check(&file, 0, 0, &SIGNATURE).is_err());
    }

    #[test]
    fn a_free_list_that_leads_back_is_refused() {
        // A user block of some zeros, or none.
        let heap_behind = |base: usize, next: [u64; 2]| {
            let mut bytes = LOCAL.to_vec();
            // 64 bytes, the first free ones at 16, the segment right behind.
            [64_u64, 16, 32]
                .iter()
                .for_each(|n| bytes.extend(n.to_le_bytes()));
            bytes.resize(32 + 64, 0);
            for (at, next) in [16, 40].into_iter().zip(next) {
                bytes[32 + at..32 + at + 8].copy_from_slice(&next.to_le_bytes());
            }
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&vec![0; base]).unwrap();
            file.write_all(&bytes).unwrap();
            check(&file, base as u64, base as u64, &bytes[..32])
        };
        let heap = |next| heap_behind(0, next);
        heap_behind(512, [40, NONE]).unwrap();
        let error = heap_behind(512, [40, 16]).unwrap_err().to_string();
        assert!(error.contains("local heap at byte 512"), "{error}");
        heap([40, NONE]).unwrap();
        heap([40, 1 << 40]).unwrap();
        for next in [[40, 16], [16, 0], [40, 40]] {
            let error = heap(next).unwrap_err().to_string();
            assert!(error.contains("local heap at byte 0"), "{next:?}: {error}");
        }
    }
}
