//! Reuses buffers of values once they are written.

use std::sync::Arc;

use arrow::buffer::Buffer;

use crate::shard::pool::Pool;

/// Shorter buffers are not worth keeping.
const SHORTEST: usize = 16 << 10;

/// Buffers of values that were written, to be filled anew: fresh ones took a fifth of an ingest. Holds
/// no more than was in use at the same time.
#[derive(Debug, Clone)]
pub(crate) struct BufferPool(Arc<Pool<Vec<f32>>>);

impl Default for BufferPool {
    fn default() -> Self {
        Self(Arc::new(Pool::new(usize::MAX)))
    }
}

impl BufferPool {
    /// A buffer of this length; what is in it is of no meaning. A new one has room for `most`, so that
    /// every buffer serves whoever comes next.
    pub(crate) fn take(&self, length: usize, most: usize) -> Vec<f32> {
        let known = self.0.take(|values| values.capacity() >= length);
        let mut values = known.unwrap_or_else(|| Vec::with_capacity(most));
        values.resize(length, 0.0);
        values
    }

    /// Takes back buffers that nothing else reads.
    fn give(&self, buffer: Buffer) {
        if let Ok(values) = buffer.into_vec::<f32>()
            && values.capacity() >= SHORTEST
        {
            self.0.give(values);
        }
    }
}

/// An Arrow buffer as an owner of bytes, which it gives back when they are written.
pub(super) struct Segment {
    pub(super) buffer: Buffer,
    pub(super) recycled: BufferPool,
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
        let recycled = BufferPool::default();
        let values = recycled.take(SHORTEST, SHORTEST);
        let address = values.as_ptr();
        let segment = |buffer| Segment {
            buffer,
            recycled: recycled.clone(),
        };
        let buffer = Buffer::from_vec(values);
        let reader = buffer.clone();
        drop(segment(buffer));
        assert!(recycled.0.take(|_| true).is_none(), "somebody reads it");
        drop(segment(reader));
        let again = recycled.take(SHORTEST / 2, SHORTEST);
        assert_eq!((again.as_ptr(), again.len()), (address, SHORTEST / 2));
        let other = recycled.take(SHORTEST / 2, SHORTEST);
        assert_ne!(other.as_ptr(), address);
        assert!(other.capacity() >= SHORTEST);
    }
}
