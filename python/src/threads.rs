//! The threads of this process, and how Python waits for them.

use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use tokio::runtime::{Builder, Runtime};

use crate::log;

/// Time between two looks at signals and at events, while Python waits.
pub const LOOK: Duration = Duration::from_millis(100);

/// The threads for input and output, and the process that they are of: a forked process has none of its parent's.
static RUNTIME: Mutex<Option<(u32, &'static Runtime)>> = Mutex::new(None);

/// The process whose threads compute; 0 before anything was computed.
static COMPUTES: AtomicU32 = AtomicU32::new(0);

/// The threads for input and output. They are started when they are first needed, in a forked process anew.
pub fn runtime() -> PyResult<&'static Runtime> {
    let mut held = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    let process = std::process::id();
    match *held {
        Some((of, runtime)) if of == process => Ok(runtime),
        _ => {
            let started = wellspring_store::start_runtime(&mut Builder::new_multi_thread(), None)?;
            let started = Box::leak(Box::new(started));
            *held = Some((process, started));
            Ok(started)
        }
    }
}

/// Refuses to compute in a process that was forked after its parent had computed: the threads are the parent's, and
/// waiting for them would never end.
pub fn compute() -> PyResult<()> {
    let process = std::process::id();
    match COMPUTES.compare_exchange(0, process, Ordering::SeqCst, Ordering::SeqCst) {
        Err(of) if of != process => Err(PyRuntimeError::new_err(format!(
            "process {of} computed with wellspring before it forked this one, and its threads are not here; start \
             processes with multiprocessing's \"spawn\" or \"forkserver\""
        ))),
        _ => Ok(()),
    }
}

/// The process in which something was opened.
#[derive(Debug, Clone, Copy)]
pub struct Origin(u32);

impl Origin {
    pub fn here() -> Self {
        Self(std::process::id())
    }

    /// Refuses use in a forked process: connections and threads are the parent's.
    pub fn check(self, what: &str) -> PyResult<()> {
        if self.0 == std::process::id() {
            return Ok(());
        }
        Err(PyRuntimeError::new_err(format!(
            "this {what} was opened by process {}, which forked this one; open it here again",
            self.0
        )))
    }
}

/// Waits for asynchronous work without the interpreter's lock. Ctrl-C drops the work and is raised.
pub fn wait<F>(py: Python<'_>, work: impl FnOnce() -> F + Send) -> PyResult<F::Output>
where
    F: Future,
    F::Output: Send,
{
    let runtime = runtime()?;
    // Here, before a thread of ours has an event to tell.
    log::hand_over(py)?;
    let done = py.detach(|| {
        let mut work = pin!(work());
        loop {
            let some_time = async { tokio::time::timeout(LOOK, work.as_mut()).await };
            match runtime.block_on(some_time) {
                Ok(done) => return Ok(done),
                Err(_) => Python::attach(|py| {
                    log::hand_over(py)?;
                    py.check_signals()
                })?,
            }
        }
    });
    log::hand_over(py)?;
    done
}
