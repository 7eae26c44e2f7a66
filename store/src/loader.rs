//! [`Loader`]: carries out a plan, with batches of windows that are read ahead in the background.
//!
//! A task walks through the plan, leases the shards that come next and waits for those that a batch
//! needs. Threads gather the batches into memory that is reused: a batch that the consumer drops gives
//! its memory back. The consumer gets batches in the plan's order, whichever thread gathered them. It is
//! never more than `prefetch` batches behind, so neither a slow consumer nor a fast store makes the
//! memory grow.

mod frame_pool;
mod read_cost;
mod stages;

use std::sync::{Arc, Mutex, PoisonError, mpsc as std_mpsc};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::read::cache::Lease;
use crate::read::conditions::SplitConstants;
use crate::read::dataset::Run;
use crate::{
    Conditioning, Conditions, Dataset, Error, Frames, Plan, Result, Value, Window, WindowSpec,
};

use frame_pool::FramePool;
pub use read_cost::ReadCost;
pub(crate) use stages::AHEAD;
use stages::Stages;

/// Upper bound of the batches that are read ahead: more than memory has room for.
const MOST_AHEAD: usize = 1 << 20;

/// Options of a loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoaderOptions {
    /// Windows in a batch; the last may have fewer.
    pub batch: usize,
    /// Batches read ahead of the consumer.
    pub prefetch: usize,
    /// Threads that gather batches.
    pub threads: usize,
    /// What batches have beside their frames.
    pub conditions: Conditioning,
}

impl Default for LoaderOptions {
    fn default() -> Self {
        Self {
            batch: 1,
            prefetch: 3,
            threads: 1,
            conditions: Conditioning::Nothing,
        }
    }
}

/// A batch of windows, with their frames.
#[derive(Debug)]
pub struct Batch<T: Value = f32> {
    /// The windows of the batch.
    pub windows: Vec<Window>,
    /// Frames of the windows as stored (normalized): (T, B, C, *space). Their memory is reused when the
    /// batch is dropped.
    pub frames: Frames<T>,
    /// What goes with the frames of each window, where [`LoaderOptions::conditions`] asks for it; else empty.
    pub conditions: Vec<Conditions>,
    ring: Arc<FramePool<T>>,
}

impl<T: Value> PartialEq for Batch<T> {
    fn eq(&self, other: &Self) -> bool {
        (&self.windows, &self.frames, &self.conditions)
            == (&other.windows, &other.frames, &other.conditions)
    }
}

impl<T: Value> Drop for Batch<T> {
    fn drop(&mut self) {
        self.ring.give_back(&mut self.frames);
    }
}

/// An iterator over batches that are read in the background. Dropping it ends the reading.
///
/// The iterator blocks its thread: use it from a thread that is not the runtime's.
#[derive(Debug)]
pub struct Loader<T: Value = f32> {
    dataset: Arc<Dataset>,
    batches: mpsc::Receiver<BatchReceiver<T>>,
    /// Why there is no thread to gather batches.
    idle: Option<std::io::Error>,
    over: bool,
}

/// A batch that is being gathered.
type BatchReceiver<T> = oneshot::Receiver<Result<Batch<T>>>;

/// Work for a thread.
struct Job<T: Value> {
    gathering: OpenBatch,
    done: oneshot::Sender<Result<Batch<T>>>,
}

/// A batch whose shards are open.
struct OpenBatch {
    windows: Vec<Window>,
    /// Frames of each of the windows.
    time: usize,
    runs: Vec<Run>,
    /// Keep the shards open until the work is done.
    leases: Vec<Arc<Lease>>,
    /// What conditions are read from, where they are asked for.
    conditions: Option<(SplitConstants, WindowSpec)>,
}

impl Loader {
    /// Starts to read on a runtime. After an error nothing more comes.
    pub fn spawn(
        dataset: Arc<Dataset>,
        plan: Plan,
        options: LoaderOptions,
        runtime: &Handle,
    ) -> Self {
        Self::spawn_as(dataset, plan, options, runtime)
    }
}

impl<T: Value> Loader<T> {
    /// [`Loader::spawn`] with batches of another type: `Loader::<bf16>::spawn_as(...)`.
    pub fn spawn_as(
        dataset: Arc<Dataset>,
        plan: Plan,
        options: LoaderOptions,
        runtime: &Handle,
    ) -> Self {
        let prefetch = options.prefetch.clamp(1, MOST_AHEAD);
        let (queue, batches) = mpsc::channel(prefetch);
        let (jobs, work) = std_mpsc::channel();
        let gatherer = Gatherer {
            dataset: Arc::clone(&dataset),
            ring: Arc::new(FramePool::new(prefetch + 1)),
            work: Arc::new(Mutex::new(work)),
        };
        // There are never more batches than these in the making.
        let idle = gatherer.start(options.threads.clamp(1, prefetch + 1));
        let reader = Reader {
            stages: Stages::spawn(&dataset, &plan, runtime),
            dataset: Arc::clone(&dataset),
            plan,
            batch: options.batch.max(1),
            wanted: options.conditions,
            held: None,
            queue,
            jobs,
        };
        runtime.spawn(reader.run());
        Self {
            dataset,
            batches,
            idle,
            over: false,
        }
    }
}

