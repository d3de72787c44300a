//! The names this program answers to: `coffer`, `lxc` (the same), `lxd` (administration, or the daemon itself).

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use coffer_client::Family;

use crate::error::CliError;

/// What a call means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Personality {
    /// A command of the client, its arguments with the program's name first.
    Command { arguments: Vec<OsString>, family: Family },
    /// The daemon.
    Daemon,
}

/// Words of `lxd` that mean `coffer admin …`.
const ADMIN_WORDS: [&str; 7] = ["init", "waitready", "shutdown", "recover", "fsck", "dump", "restore"];

/// Finds out by the name the program was called by.
pub(crate) fn of(arguments: &[OsString]) -> Personality {
    let name = arguments.first().and_then(|name| Path::new(name).file_name()).and_then(OsStr::to_str).unwrap_or("coffer");
    let command = |arguments: Vec<OsString>, family| Personality::Command { arguments, family };
    match name {
        "lxd" => match admin_arguments(&arguments[1..]) {
            Some(rest) => command([vec!["lxd".into()], rest].concat(), Family::Lxd),
            None => Personality::Daemon,
        },
        "lxc" => command(arguments.to_vec(), Family::Lxd),
        _ => command(arguments.to_vec(), Family::Coffer),
    }
}

/// Puts `admin` before a word of administration; `None` if the arguments are the daemon's.
fn admin_arguments(arguments: &[OsString]) -> Option<Vec<OsString>> {
    let word = arguments.iter().position(|argument| !argument.as_encoded_bytes().starts_with(b"-"))?;
    let text = arguments[word].to_str()?;
    if text == "version" || text == "help" {
        return Some(arguments.to_vec());
    }
    if !ADMIN_WORDS.contains(&text) {
        return None;
    }
    // Flags of the daemon that stand before the word have no meaning for it.
    Some([vec!["admin".into()], arguments[word..].to_vec()].concat())
}

/// Replaces this process by the daemon with the same arguments; returns only if that fails.
pub(crate) fn become_daemon(arguments: &[OsString]) -> Result<(), CliError> {
    let beside = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.join("cofferd"))).filter(|path| path.exists());
    let program = beside.unwrap_or_else(|| PathBuf::from("cofferd"));
    // Becoming the daemon is not running a program on somebody's behalf: same user, same terminal, same environment.
    let mut daemon = Command::new(&program);
    if std::env::var_os("COFFER_DIR").is_none()
        && let Some(directory) = std::env::var_os("LXD_DIR")
    {
        daemon.env("COFFER_DIR", directory);
    }
    let cause = daemon.args(arguments.iter().skip(1)).exec();
    Err(CliError::Daemon { program, cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Option<(&str, Family)>) {
        let words = |line: &str| line.split_whitespace().map(OsString::from).collect::<Vec<_>>();
        let expected = match expected {
            Some((line, family)) => Personality::Command { arguments: words(line), family },
            None => Personality::Daemon,
        };
        assert_eq!(of(&words(line)), expected);
    }

    #[test]
    fn names_mean_what_they_mean_in_lxd() {
        check("/usr/bin/coffer list", Some(("/usr/bin/coffer list", Family::Coffer)));
        check("/usr/bin/lxc list", Some(("/usr/bin/lxc list", Family::Lxd)));
        check("lxd init --auto", Some(("lxd admin init --auto", Family::Lxd)));
        check("lxd waitready --timeout 5", Some(("lxd admin waitready --timeout 5", Family::Lxd)));
        check("lxd version", Some(("lxd version", Family::Lxd)));
        check("lxd", None);
        check("lxd --group lxd", None);
    }
}
