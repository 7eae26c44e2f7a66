//! Two appends, two drops and two purges in every order of their requests. A writer that is stopped is one
//! that makes no further request, so what holds in every state holds however many were stopped.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStore;
use object_store::path::Path;

use super::script::{Answer, Ask, At, Writer, tag};
use super::*;
use crate::{
    Attachment, Provenance, Result, Schema, Selection, Shard, SourceRecord, SplitManifest,
    TensorOrder, Trajectory,
};

const MANIFEST: &str = "ds/manifest.json";

/// How a writer ended.
#[derive(Debug, Clone, PartialEq)]
enum End {
    Changed(Bytes),
    /// Whether anything was deleted.
    Purged(bool),
    Overtaken,
    /// There was nothing to drop.
    NoSplit,
}

fn place(store: Arc<dyn ObjectStore>) -> Location {
    Location::from_store(store, Path::from("ds"), "script:/")
}

fn ended(result: Result<Manifest>) -> End {
    match result {
        Ok(manifest) => End::Changed(manifest.to_json().into()),
        Err(Error::Overtaken { .. }) => End::Overtaken,
        Err(Error::NoSplit { .. }) => End::NoSplit,
        Err(error) => panic!("{error}"),
    }
}

/// What an append is careful with; the tests of this test leave something out.
#[derive(Debug, Clone, Copy)]
struct Care {
    /// It writes beside shards under names of its own.
    own_names: bool,
    /// It replaces the manifest that it began with, and no other.
    compares: bool,
}

const CAREFUL: Care = Care {
    own_names: true,
    compares: true,
};

/// One more trajectory of the test split, from a file that holds beside its fields what others do, too.
async fn append(root: &Location, key: &str, care: Care) -> Result<Manifest> {
    let before = Manifest::load(root).await?;
    let writer = DatasetWriter::next(root, &before, 1, key)?;
    let shard = Shard::of(writer.path(Split::Test, "00000"), 1, key.as_bytes());
    root.join(&shard.path).put(key.to_owned()).await?;
    let structure = match care.own_names {
        true => writer.attached(&structure()),
        false => structure(),
    };
    let place = root.join(&structure.path);
    if !place.exists().await? {
        place.put(STRUCTURE).await?;
    }
    let mut next = before.clone();
    let held = next.splits.entry(Split::Test).or_default();
    held.shards.push(shard);
    held.trajectories.push(trajectory(key));
    let mut made = before.provenance.clone().unwrap();
    made.sources.push(source(Split::Test, structure));
    if care.compares {
        return writer.succeed(next.splits, Some(made)).await;
    }
    (next.generation, next.provenance) = (before.generation + 1, Some(made));
    kept(root, &before).put(before.to_json()).await?;
    root.join("manifest.json").put(next.to_json()).await?;
    Ok(next)
}

const STRUCTURE: &str = "what a file holds beside its fields";

fn structure() -> Attachment {
    Attachment::of("sources", "json", STRUCTURE.as_bytes())
}

fn source(split: Split, structure: Attachment) -> SourceRecord {
    SourceRecord {
        name: split.to_string(),
        split,
        bytes: 0,
        checksum: String::new(),
        structure,
    }
}

fn trajectory(source: &str) -> Trajectory {
    let mut trajectory = sample::trajectories(&[1]).remove(0);
    trajectory.source = source.into();
    trajectory
}

