//! The commands that are stopped: the files before each, and the files that are compared after it.

use std::collections::{BTreeMap, BTreeSet};

use wellspring_log::is_segment;

use super::{Left, try_stops};
use crate::program::{SMALL, Workplace};

/// The log of the run that is trained.
pub(super) const LOG: &str = "run/log";
const LOCK: &str = "run/lock";
const CHECKPOINTS: &str = "run/checkpoints/";

/// A command to stop.
pub(super) struct Scene {
    pub(super) name: &'static str,
    /// Makes what the command needs.
    pub(super) before: fn(&Workplace),
    pub(super) words: String,
    /// What must be there when it has ended.
    pub(super) left: fn(&Workplace) -> Left,
}

impl Scene {
    fn new(name: &'static str, before: fn(&Workplace), words: &str) -> Self {
        Self {
            name,
            before,
            words: words.into(),
            left: files,
        }
    }
}

fn with_source(place: &Workplace) {
    place.lay(&[
        ("odd/sound.hdf5", "src/data/train/a.hdf5"),
        ("odd/sound-valid.hdf5", "src/data/valid/c.hdf5"),
        ("odd/sound-test.hdf5", "src/data/test/b.hdf5"),
    ]);
}

fn with_data_set(place: &Workplace) {
    with_source(place);
    place.do_it("ingest src ds");
}

fn with_more(place: &Workplace) {
    with_data_set(place);
    place.lay(&[("odd/sound.hdf5", "more/data/train/d.hdf5")]);
}

fn with_promise(place: &Workplace) {
    with_source(place);
    place.do_it("ingest src ds --on-demand");
}

fn with_earlier_generations(place: &Workplace) {
    with_more(place);
    place.do_it("ingest more ds --append");
    place.do_it("drop ds valid");
}

fn with_damage(place: &Workplace) {
    with_data_set(place);
    let shards = place.files("ds/train");
    let (shard, mut bytes) = shards.into_iter().next().unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(shard, bytes).unwrap();
}

fn with_run(place: &Workplace) {
    with_data_set(place);
    place.do_it(&format!("train --out run {SMALL} --set train.steps=2"));
}

fn with_weights(place: &Workplace) {
    with_run(place);
    place.do_it("export run weights.safetensors");
    std::fs::remove_dir_all(place.path("run")).unwrap();
}

fn with_results(place: &Workplace) {
    with_run(place);
    place.do_it("eval run ds -r results --rollout 2 --schedule 8,16");
}

/// All files with their bytes. A log is its steps: what it is cut into, and what tells the time, is left out.
fn files(place: &Workplace) -> Left {
    let root = place.path("");
    let name = |path: &std::path::Path| path.strip_prefix(&root).unwrap().display().to_string();
    let files = place.files("").into_iter();
    let named = files.map(|(path, bytes)| (name(&path), bytes));
    // The lock says which process it was.
    let named = named.map(|(name, bytes)| match name == LOCK {
        true => (name, Vec::new()),
        false => (name, bytes),
    });
    let (log, mut left): (Left, Left) = named.partition(|(name, _)| is_of_log(name));
    if !log.is_empty() {
        left.insert(LOG.into(), steps(place));
    }
    left
}

fn is_of_log(name: &str) -> bool {
    let name = name.strip_prefix(LOG).unwrap_or_default();
    name.strip_prefix('/').is_some_and(is_segment)
}

/// The steps of the log, without what they took.
fn steps(place: &Workplace) -> Vec<u8> {
    let log = place.log("run").into_iter();
    let steps = log.filter(|row| row.event == "step");
    let told = steps.map(|row| format!("{} {:?} {:?}\n", row.step, row.loss, row.norm));
    told.collect::<String>().into_bytes()
}

/// The names of all files, and the data set that is made of some HDF5: it tells the time in its files.
fn as_ingested(place: &Workplace, source: &str) -> Left {
    let names: Vec<String> = files(place).into_keys().collect();
    place.do_it(&format!("ingest {source} ingested"));
    let mut left = files(place);
    left.retain(|name, _| name.starts_with("ingested/"));
    std::fs::remove_dir_all(place.path("ingested")).unwrap();
    left.extend(names.into_iter().map(|name| (name, Vec::new())));
    left
}

fn simulations(place: &Workplace) -> Left {
    as_ingested(place, "sims")
}

fn predictions(place: &Workplace) -> Left {
    as_ingested(place, "predicted")
}

/// All files, without the generation in their names and in the manifest: an overwriting that was done is done once
/// more.
fn values(place: &Workplace) -> Left {
    let unstamped = |name: String| match name.split_once(".g") {
        Some((stem, stamped)) => format!("{stem}.{}", stamped.rsplit('.').next().unwrap()),
        None => name,
    };
    let mut left: Left = files(place)
        .into_iter()
        .map(|(name, bytes)| (unstamped(name), bytes))
        .collect();
    left.insert("ds/manifest.json".into(), Vec::new());
    left
}

