//! `file push`.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::Args;
use coffer_client::sftp::{Sftp, Uploads};
use coffer_sftp::{Attributes, Flags, Kind, MOST_DATA, Request, SessionError, Writing};

use super::owner::Owner;
use super::{inside_error, split, transfer::Transfer};
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
    #[command(flatten)]
    owner: Owner,
}

impl Push {
    pub(super) async fn run(self, app: &App) -> Result<(), CliError> {
        let Some((target, sources)) = self.arguments.split_last() else { return Err(CliError::Missing { what: "the target" }) };
        let Ok(target) = target.parse::<Target>();
        let (instance, path) = split(&target)?;
        let mut sftp = app.client(&target)?.sftp(instance).await?;
        let is_directory = path.ends_with('/') || sources.len() > 1 || self.recursive || {
            sftp.look(path.as_bytes(), true).is_ok_and(|there| there.kind() == Kind::Directory)
        };
        if self.create_dirs {
            let directory = if is_directory { path.trim_end_matches('/') } else { path.rsplit_once('/').map_or("", |(parent, _)| parent) };
            create_parents(&mut sftp, directory, self.owner.of_directories())?;
        }
        for source in sources {
            if source == "-" {
                self.send_input(&mut sftp, &path)?;
                continue;
            }
            let source = PathBuf::from(source);
            let inside = if is_directory { join(path.as_bytes(), name_of(&source)?) } else { path.clone().into_bytes() };
            let transfer = self.transfer(app, &source, &target)?;
            let sent = self.send(&mut sftp, &transfer, source, inside);
            transfer.end();
            sent?;
        }
        Ok(())
    }

    fn transfer(&self, app: &App, source: &Path, target: &Target) -> Result<Transfer, CliError> {
        let prefix = format!("Pushing {} to {}", source.display(), target.shown());
        let metadata = fs::metadata(source).map_err(failed(source))?;
        Ok(Transfer::new(app, &prefix, metadata.is_file().then_some(metadata.len())))
    }

    fn attributes(&self, owner: (u32, u32), mode: u32) -> Attributes {
        let owner = (self.owner.uid.unwrap_or(owner.0), self.owner.gid.unwrap_or(owner.1));
        Attributes { owner: Some(owner), mode: Some(self.owner.mode.unwrap_or(mode)), ..Attributes::default() }
    }

    /// Without --recursive a file is a new one of root's; a tree keeps whose it was.
    fn attributes_of(&self, metadata: &Metadata) -> Attributes {
        let owner = if self.recursive { (metadata.uid(), metadata.gid()) } else { (0, 0) };
        self.attributes(owner, metadata.mode() & 0o7777)
    }

    fn send_input(&self, sftp: &mut Sftp, path: &str) -> Result<(), CliError> {
        let told = |cause| inside_error(path.as_bytes(), cause);
        let flags = Flags::WRITE | Flags::CREATE | Flags::TRUNCATE;
        let handle = sftp.open(path.as_bytes(), flags, self.attributes((0, 0), 0o644)).map_err(told)?;
        let mut writing = Writing::new(handle);
        let (mut input, mut buffer) = (io::stdin().lock(), vec![0; MOST_DATA]);
        loop {
            match input.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => writing.write(sftp, &buffer[..count]).map_err(told)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(CliError::Stream { stream: "input", cause }),
            }
        }
        writing.close(sftp).map_err(told)
    }

    /// Sends a file, or a directory level by level.
    fn send(&self, sftp: &mut Sftp, transfer: &Transfer, source: PathBuf, inside: Vec<u8>) -> Result<(), CliError> {
        let through = |bytes| transfer.add(bytes);
        let mut uploads = Uploads::new(sftp, &through);
        let mut waiting = vec![(source, inside)];
        while let Some((source, inside)) = waiting.pop() {
            let metadata = if self.recursive { fs::symlink_metadata(&source) } else { fs::metadata(&source) }.map_err(failed(&source))?;
            let attributes = self.attributes_of(&metadata);
            if metadata.is_dir() {
                if !self.recursive {
                    return Err(CliError::Missing { what: "--recursive, which directories need," });
                }
                // --mode is of files: a directory that nobody may enter is of no use.
                let attributes = Attributes { mode: Some(metadata.mode() & 0o7777), ..attributes };
                make_directory(uploads.quiet()?, &inside, attributes)?;
                for entry in fs::read_dir(&source).map_err(failed(&source))? {
                    let path = entry.map_err(failed(&source))?.path();
                    let below = join(&inside, name_of(&path)?);
                    waiting.push((path, below));
                }
            } else if metadata.is_symlink() {
                let target = fs::read_link(&source).map_err(failed(&source))?;
                make_link(uploads.quiet()?, target.as_os_str().as_bytes(), &inside)?;
            } else if metadata.is_file() {
                let file = File::open(&source).map_err(failed(&source))?;
                uploads.send(file, source, inside, attributes)?;
            } else {
                return Err(CliError::NotOfForm { name: source.display().to_string(), form: "a file, directory or link" });
            }
        }
        uploads.quiet()?;
        Ok(())
    }
}

/// Makes a directory and those above it, where they are missing.
pub(super) fn create_parents(sftp: &mut Sftp, directory: &str, owner: (u32, u32)) -> Result<(), CliError> {
    let mut path = Vec::new();
    for part in directory.split('/').filter(|part| !part.is_empty()) {
        path = join(&path, part.as_bytes());
        make_directory(sftp, &path, Attributes { owner: Some(owner), mode: Some(0o755), ..Attributes::default() })?;
    }
    Ok(())
}

/// Makes a directory; one that is there is fine.
fn make_directory(sftp: &mut Sftp, path: &[u8], attributes: Attributes) -> Result<(), CliError> {
    match sftp.tell(&Request::MakeDirectory { path, attributes }) {
        Err(error) if error.is_refusal() => match sftp.look(path, true) {
            Ok(there) if there.kind() == Kind::Directory => Ok(()),
            _ => Err(inside_error(path, error)),
        },
        made => made.map_err(|cause| inside_error(path, cause)),
    }
}

/// Makes a link; one that is there with the same target is fine.
fn make_link(sftp: &mut Sftp, target: &[u8], path: &[u8]) -> Result<(), CliError> {
    match sftp.tell(&Request::Link { target, path }) {
        Err(error @ SessionError::Refused { .. }) => match sftp.read_link(path) {
            Ok(there) if there == target => Ok(()),
            _ => Err(inside_error(path, error)),
        },
        made => made.map_err(|cause| inside_error(path, cause)),
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> CliError {
    let file = path.to_owned();
    move |cause| CliError::File { file, cause }
}

fn name_of(path: &Path) -> Result<&[u8], CliError> {
    let name = path.file_name().map(OsStrExt::as_bytes);
    name.ok_or_else(|| CliError::UnsafeName { name: path.display().to_string() })
}

fn join(above: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = above.strip_suffix(b"/").unwrap_or(above).to_vec();
    path.push(b'/');
    path.extend_from_slice(name);
    path
}
