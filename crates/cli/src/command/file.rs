//! `file`: files inside instances.

mod create;
mod listen;
mod mount;
mod owner;
mod pull;
mod push;
mod transfer;

use clap::Subcommand;
use coffer_client::{FileKind, FileOwner, FileReply, NewFile, Part, Upload};

use crate::app::App;
use crate::editor;
use crate::error::CliError;
use crate::target::Target;

/// Files inside instances
///
/// A path inside an instance is written as instance/path, as in web/etc/hosts.
#[derive(Debug, Subcommand)]
pub(crate) enum File {
    /// Delete files
    #[command(visible_alias = "rm", alias = "remove")]
    Delete {
        /// Files
        #[arg(value_name = "[REMOTE:]INSTANCE/PATH", required = true)]
        files: Vec<Target>,
    },
    /// Edit a file
    Edit {
        /// File
        #[arg(value_name = "[REMOTE:]INSTANCE/PATH")]
        file: Target,
    },
    Create(create::Create),
    Pull(pull::Pull),
    Push(push::Push),
    Mount(mount::Mount),
}

impl File {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        match self {
            File::Delete { files } => {
                for file in files {
                    let (instance, path) = split(&file)?;
                    app.client(&file)?.delete_file(instance, &path).await?;
                }
                Ok(())
            }
            File::Edit { file } => edit(app, &file).await,
            File::Create(command) => command.run(app).await,
            File::Pull(command) => command.run(app).await,
            File::Push(command) => command.run(app).await,
            File::Mount(command) => command.run(app).await,
        }
    }
}

/// Splits `instance/path`; the path is absolute.
fn split(target: &Target) -> Result<(&str, String), CliError> {
    match target.split() {
        (instance, Some(path)) if !instance.is_empty() => Ok((instance, format!("/{}", path.trim_start_matches('/')))),
        _ => Err(CliError::NotOfForm { name: target.name.clone(), form: "instance/path" }),
    }
}

fn inside_error(path: &[u8], cause: coffer_sftp::SessionError) -> CliError {
    coffer_client::ClientError::File { path: String::from_utf8_lossy(path).into_owned(), cause }.into()
}

async fn edit(app: &App, file: &Target) -> Result<(), CliError> {
    let (instance, path) = split(file)?;
    let client = app.client(file)?;
    let (owner, before) = match client.file(instance, &path).await {
        Ok(FileReply::File(owner, body)) => (owner, String::from_utf8_lossy(&body.bytes().await?).into_owned()),
        Ok(_) => return Err(CliError::NotOfForm { name: file.name.clone(), form: "a regular file" }),
        Err(error) if error.is_not_found() => (FileOwner::default(), String::new()),
        Err(error) => return Err(error.into()),
    };
    let after = match app.piped_input()? {
        Some(text) => text,
        None => editor::in_editor(&before)?,
    };
    let content = Upload::new(vec![Part::Bytes(after.into())]);
    Ok(client.create_file(instance, &path, NewFile { kind: FileKind::File, owner, content }).await?)
}
