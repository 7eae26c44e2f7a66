//! [`TruthSource`]: the frames of windows of a split, and what goes with them.

use std::ops::Range;

use tokio::runtime::Handle;
use wellspring_store::{Conditioning, Conditions, Dataset, Frames, Split, Window, WindowSpec};

use crate::Result;

/// The frames of a split, at a stride.
#[derive(Clone, Copy)]
pub(super) struct TruthSource<'a> {
    pub(super) dataset: &'a Dataset,
    pub(super) split: Split,
    /// Steps from one frame of a window to the next.
    pub(super) stride: usize,
    pub(super) runtime: &'a Handle,
}

impl TruthSource<'_> {
    /// Frames of windows side by side, by their place in the window.
    pub(super) fn read(&self, windows: &[Window], places: Range<usize>) -> Result<Frames> {
        let spec = self.spec(places.len());
        let reads = windows.iter().map(|&window| {
            let window = self.later(window, places.start);
            self.dataset.read_window(self.split, spec, window)
        });
        let parts = self
            .runtime
            .block_on(futures::future::try_join_all(reads))?;
        let schema = self.dataset.schema();
        let (channels, space) = (schema.channels().len(), schema.grid.shape());
        let mut frames = Frames::zeros(places.len(), windows.len(), channels, space);
        for (batch, part) in parts.iter().enumerate() {
            for (time, channel) in
                (0..places.len()).flat_map(|t| (0..channels).map(move |c| (t, c)))
            {
                frames
                    .channel_mut(time, batch, channel)
                    .copy_from_slice(part.channel(time, 0, channel));
            }
        }
        Ok(frames)
    }

    /// What goes with the frames of each window, by their place in the window; empty where nothing is wanted.
    pub(super) fn conditions(
        &self,
        windows: &[Window],
        places: Range<usize>,
        wanted: Conditioning,
    ) -> Result<Vec<Conditions>> {
        if wanted == Conditioning::Nothing {
            return Ok(Vec::new());
        }
        let spec = self.spec(places.len());
        let reads = windows.iter().map(|&window| {
            let window = self.later(window, places.start);
            self.dataset.conditions(self.split, spec, window, wanted)
        });
        Ok(self
            .runtime
            .block_on(futures::future::try_join_all(reads))?)
    }

    fn spec(&self, length: usize) -> WindowSpec {
        WindowSpec {
            stride: self.stride,
            ..WindowSpec::of_length(length)
        }
    }

    /// The window from one of its frames on.
    fn later(&self, window: Window, place: usize) -> Window {
        let start = window.start + (place * self.stride) as u32;
        Window { start, ..window }
    }
}
