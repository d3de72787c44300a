//! Reading the command line.

/// What `--help` says.
pub(super) const HELP: &str = "\
coffer-monitor: starts a system container from a resolved spec and stands behind it

Usage:
  coffer-monitor run --spec FILE [--socket PATH] [--detach] [--console]
      Starts the container. Stays until it ends, or with --detach until it runs.
      With --console the terminal becomes its console.
      Ends with init's status; 128 plus the number for a signal; 0 after a halt or a reboot.
  coffer-monitor exec --socket PATH [--user UID] [--group GID] [--cwd DIR] [--env KEY=VALUE]... [--tty] -- COMMAND [ARG]...
      Executes a command in it and ends with the command's status;
      127 if there is no such command, 126 if it cannot be executed.
  coffer-monitor console --socket PATH
      Attaches to the console. Ctrl+a q detaches.
  coffer-monitor stop --socket PATH [--force]
      Asks init to halt and waits until the container has ended; with --force kills it.
  coffer-monitor status --socket PATH
      Shows the state as JSON.
  coffer-monitor --help | --version

The spec is a JSON file; docs/runtime.md describes it and docs/examples/busybox.json is one.
";

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// Be a monitor for the caller at standard input.
    Serve,
    /// Start monitors for the caller at standard input.
    Nurse,
    /// Start an instance.
    Run,
    /// Execute a command.
    Exec,
    /// Attach to the console.
    Console,
    /// Stop.
    Stop,
    /// Show the state.
    Status,
    /// Show the help.
    Help,
    /// Show the version.
    Version,
}

/// The command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arguments {
    pub(super) verb: Verb,
    pub(super) spec: Option<String>,
    pub(super) socket: Option<String>,
    pub(super) user: u32,
    pub(super) group: Option<u32>,
    pub(super) cwd: String,
    pub(super) env: Vec<(String, String)>,
    pub(super) tty: bool,
    pub(super) force: bool,
    pub(super) detach: bool,
    pub(super) console: bool,
    pub(super) command: Vec<String>,
}

impl Arguments {
    /// Reads arguments without the program's name.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut rest = arguments.iter();
        let verb = match rest.next().map(String::as_str) {
            Some("serve") => Verb::Serve,
            Some("nurse") => Verb::Nurse,
            Some("run") => Verb::Run,
            Some("exec") => Verb::Exec,
            Some("console") => Verb::Console,
            Some("stop") => Verb::Stop,
            Some("status") => Verb::Status,
            Some("-h" | "--help" | "help") => Verb::Help,
            Some("--version") => Verb::Version,
            Some(other) => return Err(format!("unknown verb {other:?}")),
            None => return Err("a verb is missing".into()),
        };
        let mut parsed = Self::new(verb);
        while let Some(argument) = rest.next() {
            let (name, value) = argument.split_once('=').map_or((argument.as_str(), None), |(name, value)| (name, Some(value)));
            let mut value = || match value {
                Some(value) => Ok(value.to_owned()),
                None => rest.next().cloned().ok_or_else(|| format!("{name} needs a value")),
            };
            match (verb, name) {
                (_, "-h" | "--help") => parsed.verb = Verb::Help,
                (Verb::Run, "--spec") => parsed.spec = Some(value()?),
                (Verb::Run, "--detach") => parsed.detach = true,
                (Verb::Run, "--console") => parsed.console = true,
                (Verb::Run | Verb::Exec | Verb::Console | Verb::Stop | Verb::Status, "--socket") => parsed.socket = Some(value()?),
                (Verb::Exec, "--user") => parsed.user = number(name, &value()?)?,
                (Verb::Exec, "--group") => parsed.group = Some(number(name, &value()?)?),
                (Verb::Exec, "--cwd") => parsed.cwd = value()?,
                (Verb::Exec, "--env") => parsed.env.push(variable(&value()?)?),
                (Verb::Exec, "--tty") => parsed.tty = true,
                (Verb::Stop, "--force") => parsed.force = true,
                (Verb::Nurse, _) if !name.starts_with('-') => parsed.command.push(argument.clone()),
                (Verb::Exec, "--") => parsed.command = rest.by_ref().cloned().collect(),
                (Verb::Exec, _) if !name.starts_with('-') => {
                    parsed.command = std::iter::once(argument).chain(rest.by_ref()).cloned().collect();
                }
                (_, other) => return Err(format!("unexpected {other:?}")),
            }
        }
        Ok(parsed)
    }

    fn new(verb: Verb) -> Self {
        Self {
            verb,
            spec: None,
            socket: None,
            user: 0,
            group: None,
            cwd: "/".into(),
            env: Vec::new(),
            tty: false,
            force: false,
            detach: false,
            console: false,
            command: Vec::new(),
        }
    }
}

fn number(name: &str, text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("{name} {text:?} is no id"))
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("--env {text:?} is not KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expect: Result<Arguments, &str>) {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        assert_eq!(Arguments::parse(&words), expect.map_err(str::to_owned));
    }

    #[test]
    fn lines_are_read() {
        let run = Arguments { spec: Some("a.json".into()), socket: Some("/x".into()), detach: true, ..Arguments::new(Verb::Run) };
        check("run --spec a.json --socket=/x --detach", Ok(run));
        let env = vec![("A".into(), "b=c".into())];
        let command = vec!["ls".into(), "--help".into()];
        let exec = Arguments { socket: Some("s".into()), user: 5, env, tty: true, command, ..Arguments::new(Verb::Exec) };
        check("exec --socket s --user 5 --env A=b=c --tty -- ls --help", Ok(exec.clone()));
        check("exec --socket s --user 5 --env A=b=c --tty ls --help", Ok(exec));
        check("stop --detach", Err("unexpected \"--detach\""));
        check("exec --user x", Err("--user \"x\" is no id"));
        check("", Err("a verb is missing"));
    }
}
