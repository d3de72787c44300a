//! Which control groups there are, and whether anything is in them.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{Dir, FileType};

use super::{Hierarchies, Hierarchy, read};

/// Lists the groups right below `path`, in whichever hierarchy they are. One that is not there has none.
///
/// # Errors
/// What reading a directory gives.
pub fn children(hierarchies: &Hierarchies, path: &str) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for hierarchy in hierarchies.all() {
        names.extend(below(hierarchy, path)?);
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// Says whether a process is in the group `path` or right below it, in any hierarchy.
///
/// # Errors
/// What reading a directory gives.
pub fn is_occupied(hierarchies: &Hierarchies, path: &str) -> io::Result<bool> {
    for hierarchy in hierarchies.all() {
        let mut groups = vec![path.to_owned()];
        groups.extend(below(hierarchy, path)?.into_iter().map(|name| format!("{path}/{name}")));
        for group in groups {
            match hierarchy.group(&group).and_then(|group| read(group.as_fd(), "cgroup.procs")) {
                Ok(processes) if processes.trim().is_empty() => {}
                Ok(_) => return Ok(true),
                // It went meanwhile.
                Err(_) => {}
            }
        }
    }
    Ok(false)
}

fn below(hierarchy: &Hierarchy, path: &str) -> io::Result<Vec<String>> {
    let directory = match hierarchy.group(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        directory => directory?,
    };
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let directory = rustix::fs::openat(&directory, ".", flags, rustix::fs::Mode::empty())?;
    let mut names = Vec::new();
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy();
        if entry.file_type() == FileType::Directory && name != "." && name != ".." {
            names.push(name.into_owned());
        }
    }
    Ok(names)
}
