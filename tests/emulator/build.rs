//! Compiles the kernels of `train/src/ops/*.cu` and the emulator with the C++ compiler, and writes the
//! table of kernels by name.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rerun-if-changed=../../train/src/ops");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let mut files = vec![PathBuf::from("src/emulator.cpp")];
    let (mut declared, mut calls) = (String::new(), String::new());
    for source in sources(Path::new("../../train/src/ops"))? {
        let name = source.file_stem().unwrap_or_default().to_string_lossy();
        let name = format!("register_{name}");
        writeln!(declared, "void {name}(emulator::Kernels &);")?;
        writeln!(calls, "  {name}(all);")?;
        let file = out.join(format!("{name}.cpp"));
        fs::write(&file, translation_unit(&source, &name)?)?;
        files.push(file);
    }
    let table = out.join("kernels.cpp");
    fs::write(
        &table,
        format!(
            "#include \"emulator.h\"\n{declared}\
             void emulator::register_kernels(Kernels &all) {{\n{calls}}}\n"
        ),
    )?;
    files.push(table);
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .opt_level(2)
        .flag("-fno-strict-aliasing")
        // A GPU refuses addresses that its types do not allow; `emulator.cpp` answers for the sanitizer.
        .flag("-fsanitize=alignment")
        .flag("-fno-sanitize-recover=alignment")
        .warnings(false)
        .include("src")
        .files(files)
        .try_compile("wellspring_emulator")?;
    Ok(())
}

fn sources(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "cu") {
            found.push(fs::canonicalize(path)?);
        }
    }
    found.sort();
    Ok(found)
}

/// The source with a function that adds its kernels to the table.
fn translation_unit(source: &Path, register: &str) -> Result<String, Box<dyn Error>> {
    let mut unit = format!(
        "#include \"emulator.h\"\n#include \"{}\"\nvoid {register}(emulator::Kernels &all) {{\n",
        source.display()
    );
    for kernel in kernels(&fs::read_to_string(source)?) {
        writeln!(
            unit,
            "  all.add(\"{kernel}\", emulator::callable({kernel}));"
        )?;
    }
    unit.push_str("}\n");
    Ok(unit)
}

/// Names of the functions that a source declares with `KERNEL`.
fn kernels(text: &str) -> Vec<String> {
    let starts = text.split("\nKERNEL ").skip(1);
    let names = starts.filter_map(|rest| {
        let before = rest.split('{').next()?;
        let head = match before.strip_prefix("__launch_bounds__(") {
            Some(bounds) => bounds.split_once(')')?.1,
            None => before,
        };
        head.split('(').next().map(|name| name.trim().to_owned())
    });
    names.collect()
}
