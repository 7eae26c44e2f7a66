//! Makes untrusted text safe to print on a terminal.
//!
//! Names of fields, data sets, runs and sources come from files that anyone may have made, and error texts from
//! libraries and servers. Control characters in them could move the cursor, hide a line, change the window's
//! title or reverse the reading direction. Everything that the program writes to a terminal goes through
//! [`plain`].

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// The text with its control characters and invisible marks written out: `\u{1b}`. Ends of lines and tabulators
/// stay.
pub fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return text.into();
    }
    let mut plain = String::new();
    for c in text.chars() {
        match is_hidden(c) {
            true => plain.extend(c.escape_unicode()),
            false => plain.push(c),
        }
    }
    plain.into()
}

fn is_hidden(c: char) -> bool {
    let invisible = matches!(
        c,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
    );
    invisible || (c.is_control() && c != '\n' && c != '\t')
}

/// Writes text for people to standard output.
pub fn print(text: impl AsRef<[u8]>) -> anyhow::Result<()> {
    let text = String::from_utf8_lossy(text.as_ref());
    print_exactly(plain(&text).as_bytes())
}

/// Writes an answer for programs to standard output: to a file or a pipe every byte of it, to a terminal as
/// [`print()`] does.
pub fn print_data(bytes: &[u8]) -> anyhow::Result<()> {
    match io::stdout().is_terminal() {
        true => print(bytes),
        false => print_exactly(bytes),
    }
}

/// Writes bytes to standard output unchanged: only for text that this program made, never for untrusted text.
pub fn print_exactly(bytes: &[u8]) -> anyhow::Result<()> {
    // Of several ranks the first has said it.
    if is_silent() {
        return Ok(());
    }
    let mut output = io::stdout().lock();
    output.write_all(bytes)?;
    output.flush()?;
    Ok(())
}

/// Whether this process says nothing, because it is not the first of several that do the same.
static IS_SILENT: AtomicBool = AtomicBool::new(false);

/// Lets this process say nothing, or speak again.
pub fn silence(is_silent: bool) {
    IS_SILENT.store(is_silent, Ordering::Relaxed);
}

/// Whether this process says nothing.
pub fn is_silent() -> bool {
    IS_SILENT.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_hides_or_turns_is_written_out() {
        let text = "a\u{1b}[2Jb\u{7}\r\u{9b}31m\u{7f}\u{202e}c\u{200b}\u{0}";
        assert_eq!(
            plain(text),
            "a\\u{1b}[2Jb\\u{7}\\u{d}\\u{9b}31m\\u{7f}\\u{202e}c\\u{200b}\\u{0}"
        );
        let fine = "Zoë\t│ ▀ ∂ρ\n流体 🌊";
        assert!(matches!(plain(fine), Cow::Borrowed(same) if same == fine));
    }
}
