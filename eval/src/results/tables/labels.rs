//! Names that tell data sets apart.
//!
//! Runs have a task (`task`) and the name of their data set (`dataset`). Different data sets may have one name:
//! other grids of an equation, a crop, a choice of fields. In SQL each gets a name of its own, so that
//! grouping by `dataset` does not mix two of them. Only the difference is added: the grid
//! (`supernova_explosion 64x64`), else the fields (`shear_flow pressure+velocity`), else the beginning of the
//! data set's identity (`shear_flow #1f3a9c2e`).

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// Digits of an identity that are shown.
const DIGITS: usize = 8;
/// Letters of a list of fields that are shown; a longer list is counted.
const LETTERS: usize = 40;

/// What a row of `runs` says of the data set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct DataRecord {
    pub(crate) dataset: String,
    pub(crate) dataset_id: String,
    pub(crate) split: String,
    /// Identity of the task; like the fields below, absent in rows of versions 1 and 2.
    pub(crate) task: Option<String>,
    pub(crate) grid: Option<String>,
    pub(crate) fields: Option<String>,
}

/// What it is known by among all rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DataLabel {
    /// Identity of the task: equal for equal tasks.
    pub(crate) task: String,
    /// Name to show: different for different tasks of a split.
    pub(crate) label: String,
}

/// The label of every row, in the order of the rows.
pub(crate) fn known(rows: &[DataRecord]) -> Vec<DataLabel> {
    let rows = completed(rows);
    let mut labels: Vec<String> = rows.iter().map(|row| row.dataset.clone()).collect();
    add(&rows, &mut labels, |row| row.grid.clone());
    add(&rows, &mut labels, |row| row.fields.as_deref().map(shown));
    add_identities(&rows, &mut labels, |row| {
        let digits: String = row.dataset_id.chars().take(DIGITS).collect();
        format!("#{digits}")
    });
    // Data sets may even have the name that another one was given above.
    add_identities(&rows, &mut labels, |row| format!("#{}", task(row)));
    let known = rows.iter().zip(labels).map(|(row, label)| DataLabel {
        task: task(row),
        label,
    });
    known.collect()
}

/// Rows of older tables take what newer ones say of the same data set.
fn completed(rows: &[DataRecord]) -> Vec<DataRecord> {
    let mut tasks = BTreeMap::new();
    let mut datasets = BTreeMap::new();
    for row in rows.iter().filter(|row| row.task.is_some()) {
        tasks.insert((&row.dataset_id, &row.split), &row.task);
        datasets.insert(&row.dataset_id, (&row.grid, &row.fields));
    }
    let complete = |row: &DataRecord| {
        let mut row = row.clone();
        if row.task.is_none() {
            if let Some((grid, fields)) = datasets.get(&row.dataset_id) {
                (row.grid, row.fields) = ((*grid).clone(), (*fields).clone());
            }
            let task = tasks.get(&(&row.dataset_id, &row.split));
            row.task = task.and_then(|task| (*task).clone());
        }
        row
    };
    rows.iter().map(complete).collect()
}

fn task(row: &DataRecord) -> String {
    row.task.as_ref().unwrap_or(&row.dataset_id).clone()
}

/// Adds a part to the labels that rows with different ones share.
fn add(rows: &[DataRecord], labels: &mut [String], part: impl Fn(&DataRecord) -> Option<String>) {
    let mut parts: BTreeMap<String, BTreeSet<Option<String>>> = BTreeMap::new();
    for (row, label) in rows.iter().zip(labels.iter()) {
        parts.entry(label.clone()).or_default().insert(part(row));
    }
    for (row, label) in rows.iter().zip(labels) {
        let differs = parts.get(label).is_some_and(|parts| parts.len() > 1);
        if let Some(part) = part(row).filter(|_| differs) {
            *label = format!("{label} {part}");
        }
    }
}

/// Adds the identity to the labels that several tasks of a split share.
fn add_identities(
    rows: &[DataRecord],
    labels: &mut [String],
    identity: impl Fn(&DataRecord) -> String,
) {
    let mut tasks: BTreeMap<(String, &str), BTreeSet<String>> = BTreeMap::new();
    // A data set that was changed has several identities; the least stands for them.
    let mut least: BTreeMap<String, String> = BTreeMap::new();
    for (row, label) in rows.iter().zip(labels.iter()) {
        let of_split = tasks.entry((label.clone(), &row.split)).or_default();
        of_split.insert(task(row));
        let (own, least) = (identity(row), least.entry(task(row)).or_default());
        if least.is_empty() || own < *least {
            *least = own;
        }
    }
    let shared = tasks.into_iter().filter(|(_, tasks)| tasks.len() > 1);
    let shared: BTreeSet<String> = shared.map(|((label, _), _)| label).collect();
    for (row, label) in rows.iter().zip(labels) {
        if shared.contains(label)
            && let Some(identity) = least.get(&task(row))
        {
            *label = format!("{label} {identity}");
        }
    }
}

