//! Choosing an address for a NIC.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use crate::hwaddr::HwAddr;

/// Chooses a free address of `ranges`: always the same one for the same hardware address, as long as it is free.
///
/// None if every address is used.
#[must_use]
pub fn choose_ipv4(ranges: &[RangeInclusive<Ipv4Addr>], hwaddr: HwAddr, used: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
    let total: u64 = ranges.iter().map(size).sum();
    let start = hash(&hwaddr.bytes()).checked_rem(total)?;
    // Of one more than the used ones at least one is free, if there are so many.
    let tries = total.min(used.len() as u64 + 1);
    (0..tries).map(|step| nth(ranges, (start + step) % total)).find(|address| !used.contains(address))
}

/// A hash that never changes between versions, for choices that must be repeatable (FNV-1a).
#[must_use]
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let mixed = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    mixed ^ (mixed >> 29)
}

fn size(range: &RangeInclusive<Ipv4Addr>) -> u64 {
    u64::from(u32::from(*range.end()).saturating_sub(u32::from(*range.start()))) + 1
}

fn nth(ranges: &[RangeInclusive<Ipv4Addr>], mut place: u64) -> Ipv4Addr {
    for range in ranges {
        if place < size(range) {
            return Ipv4Addr::from(u32::from(*range.start()) + place as u32);
        }
        place -= size(range);
    }
    Ipv4Addr::UNSPECIFIED
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: [u8; 4], last: [u8; 4]) -> RangeInclusive<Ipv4Addr> {
        Ipv4Addr::from(first)..=Ipv4Addr::from(last)
    }

    #[test]
    fn every_address_is_given_once_and_then_none() {
        let ranges = [range([10, 0, 0, 2], [10, 0, 0, 5]), range([10, 0, 0, 9], [10, 0, 0, 10])];
        let hwaddr = HwAddr::from_seed("x");
        let mut used = BTreeSet::new();
        for _ in 0..6 {
            let address = choose_ipv4(&ranges, hwaddr, &used).unwrap();
            assert!(ranges.iter().any(|range| range.contains(&address)));
            assert!(used.insert(address), "{address} was given twice");
        }
        assert_eq!(choose_ipv4(&ranges, hwaddr, &used), None);
    }

    #[test]
    fn the_choice_is_repeatable_and_spread() {
        let ranges = [range([10, 0, 0, 2], [10, 0, 0, 254])];
        let choose = |seed: &str| choose_ipv4(&ranges, HwAddr::from_seed(seed), &BTreeSet::new()).unwrap();
        assert_eq!(choose("a"), choose("a"));
        let spread: BTreeSet<_> = (0..100).map(|number| choose(&number.to_string())).collect();
        assert!(spread.len() > 70, "{} of 100", spread.len());
    }
}
