//! Times the loader, in comparison with a plain copy of the same bytes.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};
use wellspring_store::{
    Dataset, Loader, LoaderOptions, Order, Plan, Share, Split, Window, WindowSpec,
};

use super::{best, noise};
use crate::args;
use crate::commands::{Session, print};

/// Windows of 6 + 1 frames, four in a batch.
const LENGTH: usize = 7;
const BATCH: usize = 4;

/// Batches before the clock starts, of an epoch that has more than twice as many: in them the loader
/// takes memory, which the system has to clear.
const WARM: usize = 8;

/// Shuffled windows from shards on a disk whose pages are in memory, on one thread and on two, beside
/// plain copies of the same windows into memory that is used again.
pub fn run(session: &Session, args: &args::Bench) -> Result<Vec<Value>> {
    let (dataset, _folder) = noise::unless_given(session, args)?;
    let (spec, order) = (
        WindowSpec::of_length(LENGTH),
        Order::Shuffled { seed: 0, epoch: 0 },
    );
    let plan = Plan::new(dataset.manifest(), Split::Train, spec, order, Share::WHOLE)?;
    let copies = Copies::of(session, &dataset, &plan)?;
    let mut figures = Vec::new();
    let mut alone = f64::INFINITY;
    for threads in [1, 2] {
        let bytes = copies.bytes() as f64;
        let copied = best(args.repeat, || Ok(copies.run(threads)))?;
        let read = best(args.repeat + 1, || epoch(session, &dataset, &plan, threads))?;
        if threads == 1 {
            alone = read;
        }
        let figure = json!({
            "threads": threads,
            "windows_per_second": plan.len() as f64 / read,
            "gb_per_second": bytes / read / 1e9,
            "copy_gb_per_second": bytes / copied / 1e9,
            "of_copy": copied / read,
            "of_one_thread": alone / read,
        });
        if !args.json {
            print(format!(
                "loader, {threads} thread{}: {:.0} windows/s, {:.2} GB/s; a plain copy: {:.2} GB/s; \
                 ratio {:.2}; {:.2} of one thread\n",
                if threads == 1 { "" } else { "s" },
                plan.len() as f64 / read,
                bytes / read / 1e9,
                bytes / copied / 1e9,
                copied / read,
                alone / read,
            ))?;
        }
        figures.push(figure);
    }
    Ok(figures)
}

/// Seconds of an epoch, at the rate of all batches but the first.
fn epoch(session: &Session, dataset: &Arc<Dataset>, plan: &Plan, threads: usize) -> Result<f64> {
    let options = LoaderOptions {
        batch: BATCH,
        threads,
        ..LoaderOptions::default()
    };
    let mut loader = Loader::spawn(Arc::clone(dataset), plan.clone(), options, session.handle());
    for batch in loader.by_ref().take(WARM.min(plan.len() / BATCH / 2)) {
        std::hint::black_box(batch?.frames.data());
    }
    let (began, mut windows) = (Instant::now(), 0);
    for batch in loader {
        let batch = batch?;
        std::hint::black_box(batch.frames.data());
        windows += batch.windows.len();
    }
    Ok(began.elapsed().as_secs_f64() * plan.len() as f64 / windows.max(1) as f64)
}

/// The windows of a plan, to be copied from plain memory.
struct Copies {
    values: Vec<f32>,
    /// First frame of each window.
    starts: Vec<usize>,
    window: usize,
}

impl Copies {
    fn of(session: &Session, dataset: &Dataset, plan: &Plan) -> Result<Self> {
        let frame = dataset.schema().channels().len() * dataset.schema().grid.cells();
        let mut values = Vec::new();
        let mut first = Vec::new();
        let held = dataset.manifest().split(Split::Train)?;
        for (index, trajectory) in held.trajectories.iter().enumerate() {
            first.push(values.len());
            let frames = dataset.read(Split::Train, index, 0..trajectory.frames);
            values.extend_from_slice(session.wait(frames)?.data());
        }
        let start =
            |window: Window| first[window.trajectory as usize] + window.start as usize * frame;
        Ok(Self {
            starts: plan.iter().map(start).collect(),
            values,
            window: LENGTH * frame,
        })
    }

    fn bytes(&self) -> usize {
        self.starts.len() * self.window * size_of::<f32>()
    }

    /// Seconds to copy all windows, each thread its share into a batch of its own.
    fn run(&self, threads: usize) -> f64 {
        // Filled with ones: zeroed memory would be cleared on the first write, while time is measured.
        let mut batches = vec![vec![1_f32; BATCH * self.window]; threads];
        let began = Instant::now();
        std::thread::scope(|scope| {
            for (thread, batch) in batches.iter_mut().enumerate() {
                scope.spawn(move || {
                    for (place, &start) in
                        self.starts.iter().skip(thread).step_by(threads).enumerate()
                    {
                        let into = place % BATCH * self.window;
                        batch[into..into + self.window]
                            .copy_from_slice(&self.values[start..start + self.window]);
                        std::hint::black_box(&mut *batch);
                    }
                });
            }
        });
        began.elapsed().as_secs_f64()
    }
}
