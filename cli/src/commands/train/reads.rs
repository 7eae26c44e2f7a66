//! What a run has read, in words.

use wellspring_store::{IoStatistics, ReadCost};

pub fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// What a run has read, beside what it was to read.
pub fn compared(root: &str, cost: &ReadCost, io: &IoStatistics) -> String {
    let share = |found: u64, planned: u64| match planned {
        0 => String::new(),
        planned => format!(
            " ({:.0} % of the plan)",
            100.0 * found as f64 / planned as f64
        ),
    };
    format!(
        "read {root}: {} requests{}, {}{}, {} retries, {} hits, {} shards opened, at most {} held, {:.1} s waited",
        io.requests,
        share(io.requests, cost.requests),
        megabytes(io.bytes),
        share(io.bytes, cost.fetched),
        io.retries,
        io.hits,
        io.misses,
        megabytes(io.peak),
        io.waited,
    )
}
