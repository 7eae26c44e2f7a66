//! Predictions as data: rollouts are written in The Well's layout, and are a source like any other.

use serde_json::Value;
use wellspring_ingest::read_frame;
use wellspring_store::{Frames, Location};

use crate::paper::{OPEN, PERIODIC, SUPERNOVA, waves};
use crate::program::{SMALL, Said, Workplace};

/// The trajectory and the first step of each rollout below a folder, in order.
fn windows(place: &Workplace, out: &str) -> Vec<(u64, u64)> {
    let text = std::fs::read(place.path(out).join("data/prediction.json")).unwrap();
    let record: Value = serde_json::from_slice(&text).unwrap();
    let windows = record["windows"].as_array().unwrap().iter();
    let place = |window: &Value, key: &str| window[key].as_u64().unwrap();
    windows
        .map(|window| (place(window, "trajectory"), place(window, "start")))
        .collect()
}

/// A frame of a rollout, in the fields' own units.
fn frame(place: &Workplace, file: &str, step: usize) -> Frames {
    let file = Location::parse(place.path(file).to_str().unwrap()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(read_frame(&file, 0, step)).unwrap().1
}

/// The errors of an evaluation with a context of three frames are those that SQL finds between the ingested predictions
/// and the truth.
#[track_caller]
fn errors_agree(place: &Workplace, root: &str, name: &str, words: &str, fields: &[&str]) {
    place.do_it(&format!(
        "predict {name} {root} --to {name}-predicted --rollout 2 {words}"
    ));
    place.do_it(&format!("ingest {name}-predicted {name}-ds"));
    let windows = windows(place, &format!("{name}-predicted"));
    let mut compared = 0;
    for field in fields {
        let evaluated = place.ask(
            &format!("{root}-results"),
            &format!(
                "SELECT trajectory, start, lead, value FROM metrics JOIN runs USING (run) \
                 WHERE name = '{name}' AND field = '{field}' AND metric = 'vrmse'"
            ),
        );
        let mut asking = place.command(&format!(
            "sql --data truth={root} --data pred={name}-ds --format json"
        ));
        asking.arg(format!(
            "SELECT p.trajectory AS rollout, p.step AS place, t.trajectory, t.step, \
             vrmse(t.\"{field}\", p.\"{field}\") AS error FROM pred.frames p, truth.frames t \
             WHERE t.split = p.split AND t.time = p.time"
        ));
        let said = Said::from(asking.output().unwrap());
        assert_eq!(said.code, 0, "{said:?}");
        let found: Vec<Value> = serde_json::from_str(&said.out).unwrap();
        for (rollout, &(trajectory, start)) in windows.iter().enumerate() {
            for lead in 1..=2 {
                let is_same = |row: &&Value| {
                    row["trajectory"] == trajectory && row["start"] == start && row["lead"] == lead
                };
                let expected = evaluated.iter().find(is_same).unwrap();
                let expected = expected["value"].as_f64().unwrap();
                let is_frame = |row: &&Value| {
                    row["rollout"] == rollout
                        && row["place"] == 2 + lead
                        && row["trajectory"] == trajectory
                        && row["step"] == start + 2 + lead
                };
                let error = found.iter().find(is_frame).unwrap()["error"]
                    .as_f64()
                    .unwrap();
                assert!(
                    (error / expected - 1.0).abs() < 2e-5,
                    "{field} of {name} at {trajectory} {start} {lead}: {error} {expected}"
                );
                compared += 1;
            }
        }
    }
    assert_eq!(compared, fields.len() * windows.len() * 2);
    assert!(windows.len() > 1, "{windows:?}");
}

#[test]
fn errors_of_predictions_are_those_of_the_evaluation() {
    let place = Workplace::new();
    let words = "--shape 32x32 --frames 10 --train 3 --valid 1 --test 2 --seed 5";
    place.do_it(&format!("simulate shear-flow sims {words}"));
    place.do_it("ingest sims ds");
    place.do_it(&format!("train --out run {SMALL} --set train.steps=3"));
    let cyclic = "--schedule 4,8,16 --every 2";
    place.do_it(&format!("eval run ds -r ds-results --rollout 2 {cyclic}"));
    let still = "--context 3 --every 2";
    place.do_it(&format!(
        "eval persistence ds -r ds-results --rollout 2 {still}"
    ));
    let fields = ["tracer", "velocity_x"];
    errors_agree(&place, "ds", "run", cyclic, &fields);
    errors_agree(&place, "ds", "persistence", still, &fields);
    place.do_it(&format!("train --out moved {SMALL} --set train.steps=3"));
    let moved = format!("{cyclic} --jitter 7");
    place.do_it(&format!("eval moved ds -r ds-results --rollout 2 {moved}"));
    errors_agree(&place, "ds", "moved", &moved, &fields);
    // Ten frames and windows of five.
    let expected = [(0, 0), (0, 2), (0, 4), (1, 0), (1, 2), (1, 4)];
    assert_eq!(windows(&place, "run-predicted"), expected);
}

#[test]
fn errors_of_transformed_fields_and_vectors_are_those_of_the_evaluation() {
    let place = Workplace::new();
    for (index, split) in ["train", "valid", "test"].into_iter().enumerate() {
        let path = place.path(&format!("sims/data/{split}/waves_{index}.hdf5"));
        let axes = [("x", 32, PERIODIC), ("y", 16, OPEN)];
        let waves = waves("supernova", &axes, &SUPERNOVA);
        waves.write(&path, index as u64).unwrap();
    }
    place.do_it("ingest sims logs --transform density=log10 --transform velocity=asinh:0.5");
    place.train_and_evaluate("logs", "");
    let fields = ["density", "pressure", "velocity_x", "velocity_y"];
    errors_agree(
        &place,
        "logs",
        "logs-run",
        "--schedule 4 --every 2",
        &fields,
    );
    let (made, source) = (place.manifest("logs-run-ds"), place.manifest("logs"));
    assert_eq!(made["schema"]["grid"], source["schema"]["grid"]);
    let names = |manifest: &Value| -> Vec<(Value, Value)> {
        let fields = manifest["schema"]["fields"].as_array().unwrap().iter();
        fields
            .map(|field| (field["name"].clone(), field["order"].clone()))
            .collect()
    };
    assert_eq!(names(&made), names(&source));
}

#[test]
fn errors_in_3d_are_those_of_the_evaluation() {
    let place = Workplace::new();
    place.do_it("simulate decaying-turbulence-3d sims --shape 8x8x16 --frames 5 --train 1 --valid 1 --test 2");
    place.do_it("ingest sims cubes");
    place.train_and_evaluate("cubes", "");
    let fields = ["tracer", "velocity_x", "velocity_y", "velocity_z"];
    errors_agree(&place, "cubes", "cubes-run", "--batch 1", &fields);
}

/// The context is the truth, and persistence repeats its last frame, bit for bit.
#[test]
fn persistence_repeats_the_last_frame_of_the_context() {
    let place = Workplace::new().with_data_set();
    place.do_it(
        "predict persistence ds --to out --rollout 3 --context 2 --stride 2 --every 1 --trajectories 1..",
    );
    assert_eq!(windows(&place, "out"), [(1, 0), (1, 1)]);
    let file = "out/data/test/trajectory_00001_start_00001.hdf5";
    let last = frame(&place, file, 1);
    for step in 2..5 {
        assert_eq!(frame(&place, file, step), last);
    }
    let sources = place.files("sims/data/test");
    let source = sources[1].0.strip_prefix(place.path("")).unwrap();
    let truth = frame(&place, source.to_str().unwrap(), 3);
    for (found, expected) in last.data().iter().zip(truth.data()) {
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
    let inspected = place.do_it(&format!("inspect {file}")).out;
    assert!(inspected.contains("periodic below"), "{inspected}");
    // Every other of ten frames, from the second on.
    place.do_it("ingest out again");
    let times = "SELECT time FROM frames WHERE split = 'test' AND trajectory = 1 ORDER BY time";
    let times = |root| -> Vec<Value> {
        let rows = place.ask_frames(root, times).into_iter();
        rows.map(|row| row["time"].clone()).collect()
    };
    let expected: Vec<Value> = times("ds").into_iter().skip(1).step_by(2).collect();
    assert_eq!(times("again"), expected);
}

/// An array of an archive of NumPy's whose files lie as they are: its shape, and its numbers as f32.
fn array(archive: &[u8], name: &str) -> (String, Vec<f32>) {
    let place = |text: &[u8], from: usize| {
        let found = archive[from..]
            .windows(text.len())
            .position(|at| at == text);
        from + found.unwrap()
    };
    let begin = place(b"\x93NUMPY", place(format!("{name}.npy").as_bytes(), 0));
    let length = usize::from(u16::from_le_bytes([archive[begin + 8], archive[begin + 9]]));
    let header = String::from_utf8(archive[begin + 10..begin + 10 + length].to_vec()).unwrap();
    assert!(header.contains("'<f4'"), "{header}");
    let shape = header.split('(').nth(1).unwrap().split(')').next().unwrap();
    let sides = shape.split_terminator(',');
    let count: usize = sides.map(|side| side.parse::<usize>().unwrap()).product();
    let values = archive[begin + 10 + length..][..4 * count].chunks_exact(4);
    let values = values.map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
    (shape.to_owned(), values.collect())
}

/// Arrays for NumPy have the values of the HDF5, components last.
#[test]
fn arrays_are_the_fields_of_the_hdf5() {
    let place = Workplace::new().with_data_set();
    let words = "predict linear ds --rollout 2 --context 2 --every 1 --batch 3";
    place.do_it(&format!("{words} --to well"));
    let said = place.do_it(&format!("{words} --to arrays --format npz"));
    assert!(said.err.contains("numpy.load"), "{said:?}");
    assert_eq!(windows(&place, "arrays"), windows(&place, "well"));
    let name = "data/test/trajectory_00001_start_00003";
    let archive = std::fs::read(place.path(&format!("arrays/{name}.npz"))).unwrap();
    let (shape, tracer) = array(&archive, "tracer");
    let (of_vector, velocity) = array(&archive, "velocity");
    let frames: Vec<Frames> = (0..4)
        .map(|step| frame(&place, &format!("well/{name}.hdf5"), step))
        .collect();
    let space = frames[0].space();
    assert_eq!(shape, format!("4,{},{},", space[0], space[1]));
    assert_eq!(of_vector, format!("{shape}2,"));
    let manifest = place.manifest("ds");
    let fields = manifest["schema"]["fields"].as_array().unwrap().iter();
    let mut names = Vec::new();
    for field in fields {
        let name = field["name"].as_str().unwrap().to_owned();
        let components = 1 + usize::from(field["order"] == "vector");
        names.extend((0..components).map(|component| (name.clone(), component)));
    }
    let channel = |name: &str, component: usize| {
        let place = names
            .iter()
            .position(|one| *one == (name.to_owned(), component));
        place.unwrap()
    };
    let cells = frames[0].cells();
    for (step, frame) in frames.iter().enumerate() {
        let own = frame.channel(0, 0, channel("tracer", 0));
        assert_eq!(tracer[step * cells..(step + 1) * cells], *own);
        for component in 0..2 {
            let own = frame.channel(0, 0, channel("velocity", component));
            let found = velocity[2 * step * cells..]
                .iter()
                .skip(component)
                .step_by(2);
            assert!(found.zip(own).all(|(a, b)| a == b), "{step} {component}");
        }
    }
    // The same command does nothing; another format is another prediction.
    place
        .do_it(&format!("{words} --to arrays --format npz"))
        .names(&["there already"]);
    place
        .run(&format!("{words} --to arrays"))
        .refuses(&["--overwrite"]);
}

/// Walls, fields that do not vary in time, scalars and other grids than a box stay what they are.
#[test]
fn what_is_not_predicted_is_the_sources() {
    for name in [
        "acoustic_scattering_maze",
        "helmholtz_staircase",
        "viscoelastic_instability",
        "convective_envelope_rsg",
        "turbulence_gravity_cooling",
    ] {
        let place = Workplace::new();
        place.lay(&[(&format!("the_well/{name}"), "src")]);
        place.do_it("ingest src ds");
        place.do_it("predict mean ds --to out --rollout 2 --context 2 --split train");
        place.do_it("ingest out again");
        let (source, made) = (place.manifest("ds"), place.manifest("again"));
        assert_eq!(made["schema"], source["schema"]);
        let all = |manifest: &Value, key: &str| -> Vec<Value> {
            let held = &manifest["splits"]["train"]["trajectories"];
            let held = held.as_array().unwrap().iter();
            held.map(|one| one[key].clone()).collect()
        };
        for key in ["parameters", "coordinates"] {
            assert_eq!(all(&made, key), all(&source, key), "{name}");
        }
        for field in source["schema"]["fields"].as_array().unwrap() {
            if field["time_varying"] == false {
                let of = |manifest: &Value| {
                    let statistics = &manifest["statistics"][field["name"].as_str().unwrap()];
                    [&statistics["mean"], &statistics["std"]].map(|x| x.as_f64().unwrap())
                };
                for (found, expected) in of(&made).into_iter().zip(of(&source)) {
                    assert!((found - expected).abs() < 1e-6, "{name} {field}");
                }
            }
        }
    }
}

#[test]
fn predictions_are_not_written_over_unasked() {
    let place = Workplace::new().with_data_set();
    let words = "predict persistence ds --to out --rollout 2";
    place.do_it(words);
    let first = place.files("out");
    place.do_it(words).names(&["there already"]);
    assert_eq!(place.files("out"), first);
    let other = "predict linear ds --to out --rollout 2";
    place.run(other).refuses(&["out/data", "--overwrite"]);
    assert_eq!(place.files("out"), first);
    // Nor over simulations.
    let over = "predict persistence ds --to sims --rollout 2";
    place.run(over).refuses(&["sims/data", "--overwrite"]);
    place.do_it(&format!("{other} --overwrite"));
    let text = std::fs::read_to_string(place.path("out/data/prediction.json")).unwrap();
    assert!(text.contains("linear"), "{text}");
}

#[test]
fn what_cannot_be_predicted_is_refused() {
    let place = Workplace::new().with_data_set();
    let said = place.run("predict persistence ds --to out --rollout 5 --context 6");
    said.refuses(&["longest has 10", "shorter context or rollout"]);
    for (words, named) in [
        ("--rollout 0", "--rollout"),
        ("--stride 0", "--stride"),
        ("--every 0", "--every"),
        ("--split tests", "train, valid or test"),
        ("--trajectories 2..", "--trajectories 2.."),
        ("--trajectories one", "3..8"),
        ("--to s3://bucket/out", "can only be written to a folder"),
    ] {
        let to = ["--to out", ""][usize::from(words.starts_with("--to"))];
        let said = place.run(&format!("predict persistence ds {to} {words}"));
        assert_eq!(said.code, 2, "{words}: {said:?}");
        assert!(said.err.contains(named), "{words}: {said:?}");
    }
    let said = place.run("simulate shear-flow s3://bucket/sims");
    assert_eq!(said.code, 2, "{said:?}");
    let said = place.run("predict nothing ds --to out");
    said.refuses(&["cannot load a model from", "nothing"]);
    for left in ["out", "s3:"] {
        assert!(!place.path(left).exists(), "{left}");
    }
}

/// A disk that becomes full at any point is reported with the file, and nothing incomplete counts.
#[test]
fn a_full_disk_is_noticed() {
    let place = Workplace::new();
    place.do_it("simulate shear-flow sims --shape 16x16 --frames 5 --train 1 --valid 0 --test 1");
    place.do_it("ingest sims ds");
    let words = "predict persistence ds --to out --rollout 2 --context 3";
    let mut failed = 0;
    for kib in (0..64).step_by(3) {
        let limit = format!("trap '' XFSZ; ulimit -f {}", kib * 2);
        let said = place.run_within(&limit, words);
        if said.code == 0 {
            break;
        }
        failed += 1;
        said.refuses(&["out/data"]);
        assert!(!place.path("out/data").exists(), "{kib} KiB");
    }
    assert!(failed > 3, "{failed}");
    place.do_it(words);
    let names = place.files("out").into_iter().map(|(path, _)| path);
    let names: Vec<String> = names
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    let expected = ["prediction.json", "trajectory_00000_start_00000.hdf5"];
    assert_eq!(names, expected);
}