/// A data set of a training and a validation split, the second from a file of its own.
fn first() -> (Manifest, BTreeMap<String, Bytes>) {
    let mut manifest = sample::manifest(Split::Train, &[1]);
    manifest.schema = Schema::periodic("tiny", &[("x", 1)], &[("u", TensorOrder::Scalar)]);
    let moments = crate::ChannelMoments::default();
    manifest.statistics.0.insert("u".into(), moments.into());
    manifest.splits.clear();
    for split in [Split::Train, Split::Valid] {
        let held = SplitManifest {
            trajectories: vec![trajectory("first")],
            shards: vec![Shard::of(format!("{split}/00000.arrow"), 1, b"first")],
            constants: None,
        };
        manifest.splits.insert(split, held);
    }
    manifest.provenance = Some(Provenance {
        program: String::new(),
        key: String::new(),
        selection: Selection::default(),
        shard_bytes: 1,
        sources: vec![source(Split::Valid, structure())],
    });
    let named = manifest
        .paths()
        .map(|path| (format!("ds/{path}"), Bytes::from("first")));
    let mut objects: BTreeMap<String, Bytes> = named.collect();
    objects.insert(format!("ds/{}", structure().path), STRUCTURE.into());
    objects.insert(MANIFEST.into(), manifest.to_json().into());
    (manifest, objects)
}

/// The writers, by what they do; all purges are one.
fn writers(appends: usize, care: Care, drops: &[Split]) -> Vec<Writer<End>> {
    let appends = (0..appends).map(|index| {
        Writer::new(move |store| async move {
            ended(append(&place(store), &format!("append{index}"), care).await)
        })
    });
    let drops = drops.iter().map(|&split| {
        Writer::new(move |store| async move { ended(drop_split(&place(store), split).await) })
    });
    let purge =
        Writer::new(|store| async move { End::Purged(purge(&place(store)).await.unwrap() > 0) });
    appends.chain(drops).chain([purge]).collect()
}

/// What is stored, and how far each writer is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    objects: BTreeMap<Arc<str>, usize>,
    /// Of each writer.
    states: Vec<usize>,
    /// Every manifest that the data set had.
    history: Vec<usize>,
}

/// Goes everywhere.
struct Explorer {
    writers: Vec<Writer<End>>,
    appends: usize,
    contents: Vec<Bytes>,
    known: HashMap<Bytes, usize>,
    manifests: HashMap<usize, Manifest>,
    seen: HashSet<u64>,
    /// Who made the requests that led here.
    trace: Vec<usize>,
    /// How all writers ended, in every order.
    ends: HashSet<String>,
}

impl Explorer {
    fn content(&mut self, bytes: &Bytes) -> usize {
        let next = self.contents.len();
        let content = *self.known.entry(bytes.clone()).or_insert(next);
        if content == next {
            self.contents.push(bytes.clone());
        }
        content
    }

    fn manifest(&mut self, content: usize) -> &Manifest {
        let bytes = &self.contents[content];
        let read = || Manifest::from_json(bytes, MANIFEST).unwrap();
        self.manifests.entry(content).or_insert_with(read)
    }

    fn answer(&mut self, world: &mut World, ask: &Ask) -> Answer {
        match ask {
            Ask::Get(path) => {
                let content = world.objects.get(path.as_str());
                Answer::Object(content.map(|&content| self.contents[content].clone()))
            }
            Ask::List(folder) => {
                let below = |path: &&Arc<str>| path.starts_with(&format!("{folder}/"));
                let paths = world.objects.keys().filter(below);
                Answer::Listed(paths.map(ToString::to_string).collect())
            }
            Ask::Put(path, bytes) => {
                let content = self.content(bytes);
                let before = world.objects.insert(path.as_str().into(), content);
                if path == MANIFEST {
                    self.manifest(content);
                    world.history.push(content);
                    self.check_change(world);
                    return Answer::Done(true);
                }
                assert!(
                    before.is_none_or(|before| before == content),
                    "{path} is written twice"
                );
                Answer::Done(true)
            }
            Ask::Replace(path, bytes, seen) => {
                let there = world.objects.get(path.as_str());
                let is_it = there.is_some_and(|&there| tag(&self.contents[there]) == *seen);
                if is_it {
                    let content = self.content(bytes);
                    self.manifest(content);
                    world.objects.insert(path.as_str().into(), content);
                    world.history.push(content);
                    self.check_change(world);
                }
                Answer::Done(is_it)
            }
            Ask::Delete(path) => {
                world.objects.remove(path.as_str());
                Answer::Done(true)
            }
        }
    }

