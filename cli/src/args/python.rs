//! The options of commands as types of Python, in `python/wellspring/options.py`, so that editors complete them and type
//! checkers know them. They are made from the grammar, and this test holds them to it.

use std::any::TypeId;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Command, CommandFactory as _};

use super::Cli;

/// Columns of a line of Python.
const WIDTH: usize = 120;

const HEAD: &str = r#""""Options of the commands, as the program has them.

They are made from its grammar: ``WELLSPRING_WRITE_DOCS=1 cargo test --release -p wellspring args::python``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Literal, TypedDict

PathLike = str | os.PathLike[str]

Word = str | int | float | os.PathLike[str]
"""What is typed as it is printed."""


class Options(TypedDict, total=False):
    """Options of every command."""
"#;

/// Commands that are functions in Python, and the options that are arguments of their own there.
const FUNCTIONS: [(&str, &[&str]); 8] = [
    ("simulate", &[]),
    ("ingest", &[]),
    ("verify", &[]),
    ("train", &["out"]),
    ("predict", &["to"]),
    ("experiment", &[]),
    ("figures", &[]),
    ("animate", &[]),
];

/// Options of the program that functions do not have: Python has its own progress, log and settings of buckets.
const OTHERWISE: [&str; 4] = ["quiet", "progress-json", "verbose", "storage-option"];

#[test]
#[allow(clippy::disallowed_methods, reason = "a switch of the tests")]
fn options_in_python_are_those_of_the_commands() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../python/wellspring/options.py");
    let made = module();
    if std::env::var_os("WELLSPRING_WRITE_DOCS").is_some() {
        std::fs::write(&file, &made).unwrap();
    }
    let advice =
        "write it anew: WELLSPRING_WRITE_DOCS=1 cargo test --release -p wellspring args::python";
    let found = std::fs::read_to_string(&file).unwrap();
    assert!(
        found == made,
        "{} is not of this program; {advice}",
        file.display()
    );
}

fn module() -> String {
    let program = Cli::command();
    let mut text = HEAD.to_owned();
    fields(&mut text, &program, &OTHERWISE);
    for (name, apart) in FUNCTIONS {
        let command = program.find_subcommand(name).unwrap();
        let mut letters = name.chars();
        let first = letters.next().unwrap().to_ascii_uppercase();
        let class = format!("{first}{}Options", letters.as_str());
        write!(
            text,
            "\n\nclass {class}(Options, total=False):\n    \"\"\"Options of ``{name}``.\"\"\"\n"
        )
        .unwrap();
        fields(&mut text, command, apart);
    }
    text
}

fn fields(text: &mut String, command: &Command, apart: &[&str]) {
    for arg in command.get_arguments() {
        let Some(long) = arg.get_long().filter(|long| !apart.contains(long)) else {
            continue;
        };
        // `from` is a word of Python's grammar.
        let name = match long {
            "from" => "from_".to_owned(),
            _ => long.replace('-', "_"),
        };
        write!(text, "\n    {name}: {}\n", type_of(arg)).unwrap();
        let help = arg.get_help().unwrap().to_string();
        text.push_str(&docstring(&help));
    }
}

fn type_of(arg: &Arg) -> String {
    let one = type_of_one(arg);
    match arg.get_action() {
        ArgAction::Append => format!("{one} | Sequence[{one}]"),
        _ => one,
    }
}

fn type_of_one(arg: &Arg) -> String {
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        return "bool".to_owned();
    }
    let words: Vec<String> = arg
        .get_possible_values()
        .iter()
        .map(|word| format!("{:?}", word.get_name()))
        .collect();
    if !words.is_empty() {
        return format!("Literal[{}]", words.join(", "));
    }
    let is = |of: TypeId| arg.get_value_parser().type_id() == of;
    let is_size = arg.get_value_names().is_some_and(|names| names == ["SIZE"]);
    let is_whole = is(TypeId::of::<usize>()) || is(TypeId::of::<u64>());
    let name = match () {
        () if is_whole && !is_size => "int",
        () if is(TypeId::of::<f64>()) => "float",
        () if is(TypeId::of::<PathBuf>()) => "PathLike",
        () => "Word",
    };
    name.to_owned()
}

/// A sentence below a field, on as many lines as it needs.
fn docstring(sentence: &str) -> String {
    let mut text = String::from("    \"\"\"");
    let mut column = text.len();
    let sentence = format!("{}.\"\"\"", sentence.trim_end_matches('.'));
    for (place, word) in sentence.split_whitespace().enumerate() {
        if place > 0 && column + 1 + word.len() > WIDTH {
            text.push_str("\n    ");
            column = 4;
        } else if place > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += word.len();
    }
    text + "\n"
}
