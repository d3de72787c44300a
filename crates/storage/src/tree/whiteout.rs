//! Finding what overlayfs takes for the mark of something that was deleted.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir};

use super::TreeError;
use super::descent::Descent;

/// The first character device with the numbers 0:0 below a directory, if there is one. Only names and types are read.
pub(crate) fn find_whiteout(top: BorrowedFd<'_>) -> Result<Option<PathBuf>, TreeError> {
    let start = || -> io::Result<Descent> {
        Descent::new(rustix::fs::openat(top, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
    };
    let mut descent = start().map_err(|cause| TreeError { path: std::path::Path::new(".").into(), cause })?;
    let at = |descent: &Descent, name: &CStr, cause: io::Error| TreeError { path: descent.path(name).into(), cause };
    let mut pending = Vec::new();
    if let Some(found) = look(&descent, &mut pending).map_err(|cause| at(&descent, c".", cause))? {
        return Ok(Some(descent.path(&found)));
    }
    let mut frames = vec![pending];
    while let Some(frame) = frames.last_mut() {
        let Some(name) = frame.pop() else {
            frames.pop();
            if descent.depth() > 0 {
                descent.ascend().map_err(|cause| at(&descent, c"..", cause))?;
            }
            continue;
        };
        descent.descend(&name).map_err(|cause| at(&descent, &name, cause))?;
        let mut pending = Vec::new();
        if let Some(found) = look(&descent, &mut pending).map_err(|cause| at(&descent, c".", cause))? {
            return Ok(Some(descent.path(&found)));
        }
        frames.push(pending);
    }
    Ok(None)
}

/// Looks through the current directory, and names the directories in it.
fn look(descent: &Descent, directories: &mut Vec<CString>) -> io::Result<Option<CString>> {
    let mut buffer = [MaybeUninit::uninit(); 32 << 10];
    let mut entries = RawDir::new(descent.current(), &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        match entry.file_type() {
            FileType::Directory if name != c"." && name != c".." => directories.push(name.to_owned()),
            FileType::CharacterDevice => {
                let stat = rustix::fs::statat(descent.current().as_fd(), name, AtFlags::SYMLINK_NOFOLLOW)?;
                if stat.st_rdev == 0 {
                    return Ok(Some(name.to_owned()));
                }
            }
            _ => {}
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_however_deep_and_a_device_is_none() {
        let top = tempfile::tempdir().unwrap();
        let deep = top.path().join("a/b");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::create_dir(top.path().join("c")).unwrap();
        let opened = std::fs::File::open(top.path()).unwrap();
        let make = |name: &str, device| {
            let kind = FileType::CharacterDevice;
            rustix::fs::mknodat(rustix::fs::CWD, deep.join(name), kind, Mode::RUSR, device)
        };
        if make("null", rustix::fs::makedev(1, 3)).is_err() {
            return println!("skipped: devices need root");
        }
        assert_eq!(find_whiteout(opened.as_fd()).unwrap(), None);
        make("gone", 0).unwrap();
        assert_eq!(find_whiteout(opened.as_fd()).unwrap(), Some("a/b/gone".into()));
    }
}
