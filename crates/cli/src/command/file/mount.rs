//! `file mount`.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use clap::Args;
use coffer_ssh::Access;

use super::listen;
use crate::app::App;
use crate::error::CliError;
use crate::target::Target;

/// The program that makes a file system out of SFTP.
const SSHFS: &str = "sshfs";

/// Mount an instance's files on a directory, or serve them over SSH
///
/// The files are there until this command ends (Ctrl+C) or the directory is unmounted. It takes the program sshfs, which talks to
/// the instance's file server directly: the instance needs no network and no SSH server.
///
/// Without a directory the files are served to any SFTP client, to this machine alone unless --listen says otherwise, for a user
/// and a password that are made up and shown. Who logs in has the rights of root inside.
#[derive(Debug, Args)]
pub(crate) struct Mount {
    /// Instance, and the directory inside that is shown; / without
    #[arg(value_name = "[REMOTE:]INSTANCE[/PATH]")]
    source: Target,
    /// Directory to mount on
    #[arg(value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
    /// Serve over SSH at this address instead, port 0 for one that is free
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Let everybody in who reaches the address
    #[arg(long)]
    no_auth: bool,
    /// User who may log in; one is made up without
    #[arg(long, value_name = "USER")]
    auth_user: Option<String>,
}

impl Mount {
    pub(super) async fn run(self, app: &App) -> Result<(), CliError> {
        let (instance, path) = match self.source.split() {
            (instance, path) if !instance.is_empty() => (instance, path),
            _ => return Err(CliError::NotOfForm { name: self.source.name.clone(), form: "instance or instance/path" }),
        };
        let Some(directory) = &self.directory else { return self.serve(app, instance, path).await };
        let of_ssh = [("--listen", self.listen.is_some()), ("--no-auth", self.no_auth), ("--auth-user", self.auth_user.is_some())];
        if let Some((option, _)) = of_ssh.into_iter().find(|(_, is_there)| *is_there) {
            return Err(CliError::Exclusive { one: option, other: "a directory to mount on" });
        }
        let path = format!("/{}", path.unwrap_or_default().trim_start_matches('/'));
        if !directory.is_dir() {
            let cause = io::Error::from(io::ErrorKind::NotADirectory);
            return Err(CliError::File { file: directory.clone(), cause });
        }
        let passive = passive()?;
        let stream = OwnedFd::from(app.client(&self.source)?.sftp_stream(instance).await?);
        let copy = stream.try_clone().map_err(sshfs_failed)?;
        // It speaks on its standard streams, which are the connection itself: this process only waits.
        let mut command = Command::new(SSHFS);
        command.args(["-f", "-o", passive]).arg(format!("{instance}:{path}")).arg(directory);
        let mut child = command.stdin(Stdio::from(stream)).stdout(Stdio::from(copy)).spawn().map_err(sshfs_failed)?;
        app.note(&format!("{instance}:{path} is mounted on {}; Ctrl+C ends it", directory.display()))?;
        match child.wait().map_err(sshfs_failed)? {
            status if status.success() => Ok(()),
            status => Err(CliError::Program { program: SSHFS, why: status.to_string() }),
        }
    }

    /// Serves the files over SSH.
    async fn serve(&self, app: &App, instance: &str, path: Option<&str>) -> Result<(), CliError> {
        if path.is_some_and(|path| !path.trim_matches('/').is_empty()) {
            return Err(CliError::NotOfForm { name: self.source.name.clone(), form: "instance: over SSH all of its files are served" });
        }
        let access = match (self.no_auth, &self.auth_user) {
            (true, Some(_)) => return Err(CliError::Exclusive { one: "--no-auth", other: "--auth-user" }),
            (true, None) => Access { user: String::new(), password: None },
            (false, user) => {
                let user = user.clone().map_or_else(|| coffer_ssh::secret(8), Ok)?;
                Access { user, password: Some(coffer_ssh::secret(24)?) }
            }
        };
        let client = app.client(&self.source)?;
        // Whoever misspells it is told now, not at the first login.
        drop(client.sftp_stream(instance).await?);
        listen::listen(app, client, instance, self.listen.as_deref().unwrap_or(listen::LOCAL), access).await
    }
}

/// What the option is called by which sshfs speaks on its standard streams: its name has changed.
fn passive() -> Result<&'static str, CliError> {
    let help = Command::new(SSHFS).arg("--help").stdin(Stdio::null()).output().map_err(sshfs_failed)?;
    let words = [help.stdout, help.stderr].concat();
    Ok(option(&String::from_utf8_lossy(&words)))
}

fn option(help: &str) -> &'static str {
    if help.contains("-o passive") { "passive" } else { "slave" }
}

fn sshfs_failed(cause: io::Error) -> CliError {
    let why = if cause.kind() == io::ErrorKind::NotFound { "it is not installed".to_owned() } else { cause.to_string() };
    CliError::Program { program: SSHFS, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_names_of_the_option_are_known() {
        assert_eq!(option("    -o passive             communicate over stdin and stdout bypassing network\n"), "passive");
        assert_eq!(option("    -o slave               communicate over stdin and stdout bypassing network\n"), "slave");
    }
}
