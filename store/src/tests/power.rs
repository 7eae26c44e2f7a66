//! Power cuts: the log of disk operations is replayed up to every step, and what was not synced until then is
//! lost. A data set whose writer had returned is whole.
#![expect(
    clippy::disallowed_methods,
    reason = "what was written to a file is read for the log"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::*;
use crate::location::Operation;
use crate::{Manifest, Silent};

/// An operation with what it needs to be done again.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    Create(PathBuf),
    Write(PathBuf, Vec<u8>),
    Sync(PathBuf),
    Link(PathBuf, PathBuf),
    Rename(PathBuf, PathBuf),
    SyncFolder(PathBuf),
    Remove(PathBuf),
    MakeFolder(PathBuf),
    /// From here on the data set must have at least this generation.
    Done(u64),
}

/// The logs that are kept, each of what happens below a folder.
static LOGS: Mutex<Vec<(PathBuf, Vec<Step>)>> = Mutex::new(Vec::new());

/// Keeps an operation in the log of its folder.
pub(crate) fn note(operation: Operation<'_>) {
    use Operation as O;
    let (O::Create(path)
    | O::Write(path)
    | O::Sync(path)
    | O::Link(path, _)
    | O::Rename(path, _)
    | O::SyncFolder(path)
    | O::Remove(path)
    | O::MakeFolder(path)) = operation;
    push(path, || match operation {
        O::Create(path) => Step::Create(path.into()),
        O::Write(path) => Step::Write(path.into(), std::fs::read(path).unwrap()),
        O::Sync(path) => Step::Sync(path.into()),
        O::Link(from, to) => Step::Link(from.into(), to.into()),
        O::Rename(from, to) => Step::Rename(from.into(), to.into()),
        O::SyncFolder(path) => Step::SyncFolder(path.into()),
        O::Remove(path) => Step::Remove(path.into()),
        O::MakeFolder(path) => Step::MakeFolder(path.into()),
    });
}

fn push(path: &Path, step: impl FnOnce() -> Step) {
    let mut logs = LOGS.lock().unwrap_or_else(PoisonError::into_inner);
    let log = logs.iter_mut().find(|(folder, _)| path.starts_with(folder));
    if let Some((_, log)) = log {
        log.push(step());
    }
}

/// A file: what it has, and what it had when it was last synced.
#[derive(Debug, Clone, Default)]
struct File {
    now: Vec<u8>,
    synced: Option<Vec<u8>>,
}

/// What one name is: a file by its number, or a folder.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Entry {
    File(usize),
    Folder,
}

/// A change of one name that is not synced yet.
type Change = (PathBuf, Option<Entry>);

/// A disk as programs see it, and as it is without power.
#[derive(Debug, Clone, Default)]
struct Disk {
    files: Vec<File>,
    names: BTreeMap<PathBuf, Entry>,
    /// Names that outlive a power cut.
    synced: BTreeMap<PathBuf, Entry>,
    /// What was done to names since their folders were synced, in order; a renaming is one step.
    pending: Vec<Vec<Change>>,
}

/// How much of what is not synced a power cut leaves.
#[derive(Debug, Clone, Copy)]
enum Left {
    Nothing,
    Half,
    All,
}

impl Disk {
    fn file(&mut self, path: &Path) -> &mut File {
        match self.names.get(path) {
            Some(Entry::File(number)) => &mut self.files[*number],
            // Another program's, such as the HDF5 library's.
            _ => {
                self.change(vec![(path.into(), Some(Entry::File(self.files.len())))]);
                self.files.push(File::default());
                self.files.last_mut().unwrap()
            }
        }
    }

