//! Reading fields as Go's YAML does: null is the field's default, and a null in a list is not there.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::Keys;

/// A value; null is its default.
pub(super) fn value<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// A list; null is empty, and nulls in it are left out.
pub(super) fn list<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    let list: Option<Vec<Option<T>>> = Option::deserialize(from)?;
    Ok(list.unwrap_or_default().into_iter().flatten().collect())
}

/// A set of keys; null is empty, and a key without a value has the empty one.
pub(super) fn keys<'de, D: Deserializer<'de>>(from: D) -> Result<Keys, D::Error> {
    let keys: Option<BTreeMap<String, Option<String>>> = Option::deserialize(from)?;
    Ok(keys.unwrap_or_default().into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect())
}

/// Devices by name; nulls are empty at both levels.
pub(super) fn devices<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, Keys>, D::Error> {
    #[derive(Deserialize)]
    struct Device(#[serde(deserialize_with = "keys")] Keys);
    let devices: Option<BTreeMap<String, Option<Device>>> = Option::deserialize(from)?;
    let plain = |device: Option<Device>| device.map(|Device(keys)| keys).unwrap_or_default();
    Ok(devices.unwrap_or_default().into_iter().map(|(name, device)| (name, plain(device))).collect())
}

/// A moment that may be unset: LXD writes the Unix epoch then, and Go's zero time in some places.
pub(super) mod time {
    use coffer_model::Time;
    use serde::{Deserialize, Deserializer, Serializer};

    const GO_ZERO: &str = "0001-01-01T00:00:00Z";

    pub(crate) fn serialize<S: Serializer>(time: &Option<Time>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&time.unwrap_or(Time::UNIX_EPOCH))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Time>, D::Error> {
        match Option::<String>::deserialize(from)?.as_deref() {
            None | Some("" | GO_ZERO) => Ok(None),
            Some(text) => {
                let time: Time = text.parse().map_err(serde::de::Error::custom)?;
                Ok((time != Time::UNIX_EPOCH).then_some(time))
            }
        }
    }
}
