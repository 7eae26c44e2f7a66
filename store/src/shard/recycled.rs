//! Memory that is used again.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::buffer::Buffer;

/// Shorter buffers are not worth keeping.
const SHORTEST: usize = 16 << 10;

/// Buffers of values that were written, to be filled anew: the system clears every fresh page first,
/// which took a fifth of an ingest. Holds no more than was in use at the same time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recycled(Arc<Mutex<Vec<Vec<f32>>>>);

impl Recycled {
    /// A buffer of this length; what is in it is of no meaning.
    pub(crate) fn take(&self, length: usize) -> Vec<f32> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = held.iter().rposition(|values| values.capacity() >= length);
        let mut values = fits.map_or_else(Vec::new, |place| held.swap_remove(place));
        drop(held);
        values.resize(length, 0.0);
        values
    }

    /// Takes back what nobody else reads.
    fn give(&self, buffer: Buffer) {
        if let Ok(values) = buffer.into_vec::<f32>()
            && values.capacity() >= SHORTEST
        {
            let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            held.push(values);
        }
    }
}

/// An Arrow buffer as an owner of bytes, which it gives back when they are written.
pub(super) struct Segment {
    pub(super) buffer: Buffer,
    pub(super) recycled: Recycled,
}

impl AsRef<[u8]> for Segment {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        self.recycled.give(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_buffer_is_filled_again() {
        let recycled = Recycled::default();
        let values = recycled.take(SHORTEST);
        let address = values.as_ptr();
        let segment = |buffer| Segment {
            buffer,
            recycled: recycled.clone(),
        };
        let buffer = Buffer::from_vec(values);
        let reader = buffer.clone();
        drop(segment(buffer));
        assert!(
            recycled.0.lock().is_ok_and(|held| held.is_empty()),
            "somebody reads it"
        );
        drop(segment(reader));
        let again = recycled.take(SHORTEST / 2);
        assert_eq!((again.as_ptr(), again.len()), (address, SHORTEST / 2));
        let other = recycled.take(SHORTEST / 2);
        assert_ne!(other.as_ptr(), address);
    }
}
