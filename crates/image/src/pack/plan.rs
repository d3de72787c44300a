//! What goes into an archive, in the form in which the worker is told: too long for a packet, so it stands in a file.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use coffer_model::IdRange;
use serde::{Deserialize, Serialize};

/// The largest plan, in bytes: an index of a backup, and names.
const LIMIT: usize = 64 << 20;

/// One member of an archive to be written, with all below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Member {
    /// A file with this text.
    Text {
        /// Its name in the archive.
        name: String,
        /// Its content.
        text: String,
    },
    /// An empty directory that belongs to root.
    Directory {
        /// Its name in the archive.
        name: String,
    },
    /// What stands in one of the directories, with all below it.
    Tree {
        /// Its name in the archive.
        name: String,
        /// Which of the directories, counted from 0.
        directory: usize,
        /// Its name there: `rootfs`, `templates`.
        entry: String,
        /// The host's ids that its files have on disk instead of those from 0 on; none where they are the instance's own.
        #[serde(default, with = "ids")]
        ids: Option<IdRange>,
        /// Whether it is no error if it is not there.
        optional: bool,
    },
    /// A file that is open, readable for root alone.
    Open {
        /// Its name in the archive.
        name: String,
        /// Which of the open files, counted from 0.
        file: usize,
    },
}

/// Puts a plan into a file without a name.
pub(crate) fn write<T: Serialize>(plan: &T) -> io::Result<OwnedFd> {
    let file = coffer_sys::process::memory_file("plan")?;
    let text = serde_json::to_vec(plan)?;
    let mut rest = text.as_slice();
    while !rest.is_empty() {
        rest = &rest[rustix::io::write(&file, rest)?..];
    }
    Ok(file)
}

/// Reads a plan.
pub(crate) fn read<T: for<'de> Deserialize<'de>>(file: BorrowedFd<'_>) -> io::Result<T> {
    let mut text = Vec::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        match rustix::io::pread(file, &mut piece[..], text.len() as u64)? {
            0 => return Ok(serde_json::from_slice(&text)?),
            count if text.len() + count <= LIMIT => text.extend_from_slice(&piece[..count]),
            _ => return Err(io::ErrorKind::FileTooLarge.into()),
        }
    }
}

/// A range as its start and size.
mod ids {
    use coffer_model::IdRange;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(ids: &Option<IdRange>, to: S) -> Result<S::Ok, S::Error> {
        ids.map(|range| (range.start, range.size)).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<IdRange>, D::Error> {
        let pair = Option::<(u32, u32)>::deserialize(from)?;
        Ok(pair.map(|(start, size)| IdRange { start, size }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_plan_survives_its_file() {
        let tree = |ids| Member::Tree { name: "rootfs".into(), directory: 3, entry: "rootfs".into(), ids, optional: false };
        let text = Member::Text { name: "metadata.yaml".into(), text: "x".repeat(200_000) };
        let plan = vec![text, tree(None), tree(Some(IdRange { start: 100_000, size: 65536 }))];
        let file = write(&plan).unwrap();
        assert_eq!(read::<Vec<Member>>(file.as_fd()).unwrap(), plan);
    }
}
