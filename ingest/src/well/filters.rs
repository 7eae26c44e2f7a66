//! Undoes HDF5's filters, outside the lock of its library.

use hdf5::filters::Filter;
use libdeflater::{DecompressionError, Decompressor};

/// LZF's number in the registry of filters.
const LZF: i32 = 32000;

/// A filter that can be undone here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Fletcher32,
    Coded(Code),
}

/// What makes other bytes of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    Deflate,
    Shuffle,
    Lzf,
}

impl Step {
    pub(super) fn of(filter: &Filter) -> Option<Self> {
        match filter {
            Filter::Fletcher32 => Some(Self::Fletcher32),
            Filter::Deflate(_) => Some(Self::Coded(Code::Deflate)),
            Filter::Shuffle => Some(Self::Coded(Code::Shuffle)),
            Filter::User(LZF, _) => Some(Self::Coded(Code::Lzf)),
            _ => None,
        }
    }
}

/// Undoes filters; keeps its memory from chunk to chunk.
pub(super) struct Decoder {
    inflate: Decompressor,
    spare: Vec<u8>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            inflate: Decompressor::new(),
            spare: Vec::new(),
        }
    }
}

impl Decoder {
    /// Turns the stored bytes of a chunk into its values' bytes. `skipped` has a bit for each step
    /// that this chunk was written without; `size` is that of a value.
    pub(super) fn decode(
        &mut self,
        stored: &mut Vec<u8>,
        steps: &[Step],
        skipped: u32,
        size: usize,
        into: &mut [u8],
    ) -> Result<(), String> {
        let done = steps.iter().enumerate().rev();
        let mut done = done
            .filter(|(bit, _)| skipped & (1 << bit) == 0)
            .map(|(_, &step)| step)
            .peekable();
        while let Some(step) = done.next() {
            match step {
                Step::Fletcher32 => check(stored)?,
                Step::Coded(code) if done.peek().is_none() => {
                    return self.undo(code, stored, size, into);
                }
                Step::Coded(code) => {
                    let mut spare = std::mem::take(&mut self.spare);
                    spare.resize(into.len(), 0);
                    let undone = self.undo(code, stored, size, &mut spare);
                    self.spare = std::mem::replace(stored, spare);
                    undone?;
                }
            }
        }
        if stored.len() != into.len() {
            return Err(another_length(stored, into));
        }
        into.copy_from_slice(stored);
        Ok(())
    }

    fn undo(
        &mut self,
        code: Code,
        stored: &[u8],
        size: usize,
        into: &mut [u8],
    ) -> Result<(), String> {
        match code {
            Code::Deflate => self.inflate(stored, into),
            Code::Shuffle => unshuffle(stored, size, into),
            Code::Lzf => expand(stored, into),
        }
    }

    fn inflate(&mut self, stored: &[u8], into: &mut [u8]) -> Result<(), String> {
        match self.inflate.zlib_decompress(stored, into) {
            Ok(length) if length == into.len() => Ok(()),
            Ok(_) | Err(DecompressionError::InsufficientSpace) => Err(format!(
                "inflates to another size than {} bytes",
                into.len()
            )),
            Err(DecompressionError::BadData) => Err("does not inflate".into()),
        }
    }
}

fn another_length(stored: &[u8], into: &[u8]) -> String {
    format!("has {} bytes, not {}", stored.len(), into.len())
}

/// Brings the bytes of each value together: they lie first byte of all, second byte of all, ...
fn unshuffle(stored: &[u8], size: usize, into: &mut [u8]) -> Result<(), String> {
    if stored.len() != into.len() || size == 0 {
        return Err(another_length(stored, into));
    }
    let count = stored.len() / size;
    let (planes, rest) = stored.split_at(count * size);
    match size {
        4 => interleave::<4>(planes, count, into),
        8 => interleave::<8>(planes, count, into),
        _ => {
            for (byte, plane) in planes.chunks_exact(count.max(1)).enumerate() {
                let places = into.iter_mut().skip(byte).step_by(size);
                places.zip(plane).for_each(|(place, &x)| *place = x);
            }
        }
    }
    into[count * size..].copy_from_slice(rest);
    Ok(())
}

fn interleave<const SIZE: usize>(planes: &[u8], count: usize, into: &mut [u8]) {
    let mut parts = planes.chunks_exact(count.max(1));
    let parts: [&[u8]; SIZE] = std::array::from_fn(|_| parts.next().unwrap_or_default());
    let (values, _) = into.as_chunks_mut::<SIZE>();
    for (i, value) in values.iter_mut().enumerate() {
        *value = std::array::from_fn(|byte| parts[byte][i]);
    }
}

