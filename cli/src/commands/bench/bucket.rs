//! Streaming from a bucket beside plain requests for the same bytes.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use wellspring_store::{
    Dataset, Loader, LoaderOptions, Location, Order, Plan, Share, Split, Traffic, WindowSpec,
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

/// Frames of a window, and windows of a batch.
const LENGTH: usize = 7;
const BATCH: usize = 4;

/// Shuffled epochs with nothing held before, of windows side by side, which deliver each byte once, and of
/// all windows, which deliver it seven times.
pub fn run(session: &Session, args: &args::Bench) -> Result<Vec<Value>> {
    let Some(data) = &args.data else {
        misuse!("bench bucket: add --data s3://BUCKET/DATASET");
    };
    let root = session.locate(data)?;
    let dataset = session.wait(Dataset::open(&root))?;
    let shards = &dataset.manifest().split(Split::Train)?.shards;
    let bytes: u64 = shards.iter().map(|shard| shard.bytes).sum();
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
    let mut figures = Vec::new();
    for every in [LENGTH, 1] {
        let mut epoch = Epoch::default();
        let streamed = best(args.repeat, || {
            epoch = stream(session, &root, every)?;
            Ok(epoch.seconds)
        })?;
        let figure = json!({
            "every": every,
            "windows_per_second": epoch.windows as f64 / streamed,
            "mb_per_second": bytes as f64 / streamed / 1e6,
            "get_range_mb_per_second": bytes as f64 / plain / 1e6,
            "of_get_range": plain / streamed,
            "fetched_of_bytes": epoch.traffic.bytes as f64 / bytes as f64,
            "traffic": epoch.traffic,
        });
        if !args.json {
            print(format!(
                "bucket, a window every {every} steps: {:.0} windows/s, {:.0} MB/s of shards; plain \
                 requests: {:.0} MB/s; ratio {:.2}; {:.3} of the shards' bytes fetched\n",
                epoch.windows as f64 / streamed,
                bytes as f64 / streamed / 1e6,
                bytes as f64 / plain / 1e6,
                plain / streamed,
                epoch.traffic.bytes as f64 / bytes as f64,
            ))?;
        }
        figures.push(figure);
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

#[derive(Default)]
struct Epoch {
    seconds: f64,
    windows: usize,
    traffic: Traffic,
}

fn stream(session: &Session, root: &Location, every: usize) -> Result<Epoch> {
    let dataset = Arc::new(session.wait(Dataset::open(root))?);
    let order = Order::Streamed {
        seed: 0,
        epoch: 0,
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
    let began = Instant::now();
    let mut windows = 0;
    for batch in Loader::spawn(Arc::clone(&dataset), plan, options, session.handle()) {
        windows += batch?.windows.len();
    }
    Ok(Epoch {
        seconds: began.elapsed().as_secs_f64(),
        windows,
        traffic: dataset.traffic(),
    })
}
