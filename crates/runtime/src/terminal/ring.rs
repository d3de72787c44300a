//! The last output of a console.

use std::collections::VecDeque;

/// Keeps the last bytes that were written to it. Its memory grows with what is written.
#[derive(Debug)]
pub(crate) struct Ring {
    bytes: VecDeque<u8>,
    size: usize,
}

impl Ring {
    /// Keeps at most `size` bytes.
    pub(crate) fn new(size: usize) -> Self {
        Self { bytes: VecDeque::new(), size }
    }

    /// Adds output; the oldest makes room.
    pub(crate) fn write(&mut self, output: &[u8]) {
        let output = &output[output.len().saturating_sub(self.size)..];
        let excess = (self.bytes.len() + output.len()).saturating_sub(self.size);
        self.bytes.drain(..excess);
        self.bytes.extend(output);
    }

    /// What is kept, oldest first, in two parts.
    pub(crate) fn parts(&self) -> [&[u8]; 2] {
        let (one, other) = self.bytes.as_slices();
        [one, other]
    }

    /// Forgets everything and gives the memory back.
    pub(crate) fn clear(&mut self) {
        self.bytes = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(size: usize, writes: &[&str], expect: &str) {
        let mut ring = Ring::new(size);
        writes.iter().for_each(|write| ring.write(write.as_bytes()));
        assert_eq!(String::from_utf8(ring.parts().concat()).unwrap(), expect);
    }

    #[test]
    fn the_last_bytes_are_kept() {
        check(4, &[], "");
        check(4, &["ab"], "ab");
        check(4, &["ab", "cd", "e"], "bcde");
        check(4, &["abcdefgh"], "efgh");
        check(4, &["abc", "abcdefgh", "x"], "fghx");
    }
}
