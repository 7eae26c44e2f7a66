//! Settings of buckets, from the environment and from the command line, which takes precedence.

use std::collections::BTreeMap;
use std::str::FromStr;

use object_store::ClientConfigKey;
use object_store::aws::AmazonS3ConfigKey;
use object_store::azure::AzureConfigKey;
use object_store::gcp::GoogleConfigKey;

/// The setting that says how long a request is made again, such as `90s` or `1h 30m`; `0s` is never.
pub(super) const RETRY_FOR: &str = "retry_for";

/// Server and token of the hub; in the environment `HF_ENDPOINT` and `HF_TOKEN`.
pub(super) const HUB: [&str; 2] = ["hf_endpoint", "hf_token"];

/// Settings that choose the profile and the files that hold it; `AWS_PROFILE` and so on in the environment.
pub(super) const PROFILE: [&str; 3] = [
    "aws_profile",
    "aws_config_file",
    "aws_shared_credentials_file",
];

/// The settings that a kind of store knows, in the order in which they are applied.
#[derive(Debug)]
pub(super) struct Settings<K> {
    known: Vec<(K, String)>,
    /// Values of all settings, by name.
    all: BTreeMap<String, String>,
}

impl<K: FromStr + PartialEq> Settings<K> {
    /// Variables of the environment with this prefix, then what was typed. What this kind of store does
    /// not know is passed over.
    pub(super) fn read(prefix: &str, options: &[(String, String)]) -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)));
        let variables: Vec<_> = variables
            .filter(|(key, _)| key.starts_with(prefix))
            .collect();
        let mut settings = Self::typed(&variables);
        let typed = Self::typed(options);
        settings.known.extend(typed.known);
        settings.all.extend(typed.all);
        settings
    }

    /// Only the settings that were typed.
    pub(super) fn typed(options: &[(String, String)]) -> Self {
        let options = options.iter();
        let all: Vec<_> = options
            .map(|(key, value)| (key.to_ascii_lowercase(), value.clone()))
            .collect();
        let known = |(key, value): &(String, String)| Some((key.parse().ok()?, value.clone()));
        Self {
            known: all.iter().filter_map(known).collect(),
            all: all.into_iter().collect(),
        }
    }

    pub(super) fn get(&self, key: &K) -> Option<&str> {
        let found = self.known.iter().rev().find(|(known, _)| known == key);
        found.map(|(_, value)| value.as_str())
    }

    /// A setting that is not of `object_store`.
    pub(super) fn named(&self, name: &str) -> Option<&str> {
        self.all.get(name).map(String::as_str)
    }

    /// A setting for where none of some is there.
    pub(super) fn set_default(&mut self, unless: &[K], key: K, value: String) {
        if unless.iter().all(|key| self.get(key).is_none()) {
            self.known.push((key, value));
        }
    }
}

impl<K> IntoIterator for Settings<K> {
    type Item = (K, String);
    type IntoIter = std::vec::IntoIter<(K, String)>;

    fn into_iter(self) -> Self::IntoIter {
        self.known.into_iter()
    }
}

/// # Errors
/// [`object_store::Error::UnknownConfigurationKey`] for a setting that no kind of place knows: it would
/// be missed.
pub(super) fn all_known(options: &[(String, String)]) -> object_store::Result<()> {
    let unknown = |key: &str| {
        key.parse::<AmazonS3ConfigKey>().is_err()
            && key.parse::<GoogleConfigKey>().is_err()
            && key.parse::<AzureConfigKey>().is_err()
            && key.parse::<ClientConfigKey>().is_err()
            && key != RETRY_FOR
            && !HUB.contains(&key)
            && !PROFILE.contains(&key)
    };
    let keys = options.iter().map(|(key, _)| key.to_ascii_lowercase());
    match keys.into_iter().find(|key| unknown(key)) {
        None => Ok(()),
        Some(key) => Err(object_store::Error::UnknownConfigurationKey {
            store: "any store",
            key,
        }),
    }
}
