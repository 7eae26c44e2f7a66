//! Data sets and runs in a bucket: plans, requests, caching and failures.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Duration;

use wellspring_s3_testing::{Fault, Link, Server, Trouble};

use crate::program::{SMALL, Workplace, options};

/// Training from a bucket: lanes of shards, little memory.
const FAR: &str = "--set data.root=s3://bucket/ds --set data.lanes=2 --set train.epochs=2 --set train.batch=2 --set validation.every=0";

/// A data set of many small shards in a bucket, and the same on the disk.
fn bucket() -> (Server, Workplace, String) {
    let server = Server::start().unwrap();
    let place = Workplace::new();
    let settings = options(server.settings());
    place.do_it(
        "simulate shear-flow sims --shape 64x64 --frames 40 --train 3 --valid 1 --test 1 --seed 5",
    );
    // A frame is 64 KB, so a shard of 1 MiB has room for 16.
    place.do_it("ingest sims ds --shard-mib 1");
    place.do_it(&format!(
        "ingest sims s3://bucket/ds --shard-mib 1 {settings}"
    ));
    (server, place, settings)
}

#[test]
fn a_run_streams_from_a_bucket_and_says_how_true_its_plan_was() {
    let (server, place, settings) = bucket();
    let said = place.do_it(&format!("plan {SMALL} {FAR} {settings} --dry --json"));
    let plan: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let bill = &plan[0]["bill"];
    // Three trajectories of 40 frames: 37 windows of 4 each, twice; three shards each.
    assert_eq!(
        (bill["windows"].as_u64(), plan[0]["epoch_steps"].as_u64()),
        (Some(222), Some(56))
    );
    assert_eq!(bill["bytes"], 222 * 4 * 4 * 64 * 64 * 4);
    assert_eq!(bill["opened"], 9, "{bill}");
    let said = place.do_it(&format!("plan {SMALL} {FAR} {settings}"));
    assert!(
        said.out.contains("windows/s") && said.out.contains("9 requests"),
        "{}",
        said.out
    );

    let before = server.seen();
    let said = place.do_it(&format!("train --out far {SMALL} {FAR} {settings}"));
    assert!(
        said.err.contains("9 requests (100 % of the plan)"),
        "{}",
        said.err
    );
    // The shards once, for they all fit, and the manifest.
    assert_eq!(server.seen().gets - before.gets, 10);
    let log = place.log("far");
    let mut read = log.iter().filter(|row| row.event == "read");
    assert_eq!(read.next_back().unwrap().requests, Some(9), "{log:?}");

    // From the disk it is the same run, and with a bucket that is ill.
    server.trouble(Trouble {
        method: "GET",
        fault: Fault::Reset { after: 1000 },
        every: 3,
        times: u64::MAX,
    });
    place.do_it(&format!("train --out ill {SMALL} {FAR} {settings}"));
    let near = FAR.replace("s3://bucket/ds", "ds");
    place.do_it(&format!("train --out near {SMALL} {near}"));
    let weights = |run: &str| place.weights(run, 112);
    assert!(weights("far") == weights("near") && weights("far") == weights("ill"));
}

#[test]
fn what_cannot_be_held_or_reached_is_said() {
    let (server, place, settings) = bucket();
    let said = place.run(&format!(
        "plan {SMALL} {FAR} {settings} --dry --set data.memory_mib=2"
    ));
    assert_eq!(said.code, 1);
    assert!(
        said.err.contains("bytes of shards are needed at once"),
        "{}",
        said.err
    );
    let said = place.run(&format!(
        "verify s3://bucket/ds {settings} --storage-option aws_regoin=here"
    ));
    assert_eq!(said.code, 1);
    assert!(said.err.contains("aws_regoin"), "{}", said.err);
    server.trouble(Trouble {
        method: "GET",
        fault: Fault::Status(403),
        every: 1,
        times: u64::MAX,
    });
    let said = place.run(&format!("verify s3://bucket/ds {settings}"));
    assert_eq!(said.code, 1);
    assert!(
        said.err.contains("s3://bucket/ds/manifest.json"),
        "{}",
        said.err
    );
}

