//! The build context: the directory whose files a recipe may copy. No path and no link leads out of it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use coffer_sys::path::{Root, kind_of};
use rustix::fs::FileType;

use crate::digest::Digest;
use crate::pattern::Pattern;

/// The file that says what of the context is none of a build's business.
const IGNORE: &str = ".dockerignore";

/// The largest such file that is read, in bytes.
const IGNORE_LIMIT: u64 = 1 << 20;

/// A directory whose files may be copied.
#[derive(Debug)]
pub struct Context {
    path: PathBuf,
    root: Root,
    /// Patterns of what is left out, and of what is not after all.
    ignored: Vec<(bool, Pattern)>,
}

/// Something in the context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its path in the context.
    pub path: String,
    /// Where it belongs below the place that it is copied to; empty is that place itself.
    pub below: String,
    /// What it is.
    pub kind: FoundKind,
    /// Its permissions.
    pub mode: u32,
}

/// What something in the context is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, and where it leads.
    Link(String),
}

/// Why something of the context can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// The directory can't be used.
    #[error("using the build context {}", path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
    /// A path leads out.
    #[error("{path} is not in the build context: a path may hold no '..'")]
    Outside {
        /// The path.
        path: String,
    },
    /// Nothing is there.
    #[error("the build context {} has nothing that is called {path}", context.display())]
    Nothing {
        /// The path or pattern.
        path: String,
        /// The context.
        context: PathBuf,
    },
    /// A file can't be used.
    #[error("using {path} of the build context")]
    File {
        /// The path.
        path: String,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
    /// Something is no file.
    #[error("{path} of the build context is neither a file nor a directory nor a link")]
    Special {
        /// The path.
        path: String,
    },
    /// A name is no text.
    #[error("{path} of the build context holds a name that is no text")]
    NotText {
        /// The directory.
        path: String,
    },
}

