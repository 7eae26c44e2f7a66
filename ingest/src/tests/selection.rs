//! What is taken of a source, and what cannot be.

use wellspring_store::{AxisSelection, Boundary, Dataset, Normalization, Selection, Split};

use super::convert;
use super::pieces::{made, options, sources};
use crate::{IngestOptions, Packing};

#[tokio::test]
async fn a_selection_takes_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    sources(folder.path(), Packing::Gzip(1));
    let bare = IngestOptions {
        normalization: Normalization::None,
        ..options()
    };
    let (root, whole) = made(folder.path(), &bare).await;
    let whole_set = Dataset::open(&root).await.unwrap();
    let axis = |start, end, stride| AxisSelection { start, end, stride };
    let selection = Selection {
        fields: vec!["velocity".into()],
        trajectories: Some((1, 4)),
        space: vec![axis(0, 8, 2), axis(3, 12, 4)],
        time_stride: 3,
        ..Selection::default()
    };
    let bare = IngestOptions { selection, ..bare };
    let (root, manifest) = made(folder.path(), &bare).await;
    let dataset = Dataset::open(&root).await.unwrap();
    let schema = &manifest.schema;
    assert_eq!(schema.channels(), ["velocity_x", "velocity_y"]);
    assert_eq!(schema.grid.shape(), [4, 3]);
    use Boundary::{Open, Periodic};
    assert_eq!(schema.boundaries(), [[Periodic, Periodic], [Open, Open]]);
    let taken = &manifest.splits[&Split::Train].trajectories;
    assert_eq!(
        taken.iter().map(|t| t.frames).collect::<Vec<_>>(),
        [3, 7, 7]
    );
    assert_eq!(manifest.splits[&Split::Test].trajectories.len(), 1);
    let sources = &whole.splits[&Split::Train].trajectories;
    assert_eq!(taken[0].source, sources[1].source);
    for (trajectory, held) in taken.iter().enumerate() {
        let small = dataset
            .read(Split::Train, trajectory, 0..held.frames)
            .await
            .unwrap();
        let frames = sources[trajectory + 1].frames;
        let large = whole_set
            .read(Split::Train, trajectory + 1, 0..frames)
            .await
            .unwrap();
        for (step, channel) in (0..held.frames).flat_map(|step| [(step, 0), (step, 1)]) {
            let large = large.channel(3 * step, 0, channel + 1);
            let expected: Vec<f32> = (0..12)
                .map(|cell| large[cell / 3 * 2 * 12 + 3 + cell % 3 * 4])
                .collect();
            assert_eq!(small.channel(step, 0, channel), expected);
        }
    }
    let kept = manifest.provenance.unwrap().selection;
    assert_eq!(kept, bare.selection);
}

#[tokio::test]
async fn a_selection_that_cannot_be_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    sources(folder.path(), Packing::Contiguous);
    let axis = |end, stride| AxisSelection {
        start: 0,
        end,
        stride,
    };
    let cases = [
        (
            vec!["speed"],
            vec![],
            None,
            "no field speed; there are pressure velocity D",
        ),
        (
            vec![],
            vec![axis(9, 1), axis(12, 1)],
            None,
            "0..9 are selected of axis x",
        ),
        (
            vec![],
            vec![axis(8, 3), axis(12, 1)],
            None,
            "does not divide the 8 cells",
        ),
        (vec![], vec![axis(8, 1); 3], None, "3 axes are selected"),
        (vec![], vec![], Some((50, 60)), "no split has a trajectory"),
    ];
    for (fields, space, trajectories, expected) in cases {
        let selection = Selection {
            fields: fields.into_iter().map(String::from).collect(),
            space,
            trajectories,
            time_stride: 1,
            ..Selection::default()
        };
        let options = IngestOptions {
            selection,
            ..options()
        };
        let error = convert(folder.path(), &options).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}
