//! Sound files with the objects that netCDF4, xarray and people put beside the fields. They are kept if they
//! can be, else named once and recorded; no field is lost. `ingest/tests/data/odd.py` made the file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hdf5::File;
use wellspring_store::{
    Boundary, Contents, Dataset, Location, Manifest, Normalization, Notes, Split, StoredValue,
};

use super::quirks::{FRAMES, value, write_file, write_into};
use super::{edit, place, small_shards};
use crate::source::Access;
use crate::well::WellFile;
use crate::{Error, IngestOptions, ingest};

fn exact() -> IngestOptions {
    IngestOptions {
        normalization: Normalization::None,
        ..small_shards()
    }
}

/// An ingest, and what was told.
async fn told(source: &Path) -> (Result<(Location, Manifest), Error>, Vec<String>) {
    let root = Location::parse("memory:///ds").unwrap();
    let notes = Notes::default();
    let manifest = ingest(&place(source), &root, &exact(), &notes).await;
    let notes = notes.take();
    (manifest.map(|manifest| (root, manifest)), notes)
}

fn odd_file() -> PathBuf {
    "tests/data/odd.hdf5".into()
}

async fn contents(root: &Location, manifest: &Manifest) -> Contents {
    let sources = &manifest.provenance.as_ref().unwrap().sources;
    let bytes = sources[0].structure.fetch(root).await.unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn texts<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    let pairs = pairs.into_iter();
    pairs.map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
}

#[tokio::test]
async fn the_fields_of_an_odd_file_are_whole() {
    let (made, _) = told(&odd_file()).await;
    let (root, manifest) = made.unwrap();
    let dataset = Dataset::open(&root).await.unwrap();
    assert_eq!(manifest.schema.channels(), ["pressure"]);
    assert_eq!(manifest.splits[&Split::Train].trajectories.len(), 2);
    for sample in 0..2 {
        let frames = dataset.read(Split::Train, sample, 0..3).await.unwrap();
        let of = |i: usize| (100 * sample + 10 * (i / 8) + i % 8) as f32;
        let expected: Vec<f32> = (0..24).map(of).collect();
        assert_eq!(frames.data(), expected);
    }
    use Boundary::{Open, Wall};
    assert_eq!(manifest.schema.boundaries(), [[Wall, Open]]);
    let parameters = |at: usize| &manifest.splits[&Split::Train].trajectories[at].parameters;
    assert_eq!(*parameters(1), BTreeMap::from([("Re".to_owned(), 2.0)]));
}

#[tokio::test]
async fn what_can_be_kept_is_and_the_rest_is_recorded() {
    let (made, _) = told(&odd_file()).await;
    let (root, manifest) = made.unwrap();
    let held = contents(&root, &manifest).await;
    let expected = texts([
        ("/boundary_conditions/gone", "it leads nowhere"),
        ("/dimensions/time@REFERENCE_LIST", "its type is a compound"),
        ("/elsewhere", "it leads to another file"),
        ("/more/complex", "its type is a compound"),
        ("/more/external", "its values are in other files"),
        ("/more/list", "its type is a list of any length"),
        ("/more/pair", "its type is an array"),
        ("/more/quadruple", "its type is a number of 16 bytes"),
        ("/more/table", "its type is a compound"),
        ("/more/type", "it is a named type"),
        ("/more/virtual", "its values are in other files"),
        ("/more@dates", "its type is opaque"),
        ("/more@kinds", "its type is an enumeration"),
        ("/more@reference", "its type is a reference"),
        ("/more@region", "its type is a reference"),
        (
            "/t0_fields/pressure@DIMENSION_LIST",
            "its type is a list of any length",
        ),
        ("/t0_fields/step@REFERENCE_LIST", "its type is a compound"),
    ]);
    assert_eq!(held.left_out, expected);
    let links = texts([
        ("/a_second_name", "/dimensions"),
        ("/more/back", "/"),
        ("/more/soft", "/dimensions"),
        ("/t0_fields/again", "/t0_fields/pressure"),
    ]);
    assert_eq!(held.links, links);
    assert_eq!(held.latin1, ["/@author"]);
    let text = |value: &StoredValue| match value {
        StoredValue::Text { text, .. } => text[0].clone(),
        StoredValue::Numbers { .. } => panic!("{value:?}"),
    };
    assert_eq!(text(&held.attributes["/"]["author"]), "José");
    assert_eq!(text(&held.attributes["/"]["story"]), "long ".repeat(200));
    assert_eq!(text(&held.arrays["/scalars/scheme"]), "RK4");
    assert_eq!(held.arrays["/more/half"].as_f64().unwrap(), [0.5, 1.5]);
    assert_eq!(
        held.arrays["/t0_fields/step"].as_f64().unwrap(),
        [0.0, 1.0, 2.0]
    );
    let bc = &held.attributes["/boundary_conditions/x_inlet"]["bc_type"];
    assert_eq!(text(bc), "Inflow");
}

