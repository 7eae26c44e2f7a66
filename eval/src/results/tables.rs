//! The result tables, as Parquet files. This page is their specification.
//!
//! ```text
//! RESULTS/runs/KEY.parquet     one row per evaluation; written last, so without it there is none
//! RESULTS/metrics/ID.parquet   run, trajectory, start, lead, patch, tokens, field, metric, band, value
//! RESULTS/spectra/ID.parquet   run, lead, patch, field, axis, bin, k_low, k_high, truth, prediction, residual
//! RESULTS/ensembles/ID.parquet run, trajectory, start, lead, field, member, metric, value; of ensembles alone
//! RESULTS/frames/ID.arrow      the few predicted frames kept for pictures
//! ```
//!
//! Besides The Well's spatial metrics, `metric` is `nonfinite` (cells of the prediction that are not
//! finite), `band_mse`, `band_nmse` (relative to the truth's energy, The Well's code) and `band_nmse_eq16`
//! (to the prediction's, the paper's Eq. 16), `artefact_4` to `artefact_32` (residual power at the
//! harmonics of a patch size over its neighbourhood, 1 where nothing stands out), and, on request,
//! `histogram_w1`, `dtw_distance` and `dtw_path_distortion` of whole rollouts, at their last lead. Also at the
//! last lead, `divergence_lead` is the first lead at which the field was not finite or had a VRMSE above 1 (no
//! better than the truth's mean), or infinite if there was none.
//!
//! KEY is made of name, data, split and schedule, so that only one of two evaluations with one name can have
//! the place (`identity.rs`); those that were added beside it have their ID instead. ID is the row's `run`, and
//! is unique. An evaluation that replaces another writes its files beside the other's, replaces the row in one
//! step, and then removes the other's files: readers see either the one or the other. `unfinished/` holds the
//! progress of running evaluations, and on a disk a locked `ID.lock` for each process that lives.
//!
//! `runs.schedule` says what a rollout does besides its patch sizes, too: `16 jitter:7` sees the grid at each step rolled by
//! random shifts of seed 7, which `runs.jitter` has as a number. An ensemble is one evaluation, `16 jitter:7 members:8`:
//! member m has the seed 7 + m, and of a schedule `random:R` the seed R + m. Its `metrics`, `spectra` and frames are of the
//! mean of the members, its tokens and seconds those of all of them. `ensembles` has the `vrmse` of each member, and where
//! `member` is null what all say together: `vrmse` of their mean, `spread` (root of their mean variance) and `crps` (the
//! fair estimator), both over the truth's deviation as in VRMSE, and `coverage`, the share of cells whose truth lies between
//! the least and the greatest member. `patch` is `mixed` where members have different ones.
//!
//! `start` is the step of the first context frame, `lead` counts predicted frames from 1.
//!
//! `runs.task` identifies what was predicted: name, grid, fields, split, trajectories and their values, and the
//! stride. It does not depend on where the data set lies or on its other splits, nor, if the sources are known, on
//! how their values are transformed and normalized, whereas `dataset_id` identifies the data set's manifest. A model that sees and predicts only every second frame is compared only
//! with others like it: `dataset` is then `shear_flow every 2`, and `dataset_id` ends in `/2`. Two data sets
//! may have one name. In SQL `runs.dataset` is therefore a name that no other task of the split has: if names
//! are equal, it adds the difference (`supernova_explosion 64x64`). `runs.dataset_name`, which exists only in
//! SQL, is the original name. `runs.grid` is like `64x64`, `runs.fields` a list with commas.
//!
//! `band` is null except for the `band_` metrics, where 0, 1, 2 are The Well's bands from large to small
//! scales, or those between the edges in `runs.bands`. Wavenumbers are in radians per cell; `axis` is an axis
//! of the grid or `isotropic`; powers are means over trajectories and starts. Values are in the fields' own
//! units; those that are not finite are stored as such. Every ratio has The Well's ε = 10⁻⁷ in its
//! denominator, in the field's units. If the field's standard deviation over the data set is below 10⁻² or
//! above 10¹², ε is 10⁻⁷ of its variance instead, so that units do not matter, and the evaluation says so.
//! `patch` is `mixed` in spectra over windows of several sizes.

mod columns;
mod committed;
mod draft;
mod folder;
mod growing;
mod identity;
mod labels;
mod records;
mod row;
mod strays;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use object_store::ObjectMeta;
use serde::{Deserialize, Serialize};
use wellspring_store::Location;

use crate::Result;
pub(crate) use columns::{TableWriter, columns, is_whole, typed};
pub(crate) use committed::{CommittedRuns, RunFile};
pub(crate) use draft::Draft;
pub(crate) use growing::GrowingTable;
pub(crate) use identity::EvaluationClaim;
pub use identity::OnExisting;
pub use records::RunRecord;
pub(crate) use records::{EnsembleRow, MetricRow, SpectrumRow};
pub(crate) use strays::{life, sweep};

