//! Frames as they stand on the wire. Source: RFC 6455, section 5.

/// The longest content of a control frame.
pub const CONTROL_LIMIT: u64 = 125;

/// The longest header that a server writes.
pub const HEADER_ROOM: usize = 10;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// More of the message before.
    Continuation,
    /// The start of a message of UTF-8.
    Text,
    /// The start of a message of bytes.
    Binary,
    /// The sender will send no more.
    Close,
    /// The receiver is to answer with a pong.
    Ping,
    /// The answer to a ping.
    Pong,
}

/// The header of a frame that a client sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Whether the message ends with this frame.
    pub last: bool,
    /// What it is.
    pub opcode: Opcode,
    /// What its content is masked with.
    pub mask: [u8; 4],
    /// Bytes of content.
    pub length: u64,
}

/// Why a client's frame is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Bits are set that no extension was agreed for.
    #[error("a frame has reserved bits")]
    Reserved,
    /// No such opcode.
    #[error("a frame has the unknown opcode {0}")]
    Opcode(u8),
    /// Clients must mask.
    #[error("a frame is not masked")]
    Unmasked,
    /// A control frame in pieces or too long.
    #[error("a control frame is fragmented or too long")]
    Control,
    /// The length's highest bit is set.
    #[error("a frame is too long")]
    Length,
    /// A message started within another, or one goes on that never started.
    #[error("frames of messages are out of order")]
    Order,
    /// A text that is longer than any that a client has reason to send.
    #[error("a text message is too long")]
    Text,
}

impl Opcode {
    /// Says whether the frame stands between the frames of messages.
    pub fn is_control(self) -> bool {
        match self {
            Self::Close | Self::Ping | Self::Pong => true,
            Self::Continuation | Self::Text | Self::Binary => false,
        }
    }

    fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    fn of_bits(bits: u8) -> Result<Self, FrameError> {
        let all = [Self::Continuation, Self::Text, Self::Binary, Self::Close, Self::Ping, Self::Pong];
        all.into_iter().find(|opcode| opcode.bits() == bits).ok_or(FrameError::Opcode(bits))
    }
}

/// Reads a client's frame header at the start of `bytes`, and how many bytes it has; `None` if it is not all there.
///
/// # Errors
/// See [`FrameError`].
pub fn read_header(bytes: &[u8]) -> Result<Option<(Header, usize)>, FrameError> {
    let Some(&[first, second]) = bytes.first_chunk() else { return Ok(None) };
    if first & 0x70 != 0 {
        return Err(FrameError::Reserved);
    }
    let (last, opcode) = (first & 0x80 != 0, Opcode::of_bits(first & 0x0f)?);
    if second & 0x80 == 0 {
        return Err(FrameError::Unmasked);
    }
    let (length, rest) = match second & 0x7f {
        126 => match bytes[2..].split_first_chunk() {
            Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest),
            None => return Ok(None),
        },
        127 => match bytes[2..].split_first_chunk() {
            Some((length, rest)) => (u64::from_be_bytes(*length), rest),
            None => return Ok(None),
        },
        short => (u64::from(short), &bytes[2..]),
    };
    if length >> 63 != 0 {
        return Err(FrameError::Length);
    }
    if opcode.is_control() && (!last || length > CONTROL_LIMIT) {
        return Err(FrameError::Control);
    }
    let Some((mask, rest)) = rest.split_first_chunk() else { return Ok(None) };
    Ok(Some((Header { last, opcode, mask: *mask, length }, bytes.len() - rest.len())))
}

/// Writes the header of a whole message of ours into the end of `room`; answers where it starts.
pub fn write_header(room: &mut [u8; HEADER_ROOM], opcode: Opcode, length: usize) -> usize {
    let first = 0x80 | opcode.bits();
    match length {
        0..126 => {
            room[8..].copy_from_slice(&[first, length as u8]);
            8
        }
        126..=0xffff => {
            room[6..8].copy_from_slice(&[first, 126]);
            room[8..].copy_from_slice(&(length as u16).to_be_bytes());
            6
        }
        _ => {
            room[..2].copy_from_slice(&[first, 127]);
            room[2..].copy_from_slice(&(length as u64).to_be_bytes());
            0
        }
    }
}

/// Takes the mask off `bytes`, which start at `offset` within their frame. Eight bytes at a time, which the compiler
/// makes wider.
pub fn unmask(bytes: &mut [u8], mask: [u8; 4], offset: u64) {
    let mut mask = mask;
    mask.rotate_left((offset % 4) as usize);
    let wide = u64::from_ne_bytes([mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3]]);
    let (chunks, rest) = bytes.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expect: Result<Option<(bool, Opcode, u64, usize)>, FrameError>) {
        let got = read_header(bytes).map(|found| found.map(|(header, size)| (header.last, header.opcode, header.length, size)));
        assert_eq!(got, expect);
    }

    #[test]
    fn headers_of_clients() {
        check(&[0x81, 0x85, 1, 2, 3, 4], Ok(Some((true, Opcode::Text, 5, 6))));
        check(&[0x02, 0xfe, 1, 0, 1, 2, 3, 4], Ok(Some((false, Opcode::Binary, 256, 8))));
        check(&[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4, 9], Ok(Some((true, Opcode::Binary, 65536, 14))));
        for short in [&[][..], &[0x82], &[0x82, 0xfe, 1], &[0x82, 0x81, 1, 2, 3]] {
            check(short, Ok(None));
        }
    }

    #[test]
    fn what_the_standard_forbids_is_refused() {
        check(&[0xc1, 0x80], Err(FrameError::Reserved));
        check(&[0x83, 0x80], Err(FrameError::Opcode(3)));
        check(&[0x81, 0x05], Err(FrameError::Unmasked));
        check(&[0x09, 0x80], Err(FrameError::Control));
        check(&[0x89, 0xfe, 0, 126], Err(FrameError::Control));
        check(&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], Err(FrameError::Length));
    }

    #[test]
    fn headers_of_ours() {
        let mut room = [0; HEADER_ROOM];
        assert_eq!(write_header(&mut room, Opcode::Text, 0), 8);
        assert_eq!(room[8..], [0x81, 0]);
        assert_eq!(write_header(&mut room, Opcode::Binary, 300), 6);
        assert_eq!(room[6..], [0x82, 126, 1, 44]);
        assert_eq!(write_header(&mut room, Opcode::Binary, 1 << 20), 0);
        assert_eq!(room, [0x82, 127, 0, 0, 0, 0, 0, 0x10, 0, 0]);
    }

    #[test]
    fn unmasking_in_pieces_is_unmasking_at_once() {
        let plain: Vec<u8> = (0..100).collect();
        let mask = [7, 11, 13, 17];
        for cut in 0..plain.len() {
            let mut bytes = plain.clone();
            unmask(&mut bytes, mask, 0);
            let (first, second) = bytes.split_at_mut(cut);
            unmask(first, mask, 0);
            unmask(second, mask, cut as u64);
            assert_eq!(bytes, plain);
        }
    }
}
