//! `wellspring plan`: reads a configuration, the manifests of data sets and, for a second each, their shards,
//! and predicts what a run will read and what that costs. It writes nothing.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;
use wellspring_store::{IoStatistics, ReadCost, Share};
use wellspring_train::{ReadEstimate, UnusedInputs};

use super::train::{self, megabytes};
use super::{Session, print};
use crate::args;
use crate::failure::misuse;
use crate::settings;

/// Time for which reading is tried.
const TRIAL: Duration = Duration::from_secs(1);

pub fn run(session: &Session, args: &args::Plan) -> Result<()> {
    let config = settings::resolve(args.config.as_deref(), &args.set)?;
    if config.data.root.list().is_empty() {
        misuse!("no data set: add --set data.root=DS, or root = \"DS\" under [data]");
    }
    let datasets = train::open(session, &config)?;
    let read_estimates = wellspring_train::read_estimates(&config, &datasets, 0, Share::WHOLE)?;
    let mut figures = Vec::new();
    for ((root, dataset), reading) in config
        .data
        .root
        .list()
        .iter()
        .zip(&datasets)
        .zip(&read_estimates)
    {
        let kinds = &config.model.inputs;
        let unseen = UnusedInputs::of(dataset, kinds);
        let promised = dataset.origin().map(|origin| origin.missing());
        let rate = match args.dry || promised.is_some() {
            true => None,
            false => Some(expected_rate(session, reading, || dataset.io_statistics())?),
        };
        figures.push(json!({
            "data": root,
            "steps": reading.steps,
            "epoch_steps": reading.epoch_steps,
            "bill": reading.cost,
            "promised_shards": promised,
            "windows_per_second": rate,
            "no_inputs": { "constants": unseen.constants, "scalars": unseen.scalars },
        }));
        if !args.json {
            print(described(root, reading, rate, promised))?;
            if !unseen.is_empty() {
                print(format!(
                    "  {unseen}; {} makes them inputs\n",
                    unseen.remedy(kinds)
                ))?;
            }
        }
    }
    if args.json {
        super::print_data(format!("{}\n", serde_json::Value::Array(figures)).as_bytes())?;
    }
    Ok(())
}

/// Windows a second: as many as were gathered in a trial or, where shards are fetched and it ended
/// before an epoch did, as the bytes that came in it are worth.
fn expected_rate(
    session: &Session,
    reading: &ReadEstimate,
    traffic: impl Fn() -> IoStatistics,
) -> Result<f64> {
    let mut loader = reading.loader(session.handle())?;
    let (began, mut windows, mut epochs) = (Instant::now(), 0, 0);
    while began.elapsed() < TRIAL {
        match loader.next() {
            Some(batch) => windows += batch?.windows.len(),
            None => {
                epochs += 1;
                loader = reading.loader(session.handle())?;
            }
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let gathered = windows as f64 / seconds;
    let cost = &reading.cost;
    let worth = cost.windows as f64 / cost.fetched as f64 * traffic().bytes as f64 / seconds;
    Ok(match cost.fetched == 0 || epochs > 0 {
        true => gathered,
        false => worth,
    })
}

fn described(
    root: &str,
    reading: &ReadEstimate,
    rate: Option<f64>,
    promised: Option<usize>,
) -> String {
    let cost = &reading.cost;
    let mut text = format!(
        "{root}: {} of the run's steps, {} an epoch; {} windows, {} in batches\n  {}\n",
        reading.steps,
        reading.epoch_steps,
        cost.windows,
        megabytes(cost.bytes),
        costs(cost),
    );
    if let Some(promised) = promised {
        text +=
            &format!("  promised: {promised} of its shards are made when they are first read\n");
    }
    if let Some(rate) = rate {
        let time = Duration::try_from_secs_f64(cost.windows as f64 / rate.max(1e-9));
        let time = time.map_or_else(|_| "for ever".into(), |time| format!("{time:.1?}"));
        text +=
            &format!("  about {rate:.0} windows/s, {time} for all if nothing else takes time\n");
    }
    text
}

/// The read cost in words.
fn costs(cost: &ReadCost) -> String {
    match cost.requests {
        0 => format!(
            "no requests: {} shards are read where they are",
            cost.opened
        ),
        requests => format!(
            "{requests} requests, {} fetched in {} shards, at most {} held at once",
            megabytes(cost.fetched),
            cost.opened,
            megabytes(cost.peak)
        ),
    }
}