/// An outage of seconds is waited for, and told; without patience it ends the training.
#[test]
fn a_training_waits_for_a_store_that_is_away() {
    let (server, place, settings) = bucket();
    let gone = || {
        server.trouble(Trouble {
            method: "GET",
            fault: Fault::Gone,
            every: 1,
            times: u64::MAX,
        });
    };
    gone();
    let mut waiting = place
        .command(&format!(
            "train --out far {SMALL} {FAR} {settings} --retry-for 1h"
        ))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(waiting.stderr.take().unwrap()).lines();
    let mut until = |words: &str| {
        let found = told.find(|line| line.as_ref().is_ok_and(|line| line.contains(words)));
        found.unwrap_or_else(|| panic!("it does not say: {words}"))
    };
    let line = until("s3://bucket does not answer (").unwrap();
    assert!(line.contains("trying again for up to 59m"), "{line}");
    server.calm();
    until("s3://bucket answers again").unwrap();
    told.for_each(drop);
    assert!(waiting.wait().unwrap().success());
    let near = FAR.replace("s3://bucket/ds", "ds");
    place.do_it(&format!("train --out near {SMALL} {near} --no-mmap"));
    assert!(place.weights("far", 112) == place.weights("near", 112));

    gone();
    let said = place.run(&format!(
        "train --out ill {SMALL} {FAR} {settings} --retry-for 1500ms"
    ));
    assert_eq!(said.code, 1);
    assert!(said.err.contains(" tries within "), "{}", said.err);
    let said = place.run(&format!(
        "verify s3://bucket/ds {settings} --retry-for soon"
    ));
    assert_eq!(said.code, 2, "{said:?}");
}

#[test]
fn files_that_may_not_be_read_are_not_called_damaged() {
    let (server, place, settings) = bucket();
    server.trouble(Trouble {
        method: "GET",
        fault: Fault::Status(403),
        every: 4,
        times: 2,
    });
    let said = place.run(&format!("verify s3://bucket/ds {settings}"));
    assert_eq!(said.code, 1);
    assert!(
        said.err
            .contains("2 of the files of s3://bucket/ds could not be read")
            && said.err.contains("0 are damaged")
            && !said.err.contains("--repair"),
        "{said:?}"
    );
}

