//! Threads for input and output, started before anything depends on them, and work that blocks them.

use std::io;
use std::num::NonZero;
use std::sync::RwLock;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::{Error, Result};

/// Threads of a runtime beside those that drive it: one that blocks, and one to spare for what others start
/// in the meantime.
const BESIDE: usize = 2;

/// A year: the thread that blocks stays as long as the process.
const KEEP_ALIVE: Duration = Duration::from_secs(365 * 24 * 3600);

/// Starts a runtime with one worker for each core, or with `workers` of them.
///
/// Tokio panics where the system gives no thread to a worker, or to the first work that blocks. So all of them
/// are tried first, and one that blocks is kept: later work waits for it where the system gives no more.
///
/// # Errors
///
/// The system's own words, where it gives too few threads.
pub fn start_runtime(builder: &mut Builder, workers: Option<usize>) -> io::Result<Runtime> {
    let workers = match workers {
        Some(workers) => workers,
        None => thread::available_parallelism().map_or(1, NonZero::get),
    };
    try_threads(workers + BESIDE)?;
    let runtime = builder
        .worker_threads(workers)
        .thread_keep_alive(KEEP_ALIVE)
        .enable_all()
        .build()?;
    // Its thread is started before this returns, and stays.
    drop(runtime.spawn_blocking(|| ()));
    Ok(runtime)
}

/// Does work that blocks its thread on one that is for it. Where there is no runtime it is done here: a forked process
/// has none of its parent's threads, and reads files all the same.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let Ok(runtime) = Handle::try_current() else {
        return work();
    };
    let done = runtime.spawn_blocking(work).await;
    done.map_err(|source| Error::Task {
        reason: source.to_string(),
    })?
}

/// Starts `threads` threads at the same time and joins them, which frees their stacks.
fn try_threads(threads: usize) -> io::Result<()> {
    let gate = RwLock::new(());
    let closed = gate.write();
    thread::scope(|scope| {
        let wait = |_| thread::Builder::new().spawn_scoped(scope, || drop(gate.read()));
        let started: Vec<_> = (0..threads).map(wait).collect();
        drop(closed);
        started.into_iter().try_for_each(|thread| {
            thread?
                .join()
                .map_err(|_| io::Error::other("a thread ended early"))
        })
    })
}
