//! [`Training`]: a run as its folder shows it, and [`trainings()`], which finds them.

use std::collections::BTreeMap;
use std::fs::{OpenOptions, TryLockError};
use std::time::{Duration, SystemTime};

use futures::{StreamExt as _, TryStreamExt as _};
use object_store::ObjectMeta;
use wellspring_store::{Location, Reporter, Silent, with_causes};

use crate::{LogRow, Result, Segment, is_segment, old};

/// Objects that are read at once.
const READS: usize = 64;

/// A run that can hold no lock is taken for running if its last segment is not older: a living process writes one every
/// ten minutes at least.
const RECENT: Duration = Duration::from_secs(15 * 60);

/// A run with its configuration and its log, as they were when it was looked for.
#[derive(Debug, Clone)]
pub struct Training {
    /// Path of its folder below the place where it was found; of that place itself, its last part.
    pub name: String,
    /// The run.
    pub location: Location,
    /// Keys of `config.toml` with their values: `optim.lr` is `0.001`. Texts are without quotes.
    pub config: BTreeMap<String, String>,
    /// Its segments, in their order.
    pub segments: Vec<Segment>,
    /// Whether it has a `log.jsonl`.
    pub has_old_log: bool,
    /// Whether a process trains it: on a disk the file `lock` is locked, elsewhere the last segment is recent.
    pub is_running: bool,
}

/// What lies in the folder of a run.
#[derive(Debug, Default)]
struct RunFolder {
    has_config: bool,
    has_old_log: bool,
    /// Has something that only training writes.
    is_run: bool,
    segments: Vec<ObjectMeta>,
}

/// All runs in a folder or below it, in the order of their names. `reporter` hears of configurations that cannot
/// be read; those are empty.
///
/// # Errors
/// What listing may give.
pub async fn trainings(
    root: &Location,
    reporter: &dyn Reporter,
) -> wellspring_store::Result<Vec<Training>> {
    let mut folders = folders(root).await?;
    folders.retain(|_, folder| folder.has_config && folder.is_run);
    let opened = folders.into_iter().map(|(path, folder)| {
        let location = match path.as_str() {
            "" => root.clone(),
            path => root.join(path),
        };
        let name = match path.as_str() {
            "" => root.name().unwrap_or_default().to_owned(),
            _ => path,
        };
        folder.opened(name, location, reporter)
    });
    Ok(futures::stream::iter(opened)
        .buffered(READS)
        .collect()
        .await)
}

/// The folders below a place that may be runs, by their paths.
async fn folders(root: &Location) -> wellspring_store::Result<BTreeMap<String, RunFolder>> {
    let mut folders = BTreeMap::new();
    for object in root.list_objects().await? {
        if let Some(path) = root.sibling(&object).below(root) {
            sort(&path, object, &mut folders);
        }
    }
    Ok(folders)
}

/// Puts an object into the folder of its run, if it may be a run's.
fn sort(path: &str, object: ObjectMeta, folders: &mut BTreeMap<String, RunFolder>) {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let (above, last) = folder.rsplit_once('/').unwrap_or(("", folder));
    let run = match (last, name) {
        (_, "config.toml" | old::NAME | "lock") => folder,
        ("log", name) if is_segment(name) => above,
        (_, "state.json") if above == "checkpoints" => "",
        (_, "state.json") => match above.strip_suffix("/checkpoints") {
            Some(run) => run,
            None => return,
        },
        _ => return,
    };
    let run = folders.entry(run.to_owned()).or_default();
    match name {
        "config.toml" => run.has_config = true,
        _ => run.is_run = true,
    }
    match name {
        old::NAME => run.has_old_log = true,
        name if is_segment(name) => run.segments.push(object),
        _ => {}
    }
}

impl RunFolder {
    async fn opened(self, name: String, location: Location, reporter: &dyn Reporter) -> Training {
        let segments = Segment::all(self.segments);
        let config = config(&location).await.unwrap_or_else(|reason| {
            let place = location.join("config.toml");
            reporter.note(&format!("warning: {place} cannot be read: {reason}"));
            BTreeMap::new()
        });
        Training {
            name,
            is_running: is_running(&location, segments.last()),
            location,
            config,
            segments,
            has_old_log: self.has_old_log,
        }
    }
}

impl Training {
    /// The run in a folder, whatever it holds.
    ///
    /// # Errors
    /// What listing may give.
    pub async fn open(run: &Location) -> wellspring_store::Result<Self> {
        let folder = folders(run).await?.remove("").unwrap_or_default();
        let name = run.name().unwrap_or_default().to_owned();
        Ok(folder.opened(name, run.clone(), &Silent).await)
    }

    /// Rows of `log.jsonl` that count, and the number of lines that cannot be read.
    ///
    /// # Errors
    /// What reading may give.
    pub async fn old_rows(&self) -> wellspring_store::Result<(Vec<LogRow>, usize)> {
        if !self.has_old_log {
            return Ok((Vec::new(), 0));
        }
        let (mut rows, damaged) = old::rows(&self.location.join(old::NAME)).await?;
        let until = self.segments.iter().map(|segment| segment.after).min();
        rows.retain(|row| until.is_none_or(|until| row.step <= until));
        Ok((rows, damaged))
    }

