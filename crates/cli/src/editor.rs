//! Editing objects as YAML: from standard input, or in the user's editor until the server is content.

use std::io::Write;
use std::process::Command;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::app::App;
use crate::error::CliError;
use crate::render::{clean_lines, yaml};

/// Lets the user change `current` and hands every try to `apply` until one is taken.
pub(crate) async fn edit<T, P>(app: &App, current: &T, help: &str, apply: impl AsyncFn(P) -> Result<(), CliError>) -> Result<(), CliError>
where
    T: Serialize + ?Sized,
    P: DeserializeOwned,
{
    if let Some(text) = app.piped_input()? {
        return apply(read_yaml(&text)?).await;
    }
    let help: String = help.lines().map(|line| if line.is_empty() { "#\n".to_owned() } else { format!("# {line}\n") }).collect();
    let mut text = format!("{help}\n{}", yaml(current));
    loop {
        let before = text.clone();
        text = in_editor(&text)?;
        if text == before {
            return Ok(());
        }
        let done = match read_yaml(&text) {
            Ok(changed) => apply(changed).await,
            Err(error) => Err(error),
        };
        let Err(error) = done else { return Ok(()) };
        app.complain(&format!("{}\nPress enter to edit again, or ctrl+c to give up.", clean_lines(&crate::report(&error))));
        let mut line = String::new();
        let count = std::io::stdin().read_line(&mut line).map_err(|cause| CliError::Stream { stream: "input", cause })?;
        if count == 0 {
            return Err(error);
        }
    }
}

/// Reads YAML into an object of the API.
pub(crate) fn read_yaml<P: DeserializeOwned>(text: &str) -> Result<P, CliError> {
    serde_saphyr::from_str(text).map_err(|cause| CliError::Yaml { cause })
}

/// Opens a text in the editor the environment names and returns what it became.
///
/// This is the one program the command starts that the user chose and must see, so it keeps the terminal and environment.
pub(crate) fn in_editor(text: &str) -> Result<String, CliError> {
    let editor = ["VISUAL", "EDITOR"].iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    let editor = editor.unwrap_or_else(|| if std::path::Path::new("/usr/bin/editor").exists() { "editor" } else { "vi" }.to_owned());
    let failed = |cause| CliError::Editor { editor: editor.clone(), cause };
    let mut file = tempfile::Builder::new().prefix("coffer_edit_").suffix(".yaml").tempfile().map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or("vi");
    let status = Command::new(program).args(words).arg(file.path()).status().map_err(failed)?;
    if !status.success() {
        return Err(failed(std::io::Error::other(status.to_string())));
    }
    std::fs::read_to_string(file.path()).map_err(failed)
}
