//! Tokens for new clients: a JSON object in base64, as LXD writes them.

use coffer_api::{CertificateAddToken, Operation, OperationClass, Timestamp};
use coffer_web::base64;
use serde_json::Value;

/// Reads a token's text; `None` if it is none.
pub(crate) fn read(text: &str) -> Option<CertificateAddToken> {
    let read: CertificateAddToken = serde_json::from_slice(&base64::decode(text.trim())?).ok()?;
    (!read.secret.is_empty() && !read.addresses.is_empty()).then_some(read)
}

/// Writes a token's text.
pub(crate) fn write(token: &CertificateAddToken) -> String {
    base64::encode(serde_json::to_string(token).unwrap_or_default().as_bytes())
}

/// The token that an operation stands for; `None` if it stands for none.
pub(crate) fn of_operation(operation: &Operation) -> Option<CertificateAddToken> {
    if operation.class != OperationClass::Token {
        return None;
    }
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let addresses = operation.metadata_value("addresses")?.as_array()?.iter().filter_map(|value| text(Some(value)));
    Some(CertificateAddToken {
        client_name: text(operation.metadata_value("request")?.get("name"))?,
        fingerprint: text(operation.metadata_value("fingerprint"))?,
        addresses: addresses.collect(),
        secret: text(operation.metadata_value("secret"))?,
        expires_at: text(operation.metadata_value("expiresAt")).and_then(|time| time.parse().ok()).unwrap_or(Timestamp::UNSET),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let token = CertificateAddToken {
            client_name: "laptop".into(),
            fingerprint: "ab".into(),
            addresses: vec!["192.0.2.7:8443".into()],
            secret: "s".into(),
            expires_at: Timestamp::UNSET,
        };
        assert_eq!(read(&write(&token)), Some(token));
        assert_eq!((read("box"), read("e30="), read("")), (None, None, None));
    }
}
