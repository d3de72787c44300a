//! The beginning of a stream of `zfs send`, which says what kind of stream it is: only the plainest is ever handed on to ZFS if
//! somebody else wrote it.
//!
//! A stream can hold many datasets, and properties for them; then it begins with a record that announces it as compound, and ZFS'
//! program does what it says: it makes, renames and destroys. A plain one makes one snapshot of one dataset, which we name.
//!
//! Source: `OpenZFS`, include/sys/zfs_ioctl.h: `dmu_replay_record_t`.

use crate::replica::StateId;

/// How long the first record is, in bytes.
pub(super) const LENGTH: usize = 312;

/// What it begins with: the number of its kind, and the number of bytes that follow it, which only tell of properties, of what is resumed
/// and of what is left out.
const BEGIN: [u8; 8] = [0; 8];

/// What every stream has next, in this host's byte order.
const MAGIC: u64 = 0x0002_f5ba_cbac;

/// The two bits that say how many datasets it holds, if it is one.
const ONE_DATASET: u64 = 1;

/// What a plain stream of files may make use of: spill blocks of attributes, embedded data, LZ4, large blocks, blocks that are
/// compressed, large dnodes, Zstandard. Not among them: encryption, what was begun elsewhere, what leaves data out.
const FEATURES: u64 = 1 << 2 | 1 << 16 | 1 << 17 | 1 << 19 | 1 << 22 | 1 << 23 | 1 << 25;

/// The kind of dataset that holds files.
const FILES: u32 = 2;

/// Flags: it is a clone, it frees by records, it knows spill blocks. Not among them: names without regard to case.
const FLAGS: u32 = 1 | 1 << 2 | 1 << 3;

/// What a stream says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stream {
    /// The state that it changes.
    pub(super) base: Option<StateId>,
}

/// Reads the first record.
///
/// # Errors
/// A sentence for the user, if it is not the beginning of a plain stream of files.
pub(super) fn look(record: &[u8; LENGTH]) -> Result<Stream, &'static str> {
    let long = |at: usize| u64::from_ne_bytes(std::array::from_fn(|byte| record[at + byte]));
    let short = |at: usize| u32::from_ne_bytes(std::array::from_fn(|byte| record[at + byte]));
    if record[..4] != BEGIN[..4] || long(8) != MAGIC {
        return Err("it is no stream of zfs send from a machine like this one");
    }
    let version = long(16);
    if version & 3 != ONE_DATASET || record[4..8] != BEGIN[4..] {
        return Err("it holds more than one dataset, or properties: export it without these");
    }
    if (version >> 2) & !FEATURES != 0 {
        return Err("it is encrypted, resumed or redacted, or of a newer kind");
    }
    if short(32) != FILES || short(36) & !FLAGS != 0 {
        return Err("it holds no plain file system");
    }
    let base = long(48);
    Ok(Stream { base: (base != 0).then_some(StateId(base)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `zfs send -i` of ZFS 2.1 begins with.
    fn sample() -> [u8; LENGTH] {
        let mut record = [0; LENGTH];
        let mut put = |at: usize, bytes: &[u8]| record[at..at + bytes.len()].copy_from_slice(bytes);
        put(8, &MAGIC.to_ne_bytes());
        put(16, &(1_u64 | 1 << 2 << 2).to_ne_bytes());
        put(24, &1_700_000_000_u64.to_ne_bytes());
        put(32, &2_u32.to_ne_bytes());
        put(36, &4_u32.to_ne_bytes());
        put(40, &22_u64.to_ne_bytes());
        put(48, &11_u64.to_ne_bytes());
        put(56, b"tank/containers/c1@copy-2");
        record
    }

    #[track_caller]
    fn check(at: usize, bytes: &[u8], expect: Result<Option<u64>, &str>) {
        let mut record = sample();
        record[at..at + bytes.len()].copy_from_slice(bytes);
        let found = look(&record).map(|stream| stream.base.map(|base| base.0));
        match expect {
            Ok(base) => assert_eq!(found, Ok(base)),
            Err(text) => assert!(found.is_err_and(|said| said.contains(text)), "{found:?}"),
        }
    }

    #[test]
    fn plain_streams_are_read() {
        check(0, &[], Ok(Some(11)));
        check(48, &0_u64.to_ne_bytes(), Ok(None));
        // Compressed blocks.
        check(16, &(1_u64 | (1 << 2 | 1 << 17 | 1 << 22) << 2).to_ne_bytes(), Ok(Some(11)));
    }

    #[test]
    fn what_could_do_more_than_that_is_refused() {
        check(8, &MAGIC.swap_bytes().to_ne_bytes(), Err("no stream of zfs send"));
        check(0, &[1], Err("no stream of zfs send"));
        // Compound, as `zfs send -R` and `-p` are.
        check(16, &2_u64.to_ne_bytes(), Err("more than one dataset, or properties"));
        check(4, &100_u32.to_ne_bytes(), Err("more than one dataset, or properties"));
        for feature in [0, 1, 20, 21, 24, 27] {
            check(16, &(1_u64 | 1 << feature << 2).to_ne_bytes(), Err("encrypted, resumed or redacted"));
        }
        // A block device; names without regard to case.
        check(32, &3_u32.to_ne_bytes(), Err("no plain file system"));
        check(36, &2_u32.to_ne_bytes(), Err("no plain file system"));
    }
}
