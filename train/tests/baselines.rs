//! The Well's baselines against the package `the-well`: outputs, losses, every gradient, running statistics, steps of
//! AdamW, and the prediction with running statistics. Takes every `baseline-*.safetensors` of `tests/data`, which `baselines.py` beside
//! them writes, and prints the worst difference of each kind, relative to the tensor's largest magnitude. Runs on the
//! CPU in f32, or as `WELLSPRING_TEST_DEVICE` and `WELLSPRING_TEST_PRECISION` say.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs
)]

mod reference;

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor, safetensors};
use reference::{Place, Worst, compare_all, flat, magnitude, normalized};
use serde::Deserialize;
use wellspring_store::{Boundary, Frames, Patch};
use wellspring_train::{
    AdamW, Columns, Gradients, Loss, ModelConfig, Perturbation, StepSettings, Surrogate, predict,
    training_gradients,
};

/// The fixture's metadata.
#[derive(Deserialize)]
struct Case {
    model: ModelConfig,
    fields: usize,
    context: usize,
}

struct Fixture {
    case: Case,
    tensors: HashMap<String, Tensor>,
    frames: Frames,
    place: Place,
}

impl Fixture {
    fn load(path: &Path, place: &Place) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let (_, metadata) = ::safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        let config = &metadata.metadata().as_ref().unwrap()["config"];
        let tensors = safetensors::load_buffer(&bytes, &Device::Cpu).unwrap();
        let frames = &tensors["frames"];
        let dims = frames.dims();
        Self {
            case: serde_json::from_str(config).unwrap(),
            frames: Frames::new(dims[0], dims[1], dims[2], dims[3..].to_vec(), flat(frames))
                .unwrap(),
            tensors,
            place: place.clone(),
        }
    }

    fn values(&self, name: &str) -> Vec<f32> {
        flat(&self.tensors[name])
    }

    fn patch(&self) -> Patch {
        Patch::uniform(1, self.frames.space().len())
    }

    /// The model with the fixture's weights and statistics, each of which it has.
    fn model(&self) -> Surrogate {
        let columns = Columns {
            fields: self.case.fields,
            inputs: 0,
            context: self.case.context,
        };
        let walls = vec![[Boundary::Wall; 2]; self.frames.space().len()];
        let device = &self.place.device;
        let model = Surrogate::new(&self.case.model, columns, walls, 1, device).unwrap();
        let mut held = 0;
        for (name, var) in model.parameters().iter() {
            let weight = &self.tensors[&format!("param.{name}")];
            assert_eq!(weight.dims(), var.dims(), "{name}");
            var.set(&weight.to_device(device).unwrap()).unwrap();
            held += 1;
        }
        let theirs = self.tensors.keys();
        assert_eq!(
            held,
            theirs.filter(|name| name.starts_with("param.")).count()
        );
        model.in_precision(self.place.precision)
    }

    fn gradients(&self, model: &Surrogate) -> (Tensor, Gradients) {
        let (patch, still) = (self.patch(), Perturbation::none());
        training_gradients(model, &self.frames, &patch, &still, &Loss::default(), 0).unwrap()
    }
}

fn compare_output(fixture: &Fixture, worst: &mut Worst) {
    let context = fixture.frames.slice_time(0..fixture.case.context);
    let input = normalized(&context, &fixture.place.device);
    let output = fixture.model().forward(&input, &fixture.patch()).unwrap();
    let rank = output.rank();
    let axes: Vec<usize> = [0, 1, rank - 1].into_iter().chain(2..rank - 1).collect();
    let output = output.permute(axes).unwrap().squeeze(0).unwrap();
    assert_eq!(output.dims(), fixture.tensors["out"].dims());
    worst.compare("output", "out", &flat(&output), &fixture.values("out"));
}

fn compare_gradients(fixture: &Fixture, worst: &mut Worst) {
    let model = fixture.model();
    let (loss, gradients) = fixture.gradients(&model);
    let loss = [loss.to_scalar::<f32>().unwrap()];
    worst.compare("loss", "loss", &loss, &fixture.values("loss"));
    let theirs = |name: &str| fixture.tensors.get(&format!("grad.{name}")).map(flat);
    let named = fixture.tensors.iter();
    let all = named.filter(|(name, _)| name.starts_with("grad."));
    let largest = all.map(|(_, gradient)| magnitude(&flat(gradient)));
    let largest = largest.fold(0.0, f32::max);
    for (name, var) in model.parameters().iter() {
        let Some(expected) = theirs(name) else {
            continue;
        };
        let found = flat(gradients.get(var).unwrap_or_else(|| panic!("{name}")));
        // Its value does not matter where a norm follows it.
        if magnitude(&expected) < fixture.place.vanishing() * largest {
            assert!(magnitude(&found) < fixture.place.vanishing() * largest);
        } else {
            worst.compare("gradient", name, &found, &expected);
        }
    }
}

fn compare_training(fixture: &Fixture, worst: &mut Worst) {
    let model = fixture.model();
    let mut optimizer = AdamW::new(model.parameters()).unwrap();
    for expected in fixture.values("train.loss") {
        let (loss, gradients) = fixture.gradients(&model);
        let pace = StepSettings {
            lr: 1e-3,
            decay: 1e-4,
            l2: 0.0,
            clip: None,
        };
        let found = optimizer.step(model.parameters(), &loss, &gradients, pace);
        worst.compare("training", "loss", &[found.unwrap().loss], &[expected]);
    }
    for (name, var) in model.parameters().iter() {
        if let Some(expected) = fixture.tensors.get(&format!("after.{name}")) {
            worst.compare("training", name, &flat(var), &flat(expected));
        }
    }
    let (model, context) = (
        fixture.model(),
        fixture.frames.slice_time(0..fixture.case.context),
    );
    let next = predict(&model, &context, &fixture.patch()).unwrap();
    worst.compare("rollout", "next", next.data(), &fixture.values("next"));
}

#[test]
fn baselines_are_the_wells() {
    compare_all("baseline-", |path, place, worst| {
        let fixture = Fixture::load(path, place);
        compare_output(&fixture, worst);
        compare_gradients(&fixture, worst);
        compare_training(&fixture, worst);
    });
}