#[test]
fn processes_share_a_folder_and_one_that_is_killed_does_no_harm() {
    let (server, place, settings) = bucket();
    let cached =
        format!("{SMALL} {FAR} --set data.cache=cache --set data.cache_mib=100 {settings}");
    server.link(Link {
        latency: Duration::from_millis(20),
        bandwidth: Some(500_000),
    });
    let mut killed = place
        .command(&format!("train --out killed {cached}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let part = || {
        let files = std::fs::read_dir(place.path("cache"));
        files.is_ok_and(|mut files| {
            files.any(|file| {
                file.unwrap()
                    .path()
                    .extension()
                    .is_some_and(|end| end == "part")
            })
        })
    };
    while !part() {
        assert!(
            killed.try_wait().unwrap().is_none(),
            "it ended before it fetched"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(part());

    // Two at the same time fetch each shard once between them. What the killed one had asked for is
    // answered first.
    server.link(Link::default());
    let mut before = server.seen();
    loop {
        std::thread::sleep(Duration::from_millis(500));
        let now = server.seen();
        if now == before {
            break;
        }
        before = now;
    }
    let runs: Vec<_> = ["one", "two"]
        .map(|run| {
            place
                .command(&format!("train --out {run} {cached}"))
                .spawn()
                .unwrap()
        })
        .into_iter()
        .map(|mut run| run.wait().unwrap())
        .collect();
    assert!(
        runs.iter().all(std::process::ExitStatus::success),
        "{runs:?}"
    );
    assert!(!part());
    let manifests = 2;
    assert!(
        server.seen().gets - before.gets <= 9 + manifests,
        "{before:?} {:?}",
        server.seen()
    );
}

#[test]
fn a_bucket_of_googles_is_a_place_like_any_other() {
    let server = Server::start().unwrap();
    let place = Workplace::new().with_data_set();
    let settings = options(server.google_settings());
    let cloud = |words: &str| place.run(&format!("{words} {settings}"));
    let done = |words: &str| {
        let said = cloud(words);
        assert_eq!(said.code, 0, "{words}\n{said:?}");
        said
    };
    done("ingest sims gs://bucket/ds");
    done("verify gs://bucket/ds");
    let said = cloud("ingest sims gs://bucket/ds --dtype f16");
    assert_eq!(said.code, 1);
    assert!(said.err.contains("gs://bucket/ds"), "{said:?}");

    let run = format!("{SMALL} --set train.steps=2");
    place.do_it(&format!("train --out near {run}"));
    done(&format!(
        "train --out gs://bucket/far {run} --set data.root=gs://bucket/ds"
    ));
    done("eval gs://bucket/far gs://bucket/ds -r gs://bucket/results --schedule 8");
    let mut query = place.command(&format!(
        "sql -r gs://bucket/results --format csv {settings}"
    ));
    let answer = query.arg("SELECT name FROM leaderboard").output().unwrap();
    assert_eq!(answer.stdout, b"name\nfar\n", "{answer:?}");
    done("report gs://bucket/results gs://bucket/page.html");
    done("figures gs://bucket/results gs://bucket/figures");
    done("export gs://bucket/far gs://bucket/far.safetensors");
    done(&format!(
        "import gs://bucket/far.safetensors --out gs://bucket/back {run} --set data.root=gs://bucket/ds"
    ));
    assert!(!place.path("gs:").exists(), "a URL is not a folder");
    done("drop gs://bucket/ds valid");
    let said = done("inspect gs://bucket/ds");
    assert!(said.out.contains("generation 1"), "{said:?}");
}

/// A query over frames in a bucket fetches the columns and the rows that it names.
#[test]
fn a_query_reads_what_it_names() {
    let (server, place, settings) = bucket();
    let ask = |root: &str, query: &str| {
        let words = format!("sql --data {root} --format csv {settings}");
        let said: crate::program::Said = place.command(&words).arg(query).output().unwrap().into();
        assert_eq!(said.code, 0, "{query}\n{said:?}");
        said.out
    };
    let fetched = |query: &str| {
        let before = server.seen();
        let answer = ask("s3://bucket/ds", query);
        assert_eq!(answer, ask("ds", query), "{query}");
        let after = server.seen();
        (after.gets - before.gets, after.bytes - before.bytes)
    };
    // What the manifest knows takes the manifest alone.
    let (gets, manifest) =
        fetched("SELECT split, count(*) FROM frames GROUP BY split ORDER BY split");
    assert_eq!(gets, 1);
    // One of four channels of 40 frames in 3 shards: a footer, the heads and the values of each.
    let (gets, bytes) = fetched(
        "SELECT step, avg(band_energy(velocity_x, 1, 2)) FROM frames WHERE split = 'test' GROUP BY step ORDER BY step",
    );
    let (channel, about) = (64 * 64 * 4, 3 * (16 << 10) + 3 * 4096);
    assert_eq!(gets, 1 + 3 * 3);
    assert!(bytes <= manifest + 40 * channel + about, "{bytes}");
    // One frame of one trajectory.
    let (gets, bytes) = fetched(
        "SELECT field_rms(tracer) FROM frames WHERE split = 'train' AND trajectory = 1 AND step = 7",
    );
    assert_eq!(gets, 4);
    assert!(bytes <= manifest + channel + (16 << 10) + 4096, "{bytes}");
}
