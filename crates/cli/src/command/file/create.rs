//! `file create`.

use clap::{Args, ValueEnum};
use coffer_client::{FileKind, FileOwner, NewFile, Part, Upload};

use super::owner::Owner;
use super::push::create_parents;
use super::split;
use crate::app::App;
use crate::error::CliError;
use crate::target::Target;

/// Make an empty file, a directory or a symbolic link in an instance
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  coffer file create web/etc/motd
  coffer file create web/srv/data/ --uid 1000 --gid 1000
  coffer file create --type symlink web/etc/localtime /usr/share/zoneinfo/UTC")]
pub(crate) struct Create {
    /// Its path; one that ends with a slash is a directory
    #[arg(value_name = "[REMOTE:]INSTANCE/PATH")]
    file: Target,
    /// Where a symbolic link points to
    #[arg(value_name = "TARGET")]
    target: Option<String>,
    /// What to make
    #[arg(long = "type", value_enum, value_name = "TYPE", default_value_t)]
    kind: CreateKind,
    /// Empty a file that is there
    #[arg(short, long)]
    force: bool,
    /// Make missing directories
    #[arg(short = 'p', long)]
    create_dirs: bool,
    #[command(flatten)]
    owner: Owner,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum CreateKind {
    #[default]
    File,
    Directory,
    Symlink,
}

impl Create {
    pub(super) async fn run(self, app: &App) -> Result<(), CliError> {
        let (instance, path) = split(&self.file)?;
        let kind = match (self.kind, path.ends_with('/')) {
            (CreateKind::File, true) | (CreateKind::Directory, _) => FileKind::Directory,
            (CreateKind::File, false) => FileKind::File,
            (CreateKind::Symlink, _) => FileKind::Symlink,
        };
        let content = match (kind, self.target) {
            (FileKind::Symlink, Some(target)) => vec![Part::Bytes(target.into_bytes().into())],
            (FileKind::Symlink, None) => return Err(CliError::Missing { what: "where the link points to" }),
            (_, Some(_)) => return Err(CliError::Missing { what: "--type symlink, which a target needs," }),
            (_, None) => Vec::new(),
        };
        let path = path.trim_end_matches('/');
        let client = app.client(&self.file)?;
        let mut sftp = client.sftp(instance).await?;
        if self.create_dirs {
            create_parents(&mut sftp, path.rsplit_once('/').map_or("", |(parent, _)| parent), self.owner.of_directories())?;
        }
        let overwrites = self.force && kind == FileKind::File;
        if !overwrites && sftp.look(path.as_bytes(), false).is_ok() {
            return Err(CliError::AlreadyThere { object: instance.to_owned(), what: "file", name: path.to_owned() });
        }
        // The API's own default for directories lets no others in.
        let mode = self.owner.mode.or((kind == FileKind::Directory).then_some(0o755));
        let owner = FileOwner { uid: self.owner.uid, gid: self.owner.gid, mode };
        Ok(client.create_file(instance, path, NewFile { kind, owner, content: Upload::new(content) }).await?)
    }
}
