//! The models against the PyTorch reference: outputs, losses, every gradient, rollouts and steps of
//! AdamW. Takes every `model-*.safetensors` of `tests/data`, or of the folder `WELLSPRING_FIXTURES`,
//! and prints the worst difference of each kind, relative to the tensor's largest magnitude. Runs on
//! the CPU in f32, or as `WELLSPRING_TEST_DEVICE` and `WELLSPRING_TEST_PRECISION` say.

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
    AdamW, Gradients, Loss, Mlp, PatchSize, Perturbation, StepSettings, Strategy, Surrogate,
    TransformerConfig, predict, training_loss,
};

/// The fixture's metadata.
#[derive(Deserialize)]
struct Case {
    strategy: Strategy,
    fields: usize,
    dim: usize,
    heads: usize,
    blocks: usize,
    patch: usize,
    groups: usize,
    causal: bool,
    bcs: Vec<[u8; 2]>,
    patches: Vec<Vec<usize>>,
    context: usize,
}

struct Fixture {
    case: Case,
    tensors: HashMap<String, Tensor>,
    place: Place,
}

impl Fixture {
    fn load(path: &Path, place: &Place) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let (_, metadata) = ::safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        let config = &metadata.metadata().as_ref().unwrap()["config"];
        Self {
            case: serde_json::from_str(config).unwrap(),
            tensors: safetensors::load_buffer(&bytes, &Device::Cpu).unwrap(),
            place: place.clone(),
        }
    }

    fn values(&self, name: &str) -> Vec<f32> {
        self.tensors[name].flatten_all().unwrap().to_vec1().unwrap()
    }

    fn frames(&self, name: &str) -> Frames {
        let dims = self.tensors[name].dims().to_vec();
        Frames::new(
            dims[0],
            dims[1],
            dims[2],
            dims[3..].to_vec(),
            self.values(name),
        )
        .unwrap()
    }

    fn patches(&self) -> Vec<Patch> {
        self.case
            .patches
            .iter()
            .map(|sizes| Patch::new(sizes.clone()).unwrap())
            .collect()
    }

    fn tag(patch: &Patch) -> String {
        let sizes: Vec<String> = patch.sizes().iter().map(usize::to_string).collect();
        format!("p{}", sizes.join("x"))
    }

    /// The model with the fixture's weights.
    fn model(&self) -> Surrogate {
        let case = &self.case;
        let boundary =
            |code: u8| [Boundary::Wall, Boundary::Open, Boundary::Periodic][usize::from(code)];
        let config = TransformerConfig {
            strategy: case.strategy,
            patches: if case.strategy == Strategy::Fixed {
                vec![case.patch.into()]
            } else {
                [4, 8, 16].map(PatchSize::Every).to_vec()
            },
            base: case.patch,
            dim: case.dim,
            heads: case.heads,
            blocks: case.blocks,
            groups: case.groups,
            causal: case.causal,
            mlp: Mlp::Swiglu,
        };
        let boundaries = case.bcs.iter().map(|sides| sides.map(boundary)).collect();
        let model = Surrogate::new(
            &config.into(),
            case.fields,
            boundaries,
            1,
            &self.place.device,
        )
        .unwrap();
        for (name, var) in model.parameters().iter() {
            let weight = &self.tensors[&format!("param.{name}")];
            var.set(&weight.to_device(&self.place.device).unwrap())
                .unwrap();
        }
        let held = self
            .tensors
            .keys()
            .filter(|name| name.starts_with("param."))
            .count();
        assert_eq!(model.parameters().iter().count(), held);
        model.in_precision(self.place.precision)
    }
}

