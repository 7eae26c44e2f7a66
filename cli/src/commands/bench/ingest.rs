//! Times ingest, in comparison with only reading the files, writing the bytes, and undoing gzip.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use wellspring_ingest::{IngestOptions, Packing, WaveField, Waves};
use wellspring_store::{Boundary, Location, Silent, TensorOrder};

use crate::args;
use crate::commands::{Session, print};

const SHAPE: [usize; 2] = [128, 256];
const FRAMES: usize = 100;
/// Number of files: so many that the memory of the first shards, which the system clears, is a small part of all.
const FILES: usize = 24;

/// A file's fields: two scalars and a vector.
const CHANNELS: usize = 4;

/// Bytes that the limit is read and written with at a time.
const PIECE: usize = 1 << 20;

/// Files of a trajectory of 100 frames of 128 × 256 × 4 in f32, in each packing, through statistics
/// into normalized shards, pages in memory; beside it, on as many threads, reading the files once
/// (inflating them, where they are packed) and writing as many bytes as there are values.
pub fn run(session: &Session, args: &args::Bench) -> Result<Vec<Value>> {
    let cases = [
        ("contiguous", Packing::Contiguous),
        ("chunked", Packing::Chunked),
        ("gzip", Packing::Gzip(4)),
    ];
    let mut figures = Vec::new();
    for (name, packing) in cases {
        if name.contains(&args.case) {
            let figure = case(session, args, packing)?;
            if !args.json {
                print(figure.line(name))?;
            }
            figures.push(figure.json(name));
        }
    }
    Ok(figures)
}

struct Figure {
    bytes: f64,
    wall: f64,
    cpu: f64,
    limit: f64,
}

impl Figure {
    fn line(&self, name: &str) -> String {
        let rate = |seconds: f64| self.bytes / seconds / 1e6;
        format!(
            "ingest {name}: {:.0} MB/s, {:.0} MB per CPU-second; reading once and writing: {:.0} MB/s; ratio {:.2}\n",
            rate(self.wall),
            rate(self.cpu),
            rate(self.limit),
            self.limit / self.wall
        )
    }

    fn json(&self, name: &str) -> Value {
        let rate = |seconds: f64| self.bytes / seconds / 1e6;
        json!({
            "case": name,
            "mb": self.bytes / 1e6,
            "mb_per_second": rate(self.wall),
            "mb_per_cpu_second": rate(self.cpu),
            "limit_mb_per_second": rate(self.limit),
            "of_limit": self.limit / self.wall,
        })
    }
}

fn case(session: &Session, args: &args::Bench, packing: Packing) -> Result<Figure> {
    let folder = tempfile::tempdir()?;
    let sources = write_sources(&folder.path().join("source"), packing)?;
    let bytes = (FILES * FRAMES * CHANNELS * SHAPE.iter().product::<usize>() * 4) as f64;
    let options = IngestOptions::default();
    let mut best = Figure {
        bytes,
        wall: f64::INFINITY,
        cpu: f64::INFINITY,
        limit: f64::INFINITY,
    };
    for round in 0..args.repeat.max(1) {
        let source = Location::parse(&folder.path().join("source").to_string_lossy())?;
        let root = folder.path().join(format!("dataset{round}"));
        let place = Location::parse(&root.to_string_lossy())?;
        let (began, spent) = (Instant::now(), cpu_time()?);
        session.wait(wellspring_ingest::ingest(
            &source, &place, &options, &Silent,
        ))?;
        best.wall = best.wall.min(began.elapsed().as_secs_f64());
        best.cpu = best.cpu.min((cpu_time()? - spent).as_secs_f64());
        std::fs::remove_dir_all(&root)?;
        let began = Instant::now();
        match packing {
            Packing::Gzip(_) => {
                session.wait(wellspring_ingest::decode(&source, options.threads))?;
            }
            _ => on_threads(options.threads, |thread| {
                let own = sources.iter().skip(thread).step_by(options.threads);
                own.map(PathBuf::as_path).try_for_each(read)
            })?,
        }
        let target = |thread| folder.path().join(format!("limit{thread}"));
        on_threads(options.threads, |thread| {
            write(&target(thread), bytes as usize / options.threads)
        })?;
        best.limit = best.limit.min(began.elapsed().as_secs_f64());
        for thread in 0..options.threads {
            std::fs::remove_file(target(thread))?;
        }
    }
    Ok(best)
}

fn write_sources(folder: &Path, packing: Packing) -> Result<Vec<PathBuf>> {
    let waves = Waves {
        name: "waves".into(),
        axes: ["x", "y"]
            .into_iter()
            .zip(SHAPE)
            .map(|(name, points)| (name.to_owned(), points, [Boundary::Periodic; 2]))
            .collect(),
        fields: vec![
            WaveField::new("tracer", TensorOrder::Scalar),
            WaveField::new("pressure", TensorOrder::Scalar),
            WaveField::new("velocity", TensorOrder::Vector),
        ],
        parameters: std::collections::BTreeMap::new(),
        trajectories: 1,
        frames: FRAMES,
        packing,
    };
    let mut paths = Vec::new();
    for index in 0..FILES {
        let path = folder.join(format!("data/train/waves_{index}.hdf5"));
        waves.write(&path, index as u64)?;
        paths.push(path);
    }
    Ok(paths)
}

/// Does something on each of some threads.
fn on_threads(threads: usize, work: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    let work = &work;
    std::thread::scope(|scope| {
        let start = |thread| std::thread::Builder::new().spawn_scoped(scope, move || work(thread));
        let workers = (0..threads).map(start).collect::<io::Result<Vec<_>>>()?;
        workers.into_iter().try_for_each(|worker| {
            let ended = worker.join();
            ended.map_err(|_| anyhow::anyhow!("a thread ended early"))?
        })
    })
}

fn read(path: &Path) -> Result<()> {
    let mut piece = vec![0; PIECE];
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    for at in (0..length).step_by(PIECE) {
        let part = (length - at).min(PIECE as u64) as usize;
        file.read_exact_at(&mut piece[..part], at)?;
    }
    Ok(())
}

/// Writes `bytes` bytes to a new file.
fn write(target: &Path, bytes: usize) -> Result<()> {
    let piece = vec![1_u8; PIECE];
    let mut file = File::create(target)?;
    let mut left = bytes;
    while left > 0 {
        let part = left.min(PIECE);
        file.write_all(&piece[..part])?;
        left -= part;
    }
    Ok(())
}

/// Time that this process has spent on processors, in all threads, those that ended included.
fn cpu_time() -> Result<Duration> {
    /// The unit of processor times in `/proc`: 100 a second on every architecture of Linux.
    const TICK: Duration = Duration::from_millis(10);
    let stat = std::fs::read_to_string("/proc/self/stat").context("this system has no /proc")?;
    // The name, in brackets, may hold spaces; user and system time are the 12th and 13th after it.
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let fields: Vec<u32> = after
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse().ok())
        .collect();
    Ok(TICK * fields.iter().sum())
}