/// Version of these tables.
///
/// 2 added `runs.weights` and `runs.bands`; they are null in what version 1 wrote. 3 added `runs.task`,
/// `runs.grid` and `runs.fields`; in what was written before, the task is the data set's identity, or that of a
/// newer run on the same one, and so are grid and fields. 4 added `runs.every`; up to 3 the file of a row had the
/// name of the evaluation's other files. 5 added `runs.jitter`, `runs.members` and the table
/// `ensembles`; the former are null in what was written before.
pub const TABLE_VERSION: u32 = 5;

/// One of the four tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Table {
    Runs,
    Metrics,
    Spectra,
    Ensembles,
}

impl Table {
    pub(crate) const ALL: [Self; 4] = [Self::Runs, Self::Metrics, Self::Spectra, Self::Ensembles];
    /// Tables whose files have the name of their evaluation.
    pub(crate) const OF_DATA: [Self; 3] = [Self::Metrics, Self::Spectra, Self::Ensembles];

    /// Name of the table's folder, and of the table in SQL.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Metrics => "metrics",
            Self::Spectra => "spectra",
            Self::Ensembles => "ensembles",
        }
    }

    /// Path of a file of the table.
    pub(crate) fn file(self, results: &Location, file: &str) -> Location {
        results.join(self.name()).join(&format!("{file}.parquet"))
    }

    /// The files that are there, in the order of their names.
    pub(crate) async fn files(self, results: &Location) -> Result<Vec<RunFile>> {
        let folder = results.join(self.name());
        let objects = folder.list_objects().await?.into_iter();
        let file = |object: ObjectMeta| {
            let mut below = object.location.prefix_match(folder.path())?;
            let (name, None) = (below.next()?, below.next()) else {
                return None;
            };
            let file = name.as_ref().strip_suffix(".parquet")?;
            Some(RunFile {
                run: file.to_owned(),
                file: file.to_owned(),
                bytes: object.size,
                modified: object.last_modified.timestamp_millis(),
            })
        };
        let mut files: Vec<RunFile> = objects.filter_map(file).collect();
        files.sort_by(|a, b| a.file.cmp(&b.file));
        Ok(files)
    }

    pub(crate) fn schema(self) -> SchemaRef {
        use DataType::{Float64, UInt32, UInt64, Utf8};
        let millis = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
        let columns: &[(&str, DataType)] = match self {
            Self::Runs => &[
                ("run", Utf8),
                ("table_version", UInt32),
                ("name", Utf8),
                ("strategy", Utf8),
                ("parameters", UInt64),
                ("dim", UInt64),
                ("blocks", UInt64),
                ("train_steps", UInt64),
                ("train_dataset", Utf8),
                ("weights", Utf8),
                ("bands", Utf8),
                ("dataset", Utf8),
                ("dataset_id", Utf8),
                ("task", Utf8),
                ("grid", Utf8),
                ("fields", Utf8),
                ("split", Utf8),
                ("schedule", Utf8),
                ("jitter", UInt64),
                ("members", UInt64),
                ("context", UInt64),
                ("rollout", UInt64),
                ("trajectories", UInt64),
                ("starts", UInt64),
                ("every", UInt64),
                ("tokens", Float64),
                ("seconds_per_frame", Float64),
                ("version", Utf8),
                ("created", millis),
            ],
            Self::Metrics => &[
                ("run", Utf8),
                ("trajectory", UInt32),
                ("start", UInt32),
                ("lead", UInt32),
                ("patch", Utf8),
                ("tokens", UInt64),
                ("field", Utf8),
                ("metric", Utf8),
                ("band", UInt32),
                ("value", Float64),
            ],
            Self::Spectra => &[
                ("run", Utf8),
                ("lead", UInt32),
                ("patch", Utf8),
                ("field", Utf8),
                ("axis", Utf8),
                ("bin", UInt32),
                ("k_low", Float64),
                ("k_high", Float64),
                ("truth", Float64),
                ("prediction", Float64),
                ("residual", Float64),
            ],
            Self::Ensembles => &[
                ("run", Utf8),
                ("trajectory", UInt32),
                ("start", UInt32),
                ("lead", UInt32),
                ("field", Utf8),
                ("member", UInt32),
                ("metric", Utf8),
                ("value", Float64),
            ],
        };
        let nullable = [
            "band", "weights", "bands", "task", "grid", "fields", "jitter", "members", "every",
            "member",
        ];
        let field = |(name, kind): &(&str, DataType)| {
            Field::new(*name, kind.clone(), nullable.contains(name))
        };
        Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
    }
}

/// A name for files, as far as it can be read by people: `ckm-4_8_16-` and what makes it the only one.
pub(crate) fn file_name(name: &str, schedule: &str, unique: &str) -> String {
    /// No file system has names of more than some 250 bytes.
    const LETTERS: usize = 120;
    let plain = |c: char| match c.is_ascii_alphanumeric() || "-._".contains(c) {
        true => c,
        false => '_',
    };
    let text = format!("{name}-{schedule}");
    let text: String = text.chars().take(LETTERS).map(plain).collect();
    format!("{text}-{unique}")
}

/// Milliseconds of Unix time.
pub(crate) fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64)
}