/// All files but those of results, and the results as SQL tells them: their files say when they were made.
fn answers(place: &Workplace) -> Left {
    let (results, mut left): (Left, Left) = files(place)
        .into_iter()
        .partition(|(name, _)| name.starts_with("results/"));
    for question in [
        "SELECT name, weights, task, schedule, context, rollout, starts, tokens FROM runs ORDER BY schedule",
        "SELECT * EXCLUDE (run) FROM metrics ORDER BY patch, tokens, trajectory, start, lead, field, metric, band",
        "SELECT * EXCLUDE (run) FROM spectra ORDER BY patch, lead, field, axis, bin",
    ] {
        let answer = place.ask("results", question);
        left.insert(question.into(), serde_json::to_vec(&answer).unwrap());
    }
    let folder = |name: &String| {
        name.rsplit_once('/')
            .map_or("", |(folder, _)| folder)
            .to_owned()
    };
    let mut counts = BTreeMap::new();
    for name in results.keys() {
        let count = counts.entry(folder(name)).or_insert(0);
        *count += 1;
        left.insert(format!("{}, file {count}", folder(name)), Vec::new());
    }
    left
}

/// All files; of checkpoints before the last only that they are there. One that could not be written is passed
/// over, so the one before it stays.
fn run_files(place: &Workplace) -> Left {
    let (checkpoints, mut left): (Left, Left) = files(place)
        .into_iter()
        .partition(|(name, _)| name.starts_with(CHECKPOINTS));
    let step = |name: &str| name[CHECKPOINTS.len()..][..8].to_owned();
    let steps: BTreeSet<String> = checkpoints.keys().map(|name| step(name)).collect();
    for (name, bytes) in checkpoints {
        let later = steps.range(step(&name)..).count() - 1;
        match later {
            0 => left.insert(name, bytes),
            _ => left.insert(
                name.replacen(&step(&name), &format!("last-but-{later}"), 1),
                Vec::new(),
            ),
        };
    }
    left
}

#[test]
fn simulate() {
    let words =
        "simulate shear-flow sims --shape 16x16 --frames 3 --train 2 --valid 1 --test 1 --seed 5";
    try_stops(&Scene {
        left: simulations,
        ..Scene::new("simulate", |_| {}, words)
    });
}

#[test]
fn ingest() {
    try_stops(&Scene::new("ingest", with_source, "ingest src ds"));
}

#[test]
fn ingest_over_another() {
    let words = "ingest src ds --overwrite --dtype f16";
    try_stops(&Scene {
        left: values,
        ..Scene::new("ingest --overwrite", with_data_set, words)
    });
}

#[test]
fn ingest_on_demand() {
    let words = "ingest src ds --on-demand";
    try_stops(&Scene::new("ingest --on-demand", with_source, words));
}

#[test]
fn the_rest_of_a_promise() {
    let words = "ingest src ds";
    try_stops(&Scene::new("ingest the rest", with_promise, words));
}

#[test]
fn append() {
    let words = "ingest more ds --append";
    try_stops(&Scene::new("ingest --append", with_more, words));
}

#[test]
fn drop() {
    try_stops(&Scene::new("drop", with_data_set, "drop ds valid"));
}

#[test]
fn purge() {
    let words = "drop ds --purge";
    try_stops(&Scene::new("drop --purge", with_earlier_generations, words));
}

#[test]
fn repair() {
    let words = "verify ds --repair src";
    try_stops(&Scene::new("verify --repair", with_damage, words));
}

#[test]
fn train() {
    let words =
        format!("train --out run {SMALL} --set train.steps=3 --set train.checkpoint_every=1");
    try_stops(&Scene {
        left: run_files,
        ..Scene::new("train", with_data_set, &words)
    });
}

#[test]
fn train_on_demand() {
    // A validation that fails is told, and the run ends well without it.
    let words = format!("train --out run {SMALL} --set train.steps=2 --set validation.every=0");
    try_stops(&Scene {
        left: run_files,
        ..Scene::new("train on demand", with_promise, &words)
    });
}

#[test]
fn resume() {
    let words = "train --out run --resume --set train.steps=4 --set train.checkpoint_every=1";
    try_stops(&Scene {
        left: run_files,
        ..Scene::new("train --resume", with_run, words)
    });
}

#[test]
fn import() {
    let words = format!("import weights.safetensors --out run {SMALL}");
    try_stops(&Scene::new("import", with_weights, &words));
}

#[test]
fn export() {
    try_stops(&Scene::new(
        "export",
        with_run,
        "export run weights.safetensors",
    ));
}

#[test]
fn eval() {
    try_stops(&Scene {
        left: answers,
        ..Scene::new(
            "eval",
            with_run,
            "eval run ds -r results --rollout 2 --schedule 8,16",
        )
    });
}

#[test]
fn eval_again() {
    let words = "eval run ds -r results --rollout 2 --schedule 8,16";
    try_stops(&Scene {
        left: answers,
        ..Scene::new("eval once more", with_results, words)
    });
}

#[test]
fn predict() {
    let words = "predict run ds --to predicted --rollout 2 --schedule 8,16";
    try_stops(&Scene {
        left: predictions,
        ..Scene::new("predict", with_run, words)
    });
}

#[test]
fn report() {
    try_stops(&Scene::new(
        "report",
        with_results,
        "report results page.html",
    ));
}

#[test]
fn figures() {
    try_stops(&Scene::new(
        "figures",
        with_results,
        "figures results pictures",
    ));
}
