//! Headers of members: ustar where that says it all, PAX records for the rest.

use tar::{EntryType, Header as Block};

/// Bytes of a block.
pub(super) const BLOCK: usize = 512;

/// The largest number in a field of eight bytes, and in one of twelve.
const SHORT: u64 = 0o7_777_777;
const LONG: u64 = 0o77_777_777_777;

/// Bytes of a name in a header.
const NAME: usize = 100;

/// A member's header, without its content.
pub(super) struct Header<'a> {
    /// Its whole name, directories with a slash at the end.
    pub(super) name: &'a [u8],
    pub(super) kind: Kind<'a>,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Seconds since 1970 and nanoseconds after them.
    pub(super) mtime: (i64, u32),
    pub(super) attributes: &'a [(Vec<u8>, Vec<u8>)],
}

/// What a member is.
pub(super) enum Kind<'a> {
    Directory,
    /// So many bytes follow.
    File(u64),
    /// So many bytes follow, the map of its holes first; with holes it has the second number of bytes.
    Sparse(u64, u64),
    Symlink(&'a [u8]),
    /// Another name of an earlier member.
    Hardlink(&'a [u8]),
    Fifo,
    Character(u32, u32),
    Block(u32, u32),
}

impl Header<'_> {
    /// Appends the header's blocks, perhaps after those of an extended one.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut records = Vec::new();
        let (kind, size, link) = match self.kind {
            Kind::Directory => (EntryType::Directory, 0, &[][..]),
            Kind::File(size) | Kind::Sparse(size, _) => (EntryType::Regular, size, &[][..]),
            Kind::Symlink(text) => (EntryType::Symlink, 0, text),
            Kind::Hardlink(name) => (EntryType::Link, 0, name),
            Kind::Fifo => (EntryType::Fifo, 0, &[][..]),
            Kind::Character(..) => (EntryType::Char, 0, &[][..]),
            Kind::Block(..) => (EntryType::Block, 0, &[][..]),
        };
        let mut block = Block::new_ustar();
        block.set_entry_type(kind);
        block.set_mode(self.mode & 0o7777);
        self.name_into(&mut block, &mut records);
        if link.len() > NAME {
            record(&mut records, b"linkpath", link);
        }
        block.as_old_mut().linkname[..link.len().min(NAME)].copy_from_slice(&link[..link.len().min(NAME)]);
        let mut number = |key: &[u8], value: u64, most: u64| {
            if value <= most {
                return value;
            }
            record(&mut records, key, value.to_string().as_bytes());
            0
        };
        block.set_uid(number(b"uid", self.uid.into(), SHORT));
        block.set_gid(number(b"gid", self.gid.into(), SHORT));
        block.set_size(number(b"size", size, LONG));
        block.set_mtime(self.time(&mut records));
        if let Kind::Character(major, minor) | Kind::Block(major, minor) = self.kind {
            // Both numbers fit into their fields on Linux: 12 and 20 bits.
            let _ = block.set_device_major(major).and_then(|()| block.set_device_minor(minor));
        }
        for (name, value) in self.attributes {
            record(&mut records, name, value);
        }
        block.set_cksum();
        if !records.is_empty() {
            extended(&records, self.name, out);
        }
        out.extend_from_slice(block.as_bytes());
    }

    fn name_into(&self, block: &mut Block, records: &mut Vec<u8>) {
        let short = match self.kind {
            // Readers that know nothing of holes write the file under this name, map and all.
            Kind::Sparse(_, size) => {
                record(records, b"GNU.sparse.major", b"1");
                record(records, b"GNU.sparse.minor", b"0");
                record(records, b"GNU.sparse.name", self.name);
                record(records, b"GNU.sparse.realsize", size.to_string().as_bytes());
                aside(b"GNUSparseFile.0/", self.name)
            }
            _ => {
                if self.name.len() > NAME {
                    record(records, b"path", self.name);
                }
                self.name[..self.name.len().min(NAME)].to_vec()
            }
        };
        block.as_old_mut().name[..short.len()].copy_from_slice(&short);
    }

    /// The seconds for the header; what it cannot say becomes a record.
    fn time(&self, records: &mut Vec<u8>) -> u64 {
        let (seconds, nanoseconds) = self.mtime;
        let plain = u64::try_from(seconds).ok().filter(|seconds| *seconds <= LONG);
        if nanoseconds > 0 || plain.is_none() {
            record(records, b"mtime", time_text(seconds, nanoseconds).as_bytes());
        }
        plain.unwrap_or(0)
    }
}

