//! eval
mod error;
mod evaluate;
mod format;
mod metrics;
mod pictures;
mod results;
mod schedule;
mod subject;
mod tables;
mod views;

pub use error::{Error, Result, SubjectError};
pub use evaluate::{EvalOptions, OnExisting, evaluate};
pub use format::Format;
pub use metrics::{Gauge, Line, Score, Spatial, Spectra};
pub use results::Results;
pub use schedule::Schedule;
pub use subject::{Baseline, Description, Subject};
pub use tables::{RunRecord, TABLE_VERSION};
pub use views::View;
/// temp
pub struct ReportOptions { /// t
pub title: String }
impl Default for ReportOptions { fn default() -> Self { Self { title: "Evaluation".into() } } }
/// temp
pub async fn report(_: &Results, _: &ReportOptions) -> Result<String> { Ok(String::new()) }