fn compare_outputs_and_gradients(fixture: &Fixture, worst: &mut Worst) {
    let model = fixture.model();
    let frames = fixture.frames("frames");
    let Place { device, .. } = &fixture.place;
    let vanishing = fixture.place.vanishing();
    let input = normalized(&frames.slice_time(0..fixture.case.context), device);
    for patch in fixture.patches() {
        let tag = Fixture::tag(&patch);
        let output = model.forward(&input, &patch).unwrap();
        let rank = output.rank();
        let axes: Vec<usize> = [0, 1, rank - 1].into_iter().chain(2..rank - 1).collect();
        let output = output.permute(axes).unwrap();
        let expected = &fixture.tensors[&format!("{tag}.out")];
        assert_eq!(output.dims(), expected.dims());
        worst.compare("output", &tag, &flat(&output), &flat(expected));

        let loss = training_loss(
            &model,
            &frames,
            &patch,
            &Perturbation::none(),
            &Loss::default(),
        )
        .unwrap();
        worst.compare(
            "loss",
            &tag,
            &[loss.to_scalar().unwrap()],
            &fixture.values(&format!("{tag}.loss")),
        );
        let gradients = loss.backward().unwrap();
        let named = |name: &str| format!("{tag}.grad.{name}");
        let all = fixture
            .tensors
            .iter()
            .filter(|(name, _)| name.starts_with(&named("")));
        let largest = all
            .map(|(_, gradient)| magnitude(&flat(gradient)))
            .fold(0.0, f32::max);
        for (name, var) in model.parameters().iter() {
            let Some(expected) = fixture.tensors.get(&named(name)) else {
                continue;
            };
            let expected = flat(expected);
            let found = gradients
                .get(var)
                .map_or_else(|| vec![0.0; expected.len()], flat);
            // Some gradients vanish: the bias of a key's norm moves all scores of a query alike, and
            // a norm after it undoes a bias. There both sides hold rounding, which must stay small.
            if magnitude(&expected) < vanishing * largest {
                assert!(
                    magnitude(&found) < vanishing * largest,
                    "{} should vanish",
                    named(name)
                );
            } else {
                worst.compare("gradient", &named(name), &found, &expected);
            }
        }
    }
}

fn compare_rollout(fixture: &Fixture, worst: &mut Worst) {
    let model = fixture.model();
    let patches = fixture.patches();
    let expected = fixture.frames("rollout");
    let context = fixture.case.context;
    let mut window = fixture.frames("frames").slice_time(0..context);
    for step in 0..expected.time() {
        let next = predict(&model, &window, &patches[step % patches.len()]).unwrap();
        window.push_frame(&next).unwrap();
        let found = window.frame(context - 1);
        worst.compare(
            "rollout",
            "rollout",
            found.data(),
            expected.frame(step).data(),
        );
    }
}

fn compare_training(fixture: &Fixture, worst: &mut Worst) {
    let model = fixture.model();
    let frames = fixture.frames("frames");
    let patches = fixture.patches();
    let expected = fixture.values("train.loss");
    let mut optimizer = AdamW::new(model.parameters()).unwrap();
    let mut losses = Vec::new();
    for step in 0..expected.len() {
        let loss = training_loss(
            &model,
            &frames,
            &patches[step % patches.len()],
            &Perturbation::none(),
            &Loss::default(),
        )
        .unwrap();
        let mut gradients = Gradients::default();
        gradients
            .take(
                &mut loss.backward().unwrap(),
                model.parameters().variables(),
            )
            .unwrap();
        let pace = StepSettings {
            lr: 1e-3,
            decay: 1e-4,
            l2: 0.0,
            clip: None,
        };
        let found = optimizer
            .step(model.parameters(), &loss, &gradients, pace)
            .unwrap();
        losses.push(found.loss);
    }
    for (found, expected) in losses.iter().zip(&expected) {
        worst.compare("training", "train.loss", &[*found], &[*expected]);
    }
}

#[test]
fn models_are_the_reference() {
    compare_all("model-", |path, place, worst| {
        let fixture = Fixture::load(path, place);
        compare_outputs_and_gradients(&fixture, worst);
        compare_rollout(&fixture, worst);
        compare_training(&fixture, worst);
    });
}
