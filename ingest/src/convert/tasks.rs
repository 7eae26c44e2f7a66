//! Runs tasks side by side.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt as _;

use crate::{Error, Result};

/// Runs tasks, `at_once` at the same time. After a failure no more begin, and running ones end. The error is that
/// of the first failed task in order, so that it does not depend on their speed.
pub(crate) async fn in_order_of_failure<T: Future<Output = Result<()>>>(
    tasks: impl Iterator<Item = T>,
    at_once: usize,
) -> Result<()> {
    let has_failed = AtomicBool::new(false);
    let mut tasks = tasks.enumerate();
    let begun = std::iter::from_fn(|| {
        if has_failed.load(Ordering::Relaxed) {
            return None;
        }
        let (place, task) = tasks.next()?;
        Some(async move { task.await.map_err(|error| (place, error)) })
    });
    let mut running = pin!(futures::stream::iter(begun).buffer_unordered(at_once));
    let mut first: Option<(usize, Error)> = None;
    while let Some(done) = running.next().await {
        let Err((place, error)) = done else { continue };
        has_failed.store(true, Ordering::Relaxed);
        if first.as_ref().is_none_or(|(known, _)| place < *known) {
            first = Some((place, error));
        }
    }
    first.map_or(Ok(()), |(_, error)| Err(error))
}
