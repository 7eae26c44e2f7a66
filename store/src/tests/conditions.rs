//! What goes with the frames of windows.

use std::collections::BTreeMap;

use super::*;
use crate::{Conditioning, Trajectory};

/// Batches at a stride carry the constants, scalars and times of their own trajectory and steps. Their file is
/// read once, however many epochs there are, and the cost says so beforehand.
#[test]
fn batches_carry_what_goes_with_their_frames() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let memory = Location::parse("memory:///ds").unwrap();
    let written = sample::write(&memory, &FRAMES, sample::options(&FRAMES));
    let manifest = runtime.block_on(written).unwrap();
    let counted = Arc::new(counted::CountingStore::new(Arc::clone(
        memory.object_store(),
    )));
    let root = Location::from_store(counted.clone(), Path::from("ds"), "counted:/");
    let dataset = Arc::new(runtime.block_on(sample::open(&root)));
    let spec = WindowSpec {
        stride: 2,
        ..WindowSpec::of_length(3)
    };
    let order = Order::Sequential;
    let plan = Plan::new(&manifest, Split::Train, spec, order, Share::WHOLE).unwrap();
    let options = |conditions| LoaderOptions {
        batch: 2,
        conditions,
        ..LoaderOptions::default()
    };
    let batches = |conditions| {
        let (dataset, plan) = (Arc::clone(&dataset), plan.clone());
        Loader::spawn(dataset, plan, options(conditions), runtime.handle())
    };
    let everything = options(Conditioning::Everything);
    let twice = [plan.clone(), plan.clone()];
    let cost = dataset.read_cost(twice, u64::MAX, everything).unwrap();

    let mut windows = 0;
    for _epoch in 0..2 {
        for batch in batches(Conditioning::Everything) {
            let batch = batch.unwrap();
            assert_eq!(batch.conditions.len(), batch.windows.len());
            for (&window, found) in batch.windows.iter().zip(&batch.conditions) {
                let (trajectory, start) = (window.trajectory as usize, f64::from(window.start));
                assert_eq!(found.window, window);
                assert_eq!(found.times, [0.0, 1.0, 2.0].map(|t| t + 0.5 * start));
                let reynolds = vec![100.0 * trajectory as f64; 3];
                assert_eq!(
                    found.scalars,
                    BTreeMap::from([("Reynolds".into(), reynolds)])
                );
                let mut mask = (**found.constants.as_ref().unwrap()).clone();
                let normalizer = manifest.constant_normalizer().unwrap();
                normalizer.denormalize(&mut mask);
                for (x, y) in mask.data().iter().zip(sample::mask(trajectory).data()) {
                    assert!((x - y).abs() < 1e-4, "{x} {y}");
                }
                let alone =
                    dataset.conditions(Split::Train, spec, window, Conditioning::Everything);
                assert_eq!(*found, runtime.block_on(alone).unwrap());
                windows += 1;
            }
        }
    }
    assert_eq!(windows, 2 * plan.len());
    // The manifest, and what the cost has said: the shards that windows lie in, and the constants.
    assert_eq!(counted.gets() as u64, cost.requests + 1);
    let frames = options(Conditioning::Nothing);
    let cheaper = dataset.read_cost([plan.clone()], u64::MAX, frames).unwrap();
    assert_eq!(cost.requests, cheaper.requests + 1);

    let numbers = batches(Conditioning::Numbers).next().unwrap().unwrap();
    assert_eq!(numbers.conditions[0].constants, None);
    assert_eq!(numbers.conditions[0].times, [0.0, 1.0, 2.0]);
    let nothing = batches(Conditioning::Nothing).next().unwrap().unwrap();
    assert_eq!(nothing.conditions, []);
    assert_eq!(nothing.frames, numbers.frames);
}

#[test]
fn a_series_has_a_value_at_each_step() {
    let trajectory = Trajectory {
        frames: 4,
        parameters: BTreeMap::from([("a".into(), 2.0)]),
        series: BTreeMap::from([("b".into(), vec![0.0, 1.0, 4.0])]),
        ..Trajectory::default()
    };
    let found = trajectory.scalars([0, 2, 3].into_iter());
    assert_eq!(found["a"], [2.0; 3]);
    assert_eq!(found["b"][..2], [0.0, 4.0]);
    assert!(found["b"][2].is_nan());
}
