//! Resumed runs: with other settings, after damage, from their end, from an earlier step, on a data set that
//! has changed.

use wellspring_s3_testing::{Fault, Server, Trouble};

use super::run::{Run, nine_steps};
use super::*;

#[test]
fn a_finished_run_is_left_as_it_is() {
    let run = Run::new();
    let outcome = run.go(&nine_steps()).unwrap();
    assert!(outcome.loss.unwrap().is_finite());
    let before = run.files();
    let again = run.go(&nine_steps()).unwrap();
    assert_eq!((again.begun, again.step, again.stopped), (9, 9, false));
    assert!(again.loss.unwrap().is_finite());
    let mut fewer = nine_steps();
    fewer.train.steps = 4;
    run.go(&fewer).unwrap();
    assert!(run.files() == before);
}

#[test]
fn a_run_does_not_go_on_as_another() {
    let run = Run::new();
    run.stop_after(&nine_steps(), 3);
    let mut other = nine_steps();
    transformer(&mut other).blocks = 2;
    let error = run.go(&other).unwrap_err().to_string();
    assert!(error.contains("model.blocks = 2 (was 1)"), "{error}");
}

#[test]
fn the_schedule_is_the_one_that_a_run_began_with() {
    let (whole, run) = (Run::new(), Run::new());
    whole.go(&nine_steps()).unwrap();
    let schedule = whole.rates();
    assert_eq!(whole.config().optim.horizon, Some(9));

    // Stopped, and given more steps: no rate jumps, and beyond the horizon it stays.
    run.stop_after(&nine_steps(), 5);
    let mut more = nine_steps();
    more.train.steps = 12;
    run.go(&more).unwrap();
    assert_eq!(run.rates()[..9], schedule);
    assert_eq!(run.rates()[9..], [0.0; 3]);
    let notes = run.told();
    assert!(
        notes.contains("from step 5 on train.steps = 12 (was 9)"),
        "{notes}"
    );
    assert!(notes.contains("--set optim.horizon=12"), "{notes}");

    // Stretched on purpose.
    let longer = Run::new();
    longer.stop_after(&nine_steps(), 5);
    more.optim.horizon = Some(12);
    longer.go(&more).unwrap();
    let rates = longer.rates();
    assert_eq!(rates[..5], schedule[..5]);
    assert_eq!(rates[5], crate::optim::learning_rate(&more.optim, 5, 12.0));
    assert!(rates[11] > 0.0);
    let notes = longer.told();
    assert!(notes.contains("optim.horizon = 12 (was 9)"), "{notes}");
    assert!(!notes.contains("warning"), "{notes}");
}

#[test]
fn a_run_from_before_there_was_a_horizon_keeps_its_schedule() {
    let (whole, old) = (Run::new(), Run::new());
    whole.go(&nine_steps()).unwrap();
    old.stop_after(&nine_steps(), 5);
    old.put("config.toml", nine_steps().to_toml().unwrap());
    let mut more = nine_steps();
    more.train.steps = 10;
    old.go(&more).unwrap();
    assert_eq!(old.rates()[..9], whole.rates());
    assert_eq!(old.config().optim.horizon, Some(9));
}

#[test]
fn imported_weights_begin_a_schedule_of_their_own() {
    let (tuned, weights) = Run::beside_weights();
    tuned.import(&nine_steps(), &weights).unwrap();
    let mut config = nine_steps();
    config.train.steps = 4;
    tuned.go(&config).unwrap();
    assert_eq!(tuned.config().optim.horizon, Some(4));
    let rates: Vec<f64> = (0..4)
        .map(|step| crate::optim::learning_rate(&config.optim, step, 4.0))
        .collect();
    assert_eq!(tuned.rates(), rates);
}

/// A process that was killed after its last checkpoint has taken steps that are taken again.
#[test]
fn the_log_of_a_killed_run_has_each_step_once() {
    let run = Run::new();
    run.go(&nine_steps()).unwrap();
    for path in run.files().keys() {
        if path.starts_with("checkpoints/00000009") || path.starts_with("checkpoints/00000006") {
            run.delete(path);
        }
    }
    run.stop_after(&nine_steps(), 3);
    run.go(&nine_steps()).unwrap();
    let rows = run.log();
    let steps = rows.iter().filter(|row| row.event == "step");
    let steps: Vec<u64> = steps.map(|row| row.step).collect();
    assert_eq!(steps, (1..=9).collect::<Vec<_>>());
    let last = rows.last().unwrap();
    assert_eq!((last.event.as_str(), last.step), ("done", 9));
    let begun = rows.iter().filter(|row| row.event == "start");
    let begun: Vec<_> = begun.map(|row| (row.step, row.steps)).collect();
    assert_eq!(begun, [(0, Some(9)), (0, Some(9)), (3, Some(9))]);
    assert!(rows.iter().any(|row| row.event == "stopped"));
}

