//! Files and trajectories: which belong to one data set, which are left out, which exist twice.

use super::*;

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
