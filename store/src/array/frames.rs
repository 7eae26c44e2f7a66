//! [`Frames`]: the array that all crates exchange, frames of several channels over a grid.

use std::ops::Range;

use crate::{Error, Result};

/// Frames, in f32 but for batches of other types, laid out (T, B, C, *space), row-major, the oldest
/// frame first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Frames<T = f32> {
    time: usize,
    batch: usize,
    channels: usize,
    space: Vec<usize>,
    data: Vec<T>,
}

impl Frames {
    /// Frames of zeros.
    ///
    /// # Panics
    /// When no memory could hold them.
    #[must_use]
    pub fn zeros(time: usize, batch: usize, channels: usize, space: Vec<usize>) -> Self {
        Self::filled(time, batch, channels, space, 0.0)
    }
}

impl<T: Copy> Frames<T> {
    /// Wraps values laid out (T, B, C, *space).
    ///
    /// # Errors
    /// When the number of values is not the product of the shape.
    pub fn new(
        time: usize,
        batch: usize,
        channels: usize,
        space: Vec<usize>,
        data: Vec<T>,
    ) -> Result<Self> {
        let expected = [time, batch, channels]
            .iter()
            .chain(&space)
            .try_fold(1_usize, |product, &n| product.checked_mul(n));
        if expected != Some(data.len()) {
            return Err(Error::Shape {
                what: format!("values of {time} × {batch} × {channels} × {space:?} frames"),
                expected: expected.map_or("fewer than overflow".into(), |n| n.to_string()),
                found: data.len().to_string(),
            });
        }
        Ok(Self {
            time,
            batch,
            channels,
            space,
            data,
        })
    }

    /// Frames of one value.
    pub(crate) fn filled(
        time: usize,
        batch: usize,
        channels: usize,
        space: Vec<usize>,
        value: T,
    ) -> Self {
        let cells: usize = space.iter().product();
        Self {
            time,
            batch,
            channels,
            data: vec![value; time * batch * channels * cells],
            space,
        }
    }

    /// Number of frames, T.
    #[must_use]
    pub fn time(&self) -> usize {
        self.time
    }

    /// Number of trajectories side by side, B.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Number of channels, C.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Grid points along each axis.
    #[must_use]
    pub fn space(&self) -> &[usize] {
        &self.space
    }

    /// Grid points in all.
    #[must_use]
    pub fn cells(&self) -> usize {
        self.space.iter().product()
    }

    /// All values, (T, B, C, *space).
    #[must_use]
    pub fn data(&self) -> &[T] {
        &self.data
    }

    /// All values, to be changed in place.
    pub fn data_mut(&mut self) -> &mut [T] {
        &mut self.data
    }

    /// The values themselves.
    #[must_use]
    pub fn into_data(self) -> Vec<T> {
        self.data
    }

    /// One channel of one frame, (*space).
    ///
    /// # Panics
    /// When an index is out of range, as a slice would.
    #[must_use]
    pub fn channel(&self, time: usize, batch: usize, channel: usize) -> &[T] {
        &self.data[self.range(time, batch, channel)]
    }

    /// One channel of one frame, to be changed in place.
    ///
    /// # Panics
    /// When an index is out of range, as a slice would.
    pub fn channel_mut(&mut self, time: usize, batch: usize, channel: usize) -> &mut [T] {
        let range = self.range(time, batch, channel);
        &mut self.data[range]
    }

    fn range(&self, time: usize, batch: usize, channel: usize) -> Range<usize> {
        assert!(batch < self.batch && channel < self.channels);
        let cells = self.cells();
        let at = ((time * self.batch + batch) * self.channels + channel) * cells;
        at..at + cells
    }

    /// Frame `time` alone, T = 1.
    ///
    /// # Panics
    /// When there is no such frame.
    #[must_use]
    pub fn frame(&self, time: usize) -> Self {
        self.slice_time(time..time + 1)
    }

    /// The frames of a range, copied.
    ///
    /// # Panics
    /// When the range is not within the frames.
    #[must_use]
    pub fn slice_time(&self, range: Range<usize>) -> Self {
        let frame = self.frame_len();
        Self {
            time: range.len(),
            batch: self.batch,
            channels: self.channels,
            space: self.space.clone(),
            data: self.data[range.start * frame..range.end * frame].to_vec(),
        }
    }

    /// The samples of a range, copied.
    ///
    /// # Panics
    /// When the range is not within the batch.
    #[must_use]
    pub fn slice_batch(&self, range: Range<usize>) -> Self {
        let sample = self.channels * self.cells();
        let frames = self.data.chunks_exact((self.batch * sample).max(1));
        let samples = range.start * sample..range.end * sample;
        Self {
            batch: range.len(),
            data: frames
                .flat_map(|frame| &frame[samples.clone()])
                .copied()
                .collect(),
            space: self.space.clone(),
            ..*self
        }
    }

    /// Slides a window of frames on: drops the oldest and appends `next`, (1, B, C, *space).
    ///
    /// # Errors
    /// When `next` is not one frame of the same shape.
    pub fn push_frame(&mut self, next: &Self) -> Result<()> {
        let frame = self.frame_len();
        let fits =
            (next.batch, next.channels, &next.space) == (self.batch, self.channels, &self.space);
        if self.time == 0 || next.time != 1 || !fits {
            return Err(Error::Shape {
                what: "a frame to append".into(),
                expected: format!("1 × {} × {} × {:?}", self.batch, self.channels, self.space),
                found: format!(
                    "{} × {} × {} × {:?}",
                    next.time, next.batch, next.channels, next.space
                ),
            });
        }
        self.data.copy_within(frame.., 0);
        let last = self.data.len() - frame;
        self.data[last..].copy_from_slice(&next.data);
        Ok(())
    }

    fn frame_len(&self) -> usize {
        self.batch * self.channels * self.cells()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn counting(time: usize) -> Frames {
        let data = (0..time * 2 * 3 * 4).map(|i| i as f32).collect();
        Frames::new(time, 2, 3, vec![2, 2], data).unwrap()
    }

    #[test]
    fn a_window_slides() {
        let all = counting(4);
        let mut window = all.slice_time(0..3);
        window.push_frame(&all.frame(3)).unwrap();
        assert_eq!(window, all.slice_time(1..4));
    }

    #[test]
    fn a_channel_is_where_the_layout_says() {
        let frames = counting(2);
        assert_eq!(frames.channel(1, 1, 2), &[44.0, 45.0, 46.0, 47.0]);
    }

    #[test]
    fn a_wrong_length_is_refused() {
        assert!(Frames::new(1, 1, 1, vec![2, 2], vec![0.0; 3]).is_err());
        assert!(Frames::<f32>::new(usize::MAX, 2, 1, vec![2], vec![]).is_err());
        assert!(counting(2).push_frame(&counting(2)).is_err());
        let turned = Frames::zeros(1, 3, 2, vec![2, 2]);
        assert!(counting(2).push_frame(&turned).is_err());
        let mut none = Frames::zeros(0, 2, 3, vec![2, 2]);
        assert!(none.push_frame(&counting(1)).is_err());
    }
}
