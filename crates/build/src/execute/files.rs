//! Putting files into a file system that nothing runs in.

use std::io::Read;

use coffer_client::sftp::Sftp;
use coffer_sftp::{Attributes, Flags, Kind, Reading, Request, SessionError, Status, Writing};

use super::users;
use crate::context::{Context, Found, FoundKind};
use crate::error::BuildError;
use crate::recipe::{Content, Item, Source};

/// Bytes of a file that are read at a time.
const PIECE: usize = 256 << 10;

/// What stages gave, by their number: a conversation about the files of each that is copied from.
pub(super) type Stages = Vec<(usize, Sftp)>;

/// Puts items into a file system. `copies` is what each of them copies from the context.
pub(super) fn put(
    sftp: &mut Sftp,
    items: &[Item],
    copies: &[Vec<Found>],
    context: &Context,
    stages: &mut Stages,
) -> Result<(), BuildError> {
    for (item, copies) in items.iter().zip(copies) {
        let owner = users::resolve(sftp, &item.owner)?;
        let attributes = |usual: u32| Attributes { owner: Some(owner), mode: Some(item.mode.unwrap_or(usual)), ..Attributes::default() };
        let path = item.path.trim_end_matches('/');
        match &item.content {
            Content::Directory => {
                parents(sftp, path)?;
                directory(sftp, path, attributes(0o755), true)?;
            }
            Content::Link(to) => {
                parents(sftp, path)?;
                link(sftp, to, path)?;
            }
            Content::Text(text) => {
                parents(sftp, path)?;
                file(sftp, path, attributes(0o644), &mut text.as_bytes())?;
            }
            Content::Copy { from: Source::Context, .. } => {
                let copy = Copy { item, owner, path };
                for one in copies {
                    copy.one(sftp, one, context)?;
                }
            }
            Content::Copy { sources, from: Source::Stage(number) } => {
                let copy = Copy { item, owner, path };
                let stage = stages.iter_mut().find(|(stage, _)| stage == number);
                let (_, other) = stage.ok_or(BuildError::Lacking { what: "what an earlier stage holds" })?;
                for source in sources {
                    copy.of_stage(sftp, other, source, sources.len() > 1)?;
                }
            }
        }
    }
    Ok(())
}

/// An item that copies.
struct Copy<'a> {
    item: &'a Item,
    owner: (u32, u32),
    /// Where it goes, without a slash at the end.
    path: &'a str,
}

impl Copy<'_> {
    fn attributes(&self, mode: u32) -> Attributes {
        Attributes { owner: Some(self.owner), mode: Some(mode), ..Attributes::default() }
    }

    /// A mode that was asked for is the files'; a directory keeps what lets it be entered.
    fn of_file(&self, mode: u32) -> Attributes {
        self.attributes(self.item.mode.unwrap_or(mode))
    }

    fn one(&self, sftp: &mut Sftp, one: &Found, context: &Context) -> Result<(), BuildError> {
        let path = self.place(sftp, &one.below, one.kind == FoundKind::Directory, &one.path)?;
        parents(sftp, &path)?;
        match &one.kind {
            FoundKind::Directory => directory(sftp, &path, self.attributes(one.mode), false),
            FoundKind::Link(to) => link(sftp, to, &path),
            FoundKind::File => file(sftp, &path, self.of_file(one.mode), &mut context.open_file(&one.path)?),
        }
    }

    /// Where something goes: below the place, or at it; a file whose place is a directory goes into it.
    fn place(&self, sftp: &mut Sftp, below: &str, is_directory: bool, source: &str) -> Result<String, BuildError> {
        if !below.is_empty() {
            return Ok(format!("{}/{below}", self.path));
        }
        let there = !is_directory && sftp.look(self.path.as_bytes(), true).is_ok_and(|there| there.kind() == Kind::Directory);
        let name = source.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        Ok(if there { format!("{}/{name}", self.path) } else { self.path.to_owned() })
    }

    /// Copies from another file system.
    fn of_stage(&self, sftp: &mut Sftp, other: &mut Sftp, source: &str, several: bool) -> Result<(), BuildError> {
        let from = format!("/{}", source.trim_matches('/'));
        let there = other.look(from.as_bytes(), true).map_err(|cause| match cause.status() {
            Some(Status::NoSuchFile) => BuildError::Nothing { path: from.clone() },
            _ => BuildError::Inside { doing: "looking at", path: from.clone(), cause },
        })?;
        let is_directory = there.kind() == Kind::Directory;
        let into = several || self.item.path.ends_with('/');
        let name = from.rsplit('/').next().unwrap_or_default();
        let below = if into && !is_directory { name } else { "" };
        let place = self.place(sftp, below, is_directory, &from)?;
        let mut waiting = vec![(from, place, true)];
        while let Some((from, to, follow)) = waiting.pop() {
            let told = |cause| BuildError::Inside { doing: "copying", path: from.clone(), cause };
            let there = other.look(from.as_bytes(), follow).map_err(told)?;
            let mode = there.permissions().unwrap_or(0o644);
            parents(sftp, &to)?;
            match there.kind() {
                Kind::Directory => {
                    directory(sftp, &to, self.attributes(mode), false)?;
                    let mut names = other.list(from.as_bytes()).map_err(told)?;
                    names.sort_by(|one, two| two.name.cmp(&one.name));
                    for name in names {
                        let name = String::from_utf8_lossy(&name.name).into_owned();
                        waiting.push((format!("{from}/{name}"), format!("{to}/{name}"), false));
                    }
                }
                Kind::Symlink => {
                    let target = other.read_link(from.as_bytes()).map_err(told)?;
                    link(sftp, &String::from_utf8_lossy(&target), &to)?;
                }
                Kind::File => {
                    let handle = other.open(from.as_bytes(), Flags::READ, Attributes::default()).map_err(told)?;
                    let mut reading = Reading::new(handle, there.size.unwrap_or(0));
                    let mut writing = begin(sftp, &to, self.of_file(mode))?;
                    loop {
                        let piece = reading.next(other).map_err(told)?;
                        if piece.is_empty() {
                            break;
                        }
                        writing.write(sftp, &piece).map_err(|cause| BuildError::Inside { doing: "writing", path: to.clone(), cause })?;
                    }
                    reading.close(other).map_err(told)?;
                    writing.close(sftp).map_err(|cause| BuildError::Inside { doing: "writing", path: to.clone(), cause })?;
                }
                // Devices and sockets are not copied: whoever needs them makes them.
                Kind::Special => {}
            }
        }
        Ok(())
    }
}

