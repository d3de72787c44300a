//! Lists that were fetched before: they are asked for again only if they changed, and may not go back in time.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A directory with one file for each address.
#[derive(Debug, Clone)]
pub struct Cache(PathBuf);

/// A list as it was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The server's tag of it; empty if it gave none.
    pub etag: String,
    /// When the server says that it changed; empty if it did not say.
    pub last_modified: String,
    /// The list.
    pub body: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    url: String,
    etag: String,
    last_modified: String,
}

impl Cache {
    /// Keeps lists in a directory, which is made when it is needed.
    #[must_use]
    pub fn at(directory: PathBuf) -> Self {
        Self(directory)
    }

    /// Where it is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.0
    }

    /// Reads what is kept of an address. What can't be read is as good as nothing.
    #[must_use]
    pub fn get(&self, url: &str) -> Option<Kept> {
        let bytes = fs::read(self.file(url)).ok()?;
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let head: Head = serde_json::from_slice(&bytes[..end]).ok()?;
        (head.url == url).then(|| Kept { etag: head.etag, last_modified: head.last_modified, body: bytes[end + 1..].to_vec() })
    }

    /// Keeps a list in the place of an older one.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn put(&self, url: &str, kept: &Kept) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        let head = Head { url: url.to_owned(), etag: kept.etag.clone(), last_modified: kept.last_modified.clone() };
        let mut text = serde_json::to_vec(&head)?;
        text.push(b'\n');
        let (file, new) = (self.file(url), self.file(url).with_extension(format!("{}.new", std::process::id())));
        let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        out.write_all(&text).and_then(|()| out.write_all(&kept.body)).and_then(|()| fs::rename(&new, file))
    }

    /// The name is made of the address's hash: an address can't choose it.
    fn file(&self, url: &str) -> PathBuf {
        let name: String = Sha256::digest(url).iter().map(|byte| format!("{byte:02x}")).collect();
        self.0.join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_got() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().join("a/b"));
        let url = "https://images.example/../../x";
        assert_eq!(cache.get(url), None);
        for body in ["{}\n{}", "second"] {
            let kept = Kept { etag: "\"1\"".into(), last_modified: String::new(), body: body.into() };
            cache.put(url, &kept).unwrap();
            assert_eq!(cache.get(url), Some(kept));
        }
        assert_eq!(cache.get("https://other.example"), None);
        assert_eq!(fs::read_dir(cache.directory()).unwrap().count(), 1);
    }
}
