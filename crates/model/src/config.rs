//! Configuration: keys and their values as text, in key order.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A set of configuration keys with their values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Config(pub BTreeMap<String, String>);

impl Config {
    /// The value of a key, if it is set to something.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Sets a key.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.0.insert(key.into(), value.into());
    }

    /// Removes a key.
    pub fn unset(&mut self, key: &str) {
        self.0.remove(key);
    }

    /// The truth of a boolean key: `true`, `1`, `yes` and `on` are true; not set is `default`.
    #[must_use]
    pub fn flag(&self, key: &str, default: bool) -> bool {
        self.get(key).map_or(default, truth)
    }

    /// The value of a key as some type that was validated before; `None` when the key is not set.
    #[must_use]
    pub fn parse<T: FromStr>(&self, key: &str) -> Option<T> {
        self.get(key).and_then(|value| value.parse().ok())
    }

    /// The keys that begin with `prefix`, with the rest of their names.
    pub fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(move |(key, value)| Some((key.strip_prefix(prefix)?, value.as_str())))
    }

    /// Iterates over all keys in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Adds `other`'s keys over these.
    pub fn merge(&mut self, other: &Config) {
        self.0.extend(other.0.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Config {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(iter: I) -> Self {
        Self(iter.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

/// Reads a boolean as LXD does.
#[must_use]
pub fn truth(text: &str) -> bool {
    matches!(text.to_ascii_lowercase().as_str(), "true" | "1" | "yes" | "on")
}
