//! Compiles the kernels of `train/src/ops/*.cu` and the emulator with the C++ compiler, and writes the
//! table of kernels by name.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rerun-if-changed=../../train/src/ops");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut units = Vec::new();
    let (mut declared, mut calls, mut names) = (String::new(), String::new(), String::new());
    let mut sources = sources(Path::new("../../train/src/ops"))?;
    sources.push(fs::canonicalize("src/racy.cu")?);
    for source in sources {
        for kernel in kernels(&fs::read_to_string(&source)?) {
            write!(names, "{kernel} ")?;
        }
        let name = source.file_stem().unwrap_or_default().to_string_lossy();
        let name = format!("register_{name}");
        writeln!(declared, "void {name}(emulator::Kernels &);")?;
        writeln!(calls, "  {name}(all);")?;
        let file = out.join(format!("{name}.cpp"));
        fs::write(&file, translation_unit(&source, &name)?)?;
        units.push(file);
    }
    let table = out.join("kernels.cpp");
    fs::write(
        &table,
        format!(
            "#include \"emulator.h\"\n{declared}\
             void emulator::register_kernels(Kernels &all) {{\n{calls}}}\n"
        ),
    )?;
    units.push(table);
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .std("c++17")
        .opt_level(2)
        .flag("-fno-strict-aliasing")
        // A GPU refuses addresses that its types do not allow; `emulator.cpp` answers for the sanitizer.
        .flag("-fsanitize=alignment")
        .flag("-fno-sanitize-recover=alignment")
        .warnings(false)
        .include("src")
        .file("src/emulator.cpp")
        .files(&units)
        .try_compile("wellspring_emulator")?;
    // For `src/races.rs`, which compiles the same once more.
    let compiler = build.try_get_compiler()?;
    let (compiler, units) = (compiler.path().display(), env::join_paths(units)?);
    println!("cargo::rustc-env=EMULATOR_COMPILER={compiler}");
    println!("cargo::rustc-env=EMULATOR_UNITS={}", units.display());
    println!("cargo::rustc-env=EMULATOR_KERNELS={names}");
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
