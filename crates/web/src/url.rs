//! Addresses of servers, and of files below them: nothing that a server says leads out of its own tree.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;

/// How a server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// The word before the colon.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port where none is named.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// A server's or file's address: `https://HOST[:PORT][/PATH]`, without user, query or fragment of the base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    scheme: Scheme,
    host: String,
    port: u16,
    /// Empty, or with a slash in front and none at the end.
    path: String,
    query: String,
}

/// Why a text is no usable address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It has another form.
    #[error("invalid URL {0:?}: it must be https://HOST[:PORT][/PATH]")]
    Form(String),
    /// A path from the server leads elsewhere.
    #[error("the server names the path {0:?}, which leads out of its tree")]
    Outside(String),
}

impl Url {
    /// How it is spoken to.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host: a name or an address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The host and, where it is not the usual one, the port: as it stands in a request's `Host`.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == self.scheme.port() { host } else { format!("{host}:{}", self.port) }
    }

    /// The path and query as a request names them.
    #[must_use]
    pub fn target(&self) -> String {
        let path = if self.path.is_empty() { "/" } else { &self.path };
        if self.query.is_empty() { path.to_owned() } else { format!("{path}?{}", self.query) }
    }

    /// A file below this address, by a path that the server itself named: plain segments only.
    ///
    /// # Errors
    /// [`UrlError::Outside`] for an absolute path, another address, a segment `..`, a query, an escape or a control character.
    pub fn below(&self, path: &str) -> Result<Self, UrlError> {
        let plain = |segment: &str| {
            !matches!(segment, "" | "." | "..") && segment.bytes().all(|byte| byte.is_ascii_graphic() && !b"%?#\\\"<>^`{|}".contains(&byte))
        };
        if path.len() > 1024 || !path.split('/').all(plain) {
            return Err(UrlError::Outside(path.chars().take(200).collect()));
        }
        Ok(Self { path: format!("{}/{path}", self.path), query: String::new(), ..self.clone() })
    }

    /// The same server with another path and query, both of our own making.
    #[must_use]
    pub fn at(&self, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Self { path: format!("{}{}", self.path, path.trim_end_matches('/')), query: query.to_owned(), ..self.clone() }
    }

    /// Where a redirect leads: another address, or a path on the same server.
    ///
    /// # Errors
    /// [`UrlError::Form`].
    pub fn redirected(&self, location: &str) -> Result<Self, UrlError> {
        if location.starts_with('/') && !location.starts_with("//") {
            return format!("{}://{}{location}", self.scheme.as_str(), self.authority()).parse();
        }
        location.parse()
    }
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let form = || UrlError::Form(text.chars().take(200).collect());
        let uri: Uri = text.parse().map_err(|_| form())?;
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            _ => return Err(form()),
        };
        let authority = uri.authority().ok_or_else(form)?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(form());
        }
        Ok(Self {
            scheme,
            host: authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase(),
            port: authority.port_u16().unwrap_or(scheme.port()),
            path: uri.path().trim_end_matches('/').to_owned(),
            query: uri.query().unwrap_or_default().to_owned(),
        })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme.as_str(), self.authority(), self.path)?;
        if self.query.is_empty() { Ok(()) } else { write!(f, "?{}", self.query) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Option<&str>) {
        assert_eq!(text.parse::<Url>().ok().map(|url| url.to_string()).as_deref(), expect, "{text}");
    }

    #[test]
    fn addresses() {
        check("https://images.example", Some("https://images.example"));
        check("https://Images.example:443/x/", Some("https://images.example/x"));
        check("http://[::1]:8080/a/b", Some("http://[::1]:8080/a/b"));
        check("http://127.0.0.1:1", Some("http://127.0.0.1:1"));
        for text in ["", "images", "ftp://a", "https://", "https://user@host", "file:///etc/passwd", "https:///x", "/x"] {
            check(text, None);
        }
    }

    #[test]
    fn what_a_server_names_stays_below_it() {
        let base: Url = "https://a.example/tree".parse().unwrap();
        assert_eq!(base.below("streams/v1/index.json").unwrap().to_string(), "https://a.example/tree/streams/v1/index.json");
        for path in
            ["", "/etc", "//evil/x", "../x", "a/../../x", "a//b", "https://evil/x", "a?b", "a#b", "a%2e%2e/b", "a\\b", "a b", "a\nb", "./a"]
        {
            let outcome = base.below(path);
            // A colon alone makes no other address of what is appended.
            assert!(outcome.is_err(), "{path:?} gave {outcome:?}");
        }
    }

    #[test]
    fn redirects_lead_to_addresses() {
        let base: Url = "https://a.example:8443/tree".parse().unwrap();
        assert_eq!(base.redirected("/x?y").unwrap().to_string(), "https://a.example:8443/x?y");
        assert_eq!(base.redirected("https://b.example/x").unwrap().host(), "b.example");
        assert!(base.redirected("//b.example/x").is_err() && base.redirected("x").is_err());
        assert_eq!(base.at("/1.0/images?recursion=1").to_string(), "https://a.example:8443/tree/1.0/images?recursion=1");
    }
}
