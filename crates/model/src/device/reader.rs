//! What the kinds share when they read their keys.

use super::DeviceError;
use crate::config::Config;
use crate::names::{DeviceName, NameError};

/// The keys of one device, each checked against its kind's table already.
pub(super) struct Reader<'a> {
    /// The device.
    pub(super) device: &'a DeviceName,
    /// Its keys.
    pub(super) keys: &'a Config,
}

impl Reader<'_> {
    /// A key that has to be there.
    pub(super) fn required(&self, key: &'static str) -> Result<&str, DeviceError> {
        self.keys.get(key).ok_or_else(|| self.missing(key))
    }

    /// A key that is a name.
    pub(super) fn name<N: std::str::FromStr<Err = NameError>>(&self, key: &'static str) -> Result<Option<N>, DeviceError> {
        self.keys.get(key).map(|text| text.parse().map_err(|error: NameError| self.value(key, text, error.why))).transpose()
    }

    /// A key that is a path inside the instance: absolute, without `.` and `..`; double and trailing slashes go.
    pub(super) fn inside_path(&self, key: &'static str) -> Result<String, DeviceError> {
        let path = self.required(key)?;
        if !path.starts_with('/') || path.split('/').any(|part| part == ".." || part == ".") {
            return Err(self.value(key, path, "it must be absolute, without . and .."));
        }
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        Ok(format!("/{}", parts.join("/")))
    }

    /// Refuses every key but these and `type`: they would have no effect on `what`.
    pub(super) fn only(&self, keys: &[&str], what: &str) -> Result<(), DeviceError> {
        let stray = self.keys.iter().find(|(key, value)| !value.is_empty() && *key != "type" && !keys.contains(key));
        stray.map_or(Ok(()), |(key, _)| Err(self.combination(format!("key {key:?} has no meaning for {what}"))))
    }

    /// Says that a key is missing.
    pub(super) fn missing(&self, key: &'static str) -> DeviceError {
        DeviceError::Missing { device: self.device.clone(), key }
    }

    /// Says what is wrong with a value.
    pub(super) fn value(&self, key: &'static str, value: &str, why: &str) -> DeviceError {
        let value = value.chars().take(100).collect();
        DeviceError::Value { device: self.device.clone(), key, value, why: why.to_owned() }
    }

    /// Says that keys do not go together.
    pub(super) fn combination(&self, why: impl Into<String>) -> DeviceError {
        DeviceError::Combination { device: self.device.clone(), why: why.into() }
    }
}
