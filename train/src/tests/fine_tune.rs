//! Runs that begin with the weights of another, matched by the names of channels and inputs.

use std::collections::HashMap;

use candle_core::Tensor;

use super::run::{Run, nine_steps};
use super::*;
use crate::{InputKind, NameMatch, fine_tune};

fn tensors(run: &Run, place: &Location, step: u64) -> HashMap<String, Tensor> {
    let found = Checkpoint::find(place, CheckpointChoice::Step(step).into(), &Silent);
    let found = run.runtime.block_on(found).unwrap();
    candle_core::safetensors::load_buffer(found.weights(), &Device::Cpu).unwrap()
}

fn tuned(
    run: &Run,
    config: &Config,
    dataset: &Arc<Dataset>,
    place: &Location,
) -> crate::Result<NameMatch> {
    let datasets = [Arc::clone(dataset)];
    let begun = fine_tune(
        config,
        &datasets,
        place,
        (&run.place, ModelChoice::default()),
        &run.notes,
    );
    run.runtime.block_on(begun)
}

fn values(weight: &Tensor, axis: usize, place: usize) -> Vec<f32> {
    let picked = weight.narrow(axis, place, 1).unwrap();
    picked.flatten_all().unwrap().to_vec1().unwrap()
}

/// From channels u and v to w and u, with a scalar that is new: u keeps its weights in another place, w and the
/// scalar begin as in a fresh model, and v is left out. It then trains.
#[test]
fn channels_are_matched_by_name() {
    let run = Run::new();
    run.go(&nine_steps()).unwrap();
    let other = Waves {
        channels: ["w", "u"],
        ..Waves::default()
    };
    let other = waves(&run.runtime, &other);
    let mut config = nine_steps();
    config.model.inputs = [InputKind::Dt].into();
    let place = memory();
    let matched = tuned(&run, &config, &other, &place).unwrap();
    assert_eq!(
        matched.to_string(),
        "taken over by name: u; begun afresh: w dt; left out: v"
    );
    let (learned, begun) = (tensors(&run, &run.place, 9), tensors(&run, &place, 0));
    let domains = async { crate::Domains::of_run(&[Arc::clone(&other)], &config).await };
    let domains = run.runtime.block_on(domains).unwrap();
    let fresh = crate::checkpoint::fresh(&config, &domains, &Device::Cpu).unwrap();
    for (name, weight) in fresh.parameters().iter() {
        let (axis, columns) = match name {
            "space_bag.linear.weight" => (1, 3),
            "debed.proj2.weight" => (1, 2),
            "debed.proj2.bias" => (0, 2),
            _ => {
                let flat = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                assert_eq!(flat(&begun[name]), flat(&learned[name]), "{name}");
                continue;
            }
        };
        assert_eq!(
            values(&begun[name], axis, 1),
            values(&learned[name], axis, 0)
        );
        for new in (0..columns).filter(|place| *place != 1) {
            assert_eq!(values(&begun[name], axis, new), values(weight, axis, new));
        }
    }
    // Done again, it changes nothing; then it trains.
    tuned(&run, &config, &other, &place).unwrap();
    let options = TrainOptions {
        config: &config,
        datasets: vec![other],
        start: Start::Resume,
        validator: None,
        stop: &Stop::default(),
        collective: &SingleProcess,
    };
    let outcome = train(&place, options, run.runtime.handle(), &run.notes).unwrap();
    assert_eq!((outcome.begun, outcome.step), (0, 9));
}

#[test]
fn the_same_channels_take_everything_over() {
    let run = Run::new();
    run.go(&nine_steps()).unwrap();
    let place = memory();
    let dataset = Arc::clone(&run.dataset);
    let matched = tuned(&run, &nine_steps(), &dataset, &place).unwrap();
    assert_eq!((matched.fresh.len(), matched.left.len()), (0, 0));
    let learned = weights(&run.runtime, &run.place);
    assert!(weights(&run.runtime, &place) == learned);

    // Another size is refused with what differs, and leaves no run.
    let mut wider = nine_steps();
    (transformer(&mut wider).dim, transformer(&mut wider).groups) = (64, 4);
    let place = memory();
    let error = tuned(&run, &wider, &dataset, &place)
        .unwrap_err()
        .to_string();
    assert!(error.contains("embed.proj1.weight is"), "{error}");
    assert!(run.runtime.block_on(place.list()).unwrap().is_empty());
}
