//! eval
mod error;
mod evaluate;
mod figures;
mod format;
mod metrics;
mod pictures;
mod report;
mod results;
mod schedule;
mod subject;
mod tables;
mod views;

pub use error::{Error, Result, SubjectError};
pub use evaluate::{EvalOptions, OnExisting, evaluate};
pub use format::Format;
pub use metrics::{Gauge, Line, Score, Spatial, Spectra};
pub use report::{ReportOptions, report};
pub use results::Results;
pub use schedule::Schedule;
pub use subject::{Baseline, Description, Subject};
pub use tables::{RunRecord, TABLE_VERSION};
pub use views::View;