/// Each remark once, whatever the number of files.
#[tokio::test]
async fn what_is_odd_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.hdf5", "b.hdf5", "c.hdf5"] {
        std::fs::copy(odd_file(), folder.path().join(name)).unwrap();
    }
    let (made, notes) = told(folder.path()).await;
    made.unwrap();
    for expected in [
        "not kept, since its type is a reference: /more@reference, /more@region",
        "not kept, since it leads nowhere: /boundary_conditions/gone",
        "no UTF-8, taken for Latin-1: /@author",
        "boundary_conditions/x_inlet is \"Inflow\", not wall, open or periodic",
        "scalars/Re is for 3 trajectories, and 2 are left",
        "dimensions/x is for 3 trajectories, and 2 are left",
        "scalars/direction holds 3 numbers",
        "n_trajectories is 3, and the fields hold 2",
    ] {
        let found: Vec<_> = notes
            .iter()
            .filter(|note| note.contains(expected))
            .collect();
        assert!(
            matches!(found.as_slice(), [one] if one.starts_with("remark: a.hdf5: ")
                && one.ends_with(" (and 2 other files)")),
            "{expected}: {notes:#?}"
        );
    }
}

#[test]
fn every_trajectory_has_its_own_coordinates() {
    let file = WellFile::open(&Access::Local(odd_file()), "odd.hdf5").unwrap();
    for (sample, first) in [(0, 0.0), (1, 100.0)] {
        let expected: Vec<f64> = (0..8).map(|i| first + f64::from(i)).collect();
        assert_eq!(file.coordinates(sample), [expected]);
    }
}

/// The values of a large dataset that is not a field are not read: here they could not be.
#[tokio::test]
async fn what_is_large_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.hdf5");
    write_file(&path);
    edit(&path, |file: &File| {
        let group = file.create_group("additional_information").unwrap();
        let large = group.new_dataset::<f32>().shape([1 << 24, 1 << 20]);
        large.chunk([1 << 10, 1]).deflate(1).create("g").unwrap();
        let vast = file.new_dataset::<f64>().shape((1..,)).chunk(1 << 28);
        vast.create("vast").unwrap();
    });
    let (made, _) = told(&path).await;
    let (root, manifest) = made.unwrap();
    let held = contents(&root, &manifest).await;
    let expected = texts([
        ("/additional_information/g", "it holds more than 64 MiB"),
        ("/vast", "its chunks are larger than the file can have"),
    ]);
    assert_eq!(held.left_out, expected);
}

/// Addresses in a file are counted from the end of its user block.
#[tokio::test]
async fn a_user_block_is_passed_over() {
    for size in [512, 4096] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.hdf5");
        let file = File::with_options();
        let file = { file }
            .with_fcpl(|p| p.userblock(size))
            .create(&path)
            .unwrap();
        write_into(&file);
        drop(file);
        let (made, notes) = told(&path).await;
        let (root, _) = made.unwrap();
        assert_eq!(notes, Vec::<String>::new());
        let dataset = Dataset::open(&root).await.unwrap();
        let frames = dataset.read(Split::Train, 1, 0..FRAMES).await.unwrap();
        for (cell, &found) in frames.channel(3, 0, 0).iter().enumerate() {
            assert_eq!(found, value(&[1, 3, cell / 6, cell % 6]) as f32);
        }
    }
}

