//! Broken simulations are refused, odd ones told; files and trajectories are left out as asked for.

use std::path::Path;

use hdf5::File;
use hdf5::types::VarLenUnicode;
use ndarray::{Array2, ArrayD, IxDyn};
use tempfile::TempDir;
use wellspring_store::{
    Boundary, Dataset, Location, Manifest, NotFinite, Notes, Selection, Silent, Split, TensorOrder,
    verify,
};

use super::pieces::objects;
use super::{convert, edit, place};
use crate::{
    Error, Finding, FindingKind, IngestOptions, Packing, Part, Severity, Stage, WaveField, Waves,
    append, check, check_dataset, finish, ingest, ingest_part, promise, repair,
};

const FRAMES: usize = 9;

/// One note, which has some words.
fn is_told_once(notes: &Notes, words: &str) {
    let notes = notes.take();
    assert!(notes.len() == 1 && notes[0].contains(words), "{notes:?}");
}

fn waves() -> Waves {
    Waves {
        name: "waves".into(),
        axes: vec![
            ("x".into(), 8, [Boundary::Periodic; 2]),
            ("y".into(), 12, [Boundary::Wall, Boundary::Open]),
        ],
        fields: vec![
            WaveField::new("pressure", TensorOrder::Scalar),
            WaveField::new("velocity", TensorOrder::Vector),
        ],
        parameters: [("Reynolds".to_owned(), 1e4)].into(),
        trajectories: 2,
        frames: FRAMES,
        packing: Packing::Chunked,
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

#[tokio::test]
async fn time_that_goes_back_is_refused_unless_it_is_let_through() {
    let folder = sources();
    put_times(
        &file(&folder, "test/c"),
        &[0., 1., 2., 3., 4., 0., 1., 2., 3.],
    );
    let found = finding(&folder).await;
    assert_eq!((found.kind, found.step), (FindingKind::Time, Some(5)));
    assert_eq!(found.file, "data/test/c.hdf5");
    let text = refused(&folder, Selection::default()).await.to_string();
    assert!(
        text.contains("step 5") && text.contains("--allow time"),
        "{text}"
    );
    convert(folder.path(), &options(allowing("time")))
        .await
        .unwrap();
    // Only the frames that are taken count.
    let every = |time_stride| Selection {
        time_stride,
        ..Selection::default()
    };
    convert(folder.path(), &options(every(4)))
        .await
        .unwrap_err();
    convert(folder.path(), &options(every(8))).await.unwrap();
}

#[tokio::test]
async fn values_that_stand_for_missing_ones_are_refused_wherever_they_are() {
    for (name, trajectory) in [("train/b", 1), ("test/c", 0)] {
        let folder = sources();
        change(
            &file(&folder, name),
            trajectory,
            6..FRAMES,
            |cell, value| match cell {
                50 => 9.96921e36,
                _ => value,
            },
        );
        let found = finding(&folder).await;
        let named = (
            found.kind,
            found.field.as_deref(),
            found.trajectory,
            found.step,
        );
        let expected = (
            FindingKind::Fill,
            Some("pressure"),
            Some(trajectory),
            Some(6),
        );
        assert_eq!(named, expected);
        assert_eq!(found.value, Some(f64::from(9.96921e36_f32)));
        let left_out = Selection {
            exclude_trajectories: vec![format!("{}.hdf5#{trajectory}", &name[name.len() - 1..])],
            ..Selection::default()
        };
        let (_, manifest) = convert(folder.path(), &options(left_out)).await.unwrap();
        let count: usize = manifest
            .splits
            .values()
            .map(|held| held.trajectories.len())
            .sum();
        assert_eq!(count, 5);
    }
}

#[tokio::test]
async fn a_fill_value_that_the_file_names_is_one() {
    let folder = sources();
    let path = file(&folder, "train/a");
    change(
        &path,
        0,
        2..3,
        |cell, value| if cell == 3 { -999.0 } else { value },
    );
    convert(folder.path(), &options(Selection::default()))
        .await
        .unwrap();
    edit(&path, |file: &File| {
        let pressure = file.dataset("t0_fields/pressure").unwrap();
        let named = pressure.new_attr::<f32>().create("_FillValue").unwrap();
        named.write_scalar(&-999.0_f32).unwrap();
    });
    let found = finding(&folder).await;
    assert_eq!((found.value, found.step), (Some(-999.0), Some(2)));
    convert(folder.path(), &options(allowing("fill")))
        .await
        .unwrap();
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
                let work = ingest_part(&source, &parted, &options, (part, stage), &notes);
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

#[tokio::test]
async fn zero_takes_the_place_of_what_is_not_finite_where_that_is_asked_for() {
    let folder = sources();
    let path = file(&folder, "train/a");
    change(&path, 1, 0..FRAMES, |cell, value| {
        if cell < 10 { f32::NAN } else { value }
    });
    let error = refused(&folder, Selection::default()).await;
    assert!(
        matches!(
            error,
            Error::NotFinite {
                trajectory: 1,
                step: 0,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("--nan zero"), "{error}");
    let zeroes = Selection {
        nan: NotFinite::Zero,
        ..Selection::default()
    };
    let notes = Notes::default();
    let root = Location::parse("memory:///ds").unwrap();
    let options = options(zeroes.clone());
    let manifest = ingest(&place(folder.path()), &root, &options, &notes)
        .await
        .unwrap();
    is_told_once(&notes, "90 values of trajectory 1");
    assert_eq!(manifest.provenance.as_ref().unwrap().selection, zeroes);
    let dataset = Dataset::open(&root).await.unwrap();
    let mut frames = dataset.read(Split::Train, 1, 0..FRAMES).await.unwrap();
    manifest.affine().unwrap().denormalise(&mut frames);
    for step in 0..FRAMES {
        let pressure = frames.channel(step, 0, 0);
        assert!(pressure[..10].iter().all(|x| x.abs() < 1e-6));
        assert!(pressure[10..].iter().all(|&x| x > 0.5));
    }
    // What is damaged is made again the same way.
    let shard = root.join(&manifest.splits[&Split::Train].shards[0].path);
    let before = shard.get().await.unwrap();
    shard.delete().await.unwrap();
    let (manifest, flaws) = verify(&root, &Silent).await.unwrap();
    let source = place(folder.path());
    repair(&source, &root, &manifest, &flaws, &Silent)
        .await
        .unwrap();
    assert_eq!(shard.get().await.unwrap(), before);
}

#[tokio::test]
async fn the_same_trajectories_in_two_splits_are_told() {
    let folder = sources();
    std::fs::copy(file(&folder, "train/b"), file(&folder, "test/d")).unwrap();
    let said = |sample: usize| {
        format!(
            "leak: trajectory {sample} of data/test/d.hdf5 has the values of trajectory {sample} of \
             data/train/b.hdf5: the same trajectory is in train and test"
        )
    };
    let notes = Notes::default();
    let root = Location::parse("memory:///ds").unwrap();
    let options = options(Selection::default());
    ingest(&place(folder.path()), &root, &options, &notes)
        .await
        .unwrap();
    assert_eq!(notes.take(), [said(0), said(1)]);
    let findings = checked(&folder, Selection::default()).await;
    assert_eq!(kinds(&findings), [FindingKind::Leak; 2]);
    let dataset = Dataset::open(&root).await.unwrap();
    let findings = check_dataset(&dataset, &Silent).await.unwrap();
    assert_eq!(kinds(&findings), [FindingKind::Leak; 2]);
    // What is added is compared by file.
    let more = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(more.path().join("data/valid")).unwrap();
    std::fs::copy(file(&folder, "train/a"), file(&more, "valid/e")).unwrap();
    append(&place(more.path()), &root, &options, &notes)
        .await
        .unwrap();
    let heard = notes.take();
    assert!(
        heard.len() == 1 && heard[0].starts_with("leak: data/valid/e.hdf5"),
        "{heard:?}"
    );
}

fn rename(path: &Path, name: &str) {
    edit(path, |file: &File| {
        let name: VarLenUnicode = name.parse().unwrap();
        file.attr("dataset_name")
            .unwrap()
            .write_scalar(&name)
            .unwrap();
    });
}

#[tokio::test]
async fn files_of_two_names_are_one_data_set_only_if_that_is_named() {
    let folder = sources();
    rename(&file(&folder, "train/b"), "others");
    let error = refused(&folder, Selection::default()).await;
    assert!(matches!(error, Error::Mixed { .. }), "{error}");
    assert!(error.to_string().contains("others") && error.to_string().contains("b.hdf5"));
    let findings = checked(&folder, Selection::default()).await;
    assert_eq!(kinds(&findings), [FindingKind::Mixed]);
    let named = Selection {
        name: Some("both".into()),
        ..Selection::default()
    };
    let (root, manifest) = convert(folder.path(), &options(named)).await.unwrap();
    assert_eq!(manifest.schema.name, "both");
    // So are files that are added, whatever they say.
    let more = tempfile::tempdir().unwrap();
    waves().write(&file(&more, "valid/d"), 7).unwrap();
    let (source, options) = (place(more.path()), options(Selection::default()));
    let manifest = append(&source, &root, &options, &Silent).await.unwrap();
    assert_eq!(manifest.schema.name, "both");
}

#[tokio::test]
async fn a_trajectory_keeps_the_coordinates_of_its_file() {
    let folder = sources();
    let own: Vec<f32> = (0..8).map(|i| 10.0 * i as f32).collect();
    edit(&file(&folder, "train/b"), |file: &File| {
        file.dataset("dimensions/x")
            .unwrap()
            .write_raw(&own)
            .unwrap();
    });
    let notes = Notes::default();
    let root = Location::parse("memory:///ds").unwrap();
    let options = options(Selection {
        space: vec![
            wellspring_store::AxisSelection {
                start: 2,
                end: 8,
                stride: 3
            };
            2
        ],
        ..Selection::default()
    });
    let manifest = ingest(&place(folder.path()), &root, &options, &notes)
        .await
        .unwrap();
    is_told_once(&notes, "x from 20 to 50");
    let held = &manifest.splits[&Split::Train].trajectories;
    assert!(held[1].coordinates.is_empty());
    assert_eq!(
        held[2].coordinates,
        [("x".to_owned(), vec![20.0, 50.0])].into()
    );
    let read = Manifest::load(&root).await.unwrap();
    assert_eq!(read, manifest);
}

#[tokio::test]
async fn what_is_left_out_stays_out() {
    let folder = sources();
    std::fs::write(file(&folder, "train/empty"), "").unwrap();
    let error = refused(&folder, Selection::default()).await;
    assert!(matches!(error, Error::Empty { .. }), "{error}");
    let selection = Selection {
        exclude: vec!["empty*".into()],
        exclude_trajectories: vec!["data/train/a.hdf5#0".into(), "c.hdf5#1".into()],
        ..Selection::default()
    };
    let (root, first) = convert(folder.path(), &options(selection)).await.unwrap();
    let held = |manifest: &Manifest, split| -> Vec<String> {
        let held = manifest.splits[&split].trajectories.iter();
        held.map(|trajectory| trajectory.source.clone()).collect()
    };
    assert_eq!(
        held(&first, Split::Train),
        ["a.hdf5#1", "b.hdf5#0", "b.hdf5#1"]
    );
    assert_eq!(held(&first, Split::Test), ["c.hdf5#0"]);
    // Other choices are other work.
    let other = options(Selection {
        exclude: vec!["empty*".into()],
        ..Selection::default()
    });
    let other = ingest(&place(folder.path()), &root, &other, &Silent).await;
    assert!(matches!(other, Err(Error::Store(_))));
    // What is added leaves out what it is asked to, and what is made again leaves nothing else out.
    let more = sources();
    for name in ["train/a", "train/b", "test/c"] {
        let to = file(&more, name).with_file_name(format!("new_{}.hdf5", &name[name.len() - 1..]));
        std::fs::rename(file(&more, name), to).unwrap();
    }
    let later = Selection {
        exclude: vec!["new_b*".into()],
        exclude_trajectories: vec!["new_a.hdf5#1".into()],
        ..Selection::default()
    };
    let manifest = append(&place(more.path()), &root, &options(later), &Silent)
        .await
        .unwrap();
    assert_eq!(held(&manifest, Split::Train)[3..], ["new_a.hdf5#0"]);
    let before = objects(&root).await;
    for shard in first.splits.values().map(|held| &held.shards[0]) {
        root.join(&shard.path).delete().await.unwrap();
    }
    let (manifest, flaws) = verify(&root, &Silent).await.unwrap();
    assert_eq!(flaws.len(), 2);
    repair(&place(folder.path()), &root, &manifest, &flaws, &Silent)
        .await
        .unwrap();
    assert_eq!(objects(&root).await, before);
}

#[tokio::test]
async fn a_promise_remembers_what_was_asked_for() {
    let folder = sources();
    put_times(&file(&folder, "test/c"), &[0.0; FRAMES]);
    let root = Location::parse("memory:///ds").unwrap();
    let asked = options(Selection {
        exclude_trajectories: vec!["a.hdf5#0".into()],
        ..allowing("time")
    });
    let source = place(folder.path());
    assert!(
        promise(&source, &root, &asked, &Silent)
            .await
            .unwrap()
            .is_none()
    );
    let locate = |text: &str| match text {
        text if text.starts_with("memory") => Ok(root.clone()),
        text => Location::parse(text),
    };
    let opened = crate::open(&root, Default::default(), locate, &Silent)
        .await
        .unwrap();
    assert_eq!(
        opened.manifest().splits[&Split::Train].trajectories.len(),
        3
    );
    let times = opened.times(Split::Test, 0, 0..FRAMES).await.unwrap();
    assert_eq!(times, [0.0; FRAMES]);
}

#[tokio::test]
async fn a_source_in_a_store_is_checked_as_one_on_the_disk() {
    let (folder, _) = odd();
    let store = Location::parse("memory:///sims").unwrap();
    for name in ["train/a", "train/b", "test/c"] {
        let bytes = std::fs::read(file(&folder, name)).unwrap();
        store
            .join(&format!("data/{name}.hdf5"))
            .put(bytes)
            .await
            .unwrap();
    }
    let selection = Selection::default();
    let findings = check(&store, &selection, 2, &Silent).await.unwrap();
    assert_eq!(findings, checked(&folder, selection).await);
}

#[tokio::test]
async fn what_was_never_written_is_refused_or_told_and_nothing_more_is_said_of_it() {
    let folder = sources();
    let path = file(&folder, "train/a");
    edit(&path, |file: &File| {
        let fields = file.group("t0_fields").unwrap();
        let written: ArrayD<f32> = fields.dataset("pressure").unwrap().read_dyn().unwrap();
        fields.unlink("pressure").unwrap();
        let dataset = fields.new_dataset::<f32>().shape([2, FRAMES, 8, 12]);
        let dataset = dataset.chunk([1, 1, 8, 12]).create("pressure").unwrap();
        for step in (0..FRAMES).filter(|step| !(3..6).contains(step)) {
            for sample in 0..2 {
                let frame = written.slice(ndarray::s![sample, step, .., ..]);
                dataset.write_slice(&frame, (sample, step, .., ..)).unwrap();
            }
        }
    });
    let error = refused(&folder, Selection::default()).await;
    assert!(matches!(error, Error::Unwritten { step: 3, .. }), "{error}");
    for (selection, severity) in [
        (Selection::default(), Severity::Refused),
        (allowing("unwritten"), Severity::Told),
    ] {
        let findings = checked(&folder, selection).await;
        assert_eq!(kinds(&findings), [FindingKind::Unwritten; 2]);
        assert!(findings.iter().all(|found| found.severity == severity));
        assert!(findings[0].message.contains("3 frames"), "{}", findings[0]);
    }
    convert(folder.path(), &options(allowing("unwritten")))
        .await
        .unwrap();
}
