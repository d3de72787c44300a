//! What a registry wants to know of who asks: nothing, a password, or a token that somebody else gives out.

use serde::Deserialize;

/// A challenge that a registry answers with. Source: RFC 9110, section 11; the distribution specification's token page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Name and password.
    Basic,
    /// A token from this address, for this service and scope.
    Bearer { realm: String, service: String, scope: String },
}

impl Challenge {
    /// Reads a `WWW-Authenticate` header.
    pub(super) fn parse(header: &str) -> Option<Self> {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service, mut scope) = (None, String::new(), String::new());
        for (key, value) in parameters(rest) {
            match key.to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value),
                "service" => service = value,
                "scope" => scope = value,
                _ => {}
            }
        }
        Some(Self::Bearer { realm: realm?, service, scope })
    }
}

/// Reads `key="value",key=value`.
fn parameters(text: &str) -> Vec<(String, String)> {
    let (mut found, mut rest) = (Vec::new(), text.trim());
    while let Some((key, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').map_or((after, ""), |(value, after)| (value, after)),
        };
        found.push((key.trim().trim_start_matches(',').trim().to_owned(), value.to_owned()));
        rest = after.trim_start_matches([',', ' ']);
    }
    found
}

/// A token as it is given out.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Token {
    token: String,
    access_token: String,
}

impl Token {
    /// The token itself.
    pub(super) fn text(self) -> Option<String> {
        let text = if self.token.is_empty() { self.access_token } else { self.token };
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        plain.then_some(text)
    }
}

/// Writes a query's value.
pub(super) fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges() {
        let bearer = |realm: &str, service: &str, scope: &str| Challenge::Bearer {
            realm: realm.into(),
            service: service.into(),
            scope: scope.into(),
        };
        let check = |header: &str, expect: Option<Challenge>| assert_eq!(Challenge::parse(header), expect, "{header}");
        check(
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/alpine:pull""#,
            Some(bearer("https://auth.docker.io/token", "registry.docker.io", "repository:library/alpine:pull")),
        );
        check(r#"bearer service=x, realm="https://a/b""#, Some(bearer("https://a/b", "x", "")));
        check(r#"Bearer realm="https://a/b",scope="repository:x:pull,push""#, Some(bearer("https://a/b", "", "repository:x:pull,push")));
        check(r#"Basic realm="Registry""#, Some(Challenge::Basic));
        check("Bearer", None);
        check("Negotiate", None);
        check("", None);
        assert_eq!(encode("repository:a/b:pull"), "repository%3Aa%2Fb%3Apull");
    }

    #[test]
    fn tokens() {
        let check = |text: &str, expect: Option<&str>| {
            let token: Token = serde_json::from_str(text).unwrap();
            assert_eq!(token.text().as_deref(), expect, "{text}");
        };
        check(r#"{"token":"a"}"#, Some("a"));
        check(r#"{"access_token":"b"}"#, Some("b"));
        check(r#"{"token":"a\r\nX: y"}"#, None);
        check("{}", None);
    }
}
