//! Which servers images may come from, and how they are reached.

use coffer_model::Config;
use coffer_remote::oci::{Reference, Registry};
use coffer_remote::{Cache, Protocol, PublicKey, Server, Signers};
use coffer_web::{Certificate, Proxies, Url};

use crate::Engine;
use crate::error::EngineError;
use crate::request::RemoteSource;

/// The key that lists the servers that images may come from.
const TRUSTED: &str = "images.trusted";

/// The key that lists whose signatures are believed.
const KEYS: &str = "images.trusted_keys";

/// The key that says whether lists must be signed.
pub(super) const REQUIRED: &str = "images.require_signature";

/// A server of images, by the way it is spoken to.
pub(crate) enum ImageServer {
    /// One that lists what it has.
    Listing(Server),
    /// A registry of OCI images.
    Registry(Registry),
}

impl Engine {
    /// Prepares to ask a server. Nothing is sent yet; one that images may not come from is never asked.
    pub(crate) fn remote_server(&self, source: &RemoteSource) -> Result<ImageServer, EngineError> {
        let refuse = |why: &dyn std::fmt::Display| EngineError::Refused(format!("image server: {why}"));
        let url: Url = source.server.parse().map_err(|error| refuse(&error))?;
        if source.name.is_empty() {
            return Err(EngineError::Refused("the source has no image: give its fingerprint or alias".into()));
        }
        let config = self.server_config()?;
        permitted(&config, &url)?;
        let certificate = match source.certificate.as_str() {
            "" => None,
            text => Some(Certificate::from_text(text).map_err(|error| refuse(&error))?),
        };
        let cache = Cache::at(self.inner.settings.dir.join("cache").join("simplestreams"));
        let (signers, proxies) = (signers(&config)?, proxies(&config)?);
        if source.protocol == Protocol::Oci {
            let reference: Reference = source.name.parse().map_err(|error| refuse(&error))?;
            if signers.required && reference.digest.is_none() {
                return Err(EngineError::Forbidden(format!(
                    "{REQUIRED} is on, and registries sign nothing: name the image by its digest, as {}@sha256:…",
                    reference.repository
                )));
            }
            return Ok(ImageServer::Registry(Registry::new(url, certificate, proxies, &source.secret)?));
        }
        let server = Server::new(url, source.protocol, certificate, proxies, Some(cache))?;
        Ok(ImageServer::Listing(server.with_signers(signers)?))
    }
}

/// Refuses an address that images may not come from.
pub(super) fn permitted(config: &Config, url: &Url) -> Result<(), EngineError> {
    if permits(config.get(TRUSTED).unwrap_or_default(), url) {
        return Ok(());
    }
    Err(EngineError::Forbidden(format!("image server {url} is not one that {TRUSTED} lists: images may not come from there")))
}

/// Whose lists of images are believed.
pub(crate) fn signers(config: &Config) -> Result<Signers, EngineError> {
    let entries = config.get(KEYS).unwrap_or_default().split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let keys: Result<Vec<PublicKey>, _> = entries.map(str::parse).collect();
    let keys = keys.map_err(|error| EngineError::Refused(format!("server configuration key {KEYS:?}: {error}")))?;
    Ok(Signers { keys, required: config.flag(REQUIRED, false) })
}

/// The proxies of the configuration; without any, those of the environment.
pub(super) fn proxies(config: &Config) -> Result<Proxies, EngineError> {
    let key = |name: &str| config.get(name).unwrap_or_default();
    let (http, https, ignored) = (key("core.proxy_http"), key("core.proxy_https"), key("core.proxy_ignore_hosts"));
    if http.is_empty() && https.is_empty() {
        return Ok(Proxies::of_environment());
    }
    Proxies::new(http, https, ignored).map_err(|error| EngineError::Refused(format!("core.proxy_http, core.proxy_https: {error}")))
}

/// Says whether a comma-separated list of addresses names a server; an empty one names all. An address means itself and
/// what is below it.
fn permits(list: &str, url: &Url) -> bool {
    let mut entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).peekable();
    let named = |entry: &str| {
        let Ok(trusted) = entry.parse::<Url>() else { return false };
        let same = trusted.scheme() == url.scheme() && trusted.host() == url.host() && trusted.port() == url.port();
        let (root, path) = (trusted.target(), url.target());
        let root = root.trim_end_matches('/');
        same && (path == root || root.is_empty() || path.strip_prefix(root).is_some_and(|rest| rest.starts_with('/')))
    };
    entries.peek().is_none() || entries.any(named)
}

/// Refuses a list in which an entry is no address.
pub(crate) fn check_trusted(list: &str) -> Result<(), EngineError> {
    for entry in list.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        entry.parse::<Url>().map_err(|error| EngineError::Refused(format!("server configuration key {TRUSTED:?}: {error}")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(list: &str, url: &str, expect: bool) {
        assert_eq!(permits(list, &url.parse().unwrap()), expect, "{list:?} {url}");
    }

    #[test]
    fn only_listed_servers_are_asked() {
        let list = "https://images.example, https://mirror.example/coffer";
        check("", "http://anything.example", true);
        check(list, "https://images.example", true);
        check(list, "https://images.example/below", true);
        check(list, "https://mirror.example/coffer", true);
        check(list, "https://mirror.example/coffer/x", true);
        check(list, "https://mirror.example/coffers", false);
        check(list, "https://mirror.example", false);
        check(list, "http://images.example", false);
        check(list, "https://images.example:444", false);
        check(list, "https://images.example.evil", false);
        check("nonsense", "https://images.example", false);
        assert!(check_trusted(list).is_ok() && check_trusted("nonsense").is_err());
    }
}
