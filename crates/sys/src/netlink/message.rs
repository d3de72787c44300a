//! Writing netlink messages into a buffer, and walking the attributes of those received.

/// Bytes of `struct nlmsghdr`.
pub(super) const HEADER: usize = 16;
/// Marks an attribute that holds attributes.
const NESTED: u16 = libc::NLA_F_NESTED as u16;
/// Masks the flags off an attribute's type.
const TYPE_MASK: u16 = libc::NLA_TYPE_MASK as u16;

/// Messages that are sent together, by one system call.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Where each message starts.
    starts: Vec<usize>,
}

impl Batch {
    /// Starts empty.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a message of `kind` whose fixed part is `header`; what is added next belongs to it.
    ///
    /// `NLM_F_REQUEST` is set in any case.
    pub fn message(&mut self, kind: u16, flags: i32, header: &[u8]) -> &mut Self {
        self.starts.push(self.bytes.len());
        let flags = (flags | libc::NLM_F_REQUEST) as u16;
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 8]);
        self.padded(header);
        self.close()
    }

    /// Adds an attribute to the last message.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let length = u16::try_from(value.len() + 4).expect("attributes hold names, addresses and numbers, never 64 KiB");
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.padded(value);
        self.close()
    }

    /// Adds a text with its closing zero byte.
    pub fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes)
    }

    /// Adds a number in the machine's byte order.
    pub fn number(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attribute(kind, &value.to_ne_bytes())
    }

    /// Adds an attribute that holds what `inner` adds.
    pub fn nested(&mut self, kind: u16, inner: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        inner(self);
        let length = u16::try_from(self.bytes.len() - start).expect("a nest of set elements is cut into batches before 64 KiB");
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.close()
    }

    /// Adds bytes as they are (the fixed part that `VETH_INFO_PEER` starts with).
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.padded(bytes);
        self.close()
    }

    /// How many messages the batch holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Says whether the batch holds no message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Numbers the messages from `first` on and gives the bytes to send.
    pub(super) fn numbered(mut self, first: u32) -> Vec<u8> {
        for (number, &start) in (first..).zip(&self.starts) {
            self.bytes[start + 8..start + 12].copy_from_slice(&number.to_ne_bytes());
        }
        self.bytes
    }

    fn padded(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// Writes the last message's length so far into its header.
    fn close(&mut self) -> &mut Self {
        if let Some(&start) = self.starts.last() {
            let length = u32::try_from(self.bytes.len() - start).expect("a batch is far below 4 GiB");
            self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        }
        self
    }
}

/// Walks the attributes of a message or of a nest: type and value of each.
#[derive(Debug, Clone)]
pub struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// Walks `bytes`, which start with an attribute.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Walks what follows the fixed part of `fixed` bytes.
    #[must_use]
    pub fn after(fixed: usize, payload: &'a [u8]) -> Self {
        Self(payload.get(fixed.next_multiple_of(4)..).unwrap_or_default())
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16_at(self.0, 0)?);
        let kind = u16_at(self.0, 2)? & TYPE_MASK;
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_walked_again() {
        let mut batch = Batch::new();
        batch.message(16, 0, &[1, 2, 3]).text(3, "veth0").nested(18, |nest| {
            nest.number(1, 7).attribute(2, &[9]);
        });
        batch.message(17, 0, &[]).number(4, 5);
        assert_eq!(batch.len(), 2);
        let bytes = batch.numbered(40);
        let first = u32_at(&bytes, 0).unwrap() as usize;
        assert_eq!(u32_at(&bytes, 8), Some(40));
        assert_eq!(u32_at(&bytes, first + 8), Some(41));
        let mut attributes = Attributes::after(3, &bytes[HEADER..first]);
        assert_eq!(attributes.next(), Some((3, &b"veth0\0"[..])));
        let (kind, nest) = attributes.next().unwrap();
        assert_eq!(kind, 18);
        let inner: Vec<_> = Attributes::new(nest).collect();
        assert_eq!(inner, [(1, &7u32.to_ne_bytes()[..]), (2, &[9][..])]);
        assert_eq!(attributes.next(), None);
    }

    #[test]
    fn broken_attributes_end_the_walk() {
        for bad in [&[][..], &[8, 0, 1], &[3, 0, 1, 0], &[200, 0, 1, 0, 1]] {
            assert_eq!(Attributes::new(bad).next(), None, "{bad:?}");
        }
    }
}
