//! `crossed_bootstrap(value, trajectory, seed, other_seed)`: the 95 % interval of a mean over trajectories and over the seeds
//! of the two models that are compared, as a struct of `low` and `high`.
//!
//! Trajectories and seeds are crossed: every model predicts every trajectory. So each of the three is resampled on its own,
//! and a value counts as often as its trajectory and its seeds were drawn together: the pigeonhole bootstrap (Owen 2007,
//! doi:10.1214/07-AOAS122), whose interval is rather too wide than too narrow. What there is one of is not resampled; where
//! there is one of each there is no interval.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray as _, Float64Builder, Int64Builder, ListBuilder, StringBuilder,
};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::bootstrap;
use super::resample::{DRAWS, SEED, TAIL, draw, quantile};

/// Trajectory, seed of the model, seed of the other model.
type Cell = (i64, String, String);

/// The aggregate function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct CrossedBootstrap {
    signature: Signature,
}

impl CrossedBootstrap {
    pub(super) fn new() -> Self {
        let kinds = [
            DataType::Float64,
            DataType::Int64,
            DataType::Utf8,
            DataType::Utf8,
        ];
        Self {
            signature: Signature::exact(kinds.into(), Volatility::Immutable),
        }
    }
}

impl AggregateUDFImpl for CrossedBootstrap {
    fn name(&self) -> &str {
        "crossed_bootstrap"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Struct(bootstrap::ends()))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let state = |name, kind| {
            let list = DataType::List(Arc::new(Field::new_list_field(kind, true)));
            Arc::new(Field::new(format_state_name(args.name, name), list, true))
        };
        Ok(vec![
            state("sums", DataType::Float64),
            state("trajectories", DataType::Int64),
            state("seeds", DataType::Utf8),
            state("other_seeds", DataType::Utf8),
            state("counts", DataType::Float64),
        ])
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Cells::default()))
    }
}

/// Sum and number of the values of each cell.
#[derive(Debug, Default)]
struct Cells(BTreeMap<Cell, (f64, f64)>);

impl Cells {
    /// Adds rows of values, trajectories, both seeds and, of sums, how many values each is of.
    fn add(&mut self, columns: &[ArrayRef]) {
        let sum = columns[0].as_primitive::<Float64Type>();
        let trajectory = columns[1].as_primitive::<Int64Type>();
        let [seed, other] = [&columns[2], &columns[3]].map(|column| column.as_string::<i32>());
        let count = columns
            .get(4)
            .map(|column| column.as_primitive::<Float64Type>());
        for row in 0..sum.len() {
            if columns.iter().any(|column| column.is_null(row)) {
                continue;
            }
            let names = [seed, other].map(|column| column.value(row).to_owned());
            let [seed, other] = names;
            let cell = self.0.entry((trajectory.value(row), seed, other));
            let held = cell.or_default();
            held.0 += sum.value(row);
            held.1 += count.map_or(1.0, |count| count.value(row));
        }
    }

    /// The interval of the mean; none where nothing can be resampled.
    fn interval(&self) -> Option<[f64; 2]> {
        if self.0.values().any(|(sum, _)| !sum.is_finite()) {
            return Some([f64::NAN; 2]);
        }
        let cells = self.0.iter();
        let axes = [
            places(cells.clone().map(|((trajectory, ..), _)| trajectory)),
            places(cells.clone().map(|((_, seed, _), _)| seed)),
            places(cells.map(|((.., other), _)| other)),
        ];
        if axes.iter().all(|axis| axis.size < 2) {
            return None;
        }
        let mut rng = ChaCha8Rng::seed_from_u64(SEED);
        let mut means = Vec::with_capacity(DRAWS);
        for _ in 0..DRAWS {
            let drawn = axes.each_ref().map(|axis| axis.draw(&mut rng));
            let (mut sum, mut count) = (0.0, 0.0);
            for (i, (values, n)) in self.0.values().enumerate() {
                let times = axes
                    .iter()
                    .zip(&drawn)
                    .map(|(axis, drawn)| drawn[axis.places[i]]);
                let times: f64 = times.product();
                sum += times * values;
                count += times * n;
            }
            // A drawing that misses all cells of an incomplete table says nothing.
            if count > 0.0 {
                means.push((sum / count, 1.0 / DRAWS as f64));
            }
        }
        means.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let all: f64 = means.iter().map(|(_, weight)| weight).sum();
        Some([TAIL, 1.0 - TAIL].map(|share| quantile(&means, share * all)))
    }
}

/// What is resampled: how many there are, and which of them each cell has.
struct Axis {
    size: usize,
    places: Vec<usize>,
}

impl Axis {
    /// How often each is drawn.
    fn draw(&self, rng: &mut ChaCha8Rng) -> Vec<f64> {
        let mut times = vec![0.0; self.size];
        draw(&mut times, rng);
        times
    }
}

