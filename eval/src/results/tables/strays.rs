//! Finds and removes the files that killed evaluations leave in a results folder.
//!
//! Files that a living process may use are kept: on a disk it holds `unfinished/ID.lock`, in a bucket its
//! files are young. Files without the name of an evaluation belong to somebody else and are kept, too.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use object_store::ObjectMeta;
use wellspring_store::{Location, Reporter, begun_name, remove_left};

use super::Table;
use super::folder::records;
use crate::Result;

/// The end of the name of a file that an evaluation writes to see whether it may.
const TRIED: &str = ".try";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Time for which the saved progress of an interrupted evaluation is kept.
const WAITS: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// The file that an evaluation locks for as long as it lives, on a disk.
pub(crate) fn life(results: &Location, run: &str) -> Location {
    results.join("unfinished").join(&format!("{run}.lock"))
}

/// Removes what no evaluation has and none will come for; `reporter` hears of it. `held` are the evaluations that
/// were found, so that rows are read again only if something else is there.
///
/// # Errors
/// When the folder cannot be listed, or what is in it not removed.
pub(crate) async fn sweep(
    results: &Location,
    held: &[String],
    reporter: &dyn Reporter,
) -> Result<()> {
    let (data, states) = (lost_data(results, held).await?, lost_states(results).await?);
    for place in data
        .values()
        .chain(states.values())
        .flat_map(|it| &it.places)
    {
        place.delete().await?;
    }
    let (data, states, staged) = (data.len(), states.len(), staged(results));
    if data + states + staged > 0 {
        reporter.note(&format!(
            "removed what killed evaluations left: files of {data} without a row, \
             {states} states that nothing went on with, {staged} half-written files"
        ));
    }
    Ok(())
}

/// Files that belong together.
struct FileGroup {
    places: Vec<Location>,
    /// Age of the youngest.
    age: Duration,
}

/// Objects below a folder, by what `group` makes of their paths.
async fn left(
    folder: &Location,
    group: impl Fn(&str) -> Option<String>,
    into: &mut BTreeMap<String, FileGroup>,
) -> Result<()> {
    for object in folder.list_objects().await? {
        let place = folder.sibling(&object);
        let Some(name) = place.below(folder).and_then(|below| group(&below)) else {
            continue;
        };
        let left = into.entry(name).or_insert(FileGroup {
            places: Vec::new(),
            age: Duration::MAX,
        });
        left.age = left.age.min(age(&object));
        left.places.push(place);
    }
    Ok(())
}

/// A file with which an evaluation tried whether it may write. It goes even if its evaluation stays.
fn tried(name: &str) -> Option<String> {
    name.ends_with(TRIED).then(|| name.to_owned())
}

/// Those strays that no living process works on.
fn lifeless(
    results: &Location,
    left: BTreeMap<String, FileGroup>,
) -> Result<BTreeMap<String, FileGroup>> {
    let mut lost = BTreeMap::new();
    for (name, left) in left {
        let run = name.rsplit('/').next().unwrap_or_default();
        let run = run.strip_suffix(TRIED).unwrap_or(run);
        if !lives(results, run, left.age)? {
            lost.insert(name, left);
        }
    }
    Ok(lost)
}

/// Files by evaluation, of those whose row was never written or that another took the place of.
async fn lost_data(results: &Location, held: &[String]) -> Result<BTreeMap<String, FileGroup>> {
    let mut data = BTreeMap::new();
    for folder in Table::OF_DATA
        .map(Table::name)
        .into_iter()
        .chain(["frames"])
    {
        let run = |name: &str| name.rsplit_once('.').map(|(run, _)| run.to_owned());
        let run = |name: &str| run(name).filter(|run| is_run(run));
        let run = |name: &str| tried(name).or_else(|| run(name));
        left(&results.join(folder), run, &mut data).await?;
    }
    left(&results.join(Table::Runs.name()), tried, &mut data).await?;
    for run in held {
        data.remove(run);
    }
    let mut lost = lifeless(results, data)?;
    if lost.is_empty() {
        return Ok(lost);
    }
    // Rows are read last: what ended since has its own by now.
    let (rows, damage) = records(results).await?;
    // Which files a damaged row has is not known.
    if !damage.is_empty() {
        return Ok(BTreeMap::new());
    }
    for (row, _) in rows {
        lost.remove(&row.run);
    }
    Ok(lost)
}

/// Files of states by folder, of those that have waited too long.
async fn lost_states(results: &Location) -> Result<BTreeMap<String, FileGroup>> {
    let mut states = BTreeMap::new();
    let folder = |name: &str| Some(name.rsplit_once('/')?.0.to_owned());
    left(&results.join("unfinished"), folder, &mut states).await?;
    states.retain(|_, left| left.age > WAITS);
    lifeless(results, states)
}

/// Whether a process may still work on an evaluation whose youngest file has this age.
fn lives(results: &Location, run: &str, age: Duration) -> Result<bool> {
    Ok(match results.local_path() {
        Some(_) => life(results, run).is_held()?,
        None => age < DAY,
    })
}

/// Whether a name ends as those of evaluations do.
fn is_run(name: &str) -> bool {
    let unique = name.rsplit_once('-');
    unique.is_some_and(|(_, unique)| {
        unique.len() == 16 && unique.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

fn age(object: &ObjectMeta) -> Duration {
    let age = SystemTime::now().duration_since(object.last_modified.into());
    // A clock that is behind makes it new.
    age.unwrap_or_default()
}

/// Removes the `NAME#1` and the locks of killed writers on a disk; gives their number. Those that cannot be
/// removed do no harm.
fn staged(results: &Location) -> usize {
    let Some(root) = results.local_path() else {
        return 0;
    };
    let folders = Table::ALL.map(Table::name).into_iter();
    let folders = folders.chain(["frames", "unfinished"]);
    let entries = folders.flat_map(|folder| std::fs::read_dir(root.join(folder)));
    let paths = entries.flatten().flatten().map(|entry| entry.path());
    let begun = paths.filter(|path| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.ends_with(".lock") || begun_name(name).is_some())
    });
    begun
        .filter(|path| remove_left(path).is_ok_and(|removed| removed))
        .count()
}
