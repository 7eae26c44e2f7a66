//! The `wellspring` program. All of it is in the library of its name, which the Python package calls too.

use std::process::ExitCode;

fn main() -> ExitCode {
    wellspring::main(std::env::args_os()).into()
}