#[tokio::test]
async fn fields_may_come_in_another_order() {
    let folder = tempfile::tempdir().unwrap();
    write_file(&folder.path().join("a.hdf5"));
    let other = folder.path().join("b.hdf5");
    write_file(&other);
    edit(&other, |file: &File| {
        let names = ["depth", "pressure", "height"];
        let names = names.map(|name| name.parse::<hdf5::types::VarLenUnicode>().unwrap());
        let fields = file.group("t0_fields").unwrap();
        fields
            .attr("field_names")
            .unwrap()
            .write_raw(&names)
            .unwrap();
    });
    let (made, _) = told(folder.path()).await;
    let (root, manifest) = made.unwrap();
    let dataset = Dataset::open(&root).await.unwrap();
    let first = dataset.read(Split::Train, 0, 0..FRAMES).await.unwrap();
    let second = dataset.read(Split::Train, 2, 0..FRAMES).await.unwrap();
    assert_eq!(first.data(), second.data());
    assert_eq!(manifest.splits[&Split::Train].trajectories.len(), 4);
    let constants = async |at| dataset.constants(Split::Train, at).await.unwrap().unwrap();
    assert_eq!(constants(1).await.data(), constants(3).await.data());
}

/// Inputs that made the program end in a panic.
#[tokio::test]
async fn shapes_and_counts_that_cannot_be_are_refused() {
    type Change = fn(&File);
    let cases: [(Change, &str); 3] = [
        (
            |file| {
                file.unlink("dimensions/x").unwrap();
                let x = file.new_dataset::<f32>().shape([0, 4]);
                x.create("dimensions/x").unwrap();
            },
            "dimensions/x has shape [0, 4]",
        ),
        (
            |file| {
                file.unlink("dimensions/time").unwrap();
                let time = file.new_dataset::<f32>().shape([0, 5]);
                time.create("dimensions/time").unwrap();
            },
            "dimensions/time has shape [0, 5]",
        ),
        (
            |file| {
                let scalars = file.group("scalars").unwrap();
                let gravity = scalars.dataset("gravity").unwrap();
                let varies = gravity.new_attr::<bool>().create("sample_varying");
                varies.unwrap().write_scalar(&true).unwrap();
            },
            "scalars/gravity is not 2 finite numbers",
        ),
    ];
    for (change, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.hdf5");
        write_file(&path);
        edit(&path, change);
        let error = told(&path).await.0.unwrap_err().to_string();
        assert!(error.contains(expected), "{error} / {expected}");
    }
}

/// If no field varies between trajectories, the number of trajectories in the file is not trusted.
#[tokio::test]
async fn trajectories_that_would_all_be_the_same_are_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.hdf5");
    write_file(&path);
    edit(&path, |file: &File| {
        for (group, names) in [
            ("t0_fields", vec!["height"]),
            ("t1_fields", vec![]),
            ("t2_fields", vec![]),
        ] {
            let group = file.group(group).unwrap();
            for name in group.member_names().unwrap() {
                if !names.contains(&name.as_str()) {
                    group.unlink(&name).unwrap();
                }
            }
            group.delete_attr("field_names").unwrap();
            super::quirks::texts(&group, "field_names", &names);
        }
        file.unlink("scalars").unwrap();
        file.attr("n_trajectories")
            .unwrap()
            .write_scalar(&(1_i64 << 60))
            .unwrap();
    });
    let (made, notes) = told(&path).await;
    let (_, manifest) = made.unwrap();
    assert_eq!(manifest.splits[&Split::Train].trajectories.len(), 1);
    assert!(
        notes.iter().any(|note| note.contains("the fields hold 1")),
        "{notes:?}"
    );
}
