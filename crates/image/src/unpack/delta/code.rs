//! What the codes of instructions mean, and how addresses are told.

use super::super::failure::Failure;
use super::damaged;
use super::input::Bytes;

/// Half of what a code means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Nothing,
    /// So many bytes of the data; 0: the number follows.
    Add(u8),
    /// One byte of the data again and again; the number follows.
    Run,
    /// So many bytes from elsewhere; 0: the number follows. How the address is told comes second.
    Copy(u8, u8),
}

/// Ways to tell an address.
const MODES: u8 = NEAR as u8 + SAME as u8 + 2;

/// Addresses that were used last.
const NEAR: usize = 4;

/// Tables of addresses, found by their remainder.
const SAME: usize = 3;

/// What the 256 codes mean. Source: RFC 3284, section 5.6.
pub(super) fn codes() -> Vec<[Step; 2]> {
    let mut codes = vec![[Step::Run, Step::Nothing]];
    codes.extend((0..=17).map(|size| [Step::Add(size), Step::Nothing]));
    for mode in 0..MODES {
        codes.push([Step::Copy(0, mode), Step::Nothing]);
        codes.extend((4..=18).map(|size| [Step::Copy(size, mode), Step::Nothing]));
    }
    for mode in 0..6 {
        codes.extend((1..=4).flat_map(|add| (4..=6).map(move |copy| [Step::Add(add), Step::Copy(copy, mode)])));
    }
    for mode in 6..MODES {
        codes.extend((1..=4).map(|add| [Step::Add(add), Step::Copy(4, mode)]));
    }
    codes.extend((0..MODES).map(|mode| [Step::Copy(4, mode), Step::Add(1)]));
    codes
}

/// Addresses that were told before in the same window. Source: RFC 3284, section 5.3.
pub(super) struct Addresses {
    near: [u64; NEAR],
    next: usize,
    same: Vec<u64>,
}

impl Addresses {
    pub(super) fn new() -> Self {
        Self { near: [0; NEAR], next: 0, same: vec![0; SAME * 256] }
    }

    /// Reads an address that lies before `here`.
    pub(super) fn read(&mut self, mode: u8, here: u64, told: &mut Bytes<'_>) -> Result<u64, Failure> {
        let mode = usize::from(mode);
        let address = match mode {
            0 => Some(told.number()?),
            1 => here.checked_sub(told.number()?),
            near if near < 2 + NEAR => self.near[near - 2].checked_add(told.number()?),
            same => Some(self.same[(same - 2 - NEAR) * 256 + usize::from(told.byte()?)]),
        };
        let address = address.filter(|address| *address < here).ok_or_else(|| damaged("it copies what is not there yet"))?;
        self.near[self.next] = address;
        self.next = (self.next + 1) % NEAR;
        let remainder = usize::try_from(address % (SAME as u64 * 256)).unwrap_or(0);
        self.same[remainder] = address;
        Ok(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_mean_what_the_standard_says() {
        let codes = codes();
        assert_eq!(codes.len(), 256);
        let nothing = Step::Nothing;
        for (code, expect) in [
            (0, [Step::Run, nothing]),
            (1, [Step::Add(0), nothing]),
            (18, [Step::Add(17), nothing]),
            (19, [Step::Copy(0, 0), nothing]),
            (20, [Step::Copy(4, 0), nothing]),
            (162, [Step::Copy(18, 8), nothing]),
            (163, [Step::Add(1), Step::Copy(4, 0)]),
            (234, [Step::Add(4), Step::Copy(6, 5)]),
            (235, [Step::Add(1), Step::Copy(4, 6)]),
            (246, [Step::Add(4), Step::Copy(4, 8)]),
            (247, [Step::Copy(4, 0), Step::Add(1)]),
            (255, [Step::Copy(4, 8), Step::Add(1)]),
        ] {
            assert_eq!(codes[code], expect, "{code}");
        }
    }

    #[test]
    fn addresses_are_told_in_nine_ways() {
        let mut addresses = Addresses::new();
        let mut read = |mode, here, told: &[u8]| addresses.read(mode, here, &mut Bytes(told)).ok();
        assert_eq!(read(0, 1000, &[0x83, 0x20]), Some(416));
        assert_eq!(read(1, 1000, &[10]), Some(990));
        assert_eq!(read(2, 1000, &[4]), Some(420));
        assert_eq!(read(3, 1000, &[9]), Some(999));
        // 990 leaves 222 by 768.
        assert_eq!(read(6, 1000, &[222]), Some(990));
        assert_eq!(read(0, 10, &[10]), None);
        assert_eq!(read(1, 10, &[11]), None);
        assert_eq!(read(0, 10, &[]), None);
    }
}
