//! Writing rtnetlink messages and reading their answers. Source: rtnetlink(7), linux/rtnetlink.h, linux/if_link.h.

/// Bytes of a message header.
pub(super) const HEADER: usize = 16;

pub(super) const IFF_UP: u32 = 1;
pub(super) const IFLA_ADDRESS: u16 = 1;
pub(super) const IFLA_IFNAME: u16 = 3;
pub(super) const IFLA_MTU: u16 = 4;
pub(super) const IFLA_NET_NS_FD: u16 = 28;
pub(super) const IFA_ADDRESS: u16 = 1;
pub(super) const IFA_LOCAL: u16 = 2;
pub(super) const IFA_BROADCAST: u16 = 4;
pub(super) const IFA_FLAGS: u16 = 8;
pub(super) const IFA_F_NODAD: u32 = 2;
pub(super) const RTA_DST: u16 = 1;
pub(super) const RTA_OIF: u16 = 4;
pub(super) const RTA_GATEWAY: u16 = 5;

const NLMSG_ERROR: u16 = 2;
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const EXCLUSIVE_CREATE: u16 = 0x600;
const LINK_HEADER: usize = 16;

/// What a message is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Ask for a link.
    Get,
    /// Change a link.
    Set,
    /// Delete a link.
    Delete,
}

/// A message being written.
#[derive(Debug)]
pub(super) struct Builder {
    bytes: Vec<u8>,
}

impl Builder {
    fn new(kind: u16, flags: u16, header: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(REQUEST | ACKNOWLEDGE | flags).to_ne_bytes());
        bytes.extend_from_slice(header);
        Self { bytes }
    }

    /// A message about the link with this number; 0: the one whose name follows.
    pub(super) fn link(kind: Kind, index: u32) -> Self {
        let kind = match kind {
            Kind::Delete => 17,
            Kind::Get => 18,
            Kind::Set => 19,
        };
        let mut header = [0; LINK_HEADER];
        header[4..8].copy_from_slice(&index.to_ne_bytes());
        Self::new(kind, 0, &header)
    }

    /// A new address of a link.
    pub(super) fn address(index: u32, family: u8, prefix: u8) -> Self {
        let mut header = [family, prefix, 0, 0, 0, 0, 0, 0];
        header[4..8].copy_from_slice(&index.to_ne_bytes());
        Self::new(20, EXCLUSIVE_CREATE, &header)
    }

    /// The prefix that an address message was made with.
    pub(super) fn prefix(&self) -> u8 {
        self.bytes[HEADER + 1]
    }

    /// A new route of the main table, `on_link` if it has no gateway.
    pub(super) fn route(family: u8, prefix: u8, on_link: bool) -> Self {
        const MAIN_TABLE: u8 = 254;
        const MADE_AT_BOOT: u8 = 3;
        const UNICAST: u8 = 1;
        let scope = if on_link && family == super::libc_family::INET { 253 } else { 0 };
        Self::new(24, EXCLUSIVE_CREATE, &[family, prefix, 0, 0, MAIN_TABLE, MADE_AT_BOOT, scope, UNICAST, 0, 0, 0, 0])
    }

    /// A new pair of virtual links.
    #[cfg(test)]
    pub(super) fn pair(one: &str, other: &str) -> Self {
        let attribute = |kind: u16, bytes: &[u8]| {
            let mut builder = Self { bytes: Vec::new() };
            builder.bytes(kind, bytes);
            builder.bytes
        };
        let mut peer = vec![0; LINK_HEADER];
        peer.extend(attribute(IFLA_IFNAME, format!("{other}\0").as_bytes()));
        let mut info = attribute(1, b"veth\0");
        info.extend(attribute(2, &attribute(1, &peer)));
        let mut message = Self::new(16, EXCLUSIVE_CREATE, &[0; LINK_HEADER]);
        message.text(IFLA_IFNAME, one);
        message.bytes(18, &info);
        message
    }

    /// Changes a link's flags: those of `mask` become those of `flags`.
    pub(super) fn set_flags(&mut self, flags: u32, mask: u32) {
        self.bytes[HEADER + 8..HEADER + 12].copy_from_slice(&flags.to_ne_bytes());
        self.bytes[HEADER + 12..HEADER + 16].copy_from_slice(&mask.to_ne_bytes());
    }

    /// Adds a text with its ending zero.
    pub(super) fn text(&mut self, kind: u16, text: &str) {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes);
    }

    /// Adds a number.
    pub(super) fn number(&mut self, kind: u16, number: u32) {
        self.bytes(kind, &number.to_ne_bytes());
    }

    /// Adds an attribute.
    pub(super) fn bytes(&mut self, kind: u16, bytes: &[u8]) {
        self.bytes.extend_from_slice(&(bytes.len() as u16 + 4).to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// The message as it is sent.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let length = self.bytes.len() as u32;
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes
    }
}

/// Splits what came in one packet into messages.
pub(super) fn parts(packet: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = packet;
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes([*rest.first()?, *rest.get(1)?, *rest.get(2)?, *rest.get(3)?]) as usize;
        if length < HEADER || length > rest.len() {
            return None;
        }
        let (part, after) = rest.split_at(length);
        rest = after.get(length.next_multiple_of(4) - length..).unwrap_or(&[]);
        Some(part)
    })
}

/// The error number of a confirmation, 0 for success; `None` if it is another message.
pub(super) fn confirmation(part: &[u8]) -> Option<i32> {
    if u16::from_ne_bytes([*part.get(4)?, *part.get(5)?]) != NLMSG_ERROR {
        return None;
    }
    let code = part.get(HEADER..HEADER + 4)?;
    Some(-i32::from_ne_bytes([code[0], code[1], code[2], code[3]]))
}