/// A time as PAX has it: before 1970 the fraction counts downwards.
fn time_text(seconds: i64, nanoseconds: u32) -> String {
    let (sign, seconds, nanoseconds) = match (seconds < 0, nanoseconds) {
        (true, 0) => ("-", seconds.unsigned_abs(), 0),
        (true, some) => ("-", seconds.unsigned_abs() - 1, 1_000_000_000 - some),
        (false, some) => ("", seconds.unsigned_abs(), some),
    };
    let text = if nanoseconds == 0 { format!("{sign}{seconds}") } else { format!("{sign}{seconds}.{nanoseconds:09}") };
    if text.contains('.') { text.trim_end_matches('0').to_owned() } else { text }
}

/// Appends an extended header with these records.
fn extended(records: &[u8], of: &[u8], out: &mut Vec<u8>) {
    let mut block = Block::new_ustar();
    block.set_entry_type(EntryType::XHeader);
    block.set_mode(0o644);
    block.set_size(records.len() as u64);
    let name = aside(b"PaxHeaders.0/", of);
    block.as_old_mut().name[..name.len()].copy_from_slice(&name);
    block.set_cksum();
    out.extend_from_slice(block.as_bytes());
    out.extend_from_slice(records);
    out.resize(out.len().next_multiple_of(BLOCK), 0);
}

/// A name for what only old readers see.
fn aside(prefix: &[u8], name: &[u8]) -> Vec<u8> {
    let name = name.strip_suffix(b"/").unwrap_or(name);
    let last = name.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    [prefix, &last[..last.len().min(NAME - prefix.len())]].concat()
}

/// Appends one record, `LENGTH KEY=VALUE\n`; the length counts itself.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let body = key.len() + value.len() + 3;
    let mut length = body + 1;
    while length.to_string().len() + body != length {
        length = length.to_string().len() + body;
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_and_after_1970() {
        let check = |time: (i64, u32), expect: &str| assert_eq!(time_text(time.0, time.1), expect);
        check((7, 0), "7");
        check((7, 120_000_000), "7.12");
        check((10, 0), "10");
        check((-2, 750_000_000), "-1.25");
        check((-3, 0), "-3");
    }

    #[test]
    fn a_records_length_counts_itself() {
        for length in 0..300 {
            let mut records = Vec::new();
            record(&mut records, b"user.note", &vec![b'x'; length]);
            let text = String::from_utf8(records.clone()).unwrap();
            assert_eq!(text.split_once(' ').unwrap().0.parse::<usize>().unwrap(), records.len());
        }
    }

    #[test]
    fn short_members_take_one_block_and_others_are_read_back() {
        let header = |name: &'static [u8], uid, kind| Header { name, kind, mode: 0o644, uid, gid: 0, mtime: (1, 0), attributes: &[] };
        let mut out = Vec::new();
        header(b"rootfs/etc/hosts", 0, Kind::File(0)).write(&mut out);
        assert_eq!(out.len(), BLOCK);
        let long: &'static [u8] = &[b'n'; 300];
        header(long, 3_000_000, Kind::Symlink(long)).write(&mut out);
        out.resize(out.len() + 2 * BLOCK, 0);
        let mut archive = tar::Archive::new(out.as_slice());
        let entries: Vec<_> = archive.entries().unwrap().map(Result::unwrap).collect();
        assert_eq!(&*entries[1].path_bytes(), long);
        assert_eq!(&*entries[1].link_name_bytes().unwrap(), long);
    }
}
