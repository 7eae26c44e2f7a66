//! Ingest from outside: killed at any moment, spread over processes, changed and repaired.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use wellspring_ingest::{Packing, Waves};

use crate::paper::{FLOW, OPEN, PERIODIC, SUPERNOVA, WALL, waves};
use crate::program::{Said, Workplace};

/// Makes sources of some 30 MB in five files.
fn sources(place: &Workplace) {
    for (index, split) in ["train", "train", "train", "valid", "test"]
        .iter()
        .enumerate()
    {
        let waves = Waves {
            frames: 24,
            packing: [Packing::Contiguous, Packing::Gzip(1)][index % 2],
            ..waves("flow", &[("x", 128, PERIODIC), ("y", 64, WALL)], &FLOW)
        };
        let path = place.path(&format!("sims/data/{split}/waves_{index}.hdf5"));
        waves.write(&path, index as u64).unwrap();
    }
}

/// Paths below a folder, with their bytes.
fn below(place: &Workplace, folder: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let root = place.path(folder);
    let files = place.files(folder).into_iter();
    files
        .map(|(path, bytes)| (path.strip_prefix(&root).unwrap().to_owned(), bytes))
        .collect()
}

/// The path of a shard of `ds`.
fn shard(place: &Workplace, split: &str, index: usize) -> String {
    let path = &place.manifest("ds")["splits"][split]["shards"][index]["path"];
    format!("ds/{}", path.as_str().unwrap())
}

/// Shards that the records of an unfinished ingest name, and when they were written.
fn recorded(place: &Workplace, root: &str) -> Vec<(PathBuf, SystemTime)> {
    let of_shards = |path: &PathBuf| {
        let folder = path.parent().and_then(|folder| folder.file_name());
        ["train", "valid", "test"]
            .iter()
            .any(|split| folder == Some(split.as_ref()))
    };
    let mut shards = Vec::new();
    for (path, bytes) in place.files(&format!("{root}/ingest")) {
        if !of_shards(&path) {
            continue;
        }
        // What a kill cut short has a name of its own.
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            let record: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            let shard = record["shard"]["path"].as_str().unwrap();
            let shard = place.path(root).join(shard);
            let written = shard.metadata().unwrap().modified().unwrap();
            shards.push((shard, written));
        }
    }
    shards
}

/// The program on a disk where no file may have more than `kib` KiB, as if it were full.
fn on_a_full_disk(place: &Workplace, kib: u64, words: &str) -> Said {
    place.run_within(&format!("trap '' XFSZ; ulimit -f {}", kib * 2), words)
}

#[test]
fn a_disk_without_room_ends_it_with_one_error_and_costs_nothing() {
    let place = Workplace::new();
    sources(&place);
    place.do_it("ingest sims whole --shard-mib 1");
    let ingest = "ingest sims ds --shard-mib 1";
    let said = on_a_full_disk(&place, 100, ingest);
    assert_eq!(said.code, 1, "{said:?}");
    assert_eq!(said.err.lines().count(), 1, "{said:?}");
    assert!(said.err.contains("ds/train/0000"), "{said:?}");
    assert!(!place.path("ds/manifest.json").exists());
    place.do_it(ingest);
    assert_eq!(below(&place, "ds"), below(&place, "whole"));
}

#[test]
fn killed_at_any_moment_it_goes_on_and_ends_with_the_same_bytes() {
    let place = Workplace::new();
    sources(&place);
    let command = |root: &str| place.command(&format!("ingest sims {root} --shard-mib 1"));
    let began = Instant::now();
    place.do_it("ingest sims whole --shard-mib 1");
    let mut longest = began.elapsed();
    let whole = below(&place, "whole");
    let (mut kills, mut finished, mut kept, mut state) = (0, 0, 0, 7_u64);
    while kills < 30 {
        let root = format!("ds{finished}");
        let before = recorded(&place, &root);
        let mut child = command(&root).spawn().unwrap();
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let share = (state >> 40) as f64 / (1_u64 << 24) as f64;
        std::thread::sleep(longest.mul_f64(share * 0.8));
        child.kill().unwrap();
        let ended = child.wait().unwrap();
        // The machine may be slower or faster than it was: a run that is killed before its work is given more time.
        match ended.success() {
            true => longest = longest.mul_f64(0.9),
            false => {
                (kills, longest) = (kills + 1, longest.mul_f64(1.1));
            }
        }
        if place.path(&format!("{root}/manifest.json")).exists() {
            // It was committed: whoever looks sees all of it, and the same command tidies up.
            place.do_it(&format!("verify {root}"));
            place.do_it(&format!("ingest sims {root} --shard-mib 1"));
            assert_eq!(below(&place, &root), whole);
            finished += 1;
        } else {
            let said = place.run(&format!("verify {root}"));
            assert!(said.err.contains("holds no data set"), "{said:?}");
        }
        for (shard, written) in before {
            assert_eq!(shard.metadata().unwrap().modified().unwrap(), written);
            kept += 1;
        }
    }
    let root = format!("ds{finished}");
    place.do_it(&format!("ingest sims {root} --shard-mib 1"));
    assert_eq!(below(&place, &root), whole);
    assert!(kept > 0, "no kill came between two shards");
}

