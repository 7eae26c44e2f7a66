//! Makes the module smaller: lld, Rust's linker on this kind of machine, keeps one of equal functions.

fn main() {
    let of = |key| std::env::var(format!("CARGO_CFG_TARGET_{key}")).unwrap_or_default();
    if (of("ARCH").as_str(), of("OS").as_str(), of("ENV").as_str()) == ("x86_64", "linux", "gnu") {
        println!("cargo::rustc-link-arg-cdylib=-Wl,--icf=all");
    }
}
