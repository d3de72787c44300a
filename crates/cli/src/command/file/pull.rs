//! `file pull`.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use clap::Args;
use coffer_client::{Client, Download, FileReply};

use super::split;
use crate::app::App;
use crate::error::CliError;
use crate::target::Target;

/// Copy files out of an instance
#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// Files inside, then the file or directory to write to; - is standard output
    #[arg(value_name = "[REMOTE:]INSTANCE/PATH ... TARGET", required = true, num_args = 2..)]
    arguments: Vec<String>,
    /// Make missing directories
    #[arg(short = 'p', long)]
    create_dirs: bool,
    /// Copy directories with all that is in them
    #[arg(short, long)]
    recursive: bool,
}

impl Pull {
    pub(super) async fn run(self, app: &App) -> Result<(), CliError> {
        let Some((target, sources)) = self.arguments.split_last() else { return Err(CliError::Missing { what: "the target" }) };
        let target_path = PathBuf::from(target);
        let into_directory = target.ends_with('/') || target_path.is_dir() || sources.len() > 1;
        if self.create_dirs {
            let directory = if into_directory { Some(target_path.as_path()) } else { target_path.parent() };
            directory.map_or(Ok(()), |directory| fs::create_dir_all(directory).map_err(|cause| file_error(directory, cause)))?;
        }
        for source in sources {
            let Ok(source) = source.parse::<Target>();
            let (instance, path) = split(&source)?;
            let client = app.client(&source)?;
            match client.file(instance, &path).await? {
                FileReply::File(_, body) if target == "-" => to_stdout(body).await?,
                reply => {
                    let name = last_name(&path)?;
                    let place = if into_directory { target_path.join(name) } else { target_path.clone() };
                    self.receive(client, instance, &path, reply, &place).await?;
                }
            }
        }
        Ok(())
    }

    /// Writes what lies at a path inside to a place outside, directories level by level.
    async fn receive(&self, client: &Client, instance: &str, path: &str, reply: FileReply, place: &Path) -> Result<(), CliError> {
        let mut waiting = vec![(path.to_owned(), place.to_owned(), Some(reply))];
        while let Some((path, place, reply)) = waiting.pop() {
            let reply = match reply {
                Some(reply) => reply,
                None => client.file(instance, &path).await?,
            };
            match reply {
                FileReply::File(owner, body) => write_file(&place, owner.mode, body).await?,
                FileReply::Symlink(_, target) => make_link(&place, &target)?,
                FileReply::Directory(owner, names) if self.recursive => {
                    make_directory(&place, owner.mode)?;
                    for name in names {
                        // The names come from inside: one that could leave the directory is refused.
                        let inner = last_name(&name).ok().filter(|inner| *inner == name).map(str::to_owned);
                        let inner = inner.ok_or(CliError::UnsafeName { name })?;
                        waiting.push((format!("{}/{inner}", path.trim_end_matches('/')), place.join(&inner), None));
                    }
                }
                FileReply::Directory(..) => return Err(CliError::Missing { what: "--recursive, which directories need," }),
            }
        }
        Ok(())
    }
}

/// Returns the last part of a path; refuses `.`, `..` and nothing.
fn last_name(path: &str) -> Result<&str, CliError> {
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    if matches!(name, "" | "." | "..") { Err(CliError::UnsafeName { name: path.to_owned() }) } else { Ok(name) }
}

fn file_error(path: &Path, cause: io::Error) -> CliError {
    CliError::File { file: path.to_owned(), cause }
}

async fn to_stdout(mut body: Download) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    while let Some(chunk) = body.chunk().await? {
        out.write_all(&chunk).map_err(|cause| CliError::Stream { stream: "output", cause })?;
    }
    out.flush().map_err(|cause| CliError::Stream { stream: "output", cause })
}

async fn write_file(place: &Path, mode: Option<u32>, mut body: Download) -> Result<(), CliError> {
    // A link that stands there is replaced, not followed: an earlier entry of the same instance may have put it there.
    if place.is_symlink() {
        fs::remove_file(place).map_err(|cause| file_error(place, cause))?;
    }
    let mut options = fs::OpenOptions::new();
    let opened = options.write(true).create(true).truncate(true).mode(mode.unwrap_or(0o644) & 0o777).open(place);
    let mut file = opened.map_err(|cause| file_error(place, cause))?;
    while let Some(chunk) = body.chunk().await? {
        file.write_all(&chunk).map_err(|cause| file_error(place, cause))?;
    }
    Ok(())
}

fn make_directory(place: &Path, mode: Option<u32>) -> Result<(), CliError> {
    match fs::create_dir(place) {
        Ok(()) => {
            let permissions = fs::Permissions::from_mode(mode.unwrap_or(0o755) & 0o777 | 0o700);
            fs::set_permissions(place, permissions).map_err(|cause| file_error(place, cause))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && place.is_dir() && !place.is_symlink() => Ok(()),
        Err(cause) => Err(file_error(place, cause)),
    }
}

fn make_link(place: &Path, target: &[u8]) -> Result<(), CliError> {
    use std::os::unix::ffi::OsStrExt;
    if place.is_symlink() {
        fs::remove_file(place).map_err(|cause| file_error(place, cause))?;
    }
    let target = std::ffi::OsStr::from_bytes(target.trim_ascii_end());
    symlink(target, place).map_err(|cause| file_error(place, cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_inside_stay_below() {
        assert_eq!(last_name("/etc/hosts").unwrap(), "hosts");
        assert_eq!(last_name("/etc/").unwrap(), "etc");
        for bad in ["/", "", "..", "a/..", "."] {
            assert!(last_name(bad).is_err(), "{bad}");
        }
    }
}