/// Takes the checksum off the end and compares it.
fn check(stored: &mut Vec<u8>) -> Result<(), String> {
    let Some((data, &expected)) = stored.split_last_chunk::<4>() else {
        return Err("is too short for a checksum".into());
    };
    let (expected, found) = (u32::from_le_bytes(expected), fletcher32(data));
    if found != expected {
        return Err(format!(
            "has the Fletcher checksum {found:08x}, not {expected:08x}"
        ));
    }
    stored.truncate(stored.len() - 4);
    Ok(())
}

/// Fletcher's checksum of big-endian 16-bit words, as HDF5 computes it.
fn fletcher32(data: &[u8]) -> u32 {
    /// Number of words that can be added before a sum overflows.
    const WORDS: usize = 360;
    let fold = |sum: u32| (sum & 0xffff) + (sum >> 16);
    let (mut first, mut second) = (0_u32, 0_u32);
    let (words, odd) = data.as_chunks::<2>();
    for block in words.chunks(WORDS) {
        for &word in block {
            first += u32::from(u16::from_be_bytes(word));
            second += first;
        }
        (first, second) = (fold(first), fold(second));
    }
    if let [last] = odd {
        first += u32::from(*last) << 8;
        second += first;
        (first, second) = (fold(first), fold(second));
    }
    (fold(second) << 16) | fold(first)
}

/// Undoes LZF: runs of literals, and copies of what came before.
fn expand(stored: &[u8], into: &mut [u8]) -> Result<(), String> {
    let broken = || "is not an LZF stream of its size".to_owned();
    let (mut from, mut to) = (0, 0);
    let next = |from: &mut usize| {
        let byte = stored.get(*from).copied().ok_or_else(broken)?;
        *from += 1;
        Ok::<usize, String>(usize::from(byte))
    };
    while from < stored.len() {
        let control = next(&mut from)?;
        if control < 32 {
            let length = control + 1;
            let literals = stored.get(from..from + length).ok_or_else(broken)?;
            let place = into.get_mut(to..to + length).ok_or_else(broken)?;
            place.copy_from_slice(literals);
            (from, to) = (from + length, to + length);
            continue;
        }
        let mut length = control >> 5;
        if length == 7 {
            length += next(&mut from)?;
        }
        let back = ((control & 31) << 8) + next(&mut from)? + 1;
        let length = length + 2;
        let start = to.checked_sub(back).ok_or_else(broken)?;
        if to + length > into.len() {
            return Err(broken());
        }
        // The two may overlap: a byte just written can be the next to be read.
        for i in 0..length {
            into[to + i] = into[start + i];
        }
        to += length;
    }
    if to == into.len() {
        Ok(())
    } else {
        Err(broken())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_a_value_come_together() {
        let mut into = [0; 9];
        unshuffle(&[1, 5, 2, 6, 3, 7, 4, 8, 9], 4, &mut into).unwrap();
        assert_eq!(into, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn fletchers_sums_are_those_of_the_definition() {
        // Words 0x0102 and 0x0304: first 0x0406, second 0x0102 + 0x0406.
        assert_eq!(fletcher32(&[1, 2, 3, 4]), 0x0508_0406);
        assert_eq!(fletcher32(&[1]), 0x0100_0100);
    }

    #[test]
    fn lzf_copies_what_it_has_just_written() {
        let mut into = [0; 10];
        // One literal, then nine bytes from one back.
        expand(&[0, b'a', (7 << 5), 0, 0], &mut into).unwrap();
        assert_eq!(&into, b"aaaaaaaaaa");
        for bad in [&[40, 0][..], &[5, 1], &[0], &[0, 1, 0xff]] {
            assert!(expand(bad, &mut into).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn whatever_a_chunk_holds_is_an_error_at_worst() {
        let mut decoder = Decoder::default();
        let mut into = [0; 64];
        let codes = [Code::Deflate, Code::Shuffle, Code::Lzf].map(Step::Coded);
        for step in codes.into_iter().chain([Step::Fletcher32]) {
            for length in 0..80_u8 {
                let mut stored: Vec<u8> = (0..length).map(|i| i.wrapping_mul(37)).collect();
                let _ = decoder.decode(&mut stored, &[step], 0, 4, &mut into);
            }
        }
        assert!(
            decoder
                .decode(
                    &mut vec![1; 3],
                    &[Step::Coded(Code::Deflate)],
                    0,
                    4,
                    &mut into
                )
                .is_err()
        );
        decoder
            .decode(
                &mut vec![7; 64],
                &[Step::Coded(Code::Deflate)],
                1,
                4,
                &mut into,
            )
            .unwrap();
        assert_eq!(into, [7; 64]);
    }
}
