fn main() {
    println!("cargo::rustc-link-arg-cdylib=-Wl,--icf=all");
}
