//! `file push`.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::Args;
use coffer_client::{Client, FileKind, FileOwner, FileReply, NewFile, Part, Source, Upload};

use super::split;
use crate::app::App;
use crate::error::CliError;
use crate::target::Target;

/// Copy files into an instance
#[derive(Debug, Args)]
pub(crate) struct Push {
    /// Files, - for standard input, then where to put them
    #[arg(value_name = "FILE ... [REMOTE:]INSTANCE/PATH", required = true, num_args = 2..)]
    arguments: Vec<String>,
    /// Make missing directories
    #[arg(short = 'p', long)]
    create_dirs: bool,
    /// Copy directories with all that is in them
    #[arg(short, long)]
    recursive: bool,
    /// User id of the files inside
    #[arg(long)]
    uid: Option<u32>,
    /// Group id of the files inside
    #[arg(long)]
    gid: Option<u32>,
    /// Permissions of the files, octal
    #[arg(long, value_parser = parse_mode)]
    mode: Option<u32>,
}

fn parse_mode(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777).ok_or_else(|| "permissions are octal, such as 0644".to_owned())
}

impl Push {
    pub(super) async fn run(self, app: &App) -> Result<(), CliError> {
        let Some((target, sources)) = self.arguments.split_last() else { return Err(CliError::Missing { what: "the target" }) };
        let Ok(target) = target.parse::<Target>();
        let (instance, path) = split(&target)?;
        let client = app.client(&target)?;
        let is_directory = path.ends_with('/') || sources.len() > 1 || self.recursive || {
            matches!(client.file(instance, &path).await, Ok(FileReply::Directory(..)))
        };
        if self.create_dirs {
            let directory = if is_directory { path.trim_end_matches('/') } else { path.rsplit_once('/').map_or("", |(parent, _)| parent) };
            self.create_parents(client, instance, directory).await?;
        }
        for source in sources {
            if source == "-" {
                let input = Upload::new(vec![Part::Stream(Source(Box::new(io::stdin())))]);
                client
                    .create_file(instance, &path, NewFile { kind: FileKind::File, owner: self.owner(0, 0, 0o644), content: input })
                    .await?;
                continue;
            }
            let source = PathBuf::from(source);
            let inside = if is_directory { format!("{}/{}", path.trim_end_matches('/'), name_of(&source)?) } else { path.clone() };
            self.send(client, instance, source, inside).await?;
        }
        Ok(())
    }

    fn owner(&self, uid: u32, gid: u32, mode: u32) -> FileOwner {
        FileOwner { uid: self.uid.or(Some(uid)), gid: self.gid.or(Some(gid)), mode: self.mode.or(Some(mode)) }
    }

    async fn create_parents(&self, client: &Client, instance: &str, directory: &str) -> Result<(), CliError> {
        let mut path = String::new();
        for part in directory.split('/').filter(|part| !part.is_empty()) {
            path = format!("{path}/{part}");
            let owner = FileOwner { uid: self.uid, gid: self.gid, mode: Some(0o755) };
            client.create_file(instance, &path, NewFile { kind: FileKind::Directory, owner, content: Upload::new(Vec::new()) }).await?;
        }
        Ok(())
    }

    /// Sends a file, or a directory level by level.
    async fn send(&self, client: &Client, instance: &str, source: PathBuf, inside: String) -> Result<(), CliError> {
        let mut waiting = vec![(source, inside)];
        while let Some((source, inside)) = waiting.pop() {
            let failed = |cause| CliError::File { file: source.clone(), cause };
            let metadata = if self.recursive { fs::symlink_metadata(&source) } else { fs::metadata(&source) }.map_err(failed)?;
            let mode = metadata.mode() & 0o7777;
            // Without --recursive a file is a new one of root's; a tree keeps whose it was.
            let owner = if self.recursive { self.owner(metadata.uid(), metadata.gid(), mode) } else { self.owner(0, 0, mode) };
            let (kind, content) = if metadata.is_dir() {
                if !self.recursive {
                    return Err(CliError::Missing { what: "--recursive, which directories need," });
                }
                (FileKind::Directory, Upload::new(Vec::new()))
            } else if metadata.is_symlink() {
                let target = fs::read_link(&source).map_err(failed)?;
                (FileKind::Symlink, Upload::new(vec![Part::Bytes(target.as_os_str().as_bytes().to_vec().into())]))
            } else if metadata.is_file() {
                (FileKind::File, Upload::file(&source).map_err(failed)?)
            } else {
                return Err(CliError::NotOfForm { name: source.display().to_string(), form: "a file, directory or link" });
            };
            client.create_file(instance, &inside, NewFile { kind, owner, content }).await?;
            if kind == FileKind::Directory {
                for entry in fs::read_dir(&source).map_err(failed)? {
                    let path = entry.map_err(failed)?.path();
                    let name = name_of(&path)?;
                    waiting.push((path, format!("{inside}/{name}")));
                }
            }
        }
        Ok(())
    }
}

fn name_of(path: &Path) -> Result<String, CliError> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned).ok_or_else(|| CliError::UnsafeName { name: path.display().to_string() })
}
