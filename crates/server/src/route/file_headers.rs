//! LXD's headers of files.

use axum::http::{HeaderMap, HeaderName};
use axum::response::Response;
use coffer_engine::{FileInfo, FileKind, NewFile};

use crate::envelope;
use crate::refusal::Refusal;

/// What a request wants to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A file, written anew or behind what is there.
    File {
        /// Behind what is there.
        append: bool,
    },
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
}

/// What the headers of a request say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Described {
    /// What is to be made.
    pub what: What,
    /// Whose it is to be, if it is new.
    pub new: NewFile,
}

/// Reads a request's headers.
///
/// # Errors
/// If one says what cannot be.
pub fn described(headers: &HeaderMap) -> Result<Described, Refusal> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let append = match text("x-lxd-write") {
        "" | "overwrite" => false,
        "append" => true,
        other => return Err(Refusal::bad_request(format!("invalid X-LXD-write {other:?}: it must be overwrite or append"))),
    };
    let what = match text("x-lxd-type") {
        "" | "file" => What::File { append },
        "directory" => What::Directory,
        "symlink" => What::Symlink,
        other => return Err(Refusal::bad_request(format!("invalid X-LXD-type {other:?}: it must be file, directory or symlink"))),
    };
    let new =
        NewFile { uid: id("X-LXD-uid", text("x-lxd-uid"))?, gid: id("X-LXD-gid", text("x-lxd-gid"))?, mode: mode(text("x-lxd-mode"))? };
    Ok(Described { what, new })
}

/// An id; -1 and nothing leave it to the server.
fn id(name: &str, text: &str) -> Result<Option<u32>, Refusal> {
    match text {
        "" | "-1" => Ok(None),
        text => match text.parse() {
            Ok(id) if id != u32::MAX => Ok(Some(id)),
            _ => Err(Refusal::bad_request(format!("invalid {name} {text:?}: it must be an id of the instance, a number from 0 on"))),
        },
    }
}

/// Permission bits, read as Go reads numbers: octal behind `0`, else decimal.
fn mode(text: &str) -> Result<Option<u32>, Refusal> {
    let number = match text {
        "" | "-1" => return Ok(None),
        text if text.starts_with("0x") => u32::from_str_radix(&text[2..], 16),
        text if text.starts_with("0o") => u32::from_str_radix(&text[2..], 8),
        text if text.starts_with('0') => u32::from_str_radix(text, 8),
        text => text.parse(),
    };
    match number {
        Ok(mode) if mode <= 0o7777 => Ok(Some(mode)),
        _ => Err(Refusal::bad_request(format!("invalid X-LXD-mode {text:?}: permissions are octal, such as 0644"))),
    }
}

/// Writes what is known of a file into an answer's headers.
///
/// # Errors
/// If it is of a kind that has no name on the wire.
pub fn own_headers(response: &mut Response, info: &FileInfo) -> Result<(), Refusal> {
    let kind = match info.kind {
        FileKind::File => "file",
        FileKind::Directory => "directory",
        FileKind::Symlink => "symlink",
        FileKind::Special => {
            return Err(Refusal::bad_request("it is a device, a named pipe or a socket; only regular files have content here"));
        }
    };
    let modified = info.modified.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string();
    let headers: [(&'static str, &str); 5] = [
        ("x-lxd-uid", &info.uid.to_string()),
        ("x-lxd-gid", &info.gid.to_string()),
        ("x-lxd-mode", &format!("{:04o}", info.mode)),
        ("x-lxd-modified", &modified),
        ("x-lxd-type", kind),
    ];
    for (name, value) in headers {
        envelope::set(response, HeaderName::from_static(name), value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(headers: &[(&'static str, &str)], expect: Result<Described, &str>) {
        let headers = headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect();
        assert_eq!(described(&headers).map_err(|error| error.to_string()), expect.map_err(str::to_owned));
    }

    #[test]
    fn headers_describe_what_is_made() {
        let new = NewFile { uid: Some(1000), gid: None, mode: Some(0o644) };
        let file = |append, new| Described { what: What::File { append }, new };
        check(&[], Ok(file(false, NewFile::default())));
        check(&[("x-lxd-uid", "1000"), ("x-lxd-gid", "-1"), ("x-lxd-mode", "0644")], Ok(file(false, new)));
        check(&[("x-lxd-uid", "1000"), ("x-lxd-mode", "420"), ("x-lxd-write", "append")], Ok(file(true, new)));
        check(&[("x-lxd-type", "directory")], Ok(Described { what: What::Directory, new: NewFile::default() }));
        check(&[("x-lxd-type", "fifo")], Err("invalid X-LXD-type \"fifo\": it must be file, directory or symlink"));
        check(&[("x-lxd-write", "both")], Err("invalid X-LXD-write \"both\": it must be overwrite or append"));
        check(&[("x-lxd-mode", "0999")], Err("invalid X-LXD-mode \"0999\": permissions are octal, such as 0644"));
        check(&[("x-lxd-uid", "root")], Err("invalid X-LXD-uid \"root\": it must be an id of the instance, a number from 0 on"));
        check(
            &[("x-lxd-gid", "4294967295")],
            Err("invalid X-LXD-gid \"4294967295\": it must be an id of the instance, a number from 0 on"),
        );
    }
}
