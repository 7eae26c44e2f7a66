//! Ctrl-C and SIGTERM as a flag that long work looks at between two steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Handle;

use crate::progress;

/// A flag that the first signal sets; a second one ends the program at once.
pub fn flag(runtime: &Handle) -> std::io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stop);
    let _guard = runtime.enter();
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    runtime.spawn(async move {
        loop {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            if seen.swap(true, Ordering::SeqCst) {
                std::process::exit(130);
            }
            progress::line("stopping after this step; again to stop at once");
        }
    });
    Ok(stop)
}
