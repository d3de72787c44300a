//! Frames of RFC 6455: headers only, payloads are left where they are.

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// More of the message before.
    Continuation,
    /// Text; an empty one ends a stream.
    Text,
    /// Bytes.
    Binary,
    /// The peer closes.
    Close,
    /// The peer asks whether we are there.
    Ping,
    /// We asked and the peer is there.
    Pong,
}

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Whether the message ends with this frame.
    pub last: bool,
    /// What it carries.
    pub opcode: Opcode,
    /// The mask over the payload.
    pub mask: Option<[u8; 4]>,
    /// Bytes of payload.
    pub length: u64,
}

/// Why bytes are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A reserved opcode.
    #[error("unknown opcode {0}")]
    Opcode(u8),
    /// A reserved bit is set.
    #[error("reserved bits are set")]
    Reserved,
    /// A control frame that is too long or in pieces.
    #[error("a control frame is too long or in pieces")]
    Control,
}

/// Longest header: two bytes, eight of length, four of mask.
pub const LONGEST_HEADER: usize = 14;

impl Header {
    /// Reads a header from the start of `bytes`; returns it and its length, or `None` if more bytes are needed.
    ///
    /// # Errors
    /// If the bytes are no frame.
    ///
    /// Source: RFC 6455, section 5.2.
    pub fn read(bytes: &[u8]) -> Result<Option<(Header, usize)>, FrameError> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(FrameError::Reserved);
        }
        let opcode = Opcode::from_bits(first & 0x0f)?;
        let last = first & 0x80 != 0;
        let (length, rest, size) = match second & 0x7f {
            126 => match rest.split_first_chunk::<2>() {
                Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest, 4),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk::<8>() {
                Some((length, rest)) => (u64::from_be_bytes(*length), rest, 10),
                None => return Ok(None),
            },
            short => (u64::from(short), rest, 2),
        };
        if opcode.is_control() && (!last || length > 125) {
            return Err(FrameError::Control);
        }
        if second & 0x80 == 0 {
            return Ok(Some((Header { last, opcode, mask: None, length }, size)));
        }
        let Some(mask) = rest.first_chunk::<4>() else { return Ok(None) };
        Ok(Some((Header { last, opcode, mask: Some(*mask), length }, size + 4)))
    }

    /// Writes the header to the end of `room` and returns where it starts, so that a payload may follow at once.
    pub fn write_before(&self, room: &mut [u8; LONGEST_HEADER]) -> usize {
        let mut start = LONGEST_HEADER;
        let mut put = |bytes: &[u8]| {
            start -= bytes.len();
            room[start..start + bytes.len()].copy_from_slice(bytes);
        };
        if let Some(mask) = &self.mask {
            put(mask);
        }
        let masked = if self.mask.is_some() { 0x80 } else { 0 };
        match (u8::try_from(self.length), u16::try_from(self.length)) {
            (Ok(length), _) if length < 126 => put(&[masked | length]),
            (_, Ok(length)) => {
                put(&length.to_be_bytes());
                put(&[masked | 126]);
            }
            _ => {
                put(&self.length.to_be_bytes());
                put(&[masked | 127]);
            }
        }
        put(&[if self.last { 0x80 } else { 0 } | self.opcode.bits()]);
        start
    }
}

impl Opcode {
    fn from_bits(bits: u8) -> Result<Opcode, FrameError> {
        Ok(match bits {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            other => return Err(FrameError::Opcode(other)),
        })
    }

    fn bits(self) -> u8 {
        match self {
            Opcode::Continuation => 0,
            Opcode::Text => 1,
            Opcode::Binary => 2,
            Opcode::Close => 8,
            Opcode::Ping => 9,
            Opcode::Pong => 10,
        }
    }

    /// Tells whether the frame steers the connection instead of carrying a message.
    pub fn is_control(self) -> bool {
        matches!(self, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(header: Header, bytes: &[u8]) {
        let mut room = [0; LONGEST_HEADER];
        let start = header.write_before(&mut room);
        assert_eq!(&room[start..], bytes);
        assert_eq!(Header::read(bytes), Ok(Some((header, bytes.len()))));
        for end in 0..bytes.len() {
            assert_eq!(Header::read(&bytes[..end]), Ok(None), "{end} bytes are not enough");
        }
    }

    #[test]
    fn headers_are_written_and_read() {
        let header = |opcode, length, mask| Header { last: true, opcode, mask, length };
        check(header(Opcode::Text, 0, None), &[0x81, 0]);
        check(header(Opcode::Binary, 125, Some([0; 4])), &[0x82, 0x80 | 125, 0, 0, 0, 0]);
        check(header(Opcode::Binary, 126, None), &[0x82, 126, 0, 126]);
        check(header(Opcode::Binary, 65535, None), &[0x82, 126, 255, 255]);
        check(header(Opcode::Binary, 65536, Some([1, 2, 3, 4])), &[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4]);
        check(Header { last: false, opcode: Opcode::Continuation, mask: None, length: 5 }, &[0, 5]);
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        assert_eq!(Header::read(&[0x83, 0]), Err(FrameError::Opcode(3)));
        assert_eq!(Header::read(&[0xc1, 0]), Err(FrameError::Reserved));
        assert_eq!(Header::read(&[0x89, 126, 0, 126]), Err(FrameError::Control));
        assert_eq!(Header::read(&[0x09, 0]), Err(FrameError::Control));
    }
}
