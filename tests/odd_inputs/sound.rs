//! Sound files that other programs wrote, or that have objects beside the fields: they give the same shards as
//! the plain file.

use std::collections::BTreeMap;

use super::of_one;
use crate::program::{Said, Workplace};

/// The shards of a data set.
fn shards(place: &Workplace) -> BTreeMap<String, Vec<u8>> {
    let files = place.files("ds/train").into_iter();
    files
        .map(|(path, bytes)| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            // What comes after it is of the source.
            let (stem, _) = name.split_once('.').unwrap();
            (stem.to_owned(), bytes)
        })
        .collect()
}

/// Ingested as if nothing were odd.
fn is_sound(file: &str) -> (Workplace, Said) {
    let plain = of_one("sound");
    plain.do_it("ingest src ds");
    let place = of_one(file);
    let said = place.do_it("ingest src ds");
    place.do_it("verify ds");
    assert!(shards(&place) == shards(&plain));
    assert_eq!(
        place.manifest("ds")["statistics"],
        plain.manifest("ds")["statistics"]
    );
    place.do_it("inspect src/data/train/a.hdf5");
    (place, said)
}

/// What a data set remembers of its sources.
fn provenance(place: &Workplace) -> String {
    let files = place.files("ds").into_iter();
    let texts = files.filter(|(path, _)| path.extension().is_some_and(|end| end == "json"));
    texts
        .map(|(_, bytes)| String::from_utf8_lossy(&bytes).into_owned())
        .collect()
}

/// Left out, named in one line, and recorded.
fn are_left_out(file: &str, objects: &[&str]) {
    let (place, said) = is_sound(file);
    let recorded = provenance(&place);
    for object in objects {
        let lines = said.err.lines().filter(|line| line.contains(object));
        assert_eq!(lines.count(), 1, "{object}: {}", said.err);
        assert!(recorded.contains(object), "{object}: {recorded}");
    }
}

#[test]
fn dimension_scales_are_ingested() {
    is_sound("dimension-scales");
}

#[test]
fn object_references_are_left_out_and_told() {
    are_left_out(
        "object-reference",
        &["refers_to", "additional_information/references"],
    );
}

#[test]
fn compound_and_complex_values_are_left_out_and_told() {
    let objects = [
        "additional_information/table",
        "additional_information/spectrum",
        "origin",
    ];
    are_left_out("compound-and-complex", &objects);
}

#[test]
fn opaque_dated_and_named_types_are_left_out_and_told() {
    are_left_out("strange-types", &["additional_information/blob", "date"]);
}

#[test]
fn text_in_latin_1_is_kept_or_told() {
    let (place, said) = is_sound("strange-types");
    assert!(provenance(&place).contains("Jörg") || said.err.contains("author"));
}

#[test]
fn a_link_that_leads_nowhere_is_told() {
    let (_, said) = is_sound("dangling-link");
    said.tells(&["gone"]);
}

#[test]
fn a_link_to_another_file_beside_the_fields_is_told() {
    let (_, said) = is_sound("external-link");
    said.tells(&["elsewhere"]);
}

#[test]
fn groups_that_are_linked_twice_are_ingested() {
    is_sound("linked-twice");
}

#[test]
fn what_is_large_beside_the_fields_is_left_out_and_told() {
    are_left_out("large-extra", &["additional_information/metric"]);
}

#[test]
fn a_user_block_before_an_old_file_is_skipped() {
    is_sound("user-block");
}

#[test]
fn a_scalar_keeps_the_first_values_after_a_trajectory_was_removed() {
    let (place, said) = is_sound("removed-trajectory");
    said.tells(&["a.hdf5", "Re"]);
    let manifest = place.manifest("ds");
    let held = manifest["splits"]["train"]["trajectories"]
        .as_array()
        .unwrap();
    let reynolds: Vec<_> = held
        .iter()
        .map(|one| one["parameters"]["Re"].as_f64())
        .collect();
    assert_eq!(reynolds, [Some(1.0), Some(2.0)]);
}

#[test]
fn a_scalar_of_text_is_kept() {
    let (place, _) = is_sound("text-scalar");
    assert!(provenance(&place).contains("dedalus"));
}

#[test]
fn a_boundary_of_another_word_is_a_wall_and_told() {
    let (place, said) = is_sound("no-slip");
    said.tells(&["no-slip"]);
    assert!(provenance(&place).contains("no-slip"));
    let manifest = place.manifest("ds");
    let sides = &manifest["schema"]["grid"]["axes"][0]["boundary"];
    for side in [&sides[0], &sides[1]] {
        assert!(side == "wall" || side == "no-slip", "{sides}");
    }
}
