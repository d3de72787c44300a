//! Cleaning a file system that nothing runs in.

use coffer_client::sftp::Sftp;
use coffer_sftp::{Attributes, Kind, Request, SessionError, Status};

use crate::error::BuildError;
use crate::pattern::Pattern;
use crate::recipe::Clean;

/// Follows the rules, one after the other.
pub(super) fn clean(sftp: &mut Sftp, rules: &[Clean]) -> Result<(), BuildError> {
    for rule in rules {
        let (Clean::Remove(text) | Clean::Empty(text)) = rule;
        let pattern = Pattern::new(text);
        let literal = pattern.literal();
        if pattern.is_wild() {
            below(sftp, &literal, &pattern, rule)?;
        } else {
            let path = format!("/{literal}");
            match sftp.look(path.as_bytes(), false) {
                Ok(there) => apply(sftp, &path, there, rule)?,
                Err(error) => absent(error, &path)?,
            }
        }
    }
    Ok(())
}

/// Goes through a directory, as far as the pattern reaches. Links are never followed.
fn below(sftp: &mut Sftp, directory: &str, pattern: &Pattern, rule: &Clean) -> Result<(), BuildError> {
    let whole = format!("/{directory}");
    match sftp.look(whole.as_bytes(), false) {
        Ok(there) if there.kind() == Kind::Directory => {}
        Ok(_) => return Ok(()),
        Err(error) => return absent(error, &whole),
    }
    let mut names = sftp.list(whole.as_bytes()).map_err(|cause| BuildError::Inside { doing: "listing", path: whole.clone(), cause })?;
    names.sort_by(|one, other| one.name.cmp(&other.name));
    for name in names {
        // Patterns are text, so a name that is none can fit only where everything does, and stays.
        let Ok(text) = String::from_utf8(name.name) else { continue };
        let path = if directory.is_empty() { text } else { format!("{directory}/{text}") };
        if pattern.matches(&path) && !(matches!(rule, Clean::Empty(_)) && name.attributes.kind() == Kind::Directory) {
            apply(sftp, &format!("/{path}"), name.attributes, rule)?;
        } else if name.attributes.kind() == Kind::Directory && pattern.reaches_below(&path) {
            below(sftp, &path, pattern, rule)?;
        }
    }
    Ok(())
}

fn apply(sftp: &mut Sftp, path: &str, there: Attributes, rule: &Clean) -> Result<(), BuildError> {
    let told = |cause| BuildError::Inside { doing: "cleaning", path: path.to_owned(), cause };
    match (rule, there.kind()) {
        (Clean::Empty(_), Kind::File) => {
            let attributes = Attributes { size: Some(0), ..Attributes::default() };
            sftp.tell(&Request::Set { path: path.as_bytes(), attributes }).map_err(told)
        }
        (Clean::Empty(_), Kind::Directory | Kind::Symlink | Kind::Special) => Ok(()),
        (Clean::Remove(_), Kind::Directory) => remove_directory(sftp, path),
        (Clean::Remove(_), Kind::File | Kind::Symlink | Kind::Special) => {
            sftp.tell(&Request::Remove { path: path.as_bytes() }).map_err(told)
        }
    }
}

fn remove_directory(sftp: &mut Sftp, path: &str) -> Result<(), BuildError> {
    let told = |cause| BuildError::Inside { doing: "removing", path: path.to_owned(), cause };
    for name in sftp.list(path.as_bytes()).map_err(told)? {
        let mut inner = format!("{path}/").into_bytes();
        inner.extend_from_slice(&name.name);
        match (name.attributes.kind(), std::str::from_utf8(&inner)) {
            (Kind::Directory, Ok(text)) => remove_directory(sftp, text)?,
            _ => sftp.tell(&Request::Remove { path: &inner }).map_err(told)?,
        }
    }
    sftp.tell(&Request::RemoveDirectory { path: path.as_bytes() }).map_err(told)
}

/// What is not there needs no cleaning.
fn absent(error: SessionError, path: &str) -> Result<(), BuildError> {
    match error {
        SessionError::Refused { status: Status::NoSuchFile | Status::NotADirectory, .. } => Ok(()),
        cause => Err(BuildError::Inside { doing: "looking at", path: path.to_owned(), cause }),
    }
}