#[test]
fn processes_share_the_work() {
    let place = Workplace::new();
    sources(&place);
    place.do_it("ingest sims whole --shard-mib 1");
    let together = |words: &str| {
        let parts = (0..3).map(|part| {
            let words = format!("ingest sims ds --shard-mib 1 --part {part}/3 {words}");
            place.command(&words).spawn().unwrap()
        });
        let parts: Vec<_> = parts.collect();
        for mut part in parts {
            assert!(part.wait().unwrap().success());
        }
    };
    let said = place.run("ingest sims ds --shard-mib 1 --part 1/3");
    assert_eq!(said.code, 1);
    assert!(
        said.err.contains("pieces of the statistics are missing"),
        "{}",
        said.err
    );
    together("--statistics");
    let said = place.run("ingest sims ds --shard-mib 1 --finish");
    assert_eq!(said.code, 1);
    assert!(said.err.contains("shards are missing"), "{}", said.err);
    together("");
    assert!(!place.path("ds/manifest.json").exists());
    place.do_it("ingest sims ds --shard-mib 1 --finish");
    assert_eq!(below(&place, "ds"), below(&place, "whole"));
}

#[test]
fn a_data_set_grows_and_shrinks_and_is_repaired() {
    let place = Workplace::new();
    sources(&place);
    place.do_it("ingest sims ds --shard-mib 1 --trajectories ..4");
    let more = waves("flow", &[("x", 128, PERIODIC), ("y", 64, WALL)], &FLOW);
    more.write(&place.path("more/data/train/later.hdf5"), 9)
        .unwrap();
    let said = place.do_it("ingest more ds --append");
    assert!(said.err.contains("6 train"), "{}", said.err);
    // As one that was killed after its end is run again.
    let grown = below(&place, "ds");
    let said = place.do_it("ingest more ds --append");
    assert!(said.err.contains("nothing is added"), "{}", said.err);
    assert_eq!(below(&place, "ds"), grown);
    let test = shard(&place, "test", 0);
    place.do_it("drop ds test");
    let said = place.do_it("drop ds --purge --dry-run");
    assert!(said.err.contains("would be deleted"), "{}", said.err);
    assert!(said.out.contains("test/00000."), "{}", said.out);
    assert!(place.path(&test).exists());
    place.do_it("drop ds --purge");
    assert!(!place.path(&test).exists());
    place.do_it("verify ds");
    let said = place.do_it("inspect ds");
    for part in [
        "generation 2",
        "pressure",
        "Reynolds",
        "vector",
        "Wall–Wall",
    ] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }

    let before = below(&place, "ds");
    let shards = [1, 3].map(|index| shard(&place, "train", index));
    let [first, second] = shards.each_ref().map(|shard| place.path(shard));
    let mut bytes = std::fs::read(&first).unwrap();
    bytes.truncate(1000);
    std::fs::write(&first, &bytes).unwrap();
    std::fs::remove_file(&second).unwrap();
    let said = place.run("verify ds");
    assert_eq!(said.code, 1);
    for part in [
        format!("{} is damaged: its size", shards[0]),
        shards[1].clone(),
    ] {
        assert!(said.out.contains(&part), "{part}: {said:?}");
    }
    assert!(
        said.err.contains("2 of the files of ds are damaged"),
        "{}",
        said.err
    );
    let said = place.run("verify ds --repair more");
    assert!(
        said.err
            .contains("it has no train trajectory waves_0.hdf5#0"),
        "{}",
        said.err
    );
    place.do_it("verify ds --repair sims");
    assert_eq!(below(&place, "ds"), before);
}

#[test]
fn frames_are_drawn_in_the_terminal() {
    let place = Workplace::new();
    let box_of = [("x", 20, OPEN), ("y", 16, OPEN), ("z", 12, OPEN)];
    let file = place.path("a.hdf5");
    waves("cube", &box_of, &FLOW).write(&file, 0).unwrap();
    place.do_it("ingest a.hdf5 ds");
    for path in ["a.hdf5", "ds"] {
        let said = place.do_it(&format!(
            "inspect {path} --plot --field velocity_z --step 3"
        ));
        assert!(
            said.out.starts_with("velocity_z, trajectory 0, step 3: "),
            "{}",
            said.out
        );
        assert_eq!(said.out.lines().count(), 1 + 8, "{}", said.out);
        assert!(
            said.out.contains('█') && said.out.contains('░'),
            "{}",
            said.out
        );
    }
    let said = place.run("inspect a.hdf5 --plot --field speed");
    assert_eq!(said.code, 2);
    assert!(
        said.err.contains("choose tracer, pressure, velocity_x"),
        "{}",
        said.err
    );
    let said = place.run("inspect ds --plot --step 30");
    assert_eq!(said.code, 1, "{said:?}");
}

/// Memory does not grow with the data set, nor a shard with the trajectory.
#[test]
fn memory_is_bounded() {
    let place = Workplace::new();
    let axes = [("x", 64, OPEN), ("y", 64, OPEN), ("z", 64, OPEN)];
    let waves = Waves {
        frames: 60,
        trajectories: 1,
        ..waves("cube", &axes, &SUPERNOVA)
    };
    waves.write(&place.path("src/a.hdf5"), 0).unwrap();
    let mut child = place
        .command("ingest src ds --shard-mib 16 --threads 2")
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(5));
    }
    let bytes: usize = place
        .files("ds/train")
        .iter()
        .map(|(_, bytes)| bytes.len())
        .sum();
    assert!(child.wait().unwrap().success());
    // 60 frames of 64³ cells and 6 channels.
    assert!(bytes > 60 * 64 * 64 * 64 * 6 * 4, "{bytes}");
    assert!(place.files("ds/train").len() > 20);
    assert!(peak > 0 && peak < 200 << 10, "{peak} KiB");
}
