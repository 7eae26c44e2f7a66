//! Spectra of an evaluation: means over windows, by lead and channel.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::metrics::{Line, Spectra};
use crate::results::tables::{SpectrumRow, TableWriter};

/// Sums over windows, by lead and channel.
#[derive(Default)]
pub(super) struct SpectrumSums(BTreeMap<(usize, usize), Sum>);

struct Sum {
    spectra: Spectra,
    patch: String,
    windows: f64,
}

/// A sum at rest. Powers are the bits of f64, so that what is not finite stays so.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct SavedSum {
    lead: usize,
    channel: usize,
    patch: String,
    windows: f64,
    powers: Vec<[u64; 3]>,
}

/// What rows of spectra are called.
pub(super) struct Names<'a> {
    pub(super) run: &'a str,
    pub(super) axes: &'a [String],
    pub(super) channels: &'a [String],
}

impl SpectrumSums {
    pub(super) fn add(&mut self, lead: usize, channel: usize, patch: &str, spectra: &Spectra) {
        self.join((lead, channel), spectra, patch, 1.0);
    }

    /// Adds the sums of other windows as they were saved; `like` has their lines.
    pub(super) fn add_saved(&mut self, saved: Vec<SavedSum>, like: &Spectra) {
        for saved in saved {
            let mut spectra = like.clone();
            for (line, power) in lines_mut(&mut spectra).zip(saved.powers) {
                line.power = power.map(f64::from_bits);
            }
            let place = (saved.lead, saved.channel);
            self.join(place, &spectra, &saved.patch, saved.windows);
        }
    }

    fn join(&mut self, place: (usize, usize), spectra: &Spectra, patch: &str, windows: f64) {
        let Some(sum) = self.0.get_mut(&place) else {
            let sum = Sum {
                spectra: spectra.clone(),
                patch: patch.to_owned(),
                windows,
            };
            self.0.insert(place, sum);
            return;
        };
        sum.windows += windows;
        if sum.patch != patch {
            sum.patch = "mixed".into();
        }
        for (own, other) in lines_mut(&mut sum.spectra).zip(lines(spectra)) {
            let powers = own.power.iter_mut().zip(other.power);
            powers.for_each(|(own, other)| *own += other);
        }
    }

    pub(super) fn save(&self) -> Vec<SavedSum> {
        let save = |(&(lead, channel), sum): (&(usize, usize), &Sum)| SavedSum {
            lead,
            channel,
            patch: sum.patch.clone(),
            windows: sum.windows,
            powers: lines(&sum.spectra)
                .map(|line| line.power.map(f64::to_bits))
                .collect(),
        };
        self.0.iter().map(save).collect()
    }

    /// Means over windows, as rows.
    pub(super) fn write(&self, names: &Names<'_>, table: &mut TableWriter) -> Result<()> {
        for (&(lead, channel), sum) in &self.0 {
            let axes = names.axes.iter().map(String::as_str).zip(&sum.spectra.axes);
            let named = axes.chain([("isotropic", &sum.spectra.isotropic)]);
            let row = |axis, bin, line: &Line| SpectrumRow {
                run: names.run,
                lead: lead as u32 + 1,
                patch: &sum.patch,
                field: &names.channels[channel],
                axis,
                bin: bin as u32,
                k_low: line.low,
                k_high: line.high,
                truth: line.power[0] / sum.windows,
                prediction: line.power[1] / sum.windows,
                residual: line.power[2] / sum.windows,
            };
            let mut rows = Vec::new();
            for (axis, lines) in named {
                let lines = lines.iter().enumerate();
                rows.extend(lines.map(|(bin, line): (usize, &Line)| row(axis, bin, line)));
            }
            table.push(&rows)?;
        }
        Ok(())
    }
}

fn lines(spectra: &Spectra) -> impl Iterator<Item = &Line> {
    spectra.axes.iter().flatten().chain(&spectra.isotropic)
}

fn lines_mut(spectra: &mut Spectra) -> impl Iterator<Item = &mut Line> {
    spectra
        .axes
        .iter_mut()
        .flatten()
        .chain(&mut spectra.isotropic)
}
