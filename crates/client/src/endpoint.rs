//! Where the server listens.

use std::env;
use std::path::{Path, PathBuf};

use coffer_web::{DialError, Dialer, Stream, Url};

/// A place where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A unix socket.
    Unix(PathBuf),
    /// A port that speaks HTTPS.
    Https(Box<HttpsServer>),
}

/// A server that is reached over HTTPS, and how it is believed.
#[derive(Clone)]
pub struct HttpsServer {
    url: Url,
    dialer: Dialer,
}

impl HttpsServer {
    /// Makes one of its address and the way to connect to it.
    pub fn new(url: Url, dialer: Dialer) -> HttpsServer {
        HttpsServer { url, dialer }
    }

    /// Returns its address.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Connects.
    pub(crate) async fn dial(&self) -> Result<Stream, DialError> {
        self.dialer.dial(&self.url).await
    }
}

impl PartialEq for HttpsServer {
    fn eq(&self, other: &HttpsServer) -> bool {
        self.url == other.url
    }
}

impl Eq for HttpsServer {}

impl std::fmt::Debug for HttpsServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HttpsServer({})", self.url)
    }
}

/// Whose environment variables and default directory name the local server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `COFFER_SOCKET`, `COFFER_DIR`, `/var/lib/coffer`.
    Coffer,
    /// `LXD_SOCKET`, `LXD_DIR`, then Coffer's own.
    Lxd,
}

impl Endpoint {
    /// Returns the unix socket, if it is one.
    pub fn socket(&self) -> Option<&Path> {
        match self {
            Endpoint::Unix(socket) => Some(socket),
            Endpoint::Https(_) => None,
        }
    }

    /// Returns what a request names as its host.
    pub(crate) fn host(&self) -> String {
        match self {
            Endpoint::Unix(_) => "unix.socket".to_owned(),
            Endpoint::Https(server) => server.url.authority(),
        }
    }

    /// Finds the local server as the environment names it.
    pub fn local(family: Family) -> Endpoint {
        Self::local_from(family, |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
    }

    fn local_from(family: Family, variable: impl Fn(&str) -> Option<PathBuf>) -> Endpoint {
        let names: &[(&str, &str)] = match family {
            Family::Coffer => &[("COFFER_SOCKET", "COFFER_DIR")],
            Family::Lxd => &[("LXD_SOCKET", "LXD_DIR"), ("COFFER_SOCKET", "COFFER_DIR")],
        };
        for (socket, directory) in names {
            if let Some(path) = variable(socket) {
                return Endpoint::Unix(path);
            }
            if let Some(path) = variable(directory) {
                return Endpoint::Unix(path.join("unix.socket"));
            }
        }
        Endpoint::Unix(PathBuf::from("/var/lib/coffer/unix.socket"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(family: Family, variables: &[(&str, &str)], socket: &str) {
        let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| PathBuf::from(value));
        assert_eq!(Endpoint::local_from(family, find), Endpoint::Unix(socket.into()));
    }

    #[test]
    fn the_environment_names_the_socket() {
        check(Family::Coffer, &[], "/var/lib/coffer/unix.socket");
        check(Family::Coffer, &[("COFFER_DIR", "/c")], "/c/unix.socket");
        check(Family::Coffer, &[("COFFER_DIR", "/c"), ("COFFER_SOCKET", "/s")], "/s");
        check(Family::Coffer, &[("LXD_DIR", "/l")], "/var/lib/coffer/unix.socket");
        check(Family::Lxd, &[("LXD_DIR", "/l"), ("COFFER_DIR", "/c")], "/l/unix.socket");
        check(Family::Lxd, &[("COFFER_DIR", "/c")], "/c/unix.socket");
        check(Family::Lxd, &[("LXD_SOCKET", "/s")], "/s");
    }
}
