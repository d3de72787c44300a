//! Proxies: which requests go through one.

use std::net::IpAddr;

use crate::url::{Scheme, Url, UrlError};

/// The proxies of a process or of the daemon's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    http: Option<Url>,
    https: Option<Url>,
    ignored: Vec<String>,
}

impl Proxies {
    /// Reads the three settings; an empty one is none. `ignored` is a list of hosts, domains, addresses or `*`.
    ///
    /// # Errors
    /// If a proxy is no URL.
    pub fn new(http: &str, https: &str, ignored: &str) -> Result<Self, UrlError> {
        let proxy = |text: &str| match text {
            "" => Ok(None),
            text if text.contains("://") => text.parse().map(Some),
            text => format!("http://{text}").parse().map(Some),
        };
        let ignored = ignored.split([',', ' ']).map(|host| host.trim().to_ascii_lowercase()).filter(|host| !host.is_empty());
        Ok(Self { http: proxy(http)?, https: proxy(https)?, ignored: ignored.collect() })
    }

    /// Reads `http_proxy`, `https_proxy` and `no_proxy`, in either case. What can't be read is no proxy.
    #[must_use]
    pub fn of_environment() -> Self {
        let variable = |name: &str| {
            let value = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
            value(name).or_else(|| value(&name.to_ascii_lowercase())).unwrap_or_default()
        };
        Self::new(&variable("HTTP_PROXY"), &variable("HTTPS_PROXY"), &variable("NO_PROXY")).unwrap_or_default()
    }

    /// The proxy for an address. This host itself is never reached through one.
    #[must_use]
    pub fn for_url(&self, url: &Url) -> Option<&Url> {
        let proxy = match url.scheme() {
            Scheme::Http => self.http.as_ref(),
            Scheme::Https => self.https.as_ref(),
        }?;
        let host = url.host();
        let local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        let ignored = self.ignored.iter().any(|entry| {
            let name = entry.split_once(':').filter(|(_, port)| *port == url.port().to_string()).map_or(entry.as_str(), |(name, _)| name);
            let domain = name.trim_start_matches('.');
            name == "*" || host == domain || host.strip_suffix(domain).is_some_and(|front| front.ends_with('.'))
        });
        (!local && !ignored).then_some(proxy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expect: Option<&str>) {
        let proxies = Proxies::new("proxy.example:3128", "http://secure.example", "intern.example, .corp,10.0.0.1:8443").unwrap();
        assert_eq!(proxies.for_url(&url.parse().unwrap()).map(ToString::to_string).as_deref(), expect, "{url}");
    }

    #[test]
    fn who_goes_through_which() {
        check("http://a.example", Some("http://proxy.example:3128"));
        check("https://a.example", Some("http://secure.example"));
        check("https://intern.example", None);
        check("https://x.intern.example", None);
        check("https://xintern.example", Some("http://secure.example"));
        check("http://a.corp", None);
        check("https://10.0.0.1:8443", None);
        check("https://10.0.0.1:443", Some("http://secure.example"));
        check("https://127.0.0.1:8443", None);
        check("http://localhost", None);
        assert!(Proxies::new("ftp://x", "", "").is_err());
        assert_eq!(Proxies::default().for_url(&"http://a".parse().unwrap()), None);
    }
}
