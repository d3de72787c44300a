//! Packets: their length, their padding, and from the first exchange of keys on their encryption.
//!
//! Source: RFC 4253, section 6; OpenSSH's PROTOCOL.chacha20poly1305.

use ring::aead::chacha20_poly1305_openssh::{OpeningKey, PACKET_LENGTH_LEN, SealingKey, TAG_LEN};

use crate::SshError;

/// The longest packet that is taken: what a client may send in one message of a channel, and what is around it.
const LONGEST: usize = 64 << 10;

/// One direction of a connection, as who reads it has it.
#[derive(Default)]
pub(crate) struct Reading {
    key: Option<OpeningKey>,
    sequence: u32,
    buffer: Vec<u8>,
    /// Of the packet that is at the front, once it is known.
    length: Option<usize>,
}

/// One direction of a connection, as who writes it has it.
#[derive(Default)]
pub(crate) struct Writing {
    key: Option<SealingKey>,
    sequence: u32,
    /// What is to be sent.
    pub(crate) buffer: Vec<u8>,
}

impl Reading {
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Takes a line off the front, without its end; nothing while it has not all come.
    pub(crate) fn line(&mut self) -> Result<Option<Vec<u8>>, SshError> {
        // Source: RFC 4253, section 4.2: 255 with the end.
        match self.buffer.iter().take(255).position(|byte| *byte == b'\n') {
            Some(end) => {
                let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                Ok(Some(line))
            }
            None if self.buffer.len() >= 255 => Err(SshError::Version),
            None => Ok(None),
        }
    }

    /// Takes a message off the front; nothing while its packet has not all come.
    pub(crate) fn message(&mut self) -> Result<Option<Vec<u8>>, SshError> {
        let Some(front) = self.buffer.first_chunk::<PACKET_LENGTH_LEN>() else { return Ok(None) };
        let length = match (self.length, &self.key) {
            (Some(length), _) => length,
            (None, Some(key)) => u32::from_be_bytes(key.decrypt_packet_length(self.sequence, *front)) as usize,
            (None, None) => u32::from_be_bytes(*front) as usize,
        };
        if !(8..=LONGEST).contains(&length) {
            return Err(SshError::Damaged);
        }
        self.length = Some(length);
        let whole = PACKET_LENGTH_LEN + length;
        let tag = if self.key.is_some() { TAG_LEN } else { 0 };
        if self.buffer.len() < whole + tag {
            return Ok(None);
        }
        let mut packet: Vec<u8> = self.buffer.drain(..whole + tag).collect();
        self.length = None;
        let (body, tag) = packet.split_at_mut(whole);
        let body = match &self.key {
            Some(key) => key.open_in_place(self.sequence, body, tag.first_chunk().ok_or(SshError::Damaged)?)?,
            None => &body[PACKET_LENGTH_LEN..],
        };
        self.sequence = self.sequence.wrapping_add(1);
        let padding = usize::from(*body.first().ok_or(SshError::Damaged)?);
        match body.get(1..body.len().saturating_sub(padding)) {
            Some(message) if !message.is_empty() => Ok(Some(message.to_vec())),
            _ => Err(SshError::Damaged),
        }
    }

    pub(crate) fn take_key(&mut self, key: &[u8; 64], from_zero: bool) {
        self.key = Some(OpeningKey::new(key));
        if from_zero {
            self.sequence = 0;
        }
    }
}

impl Writing {
    /// Puts a message into a packet.
    pub(crate) fn message(&mut self, message: &[u8]) {
        // The length counts for the padding only where it is not encrypted by itself.
        let counted = 1 + message.len() + if self.key.is_some() { 0 } else { PACKET_LENGTH_LEN };
        let padding = match 8 - counted % 8 {
            short @ ..4 => short + 8,
            enough => enough,
        };
        let length = 1 + message.len() + padding;
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&(length as u32).to_be_bytes());
        self.buffer.push(padding as u8);
        self.buffer.extend_from_slice(message);
        // It is encrypted with a number of its own, so what the padding is does not matter.
        self.buffer.resize(start + PACKET_LENGTH_LEN + length, 0);
        if let Some(key) = &self.key {
            let mut tag = [0; TAG_LEN];
            key.seal_in_place(self.sequence, &mut self.buffer[start..], &mut tag);
            self.buffer.extend_from_slice(&tag);
        }
        self.sequence = self.sequence.wrapping_add(1);
    }

    pub(crate) fn take_key(&mut self, key: &[u8; 64], from_zero: bool) {
        self.key = Some(SealingKey::new(key));
        if from_zero {
            self.sequence = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_out_as_they_went_in_with_keys_and_without() {
        let (mut from, mut to) = (Writing::default(), Reading::default());
        for round in 0..3 {
            if round == 1 {
                from.take_key(&[7; 64], true);
                to.take_key(&[7; 64], true);
            }
            for length in [1, 2, 7, 8, 9, 255, 32 << 10] {
                let message = vec![round + 1; length];
                from.message(&message);
                for piece in std::mem::take(&mut from.buffer).chunks(1000) {
                    assert_eq!(to.message(), Ok(None));
                    to.add(piece);
                }
                assert_eq!(to.message(), Ok(Some(message)));
            }
        }
        from.message(b"message");
        let last = from.buffer.len() - 1;
        from.buffer[last] ^= 1;
        to.add(&from.buffer);
        assert_eq!(to.message(), Err(SshError::Damaged));
    }

    #[test]
    fn lengths_are_bounded_before_anything_is_kept() {
        for length in [0_u32, 7, 65_537, u32::MAX] {
            let mut to = Reading::default();
            to.add(&length.to_be_bytes());
            assert_eq!(to.message(), Err(SshError::Damaged));
        }
        let mut to = Reading::default();
        to.add(&[b'x'; 300]);
        assert_eq!(to.line(), Err(SshError::Version));
    }
}