    /// Nothing that was committed is lost: the present manifest is its predecessor with more
    /// trajectories, or without a split.
    fn check_change(&mut self, world: &World) {
        let [.., before, now] = world.history[..] else {
            return;
        };
        let (before, now) = (self.manifest(before).clone(), self.manifest(now).clone());
        assert_eq!(
            now.generation,
            before.generation + 1,
            "after {:?}",
            self.trace
        );
        let lost = before
            .splits
            .keys()
            .filter(|split| !now.splits.contains_key(split));
        assert!(lost.count() <= 1, "{:?}", self.trace);
        for (split, held) in &now.splits {
            let old = before.splits.get(split).cloned().unwrap_or_default();
            assert!(
                held.trajectories.starts_with(&old.trajectories),
                "{:?}",
                self.trace
            );
            assert!(held.shards.starts_with(&old.shards), "{:?}", self.trace);
        }
    }

    /// What holds at any moment.
    fn check(&mut self, world: &World) {
        let present = world.objects[MANIFEST];
        assert_eq!(world.history.last(), Some(&present), "{:?}", self.trace);
        let paths: Vec<String> = self.manifest(present).paths().map(str::to_owned).collect();
        for path in paths {
            let is_there = world.objects.contains_key(format!("ds/{path}").as_str());
            assert!(is_there, "{path} is gone after {:?}", self.trace);
        }
        for writer in 0..world.states.len() {
            match self.at(world, writer) {
                At::Ended(End::Changed(made)) => {
                    let made = self.known.get(made);
                    let is_held = made.is_some_and(|made| world.history.contains(made));
                    assert!(is_held, "writer {writer} lost it: {:?}", self.trace);
                }
                At::Ended(End::Overtaken) if writer < self.appends => {
                    let mark = format!("append{writer}");
                    let has = |held: &usize| {
                        let splits = self.manifests[held].splits.values();
                        let mut held = splits.flat_map(|split| &split.trajectories);
                        held.any(|trajectory| trajectory.source == mark)
                    };
                    let has_won = world.history.iter().any(has);
                    assert!(!has_won, "writer {writer} has won: {:?}", self.trace);
                }
                _ => {}
            }
        }
    }

    /// Whether a request may as well be made at once. It touches what no other writer does: an object
    /// that its own writer names, or a shard that is deleted, which nobody writes again. Or it reads an
    /// earlier manifest for a purge, which never changes; the purge that finds none does less.
    fn is_private(&self, writer: usize, ask: &Ask) -> bool {
        match ask {
            Ask::Put(path, _) => path.contains("-append"),
            Ask::Get(path) => {
                let is_purge = writer + 1 >= self.writers.len();
                path.contains("-append") || (is_purge && path.starts_with("ds/generations/"))
            }
            Ask::Delete(path) => path.ends_with(".arrow"),
            _ => false,
        }
    }

    /// The world after the next request of a writer, if it has one.
    fn after(&mut self, world: &World, writer: usize) -> Option<World> {
        let asks = |explorer: &Self, world: &World| match explorer.at(world, writer) {
            At::Asks(ask) => Some(ask.clone()),
            At::Ended(_) => None,
        };
        let mut ask = asks(self, world)?;
        let mut next = world.clone();
        let purges = self.writers.len() - 1;
        loop {
            let answer = self.answer(&mut next, &ask);
            let state = &mut next.states[writer];
            *state = self.writers[writer.min(purges)].step(*state, &answer);
            match asks(self, &next) {
                Some(more) if self.is_private(writer, &more) => ask = more,
                _ => break,
            }
        }
        // Which purge is which makes no difference.
        next.states[purges..].sort_unstable();
        Some(next)
    }

