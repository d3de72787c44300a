//! `file pull`.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use clap::Args;
use coffer_client::sftp::{Downloads, Sftp};
use coffer_sftp::{Attributes, Flags, Kind, Reading};
use coffer_sys::path::Root;

use super::{inside_error, split, transfer::Transfer};
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

/// Something inside, and the place here that it goes to: a name in an open directory, which nobody can swap.
struct Found {
    path: Vec<u8>,
    attributes: Attributes,
    directory: Rc<Root>,
    name: OsString,
    /// What messages call the place.
    shown: PathBuf,
}

impl Pull {
    pub(super) async fn run(self, app: &App) -> Result<(), CliError> {
        let Some((target, sources)) = self.arguments.split_last() else { return Err(CliError::Missing { what: "the target" }) };
        let target_path = PathBuf::from(target);
        let into_directory = target.ends_with('/') || target_path.is_dir() || sources.len() > 1;
        if self.create_dirs {
            let directory = if into_directory { Some(target_path.as_path()) } else { target_path.parent() };
            directory.map_or(Ok(()), |directory| fs::create_dir_all(directory).map_err(failed(directory)))?;
        }
        for source in sources {
            let Ok(source) = source.parse::<Target>();
            let (instance, path) = split(&source)?;
            let mut sftp = app.client(&source)?.sftp(instance).await?;
            let told = |cause| inside_error(path.as_bytes(), cause);
            if target == "-" {
                to_stdout(&mut sftp, path.as_bytes()).map_err(|error| error.or_inside(path.as_bytes()))?;
                continue;
            }
            let attributes = sftp.look(path.as_bytes(), false).map_err(told)?;
            let place = if into_directory { target_path.join(OsStr::from_bytes(last_name(path.as_bytes())?)) } else { target_path.clone() };
            let found = found(path.into_bytes(), attributes, place)?;
            let total = (attributes.kind() == Kind::File).then_some(attributes.size).flatten();
            let transfer = Transfer::new(app, &format!("Pulling {} from {}", found.shown.display(), source.shown()), total);
            let received = self.receive(&mut sftp, &transfer, found);
            transfer.end();
            received?;
        }
        Ok(())
    }

    /// Fetches a file, or a directory level by level.
    fn receive(&self, sftp: &mut Sftp, transfer: &Transfer, found: Found) -> Result<(), CliError> {
        let through = |bytes| transfer.add(bytes);
        let mut downloads = Downloads::new(sftp, &through);
        let mut waiting = vec![found];
        while let Some(found) = waiting.pop() {
            match found.attributes.kind() {
                Kind::File => {
                    let (mode, size) = (found.attributes.permissions().unwrap_or(0o644), found.attributes.size.unwrap_or(0));
                    let (directory, name) = (found.directory, found.name);
                    downloads.fetch(found.path, size, found.shown, Box::new(move || make_file(&directory, &name, mode)))?;
                }
                Kind::Symlink => {
                    let target = downloads.quiet()?.read_link(&found.path).map_err(|cause| inside_error(&found.path, cause))?;
                    make_link(&found.directory, &found.name, &target).map_err(failed(&found.shown))?;
                }
                Kind::Directory if self.recursive => {
                    let names = downloads.quiet()?.list(&found.path).map_err(|cause| inside_error(&found.path, cause))?;
                    let mode = found.attributes.permissions().unwrap_or(0o755);
                    let directory = Rc::new(make_directory(&found.directory, &found.name, mode).map_err(failed(&found.shown))?);
                    for entry in names {
                        // The names come from inside: one that could leave the directory is refused.
                        let name = last_name(&entry.name).ok().filter(|name| *name == entry.name).map(OsStr::from_bytes);
                        let unsafe_name = || CliError::UnsafeName { name: String::from_utf8_lossy(&entry.name).into_owned() };
                        let name = name.ok_or_else(unsafe_name)?.to_owned();
                        let mut path = found.path.strip_suffix(b"/").unwrap_or(&found.path).to_vec();
                        path.push(b'/');
                        path.extend_from_slice(&entry.name);
                        let shown = found.shown.join(&name);
                        waiting.push(Found { path, attributes: entry.attributes, directory: directory.clone(), name, shown });
                    }
                }
                Kind::Directory => return Err(CliError::Missing { what: "--recursive, which directories need," }),
                // In a tree they are left out, as everywhere that copies files.
                Kind::Special if self.recursive => {}
                Kind::Special => {
                    let name = String::from_utf8_lossy(&found.path).into_owned();
                    return Err(CliError::NotOfForm { name, form: "a file, directory or link" });
                }
            }
        }
        downloads.quiet()?;
        Ok(())
    }
}

