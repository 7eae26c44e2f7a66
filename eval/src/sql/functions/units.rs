//! Aggregates over independent units, `NAME(value, unit)`: values of one unit (a trajectory) depend on one another, so a
//! unit has its sum and its number of values, and a statistic is made of those.

use std::sync::Arc;

use super::unit::{Unit, Units};
use super::{bootstrap, sign_flip};
use arrow::array::{
    Array, ArrayRef, AsArray as _, BooleanArray, ListArray, ListBuilder, PrimitiveBuilder,
};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Field, FieldRef, Float64Type, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};

/// What is made of the units of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Statistic {
    /// The 95 % interval of the mean.
    Bootstrap,
    /// The p value of the mean being zero.
    SignFlip,
}

impl Statistic {
    pub(super) const ALL: [Self; 2] = [Self::Bootstrap, Self::SignFlip];

    fn name(self) -> &'static str {
        match self {
            Self::Bootstrap => "bootstrap",
            Self::SignFlip => "sign_flip",
        }
    }

    fn return_type(self) -> DataType {
        match self {
            Self::Bootstrap => DataType::Struct(bootstrap::ends()),
            Self::SignFlip => DataType::Float64,
        }
    }

    /// One value for each group.
    fn of(self, groups: &[Units]) -> Result<ArrayRef> {
        match self {
            Self::Bootstrap => bootstrap::intervals(groups),
            Self::SignFlip => Ok(sign_flip::p_values(groups)),
        }
    }
}

/// The aggregate function of a statistic.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct UnitAggregate {
    statistic: Statistic,
    signature: Signature,
}

impl From<Statistic> for UnitAggregate {
    fn from(statistic: Statistic) -> Self {
        let kinds = vec![DataType::Float64, DataType::Int64];
        Self {
            statistic,
            signature: Signature::exact(kinds, Volatility::Immutable),
        }
    }
}

impl AggregateUDFImpl for UnitAggregate {
    fn name(&self) -> &str {
        self.statistic.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.statistic.return_type())
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let state = |name, kind| {
            let list = DataType::List(Arc::new(Field::new_list_field(kind, true)));
            Arc::new(Field::new(format_state_name(args.name, name), list, true))
        };
        Ok(vec![
            state("units", DataType::Int64),
            state("sums", DataType::Float64),
            state("counts", DataType::Float64),
        ])
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(One(Groups::one(self.statistic))))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Groups::none(self.statistic)))
    }
}

/// The units of each group.
#[derive(Debug, Clone)]
struct Groups {
    statistic: Statistic,
    groups: Vec<Units>,
    /// Units in all of them.
    held: usize,
}

impl Groups {
    fn none(statistic: Statistic) -> Self {
        Self {
            statistic,
            groups: Vec::new(),
            held: 0,
        }
    }

    /// A single group, so far empty.
    fn one(statistic: Statistic) -> Self {
        Self {
            groups: vec![Units::new()],
            ..Self::none(statistic)
        }
    }

    fn take(&mut self, emit: EmitTo) -> Vec<Units> {
        let taken = emit.take_needed(&mut self.groups);
        self.held -= taken.iter().map(|units| units.len()).sum::<usize>();
        taken
    }

    fn add(&mut self, group: usize, unit: Unit) {
        let units = &mut self.groups[group];
        // Rows of a unit mostly come together.
        if let Some(last) = units.last_mut().filter(|last| last.id == unit.id) {
            last.sum += unit.sum;
            last.count += unit.count;
            return;
        }
        match units.binary_search_by_key(&unit.id, |held| held.id) {
            Ok(place) => {
                units[place].sum += unit.sum;
                units[place].count += unit.count;
            }
            Err(place) => {
                units.insert(place, unit);
                self.held += 1;
            }
        }
    }

    /// (value, unit) pairs with the filter's leave and without nulls.
    fn pairs<'a>(
        values: &'a [ArrayRef],
        filter: Option<&'a BooleanArray>,
    ) -> impl Iterator<Item = (usize, Unit)> + 'a {
        let value = values[0].as_primitive::<Float64Type>();
        let id = values[1].as_primitive::<Int64Type>();
        let wanted = move |row: &usize| {
            let row = *row;
            let kept = filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            kept && value.is_valid(row) && id.is_valid(row)
        };
        (0..value.len()).filter(wanted).map(move |row| {
            let unit = Unit {
                id: id.value(row),
                sum: value.value(row),
                count: 1.0,
            };
            (row, unit)
        })
    }

    fn states(groups: &[Units]) -> Vec<ArrayRef> {
        let sums = |of: fn(&Unit) -> f64| list::<Float64Type>(groups, of);
        vec![
            list::<Int64Type>(groups, |unit| unit.id),
            sums(|unit| unit.sum),
            sums(|unit| unit.count),
        ]
    }
}

/// A list of one number for every unit, for every group.
fn list<T: ArrowPrimitiveType>(groups: &[Units], of: impl Fn(&Unit) -> T::Native) -> ArrayRef {
    let mut lists = ListBuilder::new(PrimitiveBuilder::<T>::new());
    for units in groups {
        for unit in units {
            lists.values().append_value(of(unit));
        }
        lists.append(true);
    }
    Arc::new(lists.finish())
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.groups.resize_with(total, Units::new);
        for (row, unit) in Self::pairs(values, filter) {
            self.add(groups[row], unit);
        }
        Ok(())
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let groups = self.take(emit);
        self.statistic.of(&groups)
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(Self::states(&self.take(emit)))
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.groups.resize_with(total, Units::new);
        let [ids, sums, counts] = [0, 1, 2].map(|i: usize| states[i].as_list::<i32>());
        let id = ids.values().as_primitive::<Int64Type>().values();
        let [sum, count] = [sums, counts].map(|list| list.values().as_primitive::<Float64Type>());
        let starts = [ids, sums, counts].map(ListArray::value_offsets);
        for (row, &group) in groups.iter().enumerate() {
            let [id_at, sum_at, count_at] = starts.map(|starts| starts[row] as usize);
            for i in 0..ids.value_length(row) as usize {
                let unit = Unit {
                    id: id[id_at + i],
                    sum: sum.value(sum_at + i),
                    count: count.value(count_at + i),
                };
                self.add(group, unit);
            }
        }
        Ok(())
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let mut rows = vec![Units::new(); values[0].len()];
        for (row, unit) in Self::pairs(values, filter) {
            rows[row].push(unit);
        }
        Ok(Self::states(&rows))
    }

    fn size(&self) -> usize {
        self.held * size_of::<Unit>() + self.groups.capacity() * size_of::<Units>()
    }
}

/// A single group with all rows.
#[derive(Debug)]
struct One(Groups);

impl Accumulator for One {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let groups = vec![0; values[0].len()];
        self.0.update_batch(values, &groups, None, 1)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let answer = self.0.clone().evaluate(EmitTo::All)?;
        ScalarValue::try_from_array(&answer, 0)
    }

    fn size(&self) -> usize {
        GroupsAccumulator::size(&self.0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let states = self.0.state(EmitTo::All)?;
        self.0 = Groups::one(self.0.statistic);
        states
            .iter()
            .map(|state| ScalarValue::try_from_array(state, 0))
            .collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let groups = vec![0; states[0].len()];
        self.0.merge_batch(states, &groups, 1)
    }
}
