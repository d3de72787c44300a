//! Fields of messages. Source: RFC 4251, section 5.

use crate::SshError;

/// Reads fields off the front of a message.
#[derive(Debug)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn byte(&mut self) -> Result<u8, SshError> {
        let (byte, rest) = self.0.split_first().ok_or(SshError::Damaged)?;
        self.0 = rest;
        Ok(*byte)
    }

    pub(crate) fn flag(&mut self) -> Result<bool, SshError> {
        Ok(self.byte()? != 0)
    }

    pub(crate) fn number(&mut self) -> Result<u32, SshError> {
        let (bytes, rest) = self.0.split_first_chunk::<4>().ok_or(SshError::Damaged)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*bytes))
    }

    pub(crate) fn string(&mut self) -> Result<&'a [u8], SshError> {
        let length = self.number()? as usize;
        let (string, rest) = self.0.split_at_checked(length).ok_or(SshError::Damaged)?;
        self.0 = rest;
        Ok(string)
    }

    pub(crate) fn skip(&mut self, length: usize) -> Result<(), SshError> {
        self.0 = self.0.get(length..).ok_or(SshError::Damaged)?;
        Ok(())
    }
}

/// A message, or a part of one, that is being written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Text(pub(crate) Vec<u8>);

impl Text {
    pub(crate) fn of(message: u8) -> Self {
        Self(vec![message])
    }

    pub(crate) fn flag(mut self, flag: bool) -> Self {
        self.0.push(flag.into());
        self
    }

    pub(crate) fn number(mut self, number: u32) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    pub(crate) fn string(self, string: &[u8]) -> Self {
        // What is written here is ours, or came in one packet.
        let mut text = self.number(u32::try_from(string.len()).unwrap_or(u32::MAX));
        text.0.extend_from_slice(string);
        text
    }

    /// A number without sign of any length, the highest byte first.
    pub(crate) fn big_number(self, bytes: &[u8]) -> Self {
        let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
        let mut number = bytes[start..].to_vec();
        if number.first().is_some_and(|byte| byte & 0x80 != 0) {
            number.insert(0, 0);
        }
        self.string(&number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn big_numbers_are_as_short_as_they_can_be() {
        let check = |bytes: &[u8]| Text::default().big_number(bytes).0;
        assert_eq!(check(&[0, 0]), [0, 0, 0, 0]);
        assert_eq!(check(&[0, 0x7f]), [0, 0, 0, 1, 0x7f]);
        assert_eq!(check(&[0x80]), [0, 0, 0, 2, 0, 0x80]);
    }

    #[test]
    fn fields_end_where_the_message_ends() {
        let text = Text::of(9).flag(true).string(b"ab").0;
        let mut fields = Fields(&text);
        assert_eq!((fields.byte(), fields.flag(), fields.string()), (Ok(9), Ok(true), Ok(&b"ab"[..])));
        assert_eq!(fields.byte(), Err(SshError::Damaged));
        assert_eq!(Fields(&[0xff; 6]).string(), Err(SshError::Damaged));
    }
}
