//! Where the server listens.

use std::env;
use std::path::PathBuf;

/// A place where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A unix socket.
    Unix(PathBuf),
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
