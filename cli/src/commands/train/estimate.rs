//! `wellspring train --estimate`: what a run would take. It writes nothing.

use anyhow::Result;
use wellspring_train::{Config, MemoryEstimate};

use crate::args;
use crate::commands::{Session, print};
use crate::failure::misuse;

const GIB: f64 = (1_u64 << 30) as f64;

/// Says the weights of a run, and the memory of its steps in so many GiB.
pub fn run(session: &Session, config: &Config, args: &args::Train) -> Result<()> {
    let memory = match args.memory.or_else(free) {
        Some(memory) if memory > 0.0 && memory < 1e6 => memory,
        Some(memory) => misuse!("--memory {memory}: expected GiB, more than 0"),
        None => misuse!("this system does not say how much memory is free: add --memory GIB"),
    };
    let datasets = super::open(session, config)?;
    let found = wellspring_train::estimate(config, &datasets, args.ranks, (memory * GIB) as u64)?;
    print(described(config, &found, memory))
}

fn described(config: &Config, found: &MemoryEstimate, memory: f64) -> String {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let mut text = format!(
        "{} parameters; {:.0} MiB for weights, gradients and moments, {:.0} MiB for the copy that a checkpoint is \
         written from\n\n\
         {:<24}{:<12}{:>8}{:>8}{:>12}  largest batch in {memory:.1} GiB\n",
        found.parameters,
        mib(found.learned),
        mib(found.checkpoint),
        "data",
        "patch",
        "tokens",
        "batch",
        "peak MiB",
    );
    for step in &found.steps {
        let largest = step
            .largest_batch
            .map_or_else(|| "none fits".to_owned(), |batch| batch.to_string());
        text += &format!(
            "{:<24}{:<12}{:>8}{:>8}{:>12.0}  {largest}\n",
            step.data,
            step.patch.to_string(),
            step.tokens,
            config.train.batch,
            mib(step.peak),
        );
    }
    text
}

/// Memory that is free for this process, in GiB, as Linux tells it.
fn free() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib * 1024.0 / GIB)
}
