//! Tokens: an operation that waits until a new client shows its secret, once.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coffer_model::{CertificateKind, Expiry, ProjectName, Time};
use serde_json::{Map, Value, json};

use super::same_secret;
use crate::Engine;
use crate::error::EngineError;
use crate::events::Caller;
use crate::operations::{Class, NewOperation, OperationView};

/// The longest text that is looked at as a token.
const LIMIT: usize = 16 << 10;

/// A token to be made.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// What the client will be called.
    pub name: String,
    /// `host:port` of this server.
    pub addresses: Vec<String>,
    /// Fingerprint of this server's certificate.
    pub fingerprint: String,
    /// The request as it came, for clients that look into it.
    pub request: Value,
}

impl Engine {
    /// Makes a token for a new client: an operation whose metadata holds the secret. It ends when the token is used,
    /// revoked or too old.
    ///
    /// # Errors
    /// If the server does not listen on the network, or the name is no name.
    pub fn create_token(&self, caller: &Caller, token: NewToken) -> Result<OperationView, EngineError> {
        super::certificates::check_name(&token.name)?;
        if token.name.is_empty() {
            return Err(EngineError::Refused("a token needs the name of the client that it is for".into()));
        }
        if token.addresses.is_empty() {
            return Err(EngineError::Refused(
                "the server does not listen on the network: set core.https_address first, for example to \":8443\"".into(),
            ));
        }
        let now = Time::now();
        let expiry: Option<Expiry> = self.server_config()?.parse("core.remote_token_expiry");
        let expires_at = expiry.and_then(|expiry| expiry.after(now));
        let left = expires_at.and_then(|end| end.duration_since(now).try_into().ok());
        let mut metadata = Map::new();
        metadata.insert("secret".into(), secret()?.into());
        metadata.insert("fingerprint".into(), token.fingerprint.into());
        metadata.insert("addresses".into(), json!(token.addresses));
        metadata.insert("request".into(), token.request);
        metadata.insert("expiresAt".into(), expires_at.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |time| time.to_string()).into());
        let project = ProjectName::default_project();
        let new = NewOperation {
            class: Class::Token,
            description: "Adding a client by token",
            project,
            resources: [].into(),
            metadata,
            requestor: Some(caller.clone()),
        };
        let handle = self.operations().begin(new);
        let (revoke, revoked) = tokio::sync::oneshot::channel::<()>();
        handle.set_cancel(move || {
            // Who waits for it may have ended with the token's time.
            let _ = revoke.send(());
        });
        let view = handle.view();
        self.inner.runtime.spawn(async move {
            let old = async {
                match left {
                    Some(left) => tokio::time::sleep(left).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = revoked => {}
                () = old => {}
            }
            handle.finish(Err(EngineError::Refused("the token is too old".into())));
        });
        self.events().lifecycle(None, "certificate-token-created", "/1.0/certificates".into(), Some(caller));
        Ok(view)
    }

    /// Uses a token up: who gets the name of the client that it was made for, and what that may do, is the only one that does.
    pub(crate) fn redeem_token(&self, password: &str) -> Option<(String, CertificateKind)> {
        let secret = secret_of(password);
        let tokens = self.operations().list().into_iter().filter(|view| view.class == Class::Token && !view.status.is_final());
        let fits = |view: &OperationView| view.metadata.get("secret").and_then(Value::as_str).is_some_and(|own| same_secret(own, &secret));
        // All are compared, so that time does not tell which one was near.
        let found = tokens.filter(fits).fold(None, |_, view| Some(view))?;
        self.operations().cancel(found.id).ok()?;
        let wanted = |key: &str| found.metadata.get("request").and_then(|request| request.get(key)).and_then(Value::as_str);
        let kind = CertificateKind::from_word(wanted("type").unwrap_or_default()).unwrap_or(CertificateKind::Client);
        Some((wanted("name").unwrap_or_default().to_owned(), kind))
    }
}

/// The secret in a token's text; what is no token's text is taken as the secret itself.
fn secret_of(password: &str) -> String {
    let token = (password.len() <= LIMIT).then(|| STANDARD.decode(password.trim()).ok()).flatten();
    let read: Option<Value> = token.and_then(|text| serde_json::from_slice(&text).ok());
    let secret = read.as_ref().and_then(|token| token.get("secret")).and_then(Value::as_str);
    secret.unwrap_or(password).to_owned()
}

/// 32 random bytes as 64 hexadecimal digits.
pub(crate) fn secret() -> Result<String, EngineError> {
    let mut bytes = [0u8; 32];
    super::certificates::random(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_its_secret() {
        let text =
            STANDARD.encode(r#"{"client_name":"x","fingerprint":"f","addresses":[],"secret":"abc","expires_at":"0001-01-01T00:00:00Z"}"#);
        assert_eq!(secret_of(&text), "abc");
        assert_eq!(secret_of("abc"), "abc");
        assert_eq!(secret_of(&STANDARD.encode("{}")), STANDARD.encode("{}"));
    }
}
