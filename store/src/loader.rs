//! Executes a plan: batches of windows, read ahead by background tasks.

use std::sync::Arc;

use futures::StreamExt as _;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::{Dataset, Error, Frames, Plan, Result, Window};

/// How a plan is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoaderOptions {
    /// Windows in a batch; the last may have fewer.
    pub batch: usize,
    /// Batches read ahead of the consumer.
    pub prefetch: usize,
    /// Windows of the plan to pass over: where to go on after an interruption.
    pub skip: usize,
}

impl Default for LoaderOptions {
    fn default() -> Self {
        Self {
            batch: 1,
            prefetch: 2,
            skip: 0,
        }
    }
}

/// Windows side by side.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Which ones.
    pub windows: Vec<Window>,
    /// Their frames as stored (normalised): (T, B, C, *space).
    pub frames: Frames,
}

/// An iterator over batches that are read in the background. Dropping it ends the reading.
///
/// The iterator blocks its thread: use it from a thread that is not the runtime's.
#[derive(Debug)]
pub struct Loader {
    batches: mpsc::Receiver<Result<Batch>>,
}

impl Loader {
    /// Starts to read on a runtime. After an error nothing more comes.
    pub fn spawn(
        dataset: Arc<Dataset>,
        plan: Plan,
        options: LoaderOptions,
        runtime: &Handle,
    ) -> Self {
        let prefetch = options.prefetch.max(1);
        let (sender, batches) = mpsc::channel(prefetch);
        runtime.spawn(async move {
            let size = options.batch.max(1);
            let starts = (options.skip..plan.len()).step_by(size);
            let mut reading = futures::stream::iter(starts)
                .map(|start| {
                    let windows = (start..start + size)
                        .map_while(|place| plan.get(place))
                        .collect();
                    read(
                        Arc::clone(&dataset),
                        windows,
                        plan.split(),
                        plan.spec().length,
                    )
                })
                .buffered(prefetch);
            while let Some(batch) = reading.next().await {
                let over = batch.is_err();
                // A closed channel says that nobody waits any longer.
                if sender.send(batch).await.is_err() || over {
                    return;
                }
            }
        });
        Self { batches }
    }
}

impl Iterator for Loader {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batches.blocking_recv()
    }
}

async fn read(
    dataset: Arc<Dataset>,
    windows: Vec<Window>,
    split: crate::Split,
    length: usize,
) -> Result<Batch> {
    let runs = dataset.runs(split, &windows, length).await?;
    // Copying is work for a processor, not for the runtime's threads.
    let gathered = tokio::task::spawn_blocking(move || {
        let mut frames = dataset.empty(length, runs.len());
        for (batch, run) in runs.iter().enumerate() {
            run.copy(&mut frames, batch);
        }
        Batch { windows, frames }
    });
    gathered.await.map_err(|source| Error::Task {
        reason: source.to_string(),
    })
}
