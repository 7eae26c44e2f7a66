//! Parses sizes in bytes, such as `2GiB`.

/// Bytes of `2GiB`, `500 MiB`, `1.5GB`, `64k` or a plain number; k, M, G and T alone are of 1024.
///
/// # Errors
/// A message that says what is wrong.
pub fn parse(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(format!("{unit} is not a unit of size; give 2GiB or 500MiB")),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| "not a size; give 2GiB or 500MiB".to_owned())?;
    match number * factor as f64 {
        bytes if (1.0..1e18).contains(&bytes) => Ok(bytes as u64),
        _ => Err("not a size that a machine has; give 2GiB or 500MiB".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        for (text, bytes) in [
            ("2GiB", 2 << 30),
            ("500 MiB", 500 << 20),
            ("1.5GB", 1_500_000_000),
            ("64k", 64 << 10),
            ("4096", 4096),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in ["", "GiB", "-1", "2 GiBs", "0", "1e9", "9999999999TiB"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
