//! The threads of this process, and how Python waits for them.

use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use tokio::runtime::{Builder, Runtime};

use crate::log;

/// Time between two looks at signals and at events, while Python waits.
pub const LOOK: Duration = Duration::from_millis(100);

/// The process that uses threads of ours; 0 before there are any.
static USED_BY: AtomicU32 = AtomicU32::new(0);

/// The threads for input and output.
static RUNTIME: Mutex<Option<&'static Runtime>> = Mutex::new(None);

/// Notes that this process uses threads of ours. A process that was forked later is refused: locks and queues are as
/// those threads left them, and they are not there to go on.
pub fn claim() -> PyResult<()> {
    let process = std::process::id();
    match USED_BY.compare_exchange(0, process, Ordering::SeqCst, Ordering::SeqCst) {
        Err(of) if of != process => Err(PyRuntimeError::new_err(format!(
            "process {of} used wellspring's threads before it forked this one, where they do not run; start processes \
             with multiprocessing's \"spawn\" or \"forkserver\" (here only local data sets can be read)"
        ))),
        _ => Ok(()),
    }
}

/// The threads for input and output, which are started when they are first needed.
pub fn runtime() -> PyResult<&'static Runtime> {
    claim()?;
    let mut held = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = *held {
        return Ok(runtime);
    }
    let started = wellspring_store::start_runtime(&mut Builder::new_multi_thread(), None)?;
    let started: &'static Runtime = Box::leak(Box::new(started));
    *held = Some(started);
    Ok(started)
}

/// The process in which something was opened.
#[derive(Debug, Clone, Copy)]
pub struct Origin(u32);

impl Origin {
    pub fn here() -> Self {
        Self(std::process::id())
    }

    /// Refuses use in a forked process.
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

/// Whether this process was forked after its parent had used threads of ours.
pub fn is_forked() -> bool {
    claim().is_err()
}

/// Lets a thread that waits go on.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for asynchronous work without the interpreter's lock. Ctrl-C drops the work and is raised.
///
/// The work is polled here and not by the runtime, whose timers would wake a thread of it for each wait.
pub fn wait<F>(py: Python<'_>, work: impl FnOnce() -> F + Send) -> PyResult<F::Output>
where
    F: Future,
    F::Output: Send,
{
    let runtime = runtime()?;
    // Here, before a thread of ours has an event to tell.
    log::hand_over(py)?;
    let done = py.detach(|| {
        let _context = runtime.enter();
        let mut work = pin!(work());
        let waker = Arc::new(Unpark(thread::current())).into();
        let mut looked = Instant::now();
        loop {
            if let Poll::Ready(done) = work.as_mut().poll(&mut Context::from_waker(&waker)) {
                return Ok(done);
            }
            thread::park_timeout(LOOK);
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                Python::attach(|py| {
                    log::hand_over(py)?;
                    py.check_signals()
                })?;
            }
        }
    });
    log::hand_over(py)?;
    done
}
