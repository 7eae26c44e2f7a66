//! Evaluates surrogate models: rollouts, metrics, result tables, SQL and figures.
//!
//! **Subjects.** A [`Subject`] is a step function: a context of frames and a patch size in, the next
//! frame out. A trained model is one, and so is a [`Baseline`]: persistence, the mean, a straight
//! line. This crate does not depend on the models. A subject may ask for what goes with the frames: fields that do
//! not vary in time, scalars and times. At every lead they are the data's own, since nobody predicts them.
//!
//! **Rollouts.** [`evaluate()`] lets a subject continue every start of a split for some frames, many
//! starts at once; each prediction becomes part of the next context. A [`Schedule`] gives the patch
//! size of each step: a fixed one, a cycle (4 → 8 → 16 → 4 …), a list, random ones, or a token budget.
//! A jitter rolls the grid by random shifts before each step and back after it; several rollouts that differ by such
//! draws are an ensemble.
//! [`Rollouts`] gives the frames themselves and measures nothing.
//!
//! **Metrics.** A [`FieldMetrics`] measures every predicted field against the truth, in the field's own
//! units and in f64: The Well's ten spatial metrics ([`Spatial`]), errors within its three bands of
//! wavenumbers, and the power of truth, prediction and residual by wavenumber. An [`EnsembleScore`] has spread, CRPS and
//! coverage of an ensemble's members. Values equal those of
//! The Well's own code (`tests/parity.rs`). Values that are not finite are stored as such, and not left out
//! of means. An evaluation measures stored values and scales the results, so that 10⁻³ on a mean of 10⁸
//! and fields of 10⁻³⁰ or 10³⁰ keep their digits. Ratios are guarded by The Well's ε = 10⁻⁷ in the field's
//! units. If the field's standard deviation is below 10⁻² or above 10¹², they are guarded by 10⁻⁷ of its
//! variance instead, and the evaluation says so. Values of a field with a transform are taken back to its own units,
//! in f64, before they are measured: errors of a data set with transforms are those of the same data without, and
//! both are one task.
//!
//! **Tables.** An evaluation writes Parquet files: a row in `runs`, its `metrics` and `spectra`, of an ensemble also `ensembles`, and a
//! few frames for pictures. The row is written last; without it the evaluation does not exist, so
//! readers never see half of one and many processes may write at once. [`Results`] registers committed
//! evaluations with DataFusion, and named [`View`]s for the usual questions. `runs.task` identifies what was
//! predicted. If two data sets have one name, `runs.dataset` adds the difference, so that grouping by it
//! does not mix them.
//!
//! **Figures.** [`figures()`] draws every [`Figure`] for which the results have points, as SVG or PNG, with the
//! SQL of its numbers; [`report()`] puts them and sortable tables on one self-contained HTML page;
//! [`animate()`] turns the frames that an evaluation kept into an animated PNG.
//!
//! # Example
//!
//! Persistence on a travelling wave of four points, and its error by lead from SQL:
//!
//! ```
//! use std::collections::BTreeMap;
//! use wellspring_eval::*;
//! use wellspring_store::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A data set with one test trajectory of five frames.
//! let options = WriterOptions {
//!     schema: Schema::periodic("wave", &[("x", 4)], &[("u", TensorOrder::Scalar)]),
//!     dtype: Dtype::F32,
//!     compression: Compression::None,
//!     normalization: Normalization::None,
//!     statistics: Statistics(BTreeMap::from([("u".into(), ChannelMoments::default().into())])),
//!     shard_bytes: 64 << 20,
//!     overwrite: false,
//! };
//! let runtime = tokio::runtime::Runtime::new()?;
//! let dataset = runtime.block_on(async {
//!     let root = Location::parse("memory:///wave")?;
//!     let writer = DatasetWriter::create(&root, options).await?;
//!     let mut shard = writer.shard(Split::Test, 0)?;
//!     let wave = [0.0, 1.0, 0.0, -1.0];
//!     for step in 0..5 {
//!         let values = (0..4).map(|x| wave[(x + step) % 4]).collect();
//!         shard.push((0, step as u32), step as f64, &Frames::new(1, 1, 1, vec![4], values)?)?;
//!     }
//!     let trajectory = Trajectory { source: "by hand".into(), frames: 5, parameters: BTreeMap::new(), ..Trajectory::default() };
//!     let held = SplitManifest { trajectories: vec![trajectory], shards: vec![shard.finish().await?], constants: None };
//!     writer.finish(BTreeMap::from([(Split::Test, held)])).await?;
//!     Dataset::open(&root).await
//! })?;
//!
//! let results = Location::parse("memory:///results")?;
//! let evaluation = Evaluation {
//!     subject: &Baseline::Persistence.with_context(1, 1),
//!     name: "persistence",
//!     schedule: &Schedule::parse("1", 1)?,
//!     dataset: &dataset,
//!     options: &EvalOptions { rollout: 4, ..EvalOptions::default() },
//! };
//! evaluate(&results, evaluation, runtime.handle(), &Silent)?;
//!
//! let answer = runtime.block_on(async {
//!     let results = Results::open(&results, &Silent).await?;
//!     results.sql("SELECT lead, vrmse FROM by_lead ORDER BY lead").await
//! })?;
//! let text = String::from_utf8(Format::Csv.write(&answer)?)?;
//! let errors: Vec<f64> = text.lines().skip(1).filter_map(|line| line.split(',').nth(1)?.parse().ok()).collect();
//! // A quarter of a wave ahead, half a wave, three quarters, and round again.
//! assert!(errors[1] > errors[0] && errors[3] < 1e-6);
//! # Ok(())
//! # }
//! ```

// A dependency that nothing uses is to be removed. Tests have more of them.
#![cfg_attr(not(test), warn(unused_crate_dependencies))]

mod error;
mod evaluate;
mod figures;
mod metrics;
mod results;
#[cfg(test)]
mod sample;
mod sql;

pub use error::{Error, Result, SubjectError};
pub use evaluate::{
    Baseline, BaselineSubject, Description, EvalOptions, Evaluation, OneProcess, Ranks,
    RolloutOptions, Rollouts, SampleOptions, Schedule, Subject, WindowSample, evaluate,
    evaluate_by_ranks,
};
pub use figures::{
    AnimationOptions, Figure, FigureSelection, ImageFormat, ReportOptions, animate, fields,
    figures, report,
};
pub use metrics::{
    EnsembleScore, FieldMetrics, Line, Score, Spatial, Spectra, Temporal, artefact_ratio,
};
pub use results::{OnExisting, RunRecord, TABLE_VERSION};
#[cfg(feature = "cluster")]
pub use sql::{
    ClientTls, Cluster, Credentials, Executor, STACK_BYTES, Scheduler, ServerTls, Token,
    serve_executor, serve_scheduler,
};
pub use sql::{Database, Format, Results, SqlOptions, View};