/// A list of fields as a part of a name.
fn shown(fields: &str) -> String {
    if fields.chars().count() > LETTERS {
        format!("{} fields", fields.split(',').count())
    } else {
        fields.replace(',', "+")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Name, identity of the data set, split, task, grid and fields; a task of "" is an older table's.
    fn row([dataset, id, split, task, grid, fields]: [&str; 6]) -> DataRecord {
        let new = |text: &str| (!task.is_empty()).then(|| text.to_owned());
        DataRecord {
            dataset: dataset.into(),
            dataset_id: id.into(),
            split: split.into(),
            task: new(task),
            grid: new(grid),
            fields: new(fields),
        }
    }

    fn labels(rows: &[[&str; 6]]) -> Vec<String> {
        let rows: Vec<DataRecord> = rows.iter().map(|&texts| row(texts)).collect();
        known(&rows).into_iter().map(|known| known.label).collect()
    }

    #[test]
    fn what_differs_is_added_and_no_more() {
        let one = ["nova", "a0", "test", "t0", "64x64", "u,v"];
        for (others, expected) in [
            (vec![], vec!["nova"]),
            (
                vec![["nova", "a0", "valid", "t1", "64x64", "u,v"]],
                vec!["nova", "nova"],
            ),
            (
                vec![["nova", "a1", "test", "t0", "64x64", "u,v"]],
                vec!["nova", "nova"],
            ),
            (
                vec![["nova", "b0", "test", "t1", "32x32", "u,v"]],
                vec!["nova 64x64", "nova 32x32"],
            ),
            (
                vec![["nova", "b0", "test", "t1", "64x64", "u"]],
                vec!["nova u+v", "nova u"],
            ),
            (
                vec![["nova", "b0", "test", "t1", "64x64", "u,v"]],
                vec!["nova #a0", "nova #b0"],
            ),
            (
                vec![
                    ["nova", "b0", "test", "t1", "32x32", "u,v"],
                    ["nova", "c0", "test", "t2", "32x32", "u,v"],
                    ["flow", "d0", "test", "t3", "8", "u"],
                ],
                vec!["nova 64x64", "nova 32x32 #b0", "nova 32x32 #c0", "flow"],
            ),
            (
                vec![
                    ["nova", "b0", "test", "t1", "32x32", "u,v"],
                    ["nova 64x64", "c0", "test", "t2", "8", "u"],
                ],
                vec!["nova 64x64 u+v", "nova 32x32", "nova 64x64 u"],
            ),
        ] {
            let rows: Vec<[&str; 6]> = [one].into_iter().chain(others).collect();
            assert_eq!(labels(&rows), expected);
        }
    }

    #[test]
    fn older_tables_join_the_newer_ones_of_the_same_data_set() {
        let rows = [
            ["nova", "a0", "test", "t0", "64x64", "u"],
            ["nova", "a0", "test", "", "", ""],
            ["nova", "b0", "test", "", "", ""],
        ];
        assert_eq!(labels(&rows), ["nova 64x64", "nova 64x64", "nova"]);
        let known = known(&rows.map(row));
        assert_eq!(known[1].task, "t0");
        assert_eq!(known[2].task, "b0");
    }

    proptest! {
        /// Within a split, two labels are equal exactly where the tasks are.
        #[test]
        fn no_two_tasks_share_a_label(picks in prop::collection::vec((0..3_usize, 0..4_usize, 0..2_usize, any::<bool>()), 1..12)) {
            let names = ["nova", "nova 8x8", "nova 8x8 #a0"];
            let rows = picks.iter().map(|&(name, id, split, old)| {
                let texts = [["a0", "8x8", "u"], ["b0", "8x8", "u"], ["c0", "4x4", "u"], ["d0", "4x4", "u,v"]][id];
                let split = ["test", "valid"][split];
                let id = format!("{}{name}", texts[0]);
                let task = if old { String::new() } else { format!("{id}-{split}") };
                row([names[name], &id, split, &task, texts[1], texts[2]])
            });
            let rows: Vec<DataRecord> = rows.collect();
            let known = known(&rows);
            for (i, one) in known.iter().enumerate() {
                for (j, other) in known.iter().enumerate() {
                    if rows[i].split == rows[j].split {
                        prop_assert_eq!(one.task == other.task, one.label == other.label, "{:?} {:?}", one, other);
                    }
                }
            }
        }
    }
}
