//! Questions to the user.

use std::io::{BufRead, Write, stdin, stdout};

use crate::error::CliError;

/// Asks a question and returns the answer, or the default for an empty one.
pub(crate) fn ask(question: &str, default: &str) -> Result<String, CliError> {
    let shown = if default.is_empty() { format!("{question}: ") } else { format!("{question} [default={default}]: ") };
    let mut out = stdout().lock();
    out.write_all(shown.as_bytes()).and_then(|()| out.flush()).map_err(|cause| CliError::Stream { stream: "output", cause })?;
    let mut line = String::new();
    let count = stdin().lock().read_line(&mut line).map_err(|cause| CliError::Stream { stream: "input", cause })?;
    if count == 0 {
        return Err(CliError::Stream { stream: "input", cause: std::io::ErrorKind::UnexpectedEof.into() });
    }
    let answer = line.trim();
    Ok(if answer.is_empty() { default.to_owned() } else { answer.to_owned() })
}

/// Asks for something that must not be seen on the terminal.
pub(crate) fn ask_secret(question: &str) -> Result<String, CliError> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    // No terminal: nobody looks over a shoulder.
    let Ok(before) = tcgetattr(stdin()) else { return ask(question, "") };
    let failed = |cause: rustix::io::Errno| CliError::Terminal { cause: cause.into() };
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(stdin(), OptionalActions::Now, &silent).map_err(failed)?;
    let answer = ask(question, "");
    tcsetattr(stdin(), OptionalActions::Now, &before).map_err(failed)?;
    let _ = writeln!(stdout());
    answer
}

/// Asks until the answer passes `check`, which says what is wrong with it.
pub(crate) fn ask_checked(question: &str, default: &str, check: impl Fn(&str) -> Result<(), String>) -> Result<String, CliError> {
    loop {
        let answer = ask(question, default)?;
        match check(&answer) {
            Ok(()) => return Ok(answer),
            Err(reason) => {
                let _ = writeln!(stdout(), "Invalid input: {reason}\n");
            }
        }
    }
}

/// Asks a question of yes or no.
pub(crate) fn ask_bool(question: &str, default: bool) -> Result<bool, CliError> {
    let word = if default { "yes" } else { "no" };
    let answer = ask_checked(&format!("{question} (yes/no)"), word, |answer| match truth(answer) {
        Some(_) => Ok(()),
        None => Err("answer yes or no".to_owned()),
    })?;
    Ok(truth(&answer).unwrap_or(default))
}

fn truth(answer: &str) -> Option<bool> {
    match answer.to_ascii_lowercase().as_str() {
        "yes" | "y" | "true" => Some(true),
        "no" | "n" | "false" => Some(false),
        _ => None,
    }
}
