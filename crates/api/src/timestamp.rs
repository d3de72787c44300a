//! Points in time as the wire writes them.

use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time, RFC 3339 with nanoseconds in UTC; the default is Go's zero time, which means "unset".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(jiff::Timestamp);

impl Timestamp {
    /// Go's zero time, `0001-01-01T00:00:00Z`.
    pub const UNSET: Timestamp = Timestamp(jiff::Timestamp::constant(-62_135_596_800, 0));
    /// `1970-01-01T00:00:00Z`, which LXD also writes for "unset" in image expiry dates.
    pub const EPOCH: Timestamp = Timestamp(jiff::Timestamp::UNIX_EPOCH);

    /// Tells whether this is a real point in time: neither Go's zero time nor the Unix epoch.
    pub fn is_set(self) -> bool {
        self != Self::UNSET && self != Self::EPOCH
    }

    /// Returns the point in time, or `None` if it is unset.
    pub fn get(self) -> Option<jiff::Timestamp> {
        self.is_set().then_some(self.0)
    }

    /// Makes one from seconds since the Unix epoch; out-of-range values become unset.
    pub fn from_unix_seconds(seconds: i64) -> Timestamp {
        jiff::Timestamp::from_second(seconds).map_or(Self::UNSET, Timestamp)
    }

    /// Returns whole seconds since the Unix epoch; negative for Go's zero time.
    pub fn as_unix_seconds(self) -> i64 {
        self.0.as_second()
    }

    /// Returns nanoseconds since the Unix epoch.
    pub fn as_unix_nanoseconds(self) -> i128 {
        self.0.as_nanosecond()
    }

    /// Makes one from nanoseconds since the Unix epoch; out-of-range values become unset.
    pub fn from_unix_nanoseconds(nanoseconds: i128) -> Timestamp {
        jiff::Timestamp::from_nanosecond(nanoseconds).map_or(Self::UNSET, Timestamp)
    }
}

impl Default for Timestamp {
    fn default() -> Self {
        Self::UNSET
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        jiff::Timestamp::try_from(time).map_or(Self::UNSET, Timestamp)
    }
}

impl From<jiff::Timestamp> for Timestamp {
    fn from(time: jiff::Timestamp) -> Self {
        Timestamp(time)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for Timestamp {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, jiff::Error> {
        if text.is_empty() { Ok(Self::UNSET) } else { text.parse().map(Timestamp) }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, writer: S) -> Result<S::Ok, S::Error> {
        // A named newtype: JSON sees the text alone, writers of other forms may tell a time from a text that looks like one.
        writer.serialize_newtype_struct("Timestamp", &format_args!("{self}"))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(reader)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Timestamp {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
        ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime))).into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Timestamp {}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    #[track_caller]
    fn check(input: &str, written: &str, set: bool) {
        let time: Timestamp = serde_json::from_str(input).unwrap();
        assert_eq!(serde_json::to_string(&time).unwrap(), written);
        assert_eq!(time.is_set(), set);
    }

    #[test]
    fn times_are_written_as_go_writes_them() {
        check(r#""2026-11-23T16:48:06.572819426Z""#, r#""2026-11-23T16:48:06.572819426Z""#, true);
        check(r#""2026-11-23T17:58:35.104657710Z""#, r#""2026-11-23T17:58:35.10465771Z""#, true);
        check(r#""2026-09-21T16:13:20+02:00""#, r#""2026-09-21T14:13:20Z""#, true);
        check(r#""0001-01-01T00:00:00Z""#, r#""0001-01-01T00:00:00Z""#, false);
        check(r#""1970-01-01T00:00:00Z""#, r#""1970-01-01T00:00:00Z""#, false);
        check(r#""""#, r#""0001-01-01T00:00:00Z""#, false);
    }
}
