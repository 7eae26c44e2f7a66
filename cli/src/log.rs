//! What the libraries tell of their work: warnings always, and with `-v` each shard, request, batch and checkpoint
//! with the time that it took.

use std::io::{self, Write};
use std::sync::Arc;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::args::Cli;
use crate::progress::Terminal;

/// Starts the log. `RUST_LOG` wins over what was typed.
pub fn start(cli: &Cli, terminal: Arc<Terminal>) {
    let filter = match std::env::var("RUST_LOG") {
        Ok(asked) if !asked.is_empty() => EnvFilter::builder().parse_lossy(asked),
        _ => EnvFilter::builder().parse_lossy(level(cli)),
    };
    // A span is one line, at its end, with the time that it took.
    let spans = match cli.verbose {
        0 => FmtSpan::NONE,
        _ => FmtSpan::CLOSE,
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(spans)
        // Colours would be written out, as all that is not a letter.
        .with_ansi(false)
        .with_writer(move || Log(Arc::clone(&terminal)))
        .init();
}

/// The least important lines that are written, by crate.
fn level(cli: &Cli) -> &'static str {
    match (cli.quiet, cli.verbose) {
        (true, _) => "error",
        (false, 0) => "error,wellspring=warn",
        (false, 1) => "warn,wellspring=info",
        (false, 2) => "warn,wellspring=debug",
        (false, _) => "debug",
    }
}

/// Standard error for lines of log, each written whole and above the progress bar.
struct Log(Arc<Terminal>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.line(String::from_utf8_lossy(bytes).trim_end());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
