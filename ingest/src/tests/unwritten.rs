//! Frames that were never written are refused with field, trajectory and step, whatever values the HDF5
//! library gives for them.

use std::path::Path;

use hdf5::File;
use ndarray::{Array, ArrayD, IxDyn};
use wellspring_store::AxisSelection;

use super::quirks::{FRAMES, SAMPLES, write_file};
use super::{convert, edit, small_shards};
use crate::Error;
use crate::source::Access;
use crate::well::{FieldReader, OpenFile};

const SHAPE: [usize; 4] = [SAMPLES, FRAMES, 4, 6];
const NETCDF: f32 = 9.969_21e36;

/// Puts an empty dataset in the place of a field, and writes some frames of it as ones.
fn rewrite(path: &Path, chunk: Option<[usize; 4]>, fill: Option<f32>, frames: &[(usize, usize)]) {
    write_file(path);
    edit(path, |file: &File| {
        let fields = file.group("t0_fields").unwrap();
        fields.unlink("pressure").unwrap();
        let mut builder = fields.new_dataset::<f32>();
        if let Some(fill) = fill {
            builder = builder.fill_value(fill);
        }
        let builder = builder.shape(SHAPE);
        let dataset = match chunk {
            Some(chunk) => builder.chunk(chunk).deflate(1).create("pressure"),
            None => builder.create("pressure"),
        };
        let dataset = dataset.unwrap();
        for &(sample, step) in frames {
            let ones: ArrayD<f32> = Array::ones(IxDyn(&[4, 6]));
            dataset.write_slice(&ones, (sample, step, .., ..)).unwrap();
        }
    });
}

/// All frames but those of trajectory 1 from a step on.
fn until(end: usize) -> Vec<(usize, usize)> {
    let frames = (0..SAMPLES).flat_map(|sample| (0..FRAMES).map(move |step| (sample, step)));
    frames
        .filter(|&(sample, step)| sample == 0 || step < end)
        .collect()
}

#[tokio::test]
async fn the_first_one_is_named() {
    let (chunk, packed) = (Some([1, 2, 2, 6]), Some([1, 3, 4, 6]));
    let cases = [
        (chunk, None, until(2), (1, 2)),
        (chunk, Some(NETCDF), until(2), (1, 2)),
        // What is left of a chunk that was written in part.
        (packed, Some(NETCDF), until(4), (1, 4)),
        (None, Some(NETCDF), until(3), (1, 3)),
        // No byte of it is in the file.
        (None, None, Vec::new(), (0, 0)),
    ];
    for (chunk, fill, frames, (sample, step)) in cases {
        let folder = tempfile::tempdir().unwrap();
        rewrite(&folder.path().join("a.hdf5"), chunk, fill, &frames);
        match convert(folder.path(), &small_shards()).await.unwrap_err() {
            Error::Unwritten {
                object,
                trajectory,
                step: at,
                ..
            } => {
                assert_eq!(
                    (object.as_str(), trajectory, at),
                    ("t0_fields/pressure", sample, step)
                );
            }
            other => panic!("{other}"),
        }
    }
}

/// A fill value that could be measured is one where the whole field was written.
#[tokio::test]
async fn a_field_that_was_written_is_taken_whatever_its_fill_value() {
    for fill in [None, Some(0.0), Some(1.0), Some(NETCDF)] {
        let folder = tempfile::tempdir().unwrap();
        let all = until(FRAMES);
        rewrite(
            &folder.path().join("a.hdf5"),
            Some([1, 2, 2, 6]),
            fill,
            &all,
        );
        convert(folder.path(), &small_shards()).await.unwrap();
    }
}

#[test]
fn they_are_listed_and_can_be_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.hdf5");
    rewrite(&path, Some([1, 2, 2, 6]), Some(NETCDF), &until(2));
    let mut file = OpenFile::open(&Access::Local(path), "a.hdf5").unwrap();
    let found: Vec<_> = file.unwritten(0).collect();
    assert_eq!(found, [(1, 2), (1, 3), (1, 4)]);
    assert_eq!(file.unwritten(1).next(), None);
    file.allow_unwritten = true;
    let space = [AxisSelection::whole(4), AxisSelection::whole(6)];
    let mut reader = FieldReader::new(&file, 0, &space);
    let mut plane = [0.0; 24];
    for (step, expected) in [(1, 1.0), (2, NETCDF)] {
        for slab in reader.slabs() {
            let rows = slab.rows.start * 6..slab.rows.end * 6;
            let mut planes = [&mut plane[rows]];
            reader.raw_planes(1, step, &slab, &mut planes).unwrap();
        }
        assert_eq!(plane, [expected; 24]);
    }
}