    fn change(&mut self, changes: Vec<Change>) {
        for (path, entry) in &changes {
            match entry {
                Some(entry) => self.names.insert(path.clone(), *entry),
                None => self.names.remove(path),
            };
        }
        self.pending.push(changes);
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Create(path) => drop(self.file(path)),
            Step::Write(path, bytes) => self.file(path).now.clone_from(bytes),
            Step::Sync(path) => {
                let file = self.file(path);
                file.synced = Some(file.now.clone());
            }
            Step::Link(from, to) => self.change(vec![(to.clone(), Some(self.names[from]))]),
            Step::Rename(from, to) => {
                let entry = self.names[from];
                self.change(vec![(to.clone(), Some(entry)), (from.clone(), None)]);
            }
            Step::Remove(path) => self.change(vec![(path.clone(), None)]),
            Step::MakeFolder(path) => {
                if self.names.get(path) != Some(&Entry::Folder) {
                    self.change(vec![(path.clone(), Some(Entry::Folder))]);
                }
            }
            Step::SyncFolder(folder) => {
                let pending = std::mem::take(&mut self.pending);
                for changes in pending {
                    match changes
                        .iter()
                        .all(|(path, _)| path.parent() == Some(folder))
                    {
                        true => settle(&mut self.synced, &changes),
                        false => self.pending.push(changes),
                    }
                }
            }
            Step::Done(_) => {}
        }
    }

    /// What there may be after a power cut: the disk decides which names it had written, and how much of
    /// each file.
    fn cuts(&self) -> Vec<BTreeMap<PathBuf, Vec<u8>>> {
        let count = self.pending.len();
        let mut choices: BTreeSet<Vec<usize>> = BTreeSet::from([vec![], (0..count).collect()]);
        for one in 0..count {
            choices.insert(vec![one]);
            choices.insert((0..count).filter(|other| *other != one).collect());
            choices.insert((0..one).collect());
        }
        let mut cuts = Vec::new();
        for kept in choices {
            let mut names = self.synced.clone();
            for number in kept {
                settle(&mut names, &self.pending[number]);
            }
            for left in [Left::Nothing, Left::Half, Left::All] {
                cuts.push(self.contents(&names, left));
            }
        }
        cuts
    }

    fn contents(&self, names: &BTreeMap<PathBuf, Entry>, left: Left) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut contents = BTreeMap::new();
        for (path, entry) in names {
            let Entry::File(number) = entry else {
                continue;
            };
            // Folders that the log made; others were there before it.
            let made = |folder: &&Path| self.names.get(*folder) == Some(&Entry::Folder);
            let is_lost = |folder: &Path| !names.contains_key(folder);
            if path.ancestors().skip(1).filter(made).any(is_lost) {
                continue;
            }
            let file = &self.files[*number];
            let bytes = match (&file.synced, left) {
                (Some(synced), _) if *synced == file.now => synced.clone(),
                (_, Left::All) => file.now.clone(),
                (_, Left::Half) => file.now[..file.now.len() / 2].to_vec(),
                (_, Left::Nothing) => Vec::new(),
            };
            contents.insert(path.clone(), bytes);
        }
        contents
    }
}

fn settle(names: &mut BTreeMap<PathBuf, Entry>, changes: &[Change]) {
    for (path, entry) in changes {
        match entry {
            Some(entry) => names.insert(path.clone(), *entry),
            None => names.remove(path),
        };
    }
}

/// Why what is left after a power cut is not a data set of at least a generation.
async fn is_sound(
    root: &Path,
    left: &BTreeMap<PathBuf, Vec<u8>>,
    done: Option<u64>,
) -> std::result::Result<(), String> {
    let place = Location::parse("memory:///left").unwrap();
    // As a folder is listed: what a killed writer left beside a name is not shown.
    let shown = |path: &Path| !path.to_string_lossy().contains('#');
    for (path, bytes) in left.iter().filter(|(path, _)| shown(path)) {
        let below = path.strip_prefix(root).unwrap().to_str().unwrap();
        place.join(below).put(bytes.clone()).await.unwrap();
    }
    let found = crate::verify(&place, &Silent).await;
    match (found, done) {
        (Err(Error::NotADataset { .. }), None) => Ok(()),
        (Err(error), _) => Err(crate::with_causes(&error)),
        (Ok((_, flaws)), _) if !flaws.is_empty() => Err(format!("{flaws:?}")),
        (Ok((manifest, _)), Some(done)) if manifest.generation < done => {
            Err(format!("generation {} after {done}", manifest.generation))
        }
        _ => Ok(()),
    }
}