/// Opens the directory that the user wants something in.
fn found(path: Vec<u8>, attributes: Attributes, place: PathBuf) -> Result<Found, CliError> {
    let above = place.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory = Rc::new(Root::open(above).map_err(failed(above))?);
    let name = place.file_name().ok_or_else(|| CliError::UnsafeName { name: place.display().to_string() })?.to_owned();
    Ok(Found { path, attributes, directory, name, shown: place })
}

/// Returns the last part of a path; refuses `.`, `..` and nothing.
fn last_name(path: &[u8]) -> Result<&[u8], CliError> {
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    let name = path[..end].rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    if matches!(name, b"" | b"." | b"..") || name.contains(&0) {
        return Err(CliError::UnsafeName { name: String::from_utf8_lossy(path).into_owned() });
    }
    Ok(name)
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> CliError {
    let file = path.to_owned();
    move |cause| CliError::File { file, cause }
}

/// Why content did not come to standard output.
enum OutputError {
    Inside(coffer_sftp::SessionError),
    Output(io::Error),
}

impl OutputError {
    fn or_inside(self, path: &[u8]) -> CliError {
        match self {
            Self::Inside(cause) => inside_error(path, cause),
            Self::Output(cause) => CliError::Stream { stream: "output", cause },
        }
    }
}

fn to_stdout(sftp: &mut Sftp, path: &[u8]) -> Result<(), OutputError> {
    let handle = sftp.open(path, Flags::READ, Attributes::default()).map_err(OutputError::Inside)?;
    // To its end, whatever its size was.
    let mut reading = Reading::new(handle, u64::MAX);
    let mut out = io::stdout().lock();
    loop {
        let data = reading.next(sftp).map_err(OutputError::Inside)?;
        if data.is_empty() {
            break;
        }
        out.write_all(&data).map_err(OutputError::Output)?;
    }
    out.flush().map_err(OutputError::Output)
}

/// Makes a file, or empties the one that is there. A link is replaced, not followed: an earlier entry may have put it there.
fn make_file(directory: &Root, name: &OsStr, mode: u32) -> io::Result<File> {
    let make = || directory.create_file(name, mode & 0o777);
    let file = match make() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if is_link(directory, name) {
                directory.remove_file(name)?;
                make()?
            } else {
                directory.strict()?.create_or_empty_file(name, mode & 0o777)?
            }
        }
        made => made?,
    };
    file.set_permissions(fs::Permissions::from_mode(mode & 0o777))?;
    Ok(file)
}

fn is_link(directory: &Root, name: &OsStr) -> bool {
    directory.read_link(name).is_ok()
}

fn make_directory(above: &Root, name: &OsStr, mode: u32) -> io::Result<Root> {
    match above.create_dir(name, mode & 0o777 | 0o700) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    above.strict()?.dir(name)
}

fn make_link(directory: &Root, name: &OsStr, target: &[u8]) -> io::Result<()> {
    if is_link(directory, name) {
        directory.remove_file(name)?;
    }
    directory.symlink(OsStr::from_bytes(target), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_inside_stay_below() {
        assert_eq!(last_name(b"/etc/hosts").unwrap(), b"hosts");
        assert_eq!(last_name(b"/etc/").unwrap(), b"etc");
        for bad in ["/", "", "..", "a/..", ".", "a\0b"] {
            assert!(last_name(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_link_in_a_files_place_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path()).unwrap();
        fs::write(directory.path().join("other"), "stays").unwrap();
        root.symlink("other", "name").unwrap();
        make_file(&root, OsStr::new("name"), 0o640).unwrap().write_all(b"new").unwrap();
        assert_eq!(fs::read(directory.path().join("name")).unwrap(), b"new");
        assert_eq!(fs::read(directory.path().join("other")).unwrap(), b"stays");
        make_file(&root, OsStr::new("name"), 0o600).unwrap();
        assert_eq!(root.metadata("name").unwrap().st_size, 0);
    }
}
