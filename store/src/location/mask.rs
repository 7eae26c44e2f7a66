//! Removes secrets, which URLs and settings may carry, from texts for people and logs.

use std::borrow::Cow;

/// What a secret is replaced by.
const MASK: &str = "***";

/// Names of query parameters and settings whose values are secrets, or parts of such names.
const SECRETS: [&str; 10] = [
    "signature",
    "credential",
    "secret",
    "token",
    "password",
    "account_key",
    "accountkey",
    "access_key",
    "accesskeyid",
    "api_key",
];

/// Such names that are parts of harmless ones, too.
const SHORT_SECRETS: [&str; 4] = ["sig", "sas", "pass", "pwd"];

/// A text without secrets: what precedes `@` in a URL, signatures and tokens in queries
/// (`X-Amz-Signature=`, `sig=`), and values of settings such as `aws_secret_access_key=`.
#[must_use]
pub fn masked(text: &str) -> Cow<'_, str> {
    let mut masked: Option<String> = None;
    // From the end, so that earlier places stay where they are.
    for (start, end) in secrets(text).into_iter().rev() {
        let masked = masked.get_or_insert_with(|| text.to_owned());
        masked.replace_range(start..end, MASK);
    }
    masked.map_or(Cow::Borrowed(text), Cow::Owned)
}

/// Ranges of the secrets in a text, in order.
fn secrets(text: &str) -> Vec<(usize, usize)> {
    let mut found: Vec<_> = users(text).chain(values(text)).collect();
    found.sort_unstable();
    // One within another, as `token=` in a password.
    let mut kept: Vec<(usize, usize)> = Vec::new();
    for (start, end) in found {
        match kept.last_mut() {
            Some(last) if start < last.1 => last.1 = last.1.max(end),
            _ => kept.push((start, end)),
        }
    }
    kept
}

/// Users and passwords of URLs.
fn users(text: &str) -> impl Iterator<Item = (usize, usize)> {
    text.match_indices("://").filter_map(|(at, mark)| {
        let start = at + mark.len();
        let rest = &text[start..];
        let authority = &rest[..rest.find(ends_authority).unwrap_or(rest.len())];
        let end = authority.rfind('@')?;
        // Azure's containers are named so: abfss://CONTAINER@ACCOUNT.
        let is_container = ["abfs", "abfss"]
            .iter()
            .any(|scheme| text[..at].ends_with(scheme));
        let is_secret = !is_container || authority[..end].contains(':');
        is_secret.then_some((start, start + end))
    })
}

/// Values of parameters and settings.
fn values(text: &str) -> impl Iterator<Item = (usize, usize)> {
    text.match_indices('=').filter_map(|(at, _)| {
        let before = &text[..at];
        let key = before.rfind(|c: char| !is_of_name(c));
        let key = key.map_or(before, |end| {
            before[end..].trim_start_matches(|c| !is_of_name(c))
        });
        let rest = &text[at + 1..];
        let end = rest.find(ends_value).unwrap_or(rest.len());
        let is_word = ["", "true", "false", "..."].contains(&&rest[..end]);
        (is_secret(key) && !is_word).then_some((at + 1, at + 1 + end))
    })
}

fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase().replace('-', "_");
    SHORT_SECRETS.contains(&key.as_str()) || SECRETS.iter().any(|name| key.contains(name))
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-".contains(c)
}

fn ends_authority(c: char) -> bool {
    c.is_whitespace() || "/?#\"'<>`".contains(c)
}

fn ends_value(c: char) -> bool {
    c.is_whitespace() || "&#\"'<>`),;".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_and_the_rest_stays() {
        for (text, expected) in [
            (
                "https://user:pass@host:8080/a/b is not a place",
                "https://***@host:8080/a/b is not a place",
            ),
            ("s3://key:se@cret@bucket/x@y", "s3://***@bucket/x@y"),
            (
                "https://h/o?X-Amz-Credential=AKIA%2F1&X-Amz-Date=2&X-Amz-Signature=ab12 (reading)",
                "https://h/o?X-Amz-Credential=***&X-Amz-Date=2&X-Amz-Signature=*** (reading)",
            ),
            ("az://c/o?sv=1&sig=a%2Bb#f", "az://c/o?sv=1&sig=***#f"),
            (
                "aws_secret_access_key=abc, aws_region=eu",
                "aws_secret_access_key=***, aws_region=eu",
            ),
            ("\"hf_token=hf_x\"", "\"hf_token=***\""),
            ("https://h/a?password=x://y@z", "https://h/a?password=***"),
        ] {
            assert_eq!(masked(text), expected);
        }
        for text in [
            "s3://bucket/a=b/x",
            "mail a@b.c about https://host/path@1",
            "key = value; expected KEY=VALUE",
            "design=1",
            "aws_skip_signature=true (aws_access_key_id=...)",
            "abfss://container@account.dfs.core.windows.net/x",
            "--set data.root=ds",
            "é://é@é",
        ] {
            let expected = text.replace("://é@", "://***@");
            assert_eq!(masked(text), expected);
        }
    }
}