impl Context {
    /// Opens a directory as a context.
    ///
    /// # Errors
    /// [`ContextError::Open`].
    pub fn open(path: &Path) -> Result<Self, ContextError> {
        let failed = |cause| ContextError::Open { path: path.to_owned(), cause };
        let root = Root::open(path).and_then(|root| root.strict()).map_err(failed)?;
        let ignored = match root.read(IGNORE, IGNORE_LIMIT) {
            Ok(bytes) => patterns(&String::from_utf8_lossy(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed(error)),
        };
        Ok(Self { path: path.to_owned(), root, ignored })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a file to read it.
    ///
    /// # Errors
    /// [`ContextError::Outside`] or [`ContextError::File`].
    pub fn open_file(&self, path: &str) -> Result<File, ContextError> {
        let path = inside(path)?;
        self.root.open_file(&path).map_err(|cause| ContextError::File { path, cause })
    }

    /// Reads a file that is text.
    ///
    /// # Errors
    /// Like [`Context::open_file`]; also for a file that is larger than `most` bytes or no text.
    pub fn read_text(&self, path: &str, most: u64) -> Result<String, ContextError> {
        let path = inside(path)?;
        let text = self
            .root
            .read(&path, most)
            .and_then(|bytes| String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no text")));
        text.map_err(|cause| ContextError::File { path, cause })
    }

    /// Finds what paths or patterns mean, with all that is below directories: a directory before what is in it, and everything in
    /// an order that depends on names alone. What several sources, or a directory, hold goes below the place of the copy.
    ///
    /// # Errors
    /// If a path leads out, nothing is found, or something is found that can't be copied.
    pub fn gather(&self, sources: &[String], into: bool) -> Result<Vec<Found>, ContextError> {
        let mut found = Vec::new();
        for source in sources {
            let path = inside(source)?;
            let tops = self.tops(&path)?;
            if tops.is_empty() {
                return Err(ContextError::Nothing { path: source.clone(), context: self.path.clone() });
            }
            for top in tops {
                let name = top.rsplit('/').next().unwrap_or_default().to_owned();
                let one = self.look(&top)?;
                let below = if one.kind == FoundKind::Directory || !into { String::new() } else { name };
                self.add(Found { below, ..one }, &mut found)?;
            }
        }
        Ok(found)
    }

    /// The hash of what was found: paths, kinds, permissions and content.
    ///
    /// # Errors
    /// [`ContextError::File`].
    pub fn digest(&self, found: &[Found]) -> Result<Digest, ContextError> {
        let mut lines = Vec::new();
        for one in found {
            let content = match &one.kind {
                FoundKind::Directory => "directory".to_owned(),
                FoundKind::Link(target) => format!("link {target}"),
                FoundKind::File => {
                    let mut file = self.open_file(&one.path)?;
                    let read = Digest::of_content(&mut [&mut file]);
                    read.map_err(|cause| ContextError::File { path: one.path.clone(), cause })?.to_string()
                }
            };
            lines.push(format!("{:o} {content} {}", one.mode, one.below));
        }
        Ok(Digest::of(&lines.iter().map(String::as_bytes).collect::<Vec<_>>()))
    }

    /// The paths that a path or pattern means by itself.
    fn tops(&self, path: &str) -> Result<Vec<String>, ContextError> {
        let pattern = Pattern::new(path);
        if !pattern.is_wild() {
            let there = path.is_empty() || self.root.metadata(path).is_ok();
            return Ok(if there && !self.is_ignored(path) { vec![path.to_owned()] } else { Vec::new() });
        }
        let mut tops = Vec::new();
        let mut waiting = vec![pattern.literal()];
        while let Some(directory) = waiting.pop() {
            for (name, is_directory) in self.names(&directory)? {
                let path = join(&directory, &name);
                if pattern.matches(&path) && !self.is_ignored(&path) {
                    tops.push(path);
                } else if is_directory && pattern.reaches_below(&path) {
                    waiting.push(path);
                }
            }
        }
        tops.sort();
        Ok(tops)
    }

    fn add(&self, one: Found, found: &mut Vec<Found>) -> Result<(), ContextError> {
        let (path, below, is_directory) = (one.path.clone(), one.below.clone(), one.kind == FoundKind::Directory);
        found.push(one);
        if !is_directory {
            return Ok(());
        }
        for (name, _) in self.names(&path)? {
            let inner = join(&path, &name);
            if !self.is_ignored(&inner) {
                let one = self.look(&inner)?;
                self.add(Found { below: join(&below, &name), ..one }, found)?;
            }
        }
        Ok(())
    }

    fn look(&self, path: &str) -> Result<Found, ContextError> {
        let failed = |cause| ContextError::File { path: path.to_owned(), cause };
        let here = if path.is_empty() { "." } else { path };
        let stat = self.root.metadata(here).map_err(failed)?;
        let kind = match kind_of(&stat) {
            FileType::RegularFile => FoundKind::File,
            FileType::Directory => FoundKind::Directory,
            FileType::Symlink => {
                let target = self.root.read_link(here).map_err(failed)?.into_os_string().into_string();
                FoundKind::Link(target.map_err(|_| ContextError::NotText { path: path.to_owned() })?)
            }
            _ => return Err(ContextError::Special { path: path.to_owned() }),
        };
        Ok(Found { path: path.to_owned(), below: String::new(), kind, mode: stat.st_mode & 0o777 })
    }

    /// The names in a directory, sorted, and whether each is a directory. None if there is no such directory.
    fn names(&self, directory: &str) -> Result<Vec<(String, bool)>, ContextError> {
        let here = if directory.is_empty() { "." } else { directory };
        let entries = match self.root.entries(here) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(Vec::new()),
            entries => entries.map_err(|cause| ContextError::File { path: directory.to_owned(), cause })?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.name.into_string().map_err(|_| ContextError::NotText { path: directory.to_owned() })?;
            names.push((name, entry.kind == FileType::Directory));
        }
        names.sort();
        Ok(names)
    }

    fn is_ignored(&self, path: &str) -> bool {
        let mut ignored = false;
        let above = |pattern: &Pattern| {
            let mut end = path.len();
            loop {
                if pattern.matches(&path[..end]) {
                    return true;
                }
                match path[..end].rfind('/') {
                    Some(at) => end = at,
                    None => return false,
                }
            }
        };
        for (out, pattern) in &self.ignored {
            if !path.is_empty() && above(pattern) {
                ignored = *out;
            }
        }
        ignored
    }
}

fn patterns(text: &str) -> Vec<(bool, Pattern)> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| match line.strip_prefix('!') {
            Some(line) => (false, Pattern::new(line)),
            None => (true, Pattern::new(line)),
        })
        .collect()
}

