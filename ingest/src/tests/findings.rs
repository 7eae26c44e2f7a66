//! Broken simulations are refused and odd ones reported; files and trajectories are left out on request.

use std::path::Path;

use hdf5::File;
use hdf5::types::VarLenUnicode;
use ndarray::{Array2, ArrayD, IxDyn};
use tempfile::TempDir;
use wellspring_store::{
    Dataset, Location, Manifest, NotFinite, Notes, Selection, Silent, Split, TensorOrder, verify,
};

use super::pieces::{self, objects};
use super::{convert, edit, place};
use crate::convert::append;
use crate::convert::repair;
use crate::{
    Error, Finding, FindingKind, IngestOptions, Packing, Part, Severity, Stage, WaveField, Waves,
    check, check_dataset, finish, ingest, ingest_part, promise,
};

mod files;
mod values;

const FRAMES: usize = 9;

/// One note, which has some words.
fn is_told_once(notes: &Notes, words: &str) {
    let notes = notes.take();
    assert!(notes.len() == 1 && notes[0].contains(words), "{notes:?}");
}

/// Waves of a scalar and a vector.
fn waves() -> Waves {
    let fields = vec![
        WaveField::new("pressure", TensorOrder::Scalar),
        WaveField::new("velocity", TensorOrder::Vector),
    ];
    Waves {
        fields,
        frames: FRAMES,
        ..pieces::waves(Packing::Chunked)
    }
}

/// Two files for training and one for testing, of two trajectories each.
fn sources() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (seed, name) in ["train/a", "train/b", "test/c"].into_iter().enumerate() {
        let path = folder.path().join(format!("data/{name}.hdf5"));
        waves().write(&path, 100 * seed as u64).unwrap();
    }
    folder
}

fn file(folder: &TempDir, name: &str) -> std::path::PathBuf {
    folder.path().join(format!("data/{name}.hdf5"))
}

/// Makes every frame of the pressure in a trajectory, from a step on, what a map makes of a cell.
fn change(
    path: &Path,
    sample: usize,
    steps: std::ops::Range<usize>,
    map: impl Fn(usize, f32) -> f32,
) {
    edit(path, |file: &File| {
        let pressure = file.dataset("t0_fields/pressure").unwrap();
        for step in steps.clone() {
            let frame: Array2<f32> = pressure.read_slice((sample, step, .., ..)).unwrap();
            let values = frame
                .iter()
                .enumerate()
                .map(|(cell, &value)| map(cell, value));
            let frame = ArrayD::from_shape_vec(IxDyn(&[8, 12]), values.collect()).unwrap();
            pressure
                .write_slice(&frame, (sample, step, .., ..))
                .unwrap();
        }
    });
}

/// Puts a frame in the place of those after it.
fn stop(path: &Path, sample: usize, last: usize) {
    edit(path, |file: &File| {
        let pressure = file.dataset("t0_fields/pressure").unwrap();
        let frame: Array2<f32> = pressure.read_slice((sample, last, .., ..)).unwrap();
        for step in last + 1..FRAMES {
            pressure
                .write_slice(&frame, (sample, step, .., ..))
                .unwrap();
        }
    });
}

fn put_times(path: &Path, times: &[f32]) {
    edit(path, |file: &File| {
        let time = file.dataset("dimensions/time").unwrap();
        time.write_raw(times).unwrap();
    });
}

fn options(selection: Selection) -> IngestOptions {
    IngestOptions {
        selection,
        shard_bytes: 4 * 4 * 96 * 3,
        ..IngestOptions::default()
    }
}

fn allowing(kind: &str) -> Selection {
    Selection {
        allow: vec![kind.into()],
        ..Selection::default()
    }
}

async fn refused(folder: &TempDir, selection: Selection) -> Error {
    convert(folder.path(), &options(selection))
        .await
        .unwrap_err()
}

async fn finding(folder: &TempDir) -> Finding {
    match refused(folder, Selection::default()).await {
        Error::Refused { finding } => *finding,
        other => panic!("{other}"),
    }
}

async fn checked(folder: &TempDir, selection: Selection) -> Vec<Finding> {
    check(&place(folder.path()), &selection, 3, &Silent)
        .await
        .unwrap()
}

fn kinds(findings: &[Finding]) -> Vec<FindingKind> {
    findings.iter().map(|finding| finding.kind).collect()
}

#[tokio::test]
async fn a_sound_source_has_no_findings() {
    let folder = sources();
    assert_eq!(checked(&folder, Selection::default()).await, []);
    let notes = Notes::default();
    let root = Location::parse("memory:///ds").unwrap();
    let options = options(Selection::default());
    ingest(&place(folder.path()), &root, &options, &notes)
        .await
        .unwrap();
    assert_eq!(notes.take(), Vec::<String>::new());
    let dataset = Dataset::open(&root).await.unwrap();
    assert_eq!(check_dataset(&dataset, &Silent).await.unwrap(), []);
}

