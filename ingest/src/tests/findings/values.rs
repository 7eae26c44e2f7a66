//! Values and times that are refused, and the options that accept them.

use super::*;

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
    manifest.normalizer().unwrap().denormalize(&mut frames);
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