/// The path in the context, without `.` and slashes at its ends.
fn inside(path: &str) -> Result<String, ContextError> {
    if path.contains('\0') || path.split('/').any(|part| part == "..") {
        return Err(ContextError::Outside { path: path.to_owned() });
    }
    Ok(path.split('/').filter(|part| !part.is_empty() && *part != ".").collect::<Vec<_>>().join("/"))
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn sample() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("site/deep")).unwrap();
        for name in ["site/b.html", "site/a.html", "site/deep/c", "key.pem", "notes.txt"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        std::os::unix::fs::symlink("/etc/shadow", dir.path().join("site/link")).unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("etc")).unwrap();
        dir
    }

    #[track_caller]
    fn check(sources: &[&str], into: bool, expect: &[&str]) {
        let dir = sample();
        let sources: Vec<String> = sources.iter().map(|source| (*source).to_owned()).collect();
        let context = Context::open(dir.path()).unwrap();
        let got = match context.gather(&sources, into) {
            Ok(found) => found.iter().map(|one| format!("{} -> {}", one.path, one.below)).collect(),
            Err(error) => vec![coffer_base::chain(&error).replace(&dir.path().display().to_string(), "CONTEXT")],
        };
        assert_eq!(got, expect);
    }

    #[test]
    fn directories_give_what_is_in_them_and_files_themselves() {
        check(
            &["site"],
            true,
            &[
                "site -> ",
                "site/a.html -> a.html",
                "site/b.html -> b.html",
                "site/deep -> deep",
                "site/deep/c -> deep/c",
                "site/link -> link",
            ],
        );
        check(&["notes.txt"], false, &["notes.txt -> "]);
        check(&["*.txt", "site/*.html"], true, &["notes.txt -> notes.txt", "site/a.html -> a.html", "site/b.html -> b.html"]);
    }

    #[test]
    fn nothing_leads_out() {
        check(&["../x"], false, &["../x is not in the build context: a path may hold no '..'"]);
        check(&["etc/passwd"], false, &["the build context CONTEXT has nothing that is called etc/passwd"]);
        check(&["/etc/passwd"], false, &["the build context CONTEXT has nothing that is called /etc/passwd"]);
        check(&["*.none"], false, &["the build context CONTEXT has nothing that is called *.none"]);
        let dir = sample();
        assert!(Context::open(dir.path()).unwrap().open_file("etc/passwd").is_err());
        assert!(Context::open(dir.path()).unwrap().open_file("site/link").is_err());
    }

    #[test]
    fn what_is_ignored_is_not_there() {
        let dir = sample();
        fs::write(dir.path().join(IGNORE), "# secrets\n*.pem\nsite\n!site/a.html\n").unwrap();
        let context = Context::open(dir.path()).unwrap();
        let sources = [".".to_owned()];
        let paths: Vec<String> = context.gather(&sources, true).unwrap().into_iter().map(|one| one.path).collect();
        assert_eq!(paths, ["", ".dockerignore", "etc", "notes.txt"]);
    }

    #[test]
    fn the_digest_is_of_content_and_not_of_times() {
        let dir = sample();
        let context = Context::open(dir.path()).unwrap();
        let digest = || context.digest(&context.gather(&["site".to_owned()], true).unwrap()).unwrap();
        let before = digest();
        fs::write(dir.path().join("site/a.html"), "site/a.html").unwrap();
        assert_eq!(digest(), before);
        fs::write(dir.path().join("site/a.html"), "other").unwrap();
        assert_ne!(digest(), before);
    }
}