/// Versions before wrote one file of lines.
#[test]
fn an_old_log_stays_as_it_is_and_is_gone_on_with() {
    let run = Run::new();
    run.stop_after(&nine_steps(), 3);
    for path in run.files().keys().filter(|path| path.starts_with("log/")) {
        run.delete(path);
    }
    let line = |step: u64| {
        format!(
            "{{\"event\":\"step\",\"step\":{step},\"loss\":1.0,\"data\":\"waves\",\"patch\":\"16\",\"lr\":0.5,\
             \"seconds\":1.0,\"waited\":0.0}}\n"
        )
    };
    let text: String = (1..=5).map(line).collect::<String>() + "\n{\"event\":\"step\",\"st";
    run.put("log.jsonl", text.clone());
    run.go(&nine_steps()).unwrap();
    assert_eq!(run.files()["log.jsonl"], text.as_bytes());
    let rates = run.rates();
    assert_eq!((rates.len(), &rates[..3]), (9, &[0.5; 3][..]));
    assert!(rates[3] < 0.5);
}

#[test]
fn a_damaged_checkpoint_is_passed_over() {
    let run = Run::new();
    run.go(&nine_steps()).unwrap();
    let (sound, learned) = (run.files(), weights(&run.runtime, &run.place));
    let model = "checkpoints/00000009/model.safetensors";
    let optimizer = "checkpoints/00000009/optimizer.safetensors";
    let state = "checkpoints/00000009/state.json";
    let half = |path: &str| Some(sound[path][..sound[path].len() / 2].to_vec());
    let text = String::from_utf8(sound[state].clone()).unwrap();
    let changed = |from: &str, to: &str| {
        assert!(text.contains(from));
        Some(text.replace(from, to).into_bytes())
    };
    let mut malformed = sound[model].clone();
    malformed[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    for (path, bytes, predicts) in [
        (model, half(model), 6),
        (model, Some(Vec::new()), 6),
        (model, Some(malformed), 6),
        (model, None, 6),
        (optimizer, half(optimizer), 9),
        (optimizer, None, 9),
        (state, None, 6),
        (state, half(state), 6),
        (state, Some(Vec::new()), 6),
        (state, Some(b"null".to_vec()), 6),
        (
            state,
            changed("\"step\": 9", "\"step\": 9223372036854775808"),
            6,
        ),
        (state, changed("\"step\": 9", "\"step\": -1"), 6),
        (state, changed("\"space\": [", "\"space\": [7, "), 6),
    ] {
        for (path, bytes) in &sound {
            run.put(path, bytes.clone());
        }
        match &bytes {
            Some(bytes) => run.put(path, bytes.clone()),
            None => run.delete(path),
        }
        assert_eq!(run.loaded().unwrap().step(), predicts, "{path} {bytes:?}");
        let notes = run.told();
        assert_eq!(notes.contains(path), predicts == 6, "{notes}");
        let found = Checkpoint::resumable(&run.place, None, &run.notes);
        let found = run.runtime.block_on(found).unwrap().unwrap();
        assert_eq!(found.state.step, 6, "{path}");
        let notes = run.told();
        assert!(notes.contains("taking the checkpoint of step 6"), "{notes}");
    }
    // A step that no run reaches, in a folder of its name, is not counted up to.
    let far = "checkpoints/9223372036854775808";
    for name in ["model.safetensors", "optimizer.safetensors"] {
        let bytes = sound[&format!("checkpoints/00000006/{name}")].clone();
        run.put(&format!("{far}/{name}"), bytes);
    }
    let text = String::from_utf8(sound["checkpoints/00000006/state.json"].clone()).unwrap();
    let text = text.replace("\"step\": 6", "\"step\": 9223372036854775808");
    run.put(&format!("{far}/state.json"), text);
    // The run goes on from there, and is then as if nothing had been.
    run.go(&nine_steps()).unwrap();
    assert!(weights(&run.runtime, &run.place) == learned);
}

#[test]
fn a_checkpoint_that_is_named_is_that_one_or_none() {
    let run = Run::new();
    run.go(&nine_steps()).unwrap();
    let named = |step| {
        let found = Checkpoint::find(&run.place, CheckpointChoice::Step(step).into(), &Silent);
        run.runtime.block_on(found)
    };
    assert_eq!(named(9).unwrap().state.step, 9);
    let error = named(8).unwrap_err();
    assert!(matches!(error, Error::NoCheckpoint { .. }), "{error}");
    run.put("checkpoints/00000009/model.safetensors", "");
    let error = named(9).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
}

#[test]
fn a_run_without_a_sound_checkpoint_says_so_and_stays() {
    let run = Run::new();
    run.go(&nine_steps()).unwrap();
    for step in ["00000006", "00000009"] {
        run.put(&format!("checkpoints/{step}/model.safetensors"), "");
    }
    let before = run.files();
    for error in [
        run.go(&nine_steps()).unwrap_err(),
        run.loaded().unwrap_err(),
    ] {
        assert!(matches!(error, Error::NoSoundCheckpoint { .. }), "{error}");
        let said = error.to_string();
        assert!(
            said.contains("00000006/model") && said.contains("from a copy"),
            "{said}"
        );
    }
    assert!(run.files() == before);
}

#[test]
fn a_lost_or_malformed_configuration_is_named() {
    let run = Run::new();
    run.stop_after(&nine_steps(), 3);
    run.delete("config.toml");
    let said = run.go(&nine_steps()).unwrap_err().to_string();
    assert!(
        said.contains("config.toml is damaged: it is missing"),
        "{said}"
    );
    for text in ["[model", "[model]\nheads = 0", "\u{0}"] {
        run.put("config.toml", text);
        let said = run.loaded().unwrap_err().to_string();
        assert!(said.contains("config.toml is damaged"), "{said}");
    }
}

/// A damaged checkpoint of a later step is not a reason to delete a sound one.
#[test]
fn what_was_passed_over_is_not_kept_instead_of_what_is_sound() {
    let run = Run::new();
    let mut config = nine_steps();
    config.train.keep = 1;
    config.train.checkpoint_every = 500;
    run.stop_after(&config, 3);
    let older = run.files();
    run.go(&config).unwrap();
    for (path, bytes) in older {
        run.put(&path, bytes);
    }
    run.put("checkpoints/00000009/state.json", "{");
    let stop = Stop::default();
    let reporter = StopAfter(AtomicU64::new(4), &stop);
    assert_eq!(run.stopped(&config, &stop, &reporter).unwrap().step, 4);
    assert_eq!(run.loaded().unwrap().step(), 4);
}

#[test]
fn a_state_that_was_edited_is_passed_over_and_one_from_before_checksums_is_read() {
    let run = Run::new();
    run.go(&nine_steps()).unwrap();
    let state = "checkpoints/00000009/state.json";
    let sound = String::from_utf8(run.files()[state].clone()).unwrap();
    run.put(state, sound.replace("\"waves\"", "\"waver\""));
    assert_eq!(run.loaded().unwrap().step(), 6);
    let told = run.told();
    assert!(told.contains("says that its checksum is"), "{told}");
    let mut old: serde_json::Value = serde_json::from_str(&sound).unwrap();
    old.as_object_mut().unwrap().remove("checksum").unwrap();
    run.put(state, old.to_string());
    assert_eq!(run.loaded().unwrap().step(), 9);
}

#[test]
fn a_run_goes_back_to_an_earlier_checkpoint() {
    let (whole, run) = (Run::new(), Run::new());
    let mut config = nine_steps();
    config.train.keep = 9;
    whole.go(&config).unwrap();
    run.go(&config).unwrap();
    let error = run.from(&config, 4).unwrap_err().to_string();
    assert!(error.contains("of step 4, but of 3, 6, 9"), "{error}");
    let outcome = run.from(&config, 9).unwrap();
    assert_eq!((outcome.begun, outcome.step), (9, 9));
    assert_eq!(run.steps(), [3, 6, 9]);

    let mut other = config.clone();
    (other.optim.lr, other.train.checkpoint_every) = (1e-4, 500);
    run.told();
    run.from(&other, 3).unwrap();
    let told = run.told();
    assert!(told.contains("[6, 9] are deleted"), "{told}");
    assert_eq!(run.steps(), [3, 9]);
    assert_eq!(run.rates().len(), 9);
    assert_eq!(run.rates()[..3], whole.rates()[..3]);
    assert!(run.rates()[4] < whole.rates()[4]);
    // Back again, with the first rate: the bits of a run that was never elsewhere.
    run.from(&config, 3).unwrap();
    assert!(
        run.files()["checkpoints/00000009/model.safetensors"]
            == whole.files()["checkpoints/00000009/model.safetensors"]
    );
}

/// A run whose data set was changed goes on with what it read before.
#[test]
fn a_run_goes_on_after_a_change_of_what_it_does_not_read() {
    let whole = Run::new();
    whole.go(&nine_steps()).unwrap();
    let learned = weights(&whole.runtime, &whole.place);
    for forgets in [false, true] {
        let mut run = Run::new();
        run.stop_after(&nine_steps(), 3);
        if forgets {
            let state = "checkpoints/00000003/state.json";
            let mut text: serde_json::Value = serde_json::from_slice(&run.files()[state]).unwrap();
            text.as_object_mut().unwrap().remove("checksum").unwrap();
            text["domains"][0]
                .as_object_mut()
                .unwrap()
                .remove("reads")
                .unwrap();
            run.put(state, text.to_string());
        }
        let root = run.dataset.location().clone();
        let split = |run: &mut Run, change: &dyn Fn(&mut Manifest)| {
            let before = run.dataset.manifest().clone();
            let kept = root.join(&format!(
                "generations/{:05}-{}.json",
                before.generation,
                before.id()
            ));
            let mut next = before.clone();
            change(&mut next);
            next.generation += 1;
            run.dataset = run.runtime.block_on(async {
                kept.put(before.to_json()).await.unwrap();
                root.join("manifest.json")
                    .put(next.to_json())
                    .await
                    .unwrap();
                Arc::new(Dataset::open(&root).await.unwrap())
            });
        };
        // Another split comes and goes.
        split(&mut run, &|manifest| {
            let held = manifest.splits[&Split::Train].clone();
            manifest.splits.insert(Split::Test, held);
        });
        run.go(&nine_steps()).unwrap();
        let told = run.told();
        assert!(told.contains("but not what training reads"), "{told}");
        assert!(weights(&run.runtime, &run.place) == learned);

        // The training split grows by what it has.
        split(&mut run, &|manifest| {
            let held = manifest.splits.get_mut(&Split::Train).unwrap();
            held.trajectories.extend_from_within(..);
            held.shards.extend_from_within(..);
        });
        run.from(&nine_steps(), 6).unwrap();
        let told = run.told();
        assert!(told.contains("goes on with generation 1"), "{told}");
        assert!(weights(&run.runtime, &run.place) == learned);

        // A purge takes the earlier generations away.
        run.runtime
            .block_on(wellspring_store::purge(&root))
            .unwrap();
        let error = run.from(&nine_steps(), 6).unwrap_err().to_string();
        assert!(error.contains("a purge deletes it"), "{error}");
    }
}

/// A training that goes on deletes the checkpoint that was the newest a moment ago.
#[test]
fn a_checkpoint_is_found_beside_a_training_that_deletes_them() {
    // A bucket that is busy at times, so that some reads take longer than some steps.
    let server = Server::start().unwrap();
    server.trouble(Trouble {
        method: "GET",
        fault: Fault::Status(503),
        every: 20,
        times: u64::MAX,
    });
    let place = Location::parse_with("s3://bucket/run", &server.settings()).unwrap();
    let run = Run {
        place,
        ..Run::new()
    };
    let stop = Stop::default();
    let mut config = nine_steps();
    config.train.steps = 30_000;
    (config.train.checkpoint_every, config.train.keep) = (1, 1);
    std::thread::scope(|scope| {
        let training = scope.spawn(|| run.stopped(&config, &stop, &Silent));
        while run.steps().is_empty() {
            std::thread::yield_now();
        }
        let found: Vec<_> = (0..100).map(|_| run.loaded().map(drop)).collect();
        stop.ask();
        assert!(training.join().unwrap().unwrap().stopped);
        found.into_iter().collect::<crate::Result<()>>().unwrap();
    });
}
