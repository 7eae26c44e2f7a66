//! Tests of the program from outside, as a person or a script uses it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod architectures;
mod bucket;
#[cfg(feature = "cluster")]
mod cluster;
#[cfg(target_os = "linux")]
mod crash;
mod demo;
mod docs;
mod ensembles;
mod experiment;
mod ingest;
mod odd_inputs;
mod paper;
mod pipeline;
mod predict;
mod program;
#[cfg(feature = "mpi")]
mod ranks;
mod refusals;
mod report;
mod results;
mod resume;
mod runs;
mod sources;
mod the_well;
mod training;
mod transforms;
mod urls;
mod verbose;
mod writers;
