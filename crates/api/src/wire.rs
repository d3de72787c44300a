//! How every wire object is read and written.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// Declares wire objects: fields in LXD's order, each read leniently (absent or `null` is the default).
macro_rules! wire {
    ($( $(#[$meta:meta])* pub struct $name:ident { $( $(#[$field_meta:meta])* pub $field:ident: $kind:ty ),* $(,)? } )*) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[serde(default)]
        pub struct $name {
            $( $(#[$field_meta])* #[serde(deserialize_with = "crate::wire::null_as_default")] pub $field: $kind ),*
        }
    )* };
}

/// Reads `null` as the type's default, as Go clients send it for empty maps, lists and texts.
///
/// # Errors
/// Those of reading the value itself.
pub fn null_as_default<'de, D, T>(reader: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(reader)?.unwrap_or_default())
}

/// Reads a map of texts whose values may also be numbers, booleans or `null` (server configuration, preseeds).
///
/// # Errors
/// If a value is a list or an object.
pub fn text_map<'de, D: Deserializer<'de>>(reader: D) -> Result<BTreeMap<String, String>, D::Error> {
    let raw = Option::<BTreeMap<String, Scalar>>::deserialize(reader)?.unwrap_or_default();
    Ok(raw.into_iter().map(|(key, value)| (key, value.into_text())).collect())
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Bool(bool),
    Whole(i64),
    Real(f64),
    Empty(()),
}

impl Scalar {
    fn into_text(self) -> String {
        match self {
            Scalar::Text(text) => text,
            Scalar::Bool(value) => value.to_string(),
            Scalar::Whole(value) => value.to_string(),
            Scalar::Real(value) => value.to_string(),
            Scalar::Empty(()) => String::new(),
        }
    }
}
