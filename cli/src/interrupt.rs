//! Turns signals into a request to stop, which long work checks between two steps: Ctrl-C, SIGTERM, and SIGHUP,
//! which a terminal sends when it closes.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError, Weak};

use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use wellspring_train::Stop;

use crate::failure::Interruption;
use crate::progress;

/// The request that the current work checks, if there is any.
static CURRENT: Mutex<Weak<Stop>> = Mutex::new(Weak::new());
static LISTENERS: Once = Once::new();

/// The exit code of the last signal; 0 before there was one.
static CODE: AtomicU8 = AtomicU8::new(0);

/// A wish that the first signal makes. Where nothing looks at it, as while data is opened, and when a second
/// signal comes, the program ends at once.
pub fn stop(runtime: &Handle) -> std::io::Result<Arc<Stop>> {
    let stop = Arc::new(Stop::default());
    *CURRENT.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&stop);
    let _guard = runtime.enter();
    let mut kinds = vec![SignalKind::interrupt(), SignalKind::terminate()];
    // A program started with nohup must outlive the terminal.
    if !ignores_hangup() {
        kinds.push(SignalKind::hangup());
    }
    let heard = kinds.into_iter().map(|kind| Ok((kind, signal(kind)?)));
    let heard: Vec<(SignalKind, Signal)> = heard.collect::<std::io::Result<_>>()?;
    LISTENERS.call_once(|| {
        for (kind, signal) in heard {
            runtime.spawn(listen(kind, signal));
        }
    });
    Ok(stop)
}

/// The error with which a command ends that a signal has stopped, when nothing is lost. A scheduler sends SIGTERM, and
/// would take another code than 0 for a failure.
pub fn ended() -> Interruption {
    let term = exit_code(SignalKind::terminate());
    match CODE.load(Ordering::SeqCst) {
        // Another rank was asked.
        0 => Interruption(0),
        code if code == term => Interruption(0),
        code => Interruption(code),
    }
}

async fn listen(kind: SignalKind, mut signal: Signal) {
    while signal.recv().await.is_some() {
        let code = exit_code(kind);
        CODE.store(code, Ordering::SeqCst);
        let current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
        match current.upgrade() {
            Some(stop) if !stop.asked() && stop.ask() => {
                progress::line("stopping after this step; again to stop at once");
            }
            _ => std::process::exit(code.into()),
        }
    }
}

/// What a shell says of a program that a signal has ended.
fn exit_code(kind: SignalKind) -> u8 {
    u8::try_from(128 + kind.as_raw_value()).unwrap_or(u8::MAX)
}

/// Whether this process was begun with SIGHUP ignored. Only Linux says so in a file.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut ignored = status
        .lines()
        .filter_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored
        .next()
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| (mask >> (SignalKind::hangup().as_raw_value() - 1)) & 1 == 1)
}
