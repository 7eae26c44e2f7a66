//! The memory limit of queries: data beyond it goes to temporary files, or the query fails.

use std::sync::Arc;

use datafusion::execution::memory_pool::{FairSpillPool, MemoryPool, TrackConsumersPool};

/// Consumers that an error names.
const NAMED: std::num::NonZeroUsize = std::num::NonZeroUsize::MIN.saturating_add(4);
/// Memory of the machine if the system does not tell it, in bytes.
const UNKNOWN: u64 = 8 << 30;

/// A pool of `bytes` bytes.
pub(crate) fn pool(bytes: u64) -> Arc<dyn MemoryPool> {
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    Arc::new(TrackConsumersPool::new(FairSpillPool::new(bytes), NAMED))
}

/// Half of the memory that this process may use.
pub(crate) fn default_bytes() -> u64 {
    let limits = [machine(), control_group()];
    limits.into_iter().flatten().min().unwrap_or(UNKNOWN) / 2
}

/// Memory of the machine, where the system says it as Linux does.
fn machine() -> Option<u64> {
    let text = text("/proc/meminfo")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// What a container leaves of it: of the two versions of control groups the one that is there.
fn control_group() -> Option<u64> {
    let files = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ];
    let limits = files.iter().filter_map(|file| text(file));
    limits.filter_map(|text| text.trim().parse().ok()).min()
}

#[allow(clippy::disallowed_methods, reason = "the system's own files")]
fn text(file: &str) -> Option<String> {
    String::from_utf8(std::fs::read(file).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_some_memory_and_not_all_of_it() {
        let bytes = default_bytes();
        assert!(bytes >= 64 << 20);
        assert!(machine().is_none_or(|all| bytes <= all / 2));
    }
}