    /// All rows that count, in their order. For one run: SQL reads many.
    ///
    /// # Errors
    /// [`crate::Error::Damaged`], and what reading may give.
    pub async fn rows(&self) -> Result<Vec<LogRow>> {
        let (mut rows, _) = self.old_rows().await?;
        let segments = self.segments.iter().map(|it| it.rows(&self.location));
        let read: Vec<Vec<LogRow>> = futures::stream::iter(segments)
            .buffered(READS)
            .try_collect()
            .await?;
        rows.extend(read.into_iter().flatten());
        Ok(rows)
    }
}

/// Whether a process trains a run.
fn is_running(run: &Location, last: Option<&Segment>) -> bool {
    let is_recent = || {
        let written = last.map(|segment| SystemTime::from(segment.object.last_modified));
        // A clock that is behind makes it new.
        written.is_some_and(|at| at.elapsed().unwrap_or_default() < RECENT)
    };
    let Some(path) = run.join("lock").local_path() else {
        return is_recent();
    };
    let Ok(file) = OpenOptions::new().read(true).open(path) else {
        return false;
    };
    match file.try_lock_shared() {
        Ok(()) => false,
        Err(TryLockError::WouldBlock) => true,
        // The file system has no locks.
        Err(TryLockError::Error(_)) => is_recent(),
    }
}

/// The keys of a run's configuration; the error says why they cannot be read.
async fn config(run: &Location) -> Result<BTreeMap<String, String>, String> {
    let place = run.join("config.toml");
    let bytes = place.get_opt().await.map_err(|error| with_causes(&error))?;
    let text = String::from_utf8(bytes.unwrap_or_default().to_vec());
    let text = text.map_err(|error| error.to_string())?;
    let table: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| error.to_string())?;
    let mut keys = BTreeMap::new();
    flatten("", table, &mut keys);
    Ok(keys)
}

fn flatten(above: &str, table: toml::Table, keys: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        let key = match above {
            "" => key,
            above => format!("{above}.{key}"),
        };
        match value {
            toml::Value::Table(below) => flatten(&key, below, keys),
            toml::Value::String(text) => drop(keys.insert(key, text)),
            value => drop(keys.insert(key, value.to_string())),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use wellspring_store::Notes;

    use super::*;
    use crate::{Event, LogWriter};

    async fn put(root: &Location, path: &str, text: &str) {
        root.join(path).put(text.to_owned()).await.unwrap();
    }

    #[tokio::test]
    async fn runs_are_found_at_any_depth_and_nothing_else_is() {
        let root = Location::parse("memory:///runs").unwrap();
        let config = "[optim]\nlr = 0.001\n[data]\nroot = \"ds\"\n[model]\npatches = [4, 8]\n";
        for run in ["a", "sweep/b"] {
            put(&root, &format!("{run}/config.toml"), config).await;
            let mut log = LogWriter::new(&root.join(run), 0);
            log.push(Event::Done { step: 3 });
            log.write().await.unwrap();
        }
        put(&root, "old/config.toml", "{").await;
        put(&root, "old/log.jsonl", "{\"event\":\"done\",\"step\":4}\n").await;
        put(&root, "imported/config.toml", "").await;
        put(&root, "imported/checkpoints/00000000/state.json", "{}").await;
        put(&root, "settings/config.toml", "").await;
        put(&root, "no/log/00001-00000000-00000003.parquet", "").await;

        let notes = Notes::default();
        let found = trainings(&root, &notes).await.unwrap();
        let names: Vec<&str> = found.iter().map(|run| run.name.as_str()).collect();
        assert_eq!(names, ["a", "imported", "old", "sweep/b"]);
        let told = notes.take();
        assert!(
            told.len() == 1 && told[0].contains("old/config.toml"),
            "{told:?}"
        );
        let b = &found[3];
        let value = |key: &str| b.config[key].as_str();
        let values = ["optim.lr", "data.root", "model.patches"].map(value);
        assert_eq!(values, ["0.001", "ds", "[4, 8]"]);
        assert!(b.is_running && !found[1].is_running);
        assert_eq!(b.rows().await.unwrap()[0].event, "done");
        assert_eq!(found[2].rows().await.unwrap()[0].step, 4);

        let one = trainings(&root.join("sweep/b"), &notes).await.unwrap();
        assert_eq!((one.len(), one[0].name.as_str()), (1, "b"));
        assert_eq!(one[0].segments.len(), 1);
    }

    #[tokio::test]
    async fn a_run_on_a_disk_runs_while_its_lock_is_held() {
        let folder = tempfile::tempdir().unwrap();
        let run = Location::parse(folder.path().to_str().unwrap()).unwrap();
        assert!(!Training::open(&run).await.unwrap().is_running);
        put(&run, "lock", "").await;
        assert!(!Training::open(&run).await.unwrap().is_running);
        let lock = OpenOptions::new()
            .write(true)
            .open(folder.path().join("lock"))
            .unwrap();
        lock.lock().unwrap();
        assert!(Training::open(&run).await.unwrap().is_running);
    }
}
