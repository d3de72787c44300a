//! Which options a file system may be mounted with: what harms nobody else, and nothing that names a device.
//!
//! Left out are, among others, journals and logs on other devices, `errors=panic`, which is the host's end, and whatever takes
//! ids, labels or keys.

use std::io;

use coffer_runtime_spec::{Filesystem, IdMap};
use coffer_sys::mount::FsOption;
use rustix::io::Errno;

use crate::intercept::caller::Rights;

/// One option with its value, if it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MountOption(String, Option<String>);

impl MountOption {
    pub(super) fn as_option(&self) -> FsOption<'_> {
        match &self.1 {
            None => FsOption::Flag(&self.0),
            Some(value) => FsOption::Text(&self.0, value),
        }
    }
}

/// Reads options, separated by commas, and adds those that are not the caller's to choose.
pub(super) fn parse(filesystem: Filesystem, text: &[u8], idmap: &IdMap, rights: &Rights) -> io::Result<Vec<MountOption>> {
    let text = std::str::from_utf8(text).map_err(|_| Errno::INVAL)?;
    let mut options = Vec::new();
    let mut owner = (rights.uid, rights.gid);
    for option in text.split(',').filter(|option| !option.is_empty()) {
        let (key, value) = option.split_once('=').map_or((option, None), |(key, value)| (key, Some(value)));
        match (filesystem, key, value) {
            (Filesystem::Hugetlbfs, "uid", Some(uid)) => owner.0 = id(uid).and_then(|uid| idmap.host_uid(uid)).ok_or(Errno::INVAL)?,
            (Filesystem::Hugetlbfs, "gid", Some(gid)) => owner.1 = id(gid).and_then(|gid| idmap.host_gid(gid)).ok_or(Errno::INVAL)?,
            (_, key, None) if flags(filesystem).contains(&key) => options.push(plain(key)),
            (_, key, Some(value)) if fits(filesystem, key, value) => options.push(with(key, value)),
            _ => return Err(Errno::INVAL.into()),
        }
    }
    match filesystem {
        // The device may say that the host is to stop at an error.
        Filesystem::Ext4 if !options.iter().any(|option| option.0 == "errors") => {
            options.push(with("errors", "remount-ro"));
        }
        // Else the host could not mount a file system of the same identity any more.
        Filesystem::Xfs => options.push(plain("nouuid")),
        Filesystem::Hugetlbfs => options.extend([with("uid", &owner.0.to_string()), with("gid", &owner.1.to_string())]),
        Filesystem::Ext4 | Filesystem::Squashfs => {}
    }
    Ok(options)
}

fn plain(key: &str) -> MountOption {
    MountOption(key.to_owned(), None)
}

fn with(key: &str, value: &str) -> MountOption {
    MountOption(key.to_owned(), Some(value.to_owned()))
}

/// Options without a value.
fn flags(filesystem: Filesystem) -> &'static [&'static str] {
    match filesystem {
        Filesystem::Ext4 => &[
            "acl",
            "auto_da_alloc",
            "barrier",
            "bsddf",
            "delalloc",
            "discard",
            "grpid",
            "init_itable",
            "minixdf",
            "noacl",
            "noauto_da_alloc",
            "nobarrier",
            "nodelalloc",
            "nodiscard",
            "nogrpid",
            "noinit_itable",
            "noload",
            "norecovery",
            "nouser_xattr",
            "user_xattr",
        ],
        Filesystem::Xfs => &[
            "discard",
            "filestreams",
            "grpid",
            "inode32",
            "inode64",
            "largeio",
            "nodiscard",
            "nogrpid",
            "nolargeio",
            "norecovery",
            "nouuid",
            "swalloc",
            "wsync",
        ],
        Filesystem::Squashfs | Filesystem::Hugetlbfs => &[],
    }
}

