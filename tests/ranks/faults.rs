//! Ranks that are killed, slow, or differ.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use wellspring_s3_testing::{Fault, Server, Trouble};

use crate::program::options;

use super::{RUN, SMALL, Said, Workplace, do_it, mpirun, program, ranks};

/// Two ranks, each with words of its own.
fn apart(place: &Workplace, first: &str, second: &str) -> Said {
    let mut command = mpirun(place, 1);
    program(&mut command, first);
    command.args([":", "-n", "1"]);
    program(&mut command, second);
    command.output().unwrap().into()
}

/// Processes of the program that a launcher has started.
fn children(of: &Child) -> Vec<String> {
    let parent = of.id().to_string();
    let listed = Command::new("ps")
        .args(["-o", "pid=,comm=", "--ppid", &parent])
        .output()
        .unwrap();
    let text = String::from_utf8(listed.stdout).unwrap();
    // A launcher's child bears its parent's name until it becomes the program.
    let ranks = text
        .lines()
        .filter_map(|line| line.trim().strip_suffix(" wellspring"));
    ranks.map(|id| id.trim().to_owned()).collect()
}

fn signal(name: &str, process: &str) {
    Command::new("kill").args([name, process]).status().unwrap();
}

fn begun(place: &Workplace, count: usize, words: &str) -> Child {
    let mut command = mpirun(place, count);
    program(&mut command, words);
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn a_rank_that_is_killed_takes_the_job_down_and_nothing_is_lost() {
    let place = Workplace::new().with_data_set();
    let run = format!("{SMALL} {RUN} --set train.steps=60");
    do_it(&place, 2, &format!("train --out whole {run}"));
    let whole = Instant::now();
    do_it(&place, 2, &format!("train --out whole-again {run}"));
    let whole = whole.elapsed();
    for moment in 0..20_u32 {
        let child = begun(&place, 2, &format!("train --out run {run} --resume"));
        std::thread::sleep(whole * (moment % 7 + 1) / 8);
        let ranks = children(&child);
        if let Some(process) = ranks.get(moment as usize % 2) {
            signal("-KILL", process);
        }
        let said = Said::from(child.wait_with_output().unwrap());
        assert!(!said.err.contains("panicked"), "{}", said.err);
        if said.code != 0 {
            let told = said.err.matches("exited on signal 9").count();
            assert_eq!(told, 1, "{}", said.err);
        }
    }
    do_it(&place, 2, &format!("train --out run {run} --resume"));
    assert!(place.weights("run", 60) == place.weights("whole", 60));
}

#[test]
fn a_rank_that_is_slow_is_waited_for_and_a_stop_is_one_for_all() {
    let place = Workplace::new().with_data_set();
    let long = format!("{SMALL} {RUN} --set train.steps=5000");
    let child = begun(&place, 2, &format!("train --out run {long}"));
    let state = place.path("run/checkpoints/00000005/state.json");
    while !state.exists() {
        std::thread::sleep(Duration::from_millis(50));
    }
    let processes = children(&child);
    signal("-STOP", &processes[1]);
    std::thread::sleep(Duration::from_secs(3));
    signal("-CONT", &processes[1]);
    std::thread::sleep(Duration::from_secs(1));
    signal("-TERM", &processes[0]);
    let said = Said::from(child.wait_with_output().unwrap());
    assert_eq!(said.code, 0, "{said:?}");
    said.names(&["stopped at step", "--resume"]);
}

#[test]
fn ranks_that_differ_refuse_to_start_and_say_in_what() {
    let place = Workplace::new().with_data_set();
    let words = |more: &str| format!("train --out run {SMALL} {RUN} {more}");
    let said = apart(&place, &words(""), &words("--set optim.lr=0.02"));
    assert_ne!(said.code, 0, "{said:?}");
    said.names(&["rank", "differ", "optim.lr", "0.02"]);
    place.do_it("ingest sims other --dtype f16");
    let other = words("").replace("data.root=ds", "data.root=other");
    let said = apart(&place, &words(""), &other);
    said.names(&["differ", "data"]);
    assert!(!place.path("run").exists());
}

#[test]
fn the_error_of_one_rank_ends_all_and_is_told_once() {
    let place = Workplace::new().with_data_set();
    let words = |root: &str| format!("train --out run {SMALL} {RUN}").replace("data.root=ds", root);
    let said = apart(&place, &words("data.root=ds"), &words("data.root=nowhere"));
    assert_ne!(said.code, 0, "{said:?}");
    said.names(&["error", "rank 1 on", "nowhere"]);
    assert_eq!(said.err.matches("error: rank").count(), 1, "{}", said.err);
    assert!(!place.path("run").exists());
}

/// A bucket that refuses one rank a shard ends the job with that rank's error.
#[test]
fn a_bucket_that_fails_for_one_rank_ends_all_with_its_error() {
    let place = Workplace::new().with_data_set();
    let servers = [Server::start().unwrap(), Server::start().unwrap()];
    let words = servers.each_ref().map(|server| {
        let settings = options(server.settings());
        place.do_it(&format!("ingest sims s3://bucket/ds {settings}"));
        let long = format!("{SMALL} {RUN} {settings}");
        format!("train --out run {long}").replace("data.root=ds", "data.root=s3://bucket/ds")
    });
    // The manifest comes, a shard does not.
    servers[1].trouble(Trouble {
        method: "GET",
        fault: Fault::Status(403),
        every: 3,
        times: u64::MAX,
    });
    let said = apart(&place, &words[0], &words[1]);
    assert_ne!(said.code, 0, "{said:?}");
    said.names(&["error: rank 1 on", "s3://bucket/ds/train/00000"]);
    assert_eq!(said.err.matches("error: rank").count(), 1, "{}", said.err);
}

#[test]
fn a_batch_that_ranks_cannot_share_is_refused() {
    let place = Workplace::new().with_data_set();
    let said = ranks(
        &place,
        3,
        &format!("train --out run {SMALL} --set train.batch=4"),
    );
    assert_ne!(said.code, 0, "{said:?}");
    said.names(&["train.batch", "multiple of the 3 ranks"]);
}

#[test]
fn another_launcher_than_that_of_the_programs_mpi_is_refused() {
    let place = Workplace::new().with_data_set();
    let mut command = place.command(&format!("train --out run {SMALL}"));
    command.envs([("PMI_RANK", "1"), ("PMI_SIZE", "4")]);
    let said = Said::from(command.output().unwrap());
    said.refuses(&["mpiexec", "rank 1 of 4", "Open MPI", "rank 0 of 1"]);
}

#[test]
fn a_checkpoint_of_another_version_is_passed_over_by_all_ranks_alike() {
    let place = Workplace::new().with_data_set();
    do_it(
        &place,
        2,
        &format!("train --out run {SMALL} {RUN} --set train.steps=10"),
    );
    // A piece that is lost makes its checkpoint none.
    let piece = "run/checkpoints/00000010/optimizer-2-of-2.safetensors";
    std::fs::remove_file(place.path(piece)).unwrap();
    let said = do_it(&place, 2, "train --out run --resume --set train.steps=20");
    said.names(&["passed over", "optimizer-2-of-2"]);
    assert_eq!(place.losses("run").len(), 20);
}
