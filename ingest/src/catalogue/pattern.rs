//! Glob patterns of paths, with which files are left out.

/// Whether a pattern leaves out a path. A pattern with a `/` is of the whole path or of a folder that
/// the path lies in, one without of any part of the path: the file's name, or a folder's. `?` stands for
/// one character and `*` for any number, but for no `/`; `**` stands for any.
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    let pattern = pattern.trim_end_matches('/');
    if !pattern.contains('/') {
        return path.split('/').any(|part| is_like(pattern, part));
    }
    let ends = path.match_indices('/').map(|(end, _)| end);
    ends.chain([path.len()])
        .any(|end| is_like(pattern, &path[..end]))
}

fn is_like(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    // By each end of the pattern's beginning: which beginnings of the text it stands for.
    let mut fits = vec![false; text.len() + 1];
    fits[0] = true;
    let mut at = 0;
    while at < pattern.len() {
        let stars = pattern[at..].iter().take_while(|&&c| c == '*').count();
        let mut next = vec![false; text.len() + 1];
        if stars > 0 {
            next[0] = fits[0];
            for end in 1..=text.len() {
                let passes = stars > 1 || text[end - 1] != '/';
                next[end] = fits[end] || (next[end - 1] && passes);
            }
        } else {
            for end in 1..=text.len() {
                let (wanted, found) = (pattern[at], text[end - 1]);
                next[end] = fits[end - 1] && (wanted == found || (wanted == '?' && found != '/'));
            }
        }
        fits = next;
        at += stars.max(1);
    }
    fits[text.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_of_a_path_or_of_its_parts() {
        let path = "data/train/run_7.hdf5";
        for pattern in [
            "run_7.hdf5",
            "run_*",
            "*_7*",
            "run_?.hdf5",
            "train",
            "data/train",
            "data/train/",
            "data/*/run*",
            "**/run_7.hdf5",
            "**7.hdf5",
            "data/**",
            "*",
        ] {
            assert!(matches(pattern, path), "{pattern}");
        }
        for pattern in [
            "run_7",
            "run_??.hdf5",
            "rain",
            "data/run*",
            "data/*7.hdf5",
            "train/run_7.hdf5",
            "",
            "/",
        ] {
            assert!(!matches(pattern, path), "{pattern}");
        }
    }
}
