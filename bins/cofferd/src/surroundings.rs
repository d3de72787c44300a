//! Where the daemon finds its state and its other programs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

const DEFAULT_DIR: &str = "/var/lib/coffer";

/// Where the other programs are looked for, besides beside this one.
const PROGRAM_DIRS: &[&str] = &["/usr/libexec/coffer", "/usr/lib/coffer", "/usr/local/libexec/coffer"];

/// Where the daemon finds things.
#[derive(Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// The state directory.
    pub dir: PathBuf,
    /// The monitor program.
    pub monitor: PathBuf,
    /// The unpacking program.
    pub unpack: PathBuf,
    /// The program that serves instances' files.
    pub files: PathBuf,
}

impl Surroundings {
    /// Reads the environment.
    pub fn read() -> Self {
        let name = std::env::args_os().next();
        let variable = |key: &str| std::env::var_os(key).filter(|value| !value.is_empty());
        Self {
            dir: state_dir(name.as_deref().map(Path::new), variable),
            monitor: program("coffer-monitor", variable("COFFER_MONITOR")),
            unpack: program("coffer-unpack", variable("COFFER_UNPACK")),
            files: program("coffer-files", variable("COFFER_FILES")),
        }
    }
}

/// Under LXD's name its variable counts too.
fn state_dir(name: Option<&Path>, variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let as_lxd =
        name.and_then(Path::file_name).is_some_and(|name| name == "lxd") || variable("COFFER_COMPAT").is_some_and(|value| value == "lxd");
    let compatible = || if as_lxd { variable("LXD_DIR") } else { None };
    variable("COFFER_DIR").or_else(compatible).map_or_else(|| DEFAULT_DIR.into(), PathBuf::from)
}

/// A program is where it was said to be, or beside this one, or where a package puts it.
fn program(name: &str, said: Option<OsString>) -> PathBuf {
    if let Some(path) = said {
        return path.into();
    }
    let own = std::env::current_exe().ok();
    let beside = own.as_deref().and_then(Path::parent).map(|dir| dir.join(name));
    let packaged = PROGRAM_DIRS.iter().map(|dir| Path::new(dir).join(name));
    let first = beside.clone();
    beside.into_iter().chain(packaged).find(|path| path.exists()).or(first).unwrap_or_else(|| name.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, variables: &[(&str, &str)], expect: &str) {
        let variable = |key: &str| variables.iter().find(|(known, _)| *known == key).map(|(_, value)| OsString::from(value));
        assert_eq!(state_dir(Some(Path::new(name)), variable), Path::new(expect));
    }

    #[test]
    fn state_directories() {
        check("/usr/sbin/cofferd", &[], DEFAULT_DIR);
        check("cofferd", &[("LXD_DIR", "/l")], DEFAULT_DIR);
        check("/usr/bin/lxd", &[("LXD_DIR", "/l")], "/l");
        check("lxd", &[("LXD_DIR", "/l"), ("COFFER_DIR", "/c")], "/c");
        check("cofferd", &[("LXD_DIR", "/l"), ("COFFER_COMPAT", "lxd")], "/l");
    }
}