/// Three oddities, and what is said of them.
fn odd() -> (TempDir, Vec<String>) {
    let folder = sources();
    stop(&file(&folder, "train/a"), 1, 4);
    change(&file(&folder, "train/b"), 0, 6..FRAMES, |_, _| 0.0);
    change(&file(&folder, "test/c"), 0, 3..4, |cell, value| {
        if cell == 5 { 1e7 } else { value }
    });
    let said = [
        "zero: data/train/b.hdf5: pressure: the last 3 frames of trajectory 0 are zero",
        "still: data/train/a.hdf5: pressure: trajectory 1 stands still from step 4 on",
        "outlier: data/test/c.hdf5: pressure: trajectory 0 has the value 1e7 at step 3, a million times or \
         more the rest of the frame",
    ];
    (folder, said.map(String::from).to_vec())
}

#[tokio::test]
async fn what_may_be_broken_is_told_however_the_work_is_cut() {
    let (folder, said) = odd();
    let source = place(folder.path());
    let notes = Notes::default();
    for shard_frames in [1, 2, 4, 9, 40] {
        let options = IngestOptions {
            shard_bytes: shard_frames * 4 * 96 * 3,
            threads: 3,
            ..IngestOptions::default()
        };
        let root = Location::parse("memory:///ds").unwrap();
        ingest(&source, &root, &options, &notes).await.unwrap();
        assert_eq!(notes.take(), said, "{shard_frames}");
        let parted = Location::parse("memory:///parts").unwrap();
        for stage in [Stage::Statistics, Stage::Shards] {
            for part in ["2/3", "0/3", "1/3"] {
                let part: Part = part.parse().unwrap();
                let work = ingest_part(&source, &parted, &options, part, stage, &notes);
                work.await.unwrap();
            }
        }
        assert_eq!(notes.take(), Vec::<String>::new());
        finish(&source, &parted, &options, &notes).await.unwrap();
        assert_eq!(notes.take(), said, "{shard_frames}");
        assert_eq!(objects(&parted).await, objects(&root).await);
    }
}

#[tokio::test]
async fn a_check_gives_all_that_is_told_and_refused() {
    let (folder, _) = odd();
    let told = [FindingKind::Still, FindingKind::Zero, FindingKind::Outlier];
    let findings = checked(&folder, Selection::default()).await;
    assert_eq!(kinds(&findings), told);
    assert_eq!(findings[2].value, Some(1e7));
    let (root, _) = convert(folder.path(), &options(Selection::default()))
        .await
        .unwrap();
    let dataset = Dataset::open(&root).await.unwrap();
    let of_dataset = check_dataset(&dataset, &Silent).await.unwrap();
    assert_eq!(kinds(&of_dataset), told);
    assert_eq!(
        (of_dataset[1].file.as_str(), of_dataset[1].trajectory),
        ("train", Some(2))
    );

    // Whatever is refused, the rest is looked at.
    put_times(&file(&folder, "train/a"), &[0.0; FRAMES]);
    change(&file(&folder, "train/a"), 0, 1..3, |cell, value| {
        if cell < 2 { f32::NAN } else { value }
    });
    std::fs::write(file(&folder, "train/empty"), "").unwrap();
    std::fs::create_dir(folder.path().join("data/valid")).unwrap();
    std::fs::write(file(&folder, "valid/cut"), "no HDF5").unwrap();
    let findings = checked(&folder, Selection::default()).await;
    use FindingKind::{NotFinite as Nan, Outlier, Still, Time, Unreadable, Zero};
    assert_eq!(
        kinds(&findings),
        [Unreadable, Unreadable, Time, Nan, Still, Zero, Outlier]
    );
    assert!(
        findings[0]
            .to_string()
            .contains("train/empty.hdf5 is empty"),
        "{}",
        findings[0]
    );
    assert!(
        findings[1].to_string().contains("valid/cut.hdf5"),
        "{}",
        findings[1]
    );
    let refused = findings
        .iter()
        .filter(|found| found.severity == Severity::Refused);
    assert_eq!(refused.count(), 4);
    let nan = &findings[3];
    assert_eq!((nan.trajectory, nan.step), (Some(0), Some(1)));
    assert!(nan.message.contains("4 values"), "{}", nan.message);
    // What is let through, or left out, is refused no longer.
    let selection = Selection {
        allow: vec!["time".into()],
        nan: NotFinite::Zero,
        exclude: vec!["empty.*".into(), "data/valid".into()],
        ..Selection::default()
    };
    let findings = checked(&folder, selection.clone()).await;
    assert_eq!(kinds(&findings), [Time, Nan, Still, Zero, Outlier]);
    assert!(
        findings
            .iter()
            .all(|found| found.severity == Severity::Told)
    );
    convert(folder.path(), &options(selection)).await.unwrap();
}

#[tokio::test]
async fn only_what_may_be_allowed_is() {
    let folder = sources();
    for kind in ["nonsense", "still", "not-finite", "unreadable"] {
        let error = refused(&folder, allowing(kind)).await;
        assert!(matches!(error, Error::Selection { .. }), "{kind}: {error}");
        let error = check(&place(folder.path()), &allowing(kind), 1, &Silent).await;
        assert!(matches!(error, Err(Error::Selection { .. })), "{kind}");
    }
    let wrong = Selection {
        exclude_trajectories: vec!["a.hdf5".into()],
        ..Selection::default()
    };
    let error = refused(&folder, wrong).await;
    assert!(matches!(error, Error::Selection { .. }), "{error}");
}
