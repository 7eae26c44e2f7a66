//! Reading and decoding a source, the unavoidable part of an ingest, alone for benchmarks.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use wellspring_store::{Location, Selection, Silent};

use crate::convert::statistics::{self, Piece};
use crate::convert::work;
use crate::{Error, Result};

/// Reads and decodes every frame of a source's training split once, on `threads` threads, and drops the
/// values. No ingest can be faster than this.
///
/// # Errors
/// As [`crate::ingest`], except those about values, which are not checked.
pub async fn decode(source: &Location, threads: usize) -> Result<()> {
    let catalogue = Arc::new(work::catalogue(source, &Selection::default(), &Silent).await?);
    let tasks = statistics::pieces(&catalogue).into_iter().map(|piece| {
        let catalogue = Arc::clone(&catalogue);
        async move {
            let Piece::Frames(id, steps) = piece else {
                return Ok(());
            };
            let (file, sample) = {
                let held = catalogue.entry(id);
                (catalogue.file(held.file).await?, held.sample)
            };
            let work = tokio::task::spawn_blocking(move || {
                for (_, mut reader) in catalogue.readers(&file, true)? {
                    for slab in reader.slabs() {
                        for step in steps.clone() {
                            reader.load(sample, catalogue.step_of_file(step), &slab)?;
                        }
                    }
                }
                Ok(())
            });
            work.await.map_err(Error::task)?
        }
    });
    let tasks = futures::stream::iter(tasks).buffer_unordered(threads.max(1));
    tasks.try_collect().await
}