/// Says whether an option may have this value.
fn fits(filesystem: Filesystem, key: &str, value: &str) -> bool {
    let number = |low: u32, high: u32| value.parse::<u32>().is_ok_and(|number| (low..=high).contains(&number));
    let size = || {
        let digits = value.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G', '%']).unwrap_or(value);
        !digits.is_empty() && digits.len() < 16 && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    match (filesystem, key) {
        (Filesystem::Ext4, "errors") => matches!(value, "continue" | "remount-ro"),
        (Filesystem::Ext4, "commit") => number(1, 300),
        (Filesystem::Ext4, "data") => matches!(value, "ordered" | "writeback" | "journal"),
        (Filesystem::Xfs, "logbufs") => number(2, 8),
        (Filesystem::Squashfs, "errors") => value == "continue",
        // Not `min_size`, which takes pages away from the host without anybody using them.
        (Filesystem::Hugetlbfs, "size" | "pagesize" | "nr_inodes") => size(),
        (Filesystem::Hugetlbfs, "mode") => u32::from_str_radix(value, 8).is_ok_and(|mode| mode <= 0o1777),
        _ => false,
    }
}

fn id(text: &str) -> Option<u32> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_runtime_spec::IdRange;

    fn parsed(filesystem: Filesystem, text: &str) -> Result<String, Option<i32>> {
        let range = vec![IdRange { inside: 0, host: 100_000, count: 65_536 }];
        let idmap = IdMap::Mapped { uids: range.clone(), gids: range };
        let rights = Rights { uid: 100_000, gid: 100_007, ..Rights::default() };
        let words = |options: Vec<MountOption>| {
            let words = options.into_iter().map(|MountOption(key, value)| value.map_or(key.clone(), |value| format!("{key}={value}")));
            words.collect::<Vec<_>>().join(",")
        };
        parse(filesystem, text.as_bytes(), &idmap, &rights).map(words).map_err(|error| error.raw_os_error())
    }

    #[test]
    fn what_is_not_the_callers_to_choose_is_added() {
        assert_eq!(parsed(Filesystem::Ext4, "").as_deref(), Ok("errors=remount-ro"));
        assert_eq!(parsed(Filesystem::Ext4, "data=journal,,noacl,errors=continue").as_deref(), Ok("data=journal,noacl,errors=continue"));
        assert_eq!(parsed(Filesystem::Xfs, "inode64").as_deref(), Ok("inode64,nouuid"));
        assert_eq!(parsed(Filesystem::Squashfs, "").as_deref(), Ok(""));
        assert_eq!(parsed(Filesystem::Hugetlbfs, "pagesize=2M,mode=700").as_deref(), Ok("pagesize=2M,mode=700,uid=100000,gid=100007"));
        assert_eq!(parsed(Filesystem::Hugetlbfs, "gid=9,uid=5").as_deref(), Ok("uid=100005,gid=100009"));
    }

    #[test]
    fn everything_else_is_refused() {
        let invalid = Err(Some(Errno::INVAL.raw_os_error()));
        for option in [
            "errors=panic",
            "journal_dev=2048",
            "journal_path=/dev/sda",
            "sb=8193",
            "dax",
            "resuid=0",
            "source=/dev/sda",
            "context=system_u:object_r:x_t:s0",
            "test_dummy_encryption",
            "usrjquota=/x",
            "commit=0",
            "acl=1",
            "data",
            "mand",
        ] {
            assert_eq!(parsed(Filesystem::Ext4, option), invalid, "{option}");
        }
        for (filesystem, option) in [
            (Filesystem::Xfs, "logdev=/dev/sda"),
            (Filesystem::Xfs, "rtdev=/dev/sda"),
            (Filesystem::Squashfs, "errors=panic"),
            (Filesystem::Hugetlbfs, "min_size=1G"),
            (Filesystem::Hugetlbfs, "uid=70000"),
            (Filesystem::Hugetlbfs, "mode=4755"),
        ] {
            assert_eq!(parsed(filesystem, option), invalid, "{option}");
        }
        let nobody = (IdMap::Privileged, Rights::default());
        assert!(parse(Filesystem::Ext4, b"\xff", &nobody.0, &nobody.1).is_err());
    }
}
