//! The command line: few options, so that starting costs nothing.

use std::ffi::OsString;
use std::path::PathBuf;

use coffer_server::Verbosity;

/// What `--help` prints.
pub const HELP: &str = "\
The daemon of Coffer, a manager of system containers.

Usage: cofferd [options]

Options:
      --group GROUP     Let this group, by name or number, use the socket too
      --logfile FILE    Append the log to a file instead of standard error
  -v, --verbose         Log what happens
  -d, --debug           Log everything
  -h, --help            Print this help
      --version         Print the version

Environment:
  COFFER_DIR            The state directory (default /var/lib/coffer).
                        Run under the name lxd, the daemon takes LXD_DIR where this is not set.
  COFFER_MONITOR        The program that stands behind each running instance
  COFFER_UNPACK         The program that reads image archives
  COFFER_FILES          The program that serves instances' files
  NOTIFY_SOCKET         Where a service manager is told that the daemon is ready

The daemon runs in the foreground. SIGTERM and SIGINT end it; instances go on.
";

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Invocation {
    /// Run the daemon.
    Run(Arguments),
    /// Print the help.
    Help,
    /// Print the version.
    Version,
}

/// How to run the daemon.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// The group that may use the socket.
    pub group: Option<String>,
    /// The file for the log.
    pub logfile: Option<PathBuf>,
    /// How much is logged.
    pub verbosity: Verbosity,
}

/// Options of LXD's daemon that mean nothing here, and whether a value follows.
const IGNORED: &[(&str, bool)] =
    &[("--cpuprofile", true), ("--memprofile", true), ("--print-goroutines", true), ("--trace", true), ("--syslog", false)];

/// Reads the arguments behind the program's name.
///
/// # Errors
/// A sentence for the user.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, String> {
    let mut parsed = Arguments::default();
    let mut rest = arguments.into_iter();
    while let Some(argument) = rest.next() {
        let text = argument.into_string().map_err(|bytes| format!("argument {bytes:?} is not UTF-8"))?;
        let (name, inline) = match text.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (text.as_str(), None),
        };
        let mut value = || match inline.clone().map(OsString::from).or_else(|| rest.next()) {
            Some(value) => value.into_string().map_err(|bytes| format!("the value {bytes:?} of {name} is not UTF-8")),
            None => Err(format!("option {name} needs a value")),
        };
        match name {
            "--group" => parsed.group = Some(value()?),
            "--logfile" => parsed.logfile = Some(value()?.into()),
            "-v" | "--verbose" if parsed.verbosity == Verbosity::Warnings => parsed.verbosity = Verbosity::Verbose,
            "-v" | "--verbose" => {}
            "-d" | "--debug" => parsed.verbosity = Verbosity::Debug,
            "-h" | "--help" => return Ok(Invocation::Help),
            "--version" => return Ok(Invocation::Version),
            other => match IGNORED.iter().find(|(ignored, _)| *ignored == other) {
                Some((_, true)) => drop(value()?),
                Some((_, false)) => {}
                None => return Err(format!("unknown argument {other:?}; see cofferd --help")),
            },
        }
    }
    Ok(Invocation::Run(parsed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expect: Result<Invocation, &str>) {
        assert_eq!(parse(line.split_whitespace().map(OsString::from)), expect.map_err(str::to_owned), "{line}");
    }

    #[test]
    fn command_lines() {
        check("", Ok(Invocation::Run(Arguments::default())));
        let group = |verbosity| Arguments { group: Some("lxd".into()), verbosity, logfile: None };
        check("--group lxd -v", Ok(Invocation::Run(group(Verbosity::Verbose))));
        check("--debug --group=lxd --verbose", Ok(Invocation::Run(group(Verbosity::Debug))));
        check("--logfile=/x", Ok(Invocation::Run(Arguments { logfile: Some("/x".into()), ..Arguments::default() })));
        check("--syslog --trace all --cpuprofile=x", Ok(Invocation::Run(Arguments::default())));
        check("--version", Ok(Invocation::Version));
        check("-h", Ok(Invocation::Help));
        check("--group", Err("option --group needs a value"));
        check("start", Err("unknown argument \"start\"; see cofferd --help"));
    }
}