/// Makes the directories above a path that are not there.
fn parents(sftp: &mut Sftp, path: &str) -> Result<(), BuildError> {
    let Some((above, _)) = path.rsplit_once('/').filter(|(above, _)| !above.is_empty()) else { return Ok(()) };
    if sftp.look(above.as_bytes(), true).is_ok() {
        return Ok(());
    }
    parents(sftp, above)?;
    let attributes = Attributes { owner: Some((0, 0)), mode: Some(0o755), ..Attributes::default() };
    directory(sftp, above, attributes, false)
}

/// Makes a directory; one that is there stays, and becomes like this one if it is to.
fn directory(sftp: &mut Sftp, path: &str, attributes: Attributes, change: bool) -> Result<(), BuildError> {
    if path.is_empty() {
        return Ok(());
    }
    let told = |cause| BuildError::Inside { doing: "making the directory", path: path.to_owned(), cause };
    match sftp.tell(&Request::MakeDirectory { path: path.as_bytes(), attributes }) {
        Err(error) if error.is_refusal() => match sftp.look(path.as_bytes(), true) {
            Ok(there) if there.kind() == Kind::Directory && change => {
                sftp.tell(&Request::Set { path: path.as_bytes(), attributes }).map_err(told)
            }
            Ok(there) if there.kind() == Kind::Directory => Ok(()),
            _ => Err(told(error)),
        },
        made => made.map_err(told),
    }
}

fn link(sftp: &mut Sftp, to: &str, path: &str) -> Result<(), BuildError> {
    let told = |cause| BuildError::Inside { doing: "making the link", path: path.to_owned(), cause };
    vacate(sftp, path)?;
    sftp.tell(&Request::Link { target: to.as_bytes(), path: path.as_bytes() }).map_err(told)
}

fn file(sftp: &mut Sftp, path: &str, attributes: Attributes, source: &mut dyn Read) -> Result<(), BuildError> {
    let told = |cause| BuildError::Inside { doing: "writing", path: path.to_owned(), cause };
    let mut writing = begin(sftp, path, attributes)?;
    let mut piece = vec![0; PIECE];
    loop {
        match source.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => writing.write(sftp, &piece[..count]).map_err(told)?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(BuildError::Local { doing: "reading a file of the build context", cause }),
        }
    }
    writing.close(sftp).map_err(told)
}

/// Begins a new file, in the place of whatever file was there.
fn begin(sftp: &mut Sftp, path: &str, attributes: Attributes) -> Result<Writing, BuildError> {
    let told = |cause| BuildError::Inside { doing: "writing", path: path.to_owned(), cause };
    vacate(sftp, path)?;
    let flags = Flags::WRITE | Flags::CREATE | Flags::EXCLUSIVE;
    let handle = sftp.open(path.as_bytes(), flags, attributes).map_err(told)?;
    Ok(Writing::new(handle))
}

/// Removes a file or link; where there is none it is done.
fn vacate(sftp: &mut Sftp, path: &str) -> Result<(), BuildError> {
    match sftp.tell(&Request::Remove { path: path.as_bytes() }) {
        Err(SessionError::Refused { status: Status::NoSuchFile, .. }) => Ok(()),
        removed => removed.map_err(|cause| BuildError::Inside { doing: "replacing", path: path.to_owned(), cause }),
    }
}
