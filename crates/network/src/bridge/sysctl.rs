//! Settings of the kernel under `/proc/sys/net`, which are those of the network namespace we are in.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{NetworkError, file};

const ROOT: &str = "/proc/sys/net";

/// Sets a value unless it is set already. `path` reads `ipv4/ip_forward`.
///
/// # Errors
/// If the setting does not exist (no IPv6, say) or is read-only.
pub(super) fn set(path: &str, value: &str) -> Result<(), NetworkError> {
    let path = Path::new(ROOT).join(path);
    if fs::read_to_string(&path).is_ok_and(|old| old.trim_end() == value) {
        return Ok(());
    }
    fs::write(&path, value).map_err(file("setting", path))
}

/// Prepares the bridge's own IPv6: on or off, deaf to routers (the bridge is one), addresses usable at once.
///
/// # Errors
/// As [`set`]; a kernel without IPv6 is no error if none is wanted.
pub(super) fn bridge_ipv6(bridge: &str, wanted: bool) -> Result<(), NetworkError> {
    let of = |name: &str| format!("ipv6/conf/{bridge}/{name}");
    if !wanted && !Path::new(ROOT).join("ipv6").exists() {
        return Ok(());
    }
    for name in ["accept_ra", "autoconf", "accept_dad", "accept_redirects"] {
        set(&of(name), "0")?;
    }
    set(&of("disable_ipv6"), if wanted { "0" } else { "1" })
}

/// Lets the host forward IPv4.
///
/// # Errors
/// As [`set`].
pub(super) fn forward_ipv4() -> Result<(), NetworkError> {
    set("ipv4/ip_forward", "1")
}

/// Lets the host forward IPv6. A host that forwards stops learning its own routes from routers unless told otherwise, so
/// the interfaces that learn them are told; `ports` names those on which nothing is to be learned in any case.
///
/// # Errors
/// As [`set`].
pub(super) fn forward_ipv6(ports: &[String]) -> Result<(), NetworkError> {
    let forwarding = "ipv6/conf/all/forwarding";
    if fs::read_to_string(Path::new(ROOT).join(forwarding)).is_ok_and(|old| old.trim_end() == "1") {
        return Ok(());
    }
    let dir = PathBuf::from(ROOT).join("ipv6/conf");
    for entry in fs::read_dir(&dir).map_err(file("reading", &dir))? {
        let interface = entry.map_err(file("reading", &dir))?.file_name().to_string_lossy().into_owned();
        let learning = dir.join(&interface).join("accept_ra");
        let own = ["all", "default", "lo"].contains(&interface.as_str()) || ports.contains(&interface);
        match fs::read_to_string(&learning) {
            Ok(value) if value.trim_end() == "1" && !own => {
                fs::write(&learning, "2").or_else(gone).map_err(file("setting", learning))?;
            }
            Ok(_) | Err(_) => {}
        }
    }
    set(forwarding, "1")
}

/// An interface may go while we look at it.
fn gone(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
