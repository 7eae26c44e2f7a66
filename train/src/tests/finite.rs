//! Infinities and NaN in data, gradients, weights, moments and their files.

use super::run::{Run, nine_steps};
use super::*;
use crate::checkpoint::TrainingState;
use crate::claim::RunClaim;
use crate::{Domains, Progress};

#[test]
fn a_run_that_diverges_names_the_step_and_leaves_the_checkpoint_before() {
    for (every, kept) in [(1, Some(1)), (500, None)] {
        let run = Run::new();
        let mut config = nine_steps();
        config.optim.lr = 1e36;
        config.optim.warmup = 0;
        config.train.max_skipped = 0;
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

/// A value of the first tensor, last in the file, becomes another.
fn with_value(mut weights: Vec<u8>, value: f32) -> Vec<u8> {
    let end = weights.len();
    weights[end - 4..].copy_from_slice(&value.to_le_bytes());
    weights
}

#[test]
fn weights_that_are_not_finite_are_not_imported_and_their_tensor_is_named() {
    let (tuned, weights) = Run::beside_weights();
    for value in [f32::NAN, f32::INFINITY] {
        let error = tuned
            .import(&nine_steps(), &with_value(weights.clone(), value))
            .unwrap_err();
        let Error::NotFinite { object, tensor } = &error else {
            panic!("{error}");
        };
        assert!(object == "theirs" && tensor.contains('.'), "{error}");
        assert!(tuned.files().is_empty());
    }
    tuned.import(&nine_steps(), &weights).unwrap();
}

/// Writes what an earlier program without the check wrote: the file's checksum is right, the state has none.
fn spoil(run: &Run, step: &str, file: &str) {
    let place = format!("checkpoints/{step}/{file}");
    let spoiled = with_value(run.files()[&place].clone(), f32::NAN);
    let checksum = wellspring_store::checksum(&spoiled);
    let state = format!("checkpoints/{step}/state.json");
    let mut text: serde_json::Value = serde_json::from_slice(&run.files()[&state]).unwrap();
    text.as_object_mut().unwrap().remove("checksum").unwrap();
    text["checksums"][file] = checksum.into();
    run.put(&place, spoiled);
    run.put(&state, text.to_string());
}

#[test]
fn a_checkpoint_that_is_not_finite_is_passed_over() {
    let run = Run::new();
    run.go(&nine_steps()).unwrap();
    let whole = weights(&run.runtime, &run.place);
    spoil(&run, "00000009", "model.safetensors");
    assert_eq!(run.loaded().unwrap().step(), 6);
    let told = run.told();
    assert!(told.contains("infinite or not a number"), "{told}");
    let named = Checkpoint::find(&run.place, CheckpointChoice::Step(9).into(), &Silent);
    let error = run.runtime.block_on(named).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    run.go(&nine_steps()).unwrap();
    assert!(weights(&run.runtime, &run.place) == whole);
    spoil(&run, "00000009", "optimizer.safetensors");
    assert_eq!(run.loaded().unwrap().step(), 9);
    run.told();
    let mut more = nine_steps();
    more.train.steps = 10;
    run.go(&more).unwrap();
    assert!(run.told().contains("taking the checkpoint of step 6"));
}

/// A gradient of 10²⁰ is finite, and its square is not: the moments may leave the numbers before the weights.
#[tokio::test]
async fn moments_that_are_not_finite_are_never_written() {
    let (run, folder) = (memory(), "checkpoints/00000003");
    let sides = vec![[Boundary::Periodic; 2]; 2];
    let config = config(Strategy::Ckm).model;
    let model = Surrogate::new(&config, 2, sides, 0, &Device::Cpu).unwrap();
    let mut optimizer = crate::AdamW::new(model.parameters()).unwrap();
    let domains = Domains::new(vec![crate::Domain {
        name: "waves".into(),
        id: "id".into(),
        reads: String::new(),
        channels: vec!["u".into(), "v".into()],
        space: vec![32, 32],
        boundaries: vec![[Boundary::Periodic; 2]; 2],
        transforms: BTreeMap::new(),
        inputs: Vec::new(),
    }])
    .unwrap();
    let mut claim = RunClaim::open(&run, &Silent).await.unwrap();
    claim.take(&Silent).await.unwrap();
    for (value, written) in [(f32::INFINITY, false), (1e38, true)] {
        let moments = with_value(optimizer.to_safetensors().unwrap(), value);
        optimizer.load_safetensors(&moments, 3, "it").unwrap();
        let learned = TrainingState {
            domains: &domains,
            parameters: model.parameters(),
            optimizer: &optimizer,
            average: None,
            share: wellspring_store::Share::WHOLE,
        };
        let snapshot = learned.snapshot(3, None, Progress::default()).unwrap();
        let done = snapshot.write(&run, &claim).await;
        let files = run.join(folder).list().await.unwrap();
        assert_eq!(files.is_empty(), !written, "{files:?}");
        match done {
            Err(Error::NotFinite { tensor, .. }) => assert!(tensor.ends_with(".second")),
            done => assert!(written && done.is_ok(), "{done:?}"),
        }
    }
}