impl<T: Value> Loader<T> {
    /// The next batch, for who waits for something else too. One that is waited for no longer is lost.
    pub async fn next_batch(&mut self) -> Option<Result<Batch<T>>> {
        if self.over {
            return None;
        }
        if let Some(source) = self.idle.take() {
            self.over = true;
            return Some(Err(Error::Threads { source }));
        }
        let began = Instant::now();
        let batch = self.batches.recv().await?;
        let batch = batch.await.unwrap_or_else(|_| {
            Err(Error::Task {
                reason: "a thread that gathers batches panicked".into(),
            })
        });
        self.dataset.counters().waited(began.elapsed());
        self.over = batch.is_err();
        Some(batch)
    }
}

impl<T: Value> Iterator for Loader<T> {
    type Item = Result<Batch<T>>;

    fn next(&mut self) -> Option<Self::Item> {
        futures::executor::block_on(self.next_batch())
    }
}

/// Walks through the plan, ahead of the threads.
struct Reader<T: Value> {
    dataset: Arc<Dataset>,
    plan: Plan,
    batch: usize,
    wanted: Conditioning,
    held: Option<SplitConstants>,
    stages: Stages,
    queue: mpsc::Sender<BatchReceiver<T>>,
    jobs: std_mpsc::Sender<Job<T>>,
}

impl<T: Value> Reader<T> {
    async fn run(mut self) {
        let mut place = 0;
        while place < self.plan.len() {
            let (done, receiver) = oneshot::channel();
            // A closed queue says that nobody waits any longer.
            if self.queue.send(receiver).await.is_err() {
                return;
            }
            let queue = self.queue.clone();
            let prepared = tokio::select! {
                prepared = self.prepare(place) => prepared,
                () = queue.closed() => return,
            };
            match prepared {
                Ok(gathering) => {
                    place += gathering.windows.len();
                    if self.jobs.send(Job { gathering, done }).is_err() {
                        return;
                    }
                }
                Err(error) => {
                    // Nobody waits for it any longer when this fails.
                    let _ = done.send(Err(error));
                    return;
                }
            }
        }
    }

    /// The windows of a batch, all of as many frames, and their open shards.
    async fn prepare(&mut self, place: usize) -> Result<OpenBatch> {
        let (split, spec) = (self.plan.split(), self.plan.spec());
        let (mut windows, mut pieces, mut time) = (Vec::new(), Vec::new(), 0);
        let places = place..place.saturating_add(self.batch);
        for window in places.map_while(|place| self.plan.get(place)) {
            let frames = self.dataset.frames(split, window.trajectory as usize)?;
            let frames = spec.frames(frames);
            if !windows.is_empty() && frames != time {
                break;
            }
            time = frames;
            pieces.push(self.dataset.pieces(split, spec, window)?);
            windows.push(window);
        }
        let last = place + windows.len() - 1;
        let leases = self.stages.leases(place, last, &pieces).await?;
        let mut runs = Vec::with_capacity(pieces.len());
        for pieces in pieces {
            runs.push(Run::open(pieces, time, &leases).await?);
        }
        Ok(OpenBatch {
            windows,
            time,
            runs,
            leases,
            conditions: self.conditions().await?.map(|held| (held, spec)),
        })
    }

    /// What conditions are read from, opened before the first batch; nothing where they are not asked for.
    async fn conditions(&mut self) -> Result<Option<SplitConstants>> {
        if self.wanted != Conditioning::Nothing && self.held.is_none() {
            let split = self.plan.split();
            let constants = self.dataset.held_constants(split, self.wanted).await?;
            self.held = Some(SplitConstants { split, constants });
        }
        Ok(self.held.clone())
    }
}

/// What a thread that gathers batches has.
#[derive(Clone)]
struct Gatherer<T: Value> {
    dataset: Arc<Dataset>,
    ring: Arc<FramePool<T>>,
    work: Arc<Mutex<std_mpsc::Receiver<Job<T>>>>,
}

impl<T: Value> Gatherer<T> {
    /// Starts threads, as many of them as the system gives; its words where it gives none.
    fn start(self, threads: usize) -> Option<std::io::Error> {
        for thread in 0..threads {
            let gatherer = self.clone();
            let named = std::thread::Builder::new().name(format!("wellspring gather {thread}"));
            if let Err(error) = named.spawn(move || gatherer.run()) {
                if thread == 0 {
                    return Some(error);
                }
                tracing::warn!(%error, "{thread} of {threads} threads gather batches: the system gives no more");
                break;
            }
        }
        None
    }

    /// Gathers batches until there are no more.
    fn run(self) {
        loop {
            let job = self
                .work
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .recv();
            let Ok(Job { gathering, done }) = job else {
                return;
            };
            // Nobody waits for it any longer when this fails.
            let _ = done.send(self.gather(gathering));
        }
    }

    #[tracing::instrument(name = "batch", level = "debug", skip_all, fields(windows = gathering.windows.len(), frames = gathering.time))]
    fn gather(&self, gathering: OpenBatch) -> Result<Batch<T>> {
        let OpenBatch {
            windows,
            time,
            runs,
            leases,
            conditions,
        } = gathering;
        let mut frames = self.ring.lend(&self.dataset, time, runs.len());
        for (batch, run) in runs.iter().enumerate() {
            run.copy(&mut frames, batch);
        }
        let conditions = conditions.iter().flat_map(|(held, spec)| {
            let windows = windows.iter().zip(&runs);
            windows.map(|(&window, run)| held.conditions(&self.dataset, run, *spec, window, time))
        });
        let conditions = conditions.collect::<Result<Vec<_>>>()?;
        drop(leases);
        Ok(Batch {
            windows,
            frames,
            conditions,
            ring: Arc::clone(&self.ring),
        })
    }
}
