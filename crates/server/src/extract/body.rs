//! JSON bodies: bounded, read in time, and without a key that stands twice.

use std::fmt;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::app::App;
use crate::refusal::Refusal;

/// The largest JSON body. The largest single value that a key takes is 1 MiB.
const LIMIT: usize = 8 << 20;

/// How long a client may take to send a JSON body.
const PATIENCE: Duration = Duration::from_secs(60);

/// How deep objects and lists may lie in each other.
const DEPTH: usize = 64;

/// A body of one of the wire's types.
#[derive(Debug, Clone)]
pub struct Wire<T>(pub T);

/// The body of a `PATCH`: the keys that are there are changed, the others are left.
#[derive(Debug, Clone)]
pub struct Patch(pub Map<String, Value>);

impl<T: DeserializeOwned> FromRequest<App> for Wire<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &App) -> Result<Self, Refusal> {
        parse(&collect(request.into_body()).await?).map(Self)
    }
}

impl FromRequest<App> for Patch {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &App) -> Result<Self, Refusal> {
        parse(&collect(request.into_body()).await?).map(Self)
    }
}

impl Patch {
    /// A text, if the patch has it.
    ///
    /// # Errors
    /// If it is something else than a text.
    pub fn text(&self, key: &str) -> Result<Option<String>, Refusal> {
        self.read(key)
    }

    /// Any value, if the patch has it; `null` is as good as absent.
    ///
    /// # Errors
    /// If it has another form.
    pub fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Refusal> {
        let Some(value) = self.0.get(key).filter(|value| !value.is_null()) else { return Ok(None) };
        serde_json::from_value(value.clone()).map(Some).map_err(|error| Refusal::bad_request(format!("invalid {key}: {error}")))
    }
}

/// Reads a whole body into memory.
///
/// # Errors
/// If it is too large, too slow or breaks off.
pub async fn collect(body: Body) -> Result<Bytes, Refusal> {
    match tokio::time::timeout(PATIENCE, Limited::new(body, LIMIT).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Refusal::bad_request(format!("the request's body is larger than {}", coffer_base::Bytes(LIMIT as u64))))
        }
        Ok(Err(error)) => Err(Refusal::bad_request(format!("reading the request's body: {error}"))),
        Err(_) => Err(Refusal::bad_request(format!("the request's body did not arrive within {} seconds", PATIENCE.as_secs()))),
    }
}

/// Reads JSON in which no object has a key twice: whoever checks a request and whoever carries it out must not read two
/// different things in it.
///
/// # Errors
/// If it is no JSON, has a key twice or has another form.
pub fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, Refusal> {
    let refuse = |error: serde_json::Error| Refusal::bad_request(format!("invalid JSON in the request: {error}"));
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Strict { depth: DEPTH }.deserialize(&mut reader).map_err(refuse)?;
    reader.end().map_err(refuse)?;
    serde_json::from_value(value).map_err(refuse)
}

#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom(format!("more than {DEPTH} levels")))?;
        Ok(Self { depth })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(inner)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut map = Map::new();
        while let Some(key) = object.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format!("key {key:?} stands twice")));
            }
            map.insert(key, object.next_value_seed(inner)?);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let got = match parse::<Value>(text.as_bytes()) {
            Ok(value) => value.to_string(),
            Err(refusal) => refusal.to_string(),
        };
        assert_eq!(got, expect);
    }

    #[test]
    fn json() {
        check(r#" {"b":[1,-2,0.5,null,true,"x"],"a":{}} "#, r#"{"a":{},"b":[1,-2,0.5,null,true,"x"]}"#);
        check("", "invalid JSON in the request: EOF while parsing a value at line 1 column 0");
        check("{} {}", "invalid JSON in the request: trailing characters at line 1 column 4");
    }

    #[test]
    fn no_key_stands_twice() {
        check(r#"{"config":{"a":"1"},"config":{"a":"2"}}"#, "invalid JSON in the request: key \"config\" stands twice at line 1 column 28");
        check(r#"{"a":[{"x":1,"\u0078":2}]}"#, "invalid JSON in the request: key \"x\" stands twice at line 1 column 21");
    }

    #[test]
    fn depth_is_bounded() {
        let text = "[".repeat(100);
        assert!(parse::<Value>(text.as_bytes()).unwrap_err().to_string().contains("more than 64 levels"));
    }

    #[test]
    fn null_is_absent_in_a_patch() {
        let patch = Patch(parse(br#"{"description":null,"ephemeral":true}"#).unwrap());
        assert_eq!(patch.text("description"), Ok(None));
        assert_eq!(patch.read::<bool>("ephemeral"), Ok(Some(true)));
        assert!(patch.text("ephemeral").is_err());
    }
}
