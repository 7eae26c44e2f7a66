//! Ctrl-C and SIGTERM as a flag that long work looks at between two steps.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError, Weak};

use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};

use crate::progress;

/// The flag of the work under way, if it looks at one.
static CURRENT: Mutex<Weak<AtomicBool>> = Mutex::new(Weak::new());
static LISTENER: Once = Once::new();

/// A flag that the first signal sets while it is held; a second one, or one when no flag is held,
/// ends the program at once.
pub fn flag(runtime: &Handle) -> std::io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    *CURRENT.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&stop);
    let _guard = runtime.enter();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    LISTENER.call_once(|| {
        runtime.spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                let current = CURRENT
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .upgrade();
                match current {
                    Some(stop) if !stop.swap(true, Ordering::SeqCst) => {
                        progress::line("stopping after this step; again to stop at once");
                    }
                    _ => std::process::exit(130),
                }
            }
        });
    });
    Ok(stop)
}
