//! Packets cut out of a stream.

use std::io::{self, Read};

use crate::fields::Malformed;
use crate::{MOST_DATA, MOST_PACKET};

/// Room for what arrives: a packet, and the next ones behind it.
const ROOM: usize = 2 * MOST_DATA + 4096;

/// A buffer that a stream is read into and that packets are taken out of. It never grows.
#[derive(Debug)]
pub struct Frames {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Default for Frames {
    fn default() -> Self {
        Self { buffer: vec![0; ROOM], start: 0, end: 0 }
    }
}

impl Frames {
    /// Begins with what was read already.
    #[must_use]
    pub fn beginning_with(early: &[u8]) -> Self {
        let mut frames = Self::default();
        let count = early.len().min(ROOM);
        frames.buffer[..count].copy_from_slice(&early[..count]);
        frames.end = count;
        frames
    }

    /// The next whole packet that has arrived, its type first; `None` if more must be read before.
    ///
    /// # Errors
    /// If it is empty or longer than any packet may be.
    pub fn cut(&mut self) -> Result<Option<&[u8]>, Malformed> {
        let arrived = &self.buffer[self.start..self.end];
        let Some(&[a, b, c, d]) = arrived.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length == 0 || length > MOST_PACKET {
            return Err(Malformed("its length is out of range"));
        }
        if arrived.len() < 4 + length {
            return Ok(None);
        }
        let from = self.start + 4;
        self.start = from + length;
        Ok(Some(&self.buffer[from..from + length]))
    }

    /// Says whether [`Frames::cut`] has something to say: a packet, or that none can come.
    #[must_use]
    pub fn has_next(&self) -> bool {
        let arrived = &self.buffer[self.start..self.end];
        arrived.first_chunk::<4>().is_some_and(|length| {
            let length = u32::from_be_bytes(*length) as usize;
            length == 0 || length > MOST_PACKET || arrived.len() >= 4 + length
        })
    }

    /// Reads what is there; false at the stream's end.
    ///
    /// # Errors
    /// The stream's.
    pub fn fill(&mut self, stream: &mut impl Read) -> io::Result<bool> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.buffer.len() - self.start < 4 + MOST_PACKET {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        loop {
            match stream.read(&mut self.buffer[self.end..]) {
                Ok(count) => {
                    self.end += count;
                    return Ok(count > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream that gives `step` bytes at a time.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    #[track_caller]
    fn check(step: usize) {
        let mut stream = Vec::new();
        let lengths = [1usize, 5, MOST_PACKET, 3, MOST_PACKET, MOST_PACKET, 70_000];
        for (index, length) in lengths.into_iter().enumerate() {
            stream.extend_from_slice(&(length as u32).to_be_bytes());
            stream.extend(std::iter::repeat_n(index as u8, length));
        }
        let (mut frames, mut stream, mut seen) = (Frames::default(), Trickle(&stream, step), Vec::new());
        while frames.fill(&mut stream).unwrap() {
            while let Some(packet) = frames.cut().unwrap() {
                assert!(packet.iter().all(|byte| *byte as usize == seen.len()));
                seen.push(packet.len());
            }
        }
        assert_eq!(seen, lengths, "{step}");
    }

    #[test]
    fn packets_are_cut_however_they_arrive() {
        for step in [1, 7, 4096, 208 << 10, usize::MAX] {
            check(step);
        }
    }

    #[test]
    fn lengths_that_cannot_be_are_refused() {
        for bad in [0, MOST_PACKET as u32 + 1, u32::MAX] {
            let mut frames = Frames::beginning_with(&bad.to_be_bytes());
            assert!(frames.cut().is_err(), "{bad}");
        }
    }
}