fn places<'a, T: Ord + 'a>(of_cells: impl Iterator<Item = &'a T> + Clone) -> Axis {
    let all: Vec<&T> = of_cells
        .clone()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let place = |found: &T| all.partition_point(|held| *held < found);
    Axis {
        size: all.len(),
        places: of_cells.map(place).collect(),
    }
}

impl Accumulator for Cells {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(values);
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let interval = bootstrap::array([self.interval()])?;
        ScalarValue::try_from_array(&interval, 0)
    }

    fn size(&self) -> usize {
        let text = |(_, seed, other): &Cell| seed.capacity() + other.capacity();
        let texts: usize = self.0.keys().map(text).sum();
        size_of::<Self>() + texts + self.0.len() * size_of::<(Cell, (f64, f64))>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let mut sums = ListBuilder::new(Float64Builder::new());
        let mut trajectories = ListBuilder::new(Int64Builder::new());
        let [mut seeds, mut others] = [(); 2].map(|()| ListBuilder::new(StringBuilder::new()));
        let mut counts = ListBuilder::new(Float64Builder::new());
        for ((trajectory, seed, other), (sum, count)) in std::mem::take(&mut self.0) {
            sums.values().append_value(sum);
            trajectories.values().append_value(trajectory);
            seeds.values().append_value(seed);
            others.values().append_value(other);
            counts.values().append_value(count);
        }
        sums.append(true);
        trajectories.append(true);
        seeds.append(true);
        others.append(true);
        counts.append(true);
        Ok(vec![
            ScalarValue::List(Arc::new(sums.finish())),
            ScalarValue::List(Arc::new(trajectories.finish())),
            ScalarValue::List(Arc::new(seeds.finish())),
            ScalarValue::List(Arc::new(others.finish())),
            ScalarValue::List(Arc::new(counts.finish())),
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for row in 0..states[0].len() {
            let columns = states.iter().map(|state| state.as_list::<i32>().value(row));
            self.add(&columns.collect::<Vec<_>>());
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    /// Cells of so many trajectories and seeds, one value each.
    fn cells(sizes: [usize; 3], value: impl Fn([usize; 3]) -> f64) -> Cells {
        let mut cells = Cells::default();
        for trajectory in 0..sizes[0] {
            for seed in 0..sizes[1] {
                for other in 0..sizes[2] {
                    let key = (trajectory as i64, seed.to_string(), other.to_string());
                    cells.0.insert(key, (value([trajectory, seed, other]), 1.0));
                }
            }
        }
        cells
    }

    /// With effects of trajectories (variance s²) and of seeds (t²) the mean's variance is s²/n + t²/m, each by its own
    /// biased variance, since values are drawn from those that there are.
    #[test]
    fn the_interval_has_the_variances_of_trajectories_and_of_seeds() {
        let wave = |i: usize| (i as f64 * 0.7).sin();
        let variance = |n: usize, scale: f64| {
            let values: Vec<f64> = (0..n).map(|i| scale * wave(i)).collect();
            let mean = values.iter().sum::<f64>() / n as f64;
            values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64
        };
        let (n, m, k) = (40, 20, 10);
        let all = cells([n, m, k], |[i, j, l]| wave(i) + 2.0 * wave(j) - wave(l));
        let expected =
            variance(n, 1.0) / n as f64 + variance(m, 2.0) / m as f64 + variance(k, 1.0) / k as f64;
        let [low, high] = all.interval().unwrap();
        let half = 1.96 * expected.sqrt();
        assert!(
            ((high - low) / (2.0 * half) - 1.0).abs() < 0.1,
            "{low} {high}, {half}"
        );
        // Without those of seeds it is the smaller, one-way interval.
        let one_way = cells([n, 1, 1], |[i, ..]| wave(i)).interval().unwrap();
        assert!(one_way[1] - one_way[0] < 0.5 * (high - low));
    }

    #[test]
    fn parts_of_a_table_merge_to_the_whole() {
        let value = |[i, j, l]: [usize; 3]| (i * 7 + j * 3 + l) as f64;
        let whole = cells([4, 3, 2], value);
        let mut merged = Cells::default();
        for trajectory in 0..4 {
            let mut part = cells([4, 3, 2], value);
            part.0.retain(|(held, ..), _| *held == trajectory);
            let state = part.state().unwrap();
            let state: Vec<ArrayRef> = state.iter().map(|s| s.to_array().unwrap()).collect();
            merged.merge_batch(&state).unwrap();
        }
        assert_eq!(merged.0, whole.0);
        assert_eq!(merged.interval(), whole.interval());
    }

    #[test]
    fn one_of_each_has_no_interval_and_what_is_not_finite_stays_so() {
        assert_eq!(cells([1, 1, 1], |_| 1.0).interval(), None);
        assert_eq!(Cells::default().interval(), None);
        assert_eq!(cells([1, 2, 1], |_| 1.0).interval(), Some([1.0, 1.0]));
        assert!(cells([2, 1, 1], |_| f64::NAN).interval().unwrap()[0].is_nan());
    }
}
