//! Times streaming from a bucket, in comparison with plain requests for the same bytes.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use wellspring_store::{
    CacheOptions, Dataset, Loader, LoaderOptions, Location, Order, Plan, Share, Split, WindowSpec,
};

use super::best;
use crate::args;
use crate::commands::{Session, print};
use crate::failure::misuse;

/// Bytes of a plain request, and requests at a time: what the loader's own are.
const PART: u64 = 8 << 20;
const AT_A_TIME: u64 = 8;

/// Shards that are mixed.
const LANES: usize = 4;

/// Stages of the order that fit into memory, of a shard a lane: the least is two.
const STAGES: u64 = 3;

/// Frames of a window, and windows of a batch.
const LENGTH: usize = 7;
const BATCH: usize = 4;

/// Shuffled epochs of windows side by side, which deliver each byte once, and of all windows, which
/// deliver it seven times; little is held of the epoch before, as it is where the data set is large.
pub fn run(session: &Session, args: &args::Bench) -> Result<Vec<Value>> {
    let Some(data) = &args.data else {
        misuse!("bench bucket: add --data s3://BUCKET/DATASET");
    };
    let root = session.locate(data)?;
    let dataset = session.wait(Dataset::open(&root))?;
    let shards = &dataset.manifest().split(Split::Train)?.shards;
    let bytes: u64 = shards.iter().map(|shard| shard.bytes).sum();
    let largest = shards.iter().map(|shard| shard.bytes).max().unwrap_or(0);
    let parts: Vec<(Location, u64, u64)> = shards
        .iter()
        .flat_map(|shard| {
            let starts = (0..shard.bytes).step_by(PART as usize);
            let place = root.join(&shard.path);
            starts.map(move |start| (place.clone(), start, shard.bytes.min(start + PART)))
        })
        .collect();
    let parts = Arc::new(parts);
    let plain = best(args.repeat, || session.wait(fetch(&parts)))?;
    let plain = bytes as f64 / plain / 1e6;
    let mut figures = Vec::new();
    for (name, every) in [("disjoint", LENGTH), ("all", 1)] {
        if !name.contains(&args.case) {
            continue;
        }
        let cache = CacheOptions {
            memory: STAGES * LANES as u64 * largest,
            folder: None,
            map: true,
        };
        let dataset = Arc::new(session.wait(Dataset::open_with(&root, cache))?);
        // The first one's memory is fresh, and cleared by the system.
        let mut best = stream(session, &dataset, every, 0)?;
        for number in 0..args.repeat.max(1) as u64 {
            let epoch = stream(session, &dataset, every, number + 1)?;
            if epoch.rate() > best.rate() {
                best = epoch;
            }
        }
        let windows = best.windows as f64 / best.seconds;
        if !args.json {
            print(format!(
                "bucket, {name} windows: {windows:.0} windows/s, {:.0} MB/s fetched; \
                 plain requests: {plain:.0} MB/s; ratio {:.2}; {:.3} of the shards' bytes fetched\n",
                best.rate(),
                best.rate() / plain,
                best.fetched as f64 / bytes as f64,
            ))?;
        }
        figures.push(json!({
            "case": name,
            "windows_per_second": windows,
            "mb_per_second": best.rate(),
            "get_range_mb_per_second": plain,
            "of_get_range": best.rate() / plain,
            "fetched_of_bytes": best.fetched as f64 / bytes as f64,
            "traffic": dataset.io_statistics(),
        }));
    }
    Ok(figures)
}

/// Seconds to ask for all parts.
async fn fetch(parts: &Arc<Vec<(Location, u64, u64)>>) -> Result<f64> {
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for task in 0..AT_A_TIME {
        let parts = Arc::clone(parts);
        tasks.spawn(async move {
            for (place, start, end) in parts.iter().skip(task as usize).step_by(AT_A_TIME as usize)
            {
                std::hint::black_box(place.get_range(*start..*end).await?);
            }
            Ok::<_, wellspring_store::Error>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(began.elapsed().as_secs_f64())
}

struct Epoch {
    seconds: f64,
    windows: usize,
    fetched: u64,
}

impl Epoch {
    /// Fetched, in MB/s.
    fn rate(&self) -> f64 {
        self.fetched as f64 / self.seconds / 1e6
    }
}

fn stream(session: &Session, dataset: &Arc<Dataset>, every: usize, epoch: u64) -> Result<Epoch> {
    let order = Order::Streamed {
        seed: 0,
        epoch,
        lanes: LANES,
    };
    let spec = WindowSpec {
        every,
        ..WindowSpec::of_length(LENGTH)
    };
    let plan = Plan::new(dataset.manifest(), Split::Train, spec, order, Share::WHOLE)?;
    let options = LoaderOptions {
        batch: BATCH,
        ..LoaderOptions::default()
    };
    let (began, before) = (Instant::now(), dataset.io_statistics().bytes);
    let mut windows = 0;
    for batch in Loader::spawn(Arc::clone(dataset), plan, options, session.handle()) {
        windows += batch?.windows.len();
    }
    Ok(Epoch {
        seconds: began.elapsed().as_secs_f64(),
        windows,
        fetched: dataset.io_statistics().bytes - before,
    })
}
