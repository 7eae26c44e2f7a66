//! Runs that go on: with other settings, from damage, from their end, after they diverged.

use wellspring_store::Notes;

use super::*;
use crate::{Event, import};

/// A run of nine steps with a checkpoint every three, and what was told of it.
struct Run {
    runtime: Runtime,
    dataset: Arc<Dataset>,
    place: Location,
    notes: Notes,
}

fn nine_steps() -> Config {
    let mut config = config(Strategy::Ckm);
    config.model.patches = vec![16.into()];
    config.train.checkpoint_every = 3;
    config
}

impl Run {
    /// What was told since this was asked last.
    fn told(&self) -> String {
        self.notes.take().join("\n")
    }

    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        Self {
            dataset: dataset(&runtime),
            place: memory(),
            notes: Notes::default(),
            runtime,
        }
    }

    fn go(&self, config: &Config) -> crate::Result<crate::Outcome> {
        self.stopped(config, &AtomicBool::new(false), &self.notes)
    }

    fn stopped(
        &self,
        config: &Config,
        stop: &AtomicBool,
        reporter: &dyn Reporter,
    ) -> crate::Result<crate::Outcome> {
        let data = vec![Arc::clone(&self.dataset)];
        let handle = self.runtime.handle();
        train(config, data, &self.place, true, stop, handle, reporter)
    }

    fn stop_after(&self, config: &Config, steps: u64) {
        let stop = AtomicBool::new(false);
        let outcome = self.stopped(config, &stop, &StopAfter(AtomicU64::new(steps), &stop));
        assert_eq!(outcome.unwrap().step, steps);
    }

    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.runtime.block_on(async {
            let mut files = BTreeMap::new();
            for object in self.place.list().await.unwrap() {
                let path = object.below(&self.place).unwrap();
                files.insert(path, object.get().await.unwrap().to_vec());
            }
            files
        })
    }

    fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        let place = self.place.join(path);
        self.runtime.block_on(place.put(bytes.into())).unwrap();
    }

    fn delete(&self, path: &str) {
        self.runtime
            .block_on(self.place.join(path).delete())
            .unwrap();
    }

    fn config(&self) -> Config {
        self.runtime.block_on(Config::load(&self.place)).unwrap()
    }

    /// The learning rate of each step.
    fn rates(&self) -> Vec<f64> {
        let text = String::from_utf8(self.files()["log.jsonl"].clone()).unwrap();
        let rate = |line: &str| match serde_json::from_str(line).unwrap() {
            Event::Step { lr, norm, .. } => {
                assert!(norm.unwrap() > 0.0);
                Some(lr)
            }
            _ => None,
        };
        text.lines().filter_map(rate).collect()
    }

    fn loaded(&self) -> crate::Result<Predictor> {
        let device = crate::DeviceChoice::Cpu;
        let loaded = Predictor::load(&self.place, None, device, &self.notes);
        self.runtime.block_on(loaded)
    }
}

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
    other.model.blocks = 2;
    let error = run.go(&other).unwrap_err().to_string();
    assert!(error.contains("[model] is not the one"), "{error}");
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
    assert_eq!(rates[5], crate::optim::learning_rate(&more.optim, 5, 12));
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
    let run = Run::new();
    run.go(&nine_steps()).unwrap();
    let weights = weights(&run.runtime, &run.place);
    let tuned = Run {
        place: memory(),
        ..run
    };
    let data = [Arc::clone(&tuned.dataset)];
    let begun = nine_steps();
    let imported = import(&begun, &data, &tuned.place, &weights, "weights");
    tuned.runtime.block_on(imported).unwrap();
    let mut config = nine_steps();
    config.train.steps = 4;
    tuned.go(&config).unwrap();
    assert_eq!(tuned.config().optim.horizon, Some(4));
    let rates: Vec<f64> = (0..4)
        .map(|step| crate::optim::learning_rate(&config.optim, step, 4))
        .collect();
    assert_eq!(tuned.rates(), rates);
}

#[test]
fn a_damaged_log_stops_nothing() {
    let run = Run::new();
    run.stop_after(&nine_steps(), 3);
    let log = run.files()["log.jsonl"].clone();
    for (damage, told, steps) in [
        ("\n", "", 4),
        ("\n{\"event\":\"step\",\"st", "1 lines of", 5),
        ("\n\u{0}\u{0}\nnull\n", "2 lines of", 6),
    ] {
        let text = String::from_utf8(log.clone()).unwrap();
        run.put("log.jsonl", text + damage);
        let mut config = nine_steps();
        config.train.steps = steps;
        run.go(&config).unwrap();
        let notes = run.told();
        assert!(notes.contains(told), "{notes}");
        assert_eq!(notes.contains("lines of"), !told.is_empty(), "{notes}");
        assert!(run.rates().len() >= 4);
    }
    run.delete("log.jsonl");
    run.go(&nine_steps()).unwrap();
    assert!(run.told().contains("log.jsonl is missing"));
    assert_eq!(run.rates().len(), 3);
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
        let found = Checkpoint::resumable(&run.place, &run.notes);
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
        let found = Checkpoint::find(&run.place, Some(step), &Silent);
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

/// A damaged checkpoint of a later step is no reason to delete a sound one.
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
    let stop = AtomicBool::new(false);
    let reporter = StopAfter(AtomicU64::new(4), &stop);
    assert_eq!(run.stopped(&config, &stop, &reporter).unwrap().step, 4);
    assert_eq!(run.loaded().unwrap().step(), 4);
}

#[test]
fn a_run_that_diverges_names_the_step_and_leaves_the_checkpoint_before() {
    for (every, kept) in [(1, Some(1)), (500, None)] {
        let run = Run::new();
        let mut config = nine_steps();
        config.optim.lr = 1e36;
        config.optim.warmup = 0;
        config.train.checkpoint_every = every;
        let error = run.go(&config).unwrap_err();
        let said = error.to_string();
        match error {
            Error::Diverged {
                step, kept: found, ..
            } => assert_eq!((step, found), (2, kept), "{said}"),
            error => panic!("{error}"),
        }
        assert!(said.contains("optim.lr"), "{said}");
        assert_eq!(run.rates().len(), 1);
        assert_eq!(run.loaded().is_ok(), kept.is_some());
    }
}

/// One cell of ten million: clipped, no step takes the weights away.
#[test]
fn a_training_that_clips_survives_an_outlier() {
    let runtime = Runtime::new().unwrap();
    let kind = Waves {
        outlier: Some(1e7),
        ..Waves::default()
    };
    let run = Run {
        dataset: waves(&runtime, &kind),
        ..Run::new()
    };
    let mut config = nine_steps();
    config.train.steps = 40;
    config.optim.clip = Some(1.0);
    let outcome = run.go(&config).unwrap();
    assert!(outcome.loss.unwrap().is_finite(), "{outcome:?}");
    assert_eq!(run.rates().len(), 40);
}