/// Replays a log up to every step; the first power cut that does harm.
async fn first_harm(root: &Path, log: &[Step]) -> Option<String> {
    let (mut disk, mut done, mut seen) = (Disk::default(), None, 0);
    for (number, step) in log.iter().enumerate() {
        disk.run(step);
        if let Step::Done(generation) = step {
            done = Some(*generation);
        }
        for left in disk.cuts() {
            seen += 1;
            if let Err(harm) = is_sound(root, &left, done).await {
                return Some(format!("after step {number}, {step:?}: {harm}"));
            }
        }
    }
    assert!(seen > 300, "{seen} power cuts are few");
    None
}

/// Writes a data set of two splits, changes it, drops a split and purges.
async fn history(root: &Path) -> Vec<Step> {
    let place = Location::parse(root.to_str().unwrap()).unwrap();
    let above = root.parent().unwrap();
    LOGS.lock().unwrap().push((above.into(), Vec::new()));
    let done = |generation| push(root, || Step::Done(generation));

    let first = sample::write(&place, &[3, 4], sample::options(&[3, 4]));
    let first: Manifest = first.await.unwrap();
    done(0);
    let mut second = first.clone();
    second.generation = 1;
    let head = crate::Head::load(&place).await.unwrap();
    let change = crate::Change::extend(&place, head, "more", false).await;
    let change = change.unwrap().unwrap();
    let own = change.name("valid/00000", "arrow");
    let shard = &first.splits[&Split::Train].shards[0];
    let bytes = place.join(&shard.path).get().await.unwrap();
    place.join(&own).put(bytes.clone()).await.unwrap();
    let mut valid = first.splits[&Split::Train].clone();
    valid.trajectories.truncate(1);
    valid.trajectories[0].frames = shard.rows;
    valid.shards = vec![crate::Shard::of(own, shard.rows, &bytes)];
    valid.constants = None;
    second.splits.insert(Split::Valid, valid);
    change.publish(&second).await.unwrap();
    done(1);
    change.finish().await.unwrap();
    crate::drop_split(&place, Split::Valid).await.unwrap();
    done(2);
    assert!(!crate::purge(&place).await.unwrap().is_empty());
    done(2);

    let mut logs = LOGS.lock().unwrap();
    let mine = logs.iter().position(|(folder, _)| folder == above).unwrap();
    logs.remove(mine).1
}

#[tokio::test]
async fn a_power_cut_takes_nothing_that_was_said_to_be_done() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("ds");
    let log = history(&root).await;
    // What the log must have for this to say anything.
    type Kind = fn(&Step) -> bool;
    let kinds: [Kind; 6] = [
        |step| matches!(step, Step::Create(_)),
        |step| matches!(step, Step::Rename(..)),
        |step| matches!(step, Step::Link(..)),
        |step| matches!(step, Step::Remove(_)),
        |step| matches!(step, Step::Sync(_)),
        |step| matches!(step, Step::SyncFolder(_)),
    ];
    for (number, kind) in kinds.iter().enumerate() {
        assert!(log.iter().any(kind), "kind {number}");
    }
    assert_eq!(first_harm(&root, &log).await, None);
}

/// The test above can fail: a log that lacks any one kind of syncing does harm.
#[tokio::test]
async fn a_power_cut_does_harm_where_nothing_is_synced() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("ds");
    let log = history(&root).await;
    // One folder's alone: that of the shards.
    let train = root.join("train");
    type Kind = Box<dyn Fn(&Step) -> bool>;
    let left_out: [Kind; 3] = [
        Box::new(|step| matches!(step, Step::Sync(_))),
        Box::new(|step| matches!(step, Step::SyncFolder(_))),
        Box::new(move |step| *step == Step::SyncFolder(train.clone())),
    ];
    for left_out in left_out {
        let log = log.iter().filter(|step| !left_out(step));
        let log: Vec<Step> = log.cloned().collect();
        assert!(first_harm(&root, &log).await.is_some());
    }
}