    fn at(&self, world: &World, writer: usize) -> &At<End> {
        self.writers[writer.min(self.writers.len() - 1)].at(world.states[writer])
    }

    fn explore(&mut self, world: &World) {
        let mut hasher = DefaultHasher::new();
        world.hash(&mut hasher);
        if !self.seen.insert(hasher.finish()) {
            return;
        }
        self.check(world);
        let mut over = true;
        for writer in 0..world.states.len() {
            self.trace.push(writer);
            if let Some(next) = self.after(world, writer) {
                over = false;
                self.explore(&next);
            }
            self.trace.pop();
        }
        if over {
            let ends = (0..world.states.len()).map(|writer| match self.at(world, writer) {
                At::Ended(End::Changed(_)) => "changed ",
                At::Ended(End::Purged(true)) => "purged ",
                At::Ended(End::Purged(false)) => "nothing ",
                At::Ended(End::Overtaken) => "overtaken ",
                _ => "unneeded ",
            });
            self.ends.insert(ends.collect());
        }
    }
}

/// The ways in which the writers end, over all orders.
fn explore((appends, care): (usize, Care), drops: &[Split], purges: usize) -> HashSet<String> {
    let (_, objects) = first();
    let mut explorer = Explorer {
        writers: writers(appends, care, drops),
        appends,
        contents: Vec::new(),
        known: HashMap::new(),
        manifests: HashMap::new(),
        seen: HashSet::new(),
        trace: Vec::new(),
        ends: HashSet::new(),
    };
    let objects: BTreeMap<Arc<str>, usize> = objects
        .iter()
        .map(|(path, bytes)| (path.as_str().into(), explorer.content(bytes)))
        .collect();
    let world = World {
        history: vec![objects[MANIFEST]],
        objects,
        states: vec![0; appends + drops.len() + purges],
    };
    explorer.manifest(world.history[0]);
    explorer.explore(&world);
    explorer.ends
}

fn check_ends(ends: &HashSet<String>, expected: &[&str]) {
    for expected in expected {
        assert!(
            ends.contains(&format!("{expected} ")),
            "{expected}: {ends:?}"
        );
    }
}

#[test]
fn every_order_of_an_append_a_drop_and_two_purges() {
    let ends = explore((1, CAREFUL), &[Split::Valid], 2);
    check_ends(
        &ends,
        &[
            "changed changed nothing nothing",
            "changed changed purged nothing",
            "changed changed purged purged",
            "overtaken changed purged purged",
            "changed overtaken nothing nothing",
        ],
    );
}

#[test]
fn every_order_of_two_appends_two_drops_and_a_purge() {
    let drops = [Split::Train, Split::Valid];
    let ends = explore((2, CAREFUL), &drops, 1);
    check_ends(
        &ends,
        &[
            "changed changed changed changed purged",
            "changed changed changed changed nothing",
            "changed overtaken overtaken overtaken nothing",
            "overtaken overtaken changed changed purged",
            "overtaken changed changed overtaken purged",
        ],
    );
}

#[test]
#[cfg_attr(debug_assertions, ignore = "takes a minute without optimisation")]
fn every_order_of_two_appends_two_drops_and_two_purges() {
    let drops = [Split::Train, Split::Valid];
    let ends = explore((2, CAREFUL), &drops, 2);
    check_ends(
        &ends,
        &[
            "changed changed changed changed purged nothing",
            "changed changed changed changed purged purged",
        ],
    );
}

#[test]
#[should_panic(expected = "is gone after")]
fn a_shared_name_would_be_found() {
    let careless = Care {
        own_names: false,
        ..CAREFUL
    };
    explore((1, careless), &[Split::Valid], 1);
}

#[test]
#[should_panic(expected = "assertion `left == right` failed")]
fn a_manifest_that_is_written_over_would_be_found() {
    let careless = Care {
        compares: false,
        ..CAREFUL
    };
    explore((1, careless), &[Split::Valid], 0);
}
