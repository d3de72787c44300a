//! Making tar archives, also such as no program would write.

use tar::{EntryType, Header};

/// A valid `metadata.yaml`.
pub const METADATA: &str = "architecture: x86_64\ncreation_date: 1700000000\nproperties:\n  os: Test\n";

/// An archive being made.
#[derive(Clone, Default)]
pub struct Archive {
    bytes: Vec<u8>,
}

/// One member, with what matters to a test.
#[derive(Clone)]
pub struct Member<'a> {
    pub name: &'a str,
    pub kind: EntryType,
    pub content: &'a [u8],
    pub link: &'a str,
    pub mode: u32,
    pub owner: (u64, u64),
}

impl Member<'_> {
    pub fn of(name: &str, kind: EntryType) -> Member<'_> {
        let mode = if kind == EntryType::Directory { 0o755 } else { 0o644 };
        Member { name, kind, content: b"", link: "", mode, owner: (0, 0) }
    }
}

impl Archive {
    /// An archive with a valid `metadata.yaml`.
    pub fn image() -> Self {
        Self::default().file("metadata.yaml", METADATA)
    }

    pub fn file(self, name: &str, content: &str) -> Self {
        self.member(Member { content: content.as_bytes(), ..Member::of(name, EntryType::Regular) })
    }

    pub fn dir(self, name: &str) -> Self {
        self.member(Member::of(name, EntryType::Directory))
    }

    pub fn symlink(self, name: &str, link: &str) -> Self {
        self.member(Member { link, mode: 0o777, ..Member::of(name, EntryType::Symlink) })
    }

    pub fn hard_link(self, name: &str, link: &str) -> Self {
        self.member(Member { link, ..Member::of(name, EntryType::Link) })
    }

    pub fn member(self, member: Member<'_>) -> Self {
        let mut header = Header::new_gnu();
        header.set_mode(member.mode);
        header.set_uid(member.owner.0);
        header.set_gid(member.owner.1);
        header.set_mtime(1_600_000_000);
        header.set_entry_type(member.kind);
        // Written as they are: the library's own setters refuse the names that these tests are about.
        header.as_old_mut().name[..member.name.len()].copy_from_slice(member.name.as_bytes());
        header.as_old_mut().linkname[..member.link.len()].copy_from_slice(member.link.as_bytes());
        self.raw(header, member.content)
    }

    /// A member with PAX records before it.
    pub fn pax(self, records: &[(&str, &[u8])], member: Member<'_>) -> Self {
        self.extended(b'x', &pax_records(records)).member(member)
    }

    /// A header that speaks about the next member: PAX records or a GNU long name.
    pub fn extended(self, kind: u8, data: &[u8]) -> Self {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::new(kind));
        header.as_old_mut().name[..1].copy_from_slice(b"x");
        self.raw(header, data)
    }

    pub fn raw(mut self, mut header: Header, content: &[u8]) -> Self {
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    /// Bytes so far, without an end.
    pub fn unfinished(self) -> Vec<u8> {
        self.bytes
    }

    /// The whole archive.
    pub fn end(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 1024, 0);
        self.bytes
    }
}

pub fn pax_records(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut data = Vec::new();
    for (key, value) in records {
        let body = key.len() + value.len() + 3;
        let length = (body + 1..).find(|length| length.to_string().len() + body == *length).unwrap();
        data.extend_from_slice(format!("{length} {key}=").as_bytes());
        data.extend_from_slice(value);
        data.push(b'\n');
    }
    data
}

/// A small whole image.
pub fn sample() -> Archive {
    let program = Member { content: b"\x7fELF", mode: 0o4755, owner: (0, 8), ..Member::of("rootfs/bin/su", EntryType::Regular) };
    let secret = Member { content: b"mine", mode: 0o600, owner: (1000, 1001), ..Member::of("rootfs/home/me", EntryType::Regular) };
    let tmp = Member { mode: 0o1777, ..Member::of("rootfs/tmp/", EntryType::Directory) };
    let mail = Member { mode: 0o2775, owner: (0, 8), ..Member::of("rootfs/mail/", EntryType::Directory) };
    let archive = Archive::image().dir("templates/").file("templates/hostname.tpl", "{{ container.name }}");
    let archive = archive.dir("rootfs/").dir("rootfs/bin").member(program).member(secret).member(tmp).member(mail);
    let archive = archive.symlink("rootfs/lib", "usr/lib").file("rootfs/mail/box", "new").hard_link("rootfs/bin/sudo", "rootfs/bin/su");
    archive.member(Member::of("rootfs/pipe", EntryType::Fifo)).member(Member::of("rootfs/dev/null", EntryType::Char))
}

/// What [`sample`] gives.
pub const SAMPLE: &str = "
    d 755 0:0 rootfs
    d 755 0:0 rootfs/bin
    f 4755 0:8 rootfs/bin/su \"\\u{7f}ELF\"
    f 4755 0:8 rootfs/bin/sudo \"\\u{7f}ELF\"
    d 755 0:0 rootfs/home
    f 600 1000:1001 rootfs/home/me \"mine\"
    l 777 0:0 rootfs/lib -> usr/lib
    d 2775 0:8 rootfs/mail
    f 644 0:0 rootfs/mail/box \"new\"
    ? 644 0:0 rootfs/pipe
    d 1777 0:0 rootfs/tmp
    d 755 0:0 templates
    f 644 0:0 templates/hostname.tpl \"{{ container.name }}\"
";
