//! Surrogate models of PDEs whose cost is chosen at inference, their training and their use. The models are
//! those of "Compute-adaptive surrogate modeling of PDEs" (Mukhopadhyay, McCabe, Ohana, Cranmer;
//! "Overtone", ICLR 2026).
//!
//! **The model.** A vision transformer sees a few frames of a simulation and predicts the change to
//! the next. Its patch size is an argument of the forward pass: small patches give many tokens and high
//! accuracy at high cost, large ones few tokens. [`Strategy`] says how one set of weights serves all sizes:
//! `ckm` resizes the patch kernel (Algorithm 1, `model/ckm.rs`), `csm` changes its stride
//! (Algorithm 2, `model/csm.rs`), `fixed` is the baseline with one size. A strategy turns a patch
//! size and a grid into a geometry of two convolutions; everything else is shared: the encoder and
//! decoder in `model/pass.rs`, the transformer in `model/block.rs`.
//!
//! Beside it are The Well's baselines, [`BaselineConfig`]: two U-nets and two Fourier neural operators over grid points,
//! of the same data, loss and rollouts (`model/baselines.rs`).
//!
//! Weights have the names and shapes of the released PyTorch model, so a state dict in safetensors can be
//! imported and exported. Outputs, gradients, rollouts and optimizer steps equal the PyTorch reference
//! (`tests/parity.rs`), those of the baselines the package `the-well` (`tests/baselines.rs`).
//!
//! **Layout.** Frames come as `(T, B, C, *space)`; inside, tokens are channels-last, `(T·B, S, C)`,
//! so every layer is a matrix product over rows. Fused operations with backward passes are in `ops`. Each
//! has a kernel for the CPU, kernels for a GPU (`ops/NAME.cu`, behind the feature `cuda`), and a form composed
//! of Candle's operations for everything else. On a GPU [`Precision::Bf16`] computes the products within
//! blocks in bfloat16. GPU kernels are tested on the CPU by an emulator, and were checked on an H100 and an H200 (docs/cuda.md).
//!
//! **Inputs.** A model sees the channels that vary in time. With `model.inputs` it also sees constant fields, scalars,
//! the types of boundaries and the time step ([`InputKind`]): further columns of the field embedding, never a part of
//! the loss. They come as [`Conditions`](wellspring_store::Conditions) with the frames, in training and in rollouts.
//! [`fine_tune`] begins a run with another's weights, and matches channels and inputs by name.
//!
//! **A run.** [`train()`] reads windows of a data set, or of several whose named channels share one
//! vocabulary of weights, draws one patch size for each step, and writes `config.toml`, checkpoints and a
//! log (`wellspring-log`). A step is a pure function of (configuration, data sets, step), so a resumed run
//! equals an uninterrupted one, bit for bit. Only one process at a time can write a run: it holds the file `lock` there.
//! [`Predictor`] loads a checkpoint and predicts the next frame from a context.
//!
//! # Example
//!
//! A small model for two fields on a periodic grid predicts the same frame at two costs:
//!
//! ```
//! use candle_core::Device;
//! use wellspring_store::{Boundary, Frames, Patch};
//! use wellspring_train::{Strategy, Surrogate, TransformerConfig, predict};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = TransformerConfig {
//!     strategy: Strategy::Ckm,
//!     dim: 32,
//!     heads: 2,
//!     blocks: 1,
//!     groups: 4,
//!     ..TransformerConfig::default()
//! };
//! let model = Surrogate::new(&config.into(), 2, vec![[Boundary::Periodic; 2]; 2], 0, &Device::Cpu)?;
//!
//! // Six frames of one sample, two channels, 32 × 32 points.
//! let wave = |i: usize| (i as f32 * 0.01).sin();
//! let context = Frames::new(6, 1, 2, vec![32, 32], (0..6 * 2 * 32 * 32).map(wave).collect())?;
//! for (size, tokens) in [(16, 4), (4, 64)] {
//!     let patch = Patch::uniform(size, 2);
//!     assert_eq!(model.tokens(&patch, &[32, 32])?, tokens);
//!     let next = predict(&model, &context, &patch)?;
//!     assert_eq!((next.time(), next.channels(), next.space()), (1, 2, &[32, 32][..]));
//! }
//! # Ok(())
//! # }
//! ```

// A dependency that nothing uses is to be removed. Tests have more of them.
#![cfg_attr(not(test), warn(unused_crate_dependencies))]

mod augment;
mod bench;
mod checkpoint;
mod claim;
mod collective;
mod config;
mod device;
mod domain;
mod error;
mod estimate;
mod feed;
mod import;
mod inputs;
mod leftovers;
mod log;
mod loss;
mod memory;
mod model;
mod ops;
mod optim;
mod predictor;
mod progress;
mod resumed;
mod revin;
mod source;
mod step;
mod stop;
mod tensors;
mod trainer;
mod validation;

#[cfg(test)]
mod tests;

pub use bench::{StepBench, StepFigure, bench_step};
pub use checkpoint::{Checkpoint, CheckpointChoice, ModelChoice, State, WeightChoice};
pub use claim::host;
pub use collective::{Collective, Launcher, PendingSum, SingleProcess, Wire, exchange_json, join};
pub use config::{
    Architecture, AugmentConfig, BaselineConfig, CnextUnetConfig, Config, DataConfig, FnoConfig,
    LossConfig, LossKind, Mlp, ModelConfig, OptimConfig, Optimizer, PatchSize, Preset, Roots,
    Strategy, TrainConfig, TransformerConfig, UnetConfig, ValidationConfig,
};
pub use device::{DeviceChoice, Precision};
pub use domain::{Domain, Domains, UnusedInputs};
pub use error::{Error, Result};
pub use estimate::{MemoryEstimate, StepMemory, estimate};
pub use feed::{ReadEstimate, read_estimates};
pub use import::{NameMatch, StateDict, fine_tune, import};
pub use inputs::{Column, Example, Input, InputKind, InputValues, Side};
pub use log::Event;
pub use loss::Loss;
pub use model::{Columns, Parameters, Perturbation, Surrogate};
pub use ops::Gradients;
pub use optim::{AdamW, LossAndNorm, RateSchedule, StepSettings};
pub use predictor::Predictor;
pub use progress::{Best, Progress};
pub use step::{predict, training_gradients, training_gradients_by_block, training_loss};
pub use stop::Stop;
pub use trainer::{Outcome, Start, TrainFigure, TrainOptions, bench_train, train};
pub use validation::{Measurement, Validate, ValidationError};
