//! The flags of a call.

use coffer_sys::mount::{AccessTimes, Restrictions};

/// What a new mount is to be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flags {
    /// What it forbids.
    pub(super) restrict: Restrictions,
    /// When it notes that something was read.
    pub(super) access_times: AccessTimes,
    /// It never notes it of directories.
    pub(super) no_directory_times: bool,
    /// Its symbolic links are not followed.
    pub(super) no_symlinks: bool,
    /// Everything is written at once.
    pub(super) synchronous: bool,
    /// Directories are written at once.
    pub(super) synchronous_directories: bool,
    /// Times are written when something else is.
    pub(super) lazy_times: bool,
}

/// Source: linux/mount.h, `MS_…`.
mod bit {
    pub(super) const READ_ONLY: u32 = 1;
    pub(super) const NO_SET_ID: u32 = 2;
    pub(super) const NO_DEVICES: u32 = 4;
    pub(super) const NO_EXECUTING: u32 = 8;
    pub(super) const SYNCHRONOUS: u32 = 1 << 4;
    pub(super) const CHANGE: u32 = 1 << 5;
    pub(super) const SYNCHRONOUS_DIRECTORIES: u32 = 1 << 7;
    pub(super) const NO_SYMLINKS: u32 = 1 << 8;
    pub(super) const NO_TIMES: u32 = 1 << 10;
    pub(super) const NO_DIRECTORY_TIMES: u32 = 1 << 11;
    pub(super) const BIND: u32 = 1 << 12;
    pub(super) const MOVE: u32 = 1 << 13;
    /// Unbindable, private, slave, shared.
    pub(super) const PROPAGATION: u32 = 0b1111 << 17;
    pub(super) const STRICT_TIMES: u32 = 1 << 24;
    pub(super) const LAZY_TIMES: u32 = 1 << 25;
    pub(super) const NOBODYS: u32 = 1 << 31;
    /// What old programs say in the upper half, where it means nothing.
    pub(super) const MAGIC: u32 = 0xc0ed << 16;
}

impl Flags {
    /// The flags of a call that mounts something new; `None` for one that does anything else, or nothing.
    pub(super) fn of_new_mount(argument: u64) -> Option<Self> {
        let mut flags = argument as u32;
        if flags >> 16 == bit::MAGIC >> 16 {
            flags &= 0xffff;
        }
        let has = |bits: u32| flags & bits != 0;
        if has(bit::CHANGE | bit::BIND | bit::MOVE | bit::PROPAGATION | bit::NOBODYS) {
            return None;
        }
        Some(Self {
            restrict: Restrictions {
                readonly: has(bit::READ_ONLY),
                nosuid: has(bit::NO_SET_ID),
                nodev: has(bit::NO_DEVICES),
                noexec: has(bit::NO_EXECUTING),
            },
            access_times: match (has(bit::STRICT_TIMES), has(bit::NO_TIMES)) {
                (true, _) => AccessTimes::Always,
                (false, true) => AccessTimes::Never,
                (false, false) => AccessTimes::Relative,
            },
            no_directory_times: has(bit::NO_DIRECTORY_TIMES),
            no_symlinks: has(bit::NO_SYMLINKS),
            synchronous: has(bit::SYNCHRONOUS),
            synchronous_directories: has(bit::SYNCHRONOUS_DIRECTORIES),
            lazy_times: has(bit::LAZY_TIMES),
        })
    }

    /// The words for them in a list of options; none for what is usual.
    pub(super) fn words(&self) -> Vec<&'static str> {
        let all = [
            (self.restrict.readonly, "ro"),
            (self.restrict.nosuid, "nosuid"),
            (self.restrict.nodev, "nodev"),
            (self.restrict.noexec, "noexec"),
            (self.synchronous, "sync"),
            (self.synchronous_directories, "dirsync"),
            (self.no_symlinks, "nosymfollow"),
            (self.access_times == AccessTimes::Never, "noatime"),
            (self.access_times == AccessTimes::Always, "strictatime"),
            (self.no_directory_times, "nodiratime"),
            (self.lazy_times, "lazytime"),
        ];
        all.into_iter().filter_map(|(wanted, word)| wanted.then_some(word)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_new_mounts_are_ours() {
        for other in [0x20, 0x1000, 0x5000, 0x2000, 1 << 17, 1 << 18, 1 << 19, 1 << 20, 1 << 31] {
            assert_eq!(Flags::of_new_mount(other), None, "{other:#x}");
        }
        let plain = Flags::of_new_mount(0).unwrap();
        assert_eq!((plain.restrict, plain.access_times), (Restrictions::NONE, AccessTimes::Relative));
        assert_eq!(Flags::of_new_mount(0xffff_ffff_0000_0000), Some(plain));
        assert_eq!(Flags::of_new_mount(0xc0ed_8000), Some(plain), "what old programs say means nothing");
        let strict = Flags::of_new_mount(1 | 2 | 8 | 1 << 24 | 1 << 11 | 1 << 8).unwrap();
        let restrict = Restrictions { readonly: true, nosuid: true, nodev: false, noexec: true };
        assert_eq!((strict.restrict, strict.access_times, strict.no_directory_times), (restrict, AccessTimes::Always, true));
        assert!(strict.no_symlinks && !strict.synchronous && !strict.lazy_times);
        assert_eq!(Flags::of_new_mount(1 << 10).unwrap().access_times, AccessTimes::Never);
    }
}
