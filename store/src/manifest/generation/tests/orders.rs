//! Runs several writers in every order of their requests, and stops and restarts each before any request. What
//! holds in every state holds however many are stopped.

use std::collections::{BTreeMap, BTreeSet};

use super::explorer::explore;
use super::writers::Command::{Append, Blind, Careless, Drop, Ingest, Overwrite, Purge, Repair};
use super::writers::first;
use crate::Split;

fn check_ends(ends: &BTreeSet<String>, expected: &[&str]) {
    for expected in expected {
        assert!(ends.contains(*expected), "{expected}: {ends:?}");
    }
}

#[test]
fn every_order_of_two_ingests() {
    let none = BTreeMap::new;
    let ends = explore(none(), &[(Ingest("a"), 1), (Ingest("b"), 1)]);
    check_ends(&ends, &["made, exists", "made, underway", "underway, made"]);
    let ends = explore(none(), &[(Ingest("a"), 1), (Ingest("a"), 0)]);
    assert_eq!(ends, BTreeSet::from(["made, made".to_owned()]));
}

#[test]
fn every_order_of_an_ingest_and_an_overwriting() {
    let none = BTreeMap::new;
    let ends = explore(none(), &[(Ingest("a"), 0), (Overwrite("b"), 0)]);
    check_ends(&ends, &["made, made", "made, exists", "exists, made"]);
    let ends = explore(none(), &[(Ingest("a"), 0), (Overwrite("a"), 0)]);
    assert_eq!(ends, BTreeSet::from(["made, made".to_owned()]));
}

#[test]
fn every_order_of_two_equal_appends() {
    let ends = explore(first(), &[(Append("a"), 1), (Append("a"), 0)]);
    assert_eq!(ends, BTreeSet::from(["made, made".to_owned()]));
}

#[test]
fn every_order_of_an_overwriting_and_another_writer() {
    for (other, kills) in [
        (Purge, 1),
        (Repair, 1),
        (Drop(Split::Valid), 1),
        (Append("more"), 0),
    ] {
        explore(first(), &[(Overwrite("a"), kills), (other, 0)]);
    }
}

#[test]
fn every_order_of_two_overwritings() {
    for other in [Overwrite("b"), Overwrite("a")] {
        let ends = explore(first(), &[(Overwrite("a"), 0), (other, 0)]);
        check_ends(&ends, &["made, made"]);
    }
}

#[test]
fn every_order_of_an_append_and_another_writer() {
    let ends = explore(first(), &[(Append("a"), 1), (Append("b"), 1)]);
    check_ends(&ends, &["made, made", "made, underway", "underway, made"]);
    for other in [Drop(Split::Valid), Purge, Repair] {
        explore(first(), &[(Append("a"), 1), (other, 1)]);
    }
}

#[test]
fn every_order_of_three_writers() {
    let orders = [
        [Append("a"), Drop(Split::Train), Drop(Split::Valid)],
        [Append("a"), Drop(Split::Valid), Purge],
    ];
    for commands in orders {
        explore(first(), &commands.map(|command| (command, 0)));
    }
}

#[test]
#[should_panic(expected = "is written over")]
fn a_shared_name_would_be_found() {
    explore(BTreeMap::new(), &[(Careless("a"), 0), (Careless("b"), 0)]);
}

#[test]
#[should_panic(expected = "after")]
fn a_manifest_that_is_written_over_would_be_found() {
    explore(first(), &[(Blind("a"), 0), (Drop(Split::Valid), 0)]);
}
