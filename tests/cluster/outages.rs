//! A cluster whose members start late, leave, or are killed.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{Cluster, Running, SHUFFLED, with_results};

/// Folders of executors in a folder.
fn left(below: &Path) -> usize {
    std::fs::read_dir(below).map_or(0, Iterator::count)
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(120), "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn without_an_executor_a_query_says_so_and_gives_up() {
    let place = with_results();
    let mut cluster = Cluster::begin(&place, 0, "", "");
    let said = cluster.ask(&place, "--cluster-wait 4", SHUFFLED);
    assert_eq!(said.code, 1, "{said:?}");
    let waiting = format!(
        "no executor has registered with {}; waiting",
        cluster.address
    );
    assert!(said.err.contains(&waiting), "{}", said.err);
    assert!(
        said.err.contains("start one: wellspring cluster executor"),
        "{}",
        said.err
    );
    // One that comes while a query waits answers it.
    let words = format!("--cluster {} --cluster-wait 120", cluster.address);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| super::ask(&place, &words, SHUFFLED));
        std::thread::sleep(Duration::from_secs(3));
        cluster.add(&place, "");
        let said = asking.join().unwrap();
        assert_eq!(said.code, 0, "{said:?}");
        assert!(said.err.contains(&waiting), "{}", said.err);
    });
}

#[test]
fn an_executor_finds_a_scheduler_that_was_killed_again() {
    let place = with_results();
    let mut cluster = Cluster::begin(&place, 1, "", "");
    assert_eq!(cluster.ask(&place, "", SHUFFLED).code, 0);
    cluster.scheduler.signal("KILL");
    let said = cluster.ask(&place, "", SHUFFLED);
    assert_eq!(said.code, 1, "{said:?}");
    std::thread::sleep(Duration::from_secs(2));
    let words = format!("cluster scheduler --bind {} --read .", cluster.address);
    cluster.scheduler = Running::begin(&place, &words).0;
    // The executor comes back while the query waits for one.
    let said = cluster.ask(&place, "", SHUFFLED);
    assert_eq!(said.code, 0, "{said:?}");
}

#[test]
fn an_executor_leaves_nothing_behind() {
    let place = with_results();
    let mut cluster = Cluster::begin(&place, 2, "", "--work work");
    assert_eq!(cluster.ask(&place, "", SHUFFLED).code, 0);
    let work = place.path("work");
    assert_eq!((left(&work), left(&place.path("tmp"))), (2, 0));
    let [first, second] = [0, 1].map(|_| cluster.executors.remove(0));
    let mut first = first;
    first.signal("TERM");
    assert!(first.0.wait().unwrap().success());
    assert_eq!(left(&work), 1);
    second.signal("KILL");
    drop(second);
    assert_eq!(left(&work), 1);
    // The next removes what the killed one left.
    cluster.add(&place, "--work work");
    assert_eq!(left(&work), 1);
    assert_eq!(cluster.ask(&place, "", SHUFFLED).code, 0);
    let last = cluster.executors.remove(0);
    last.signal("INT");
    wait_until("it ends", || left(&work) == 0);
    assert_eq!(left(&place.path("tmp")), 0);
}
