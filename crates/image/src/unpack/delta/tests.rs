//! Deltas that `xdelta3 -W 16384` made of the two texts below, and others that nobody makes in good faith.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::AsFd;

use super::*;

const PLAIN: &[u8] = include_bytes!("samples/plain.vcdiff");
const LZMA: &[u8] = include_bytes!("samples/lzma.vcdiff");
const DJW: &[u8] = include_bytes!("samples/djw.vcdiff");

fn line(number: u32) -> String {
    format!("line {number} of the old image\n")
}

fn old() -> String {
    (0..2000).map(line).collect()
}

fn new() -> String {
    (500..2600).map(|number| if number % 97 == 5 { format!("changed {}\n", number * 7919 % 10007) } else { line(number) }).collect()
}

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

fn patched(base: &[u8], delta: &[u8], limit: u64) -> Result<Vec<u8>, String> {
    let mut target = file(b"");
    let mut seen = 0;
    let made = apply(file(base).as_fd(), file(delta).into(), target.as_fd(), limit, &mut |bytes| seen = bytes);
    let made = made.map_err(|failure| failure.to_string())?;
    let mut bytes = Vec::new();
    target.read_to_end(&mut bytes).unwrap();
    assert_eq!((made, seen), (bytes.len() as u64, bytes.len() as u64));
    Ok(bytes)
}

/// A delta of one window with these sections, over the first `segment` bytes of the base.
fn delta(segment: u8, size: u8, data: &[u8], instructions: &[u8], addresses: &[u8]) -> Vec<u8> {
    let lengths = [data, instructions, addresses].map(|section| u8::try_from(section.len()).unwrap());
    let window = [&[size, 0], lengths.as_slice(), data, instructions, addresses].concat();
    [&[0xd6, 0xc3, 0xc4, 0, 0, 1, segment, 0, u8::try_from(window.len()).unwrap()], window.as_slice()].concat()
}

#[test]
fn what_xdelta3_made_is_undone() {
    for delta in [PLAIN, LZMA] {
        assert!(patched(old().as_bytes(), delta, 1 << 20).unwrap() == new().as_bytes());
    }
    let error = patched(old().as_bytes(), DJW, 1 << 20).unwrap_err();
    assert_eq!(error, "a delta compressed by djw is not supported; make it with xdelta3 -S lzma or -S none");
}

#[test]
fn each_step_makes_its_bytes() {
    let base = b"0123456789";
    // Two bytes added, one byte five times, four copied across the segment's end, six that copy what they make.
    let all = delta(10, 17, b"abx", &[3, 0, 5, 20, 22], &[8, 20]);
    assert_eq!(patched(base, &all, 17).unwrap(), b"abxxxxx89abbbbbbb");
    // Copied from what an earlier window made.
    let first = delta(10, 4, b"", &[20], &[2]);
    let second = [2, 4, 0, 7, 4, 0, 0, 1, 1, 20, 0].as_slice();
    assert_eq!(patched(base, &[&first, second].concat(), 100).unwrap(), b"23452345");
}

#[test]
fn every_beginning_and_another_base_are_refused() {
    for delta in [PLAIN, LZMA] {
        for length in (0..delta.len()).step_by(7) {
            // One that ends with a window makes the beginning of the file; the hash tells.
            if let Ok(bytes) = patched(old().as_bytes(), &delta[..length], 1 << 20) {
                assert!(bytes.len() % 16384 == 0 && new().as_bytes().starts_with(&bytes), "{length}");
            }
        }
        let other = old().replace("line 7", "LINE 7");
        let error = patched(other.as_bytes(), delta, 1 << 20).unwrap_err();
        assert!(error.contains("it was made for another image"), "{error}");
        let error = patched(&old().as_bytes()[..1000], delta, 1 << 20).unwrap_err();
        assert!(error.contains("it was made for another image"), "{error}");
    }
}

#[test]
fn claims_are_not_believed() {
    #[track_caller]
    fn check(delta: &[u8], expect: &str) {
        let error = patched(b"0123456789", delta, 1 << 30).unwrap_err();
        assert!(error.contains(expect), "{error}");
    }
    check(b"", "cut short");
    check(b"BZh91AY", "does not begin as VCDIFF files do");
    check(&[0xd6, 0xc3, 0xc4, 0, 8], "bits that mean nothing");
    check(&[0xd6, 0xc3, 0xc4, 0, 2], "codes of its own");
    check(&[0xd6, 0xc3, 0xc4, 0, 4, 0xff, 0xff, 0xff, 0x7f], "larger than xdelta3 makes");
    check(&[0xd6, 0xc3, 0xc4, 0, 1, 99], "compressed by method 99");
    let start = [0xd6, 0xc3, 0xc4, 0, 0];
    check(&[&start[..], &[3]].concat(), "bits that mean nothing");
    check(&[&start[..], &[1, 11, 0]].concat(), "behind the end");
    check(&[&start[..], &[2, 1, 0]].concat(), "behind the end");
    check(&[&start[..], &[1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]].concat(), "too large");
    check(&[&start[..], &[0, 9, 0xc0, 0x80, 0x80, 0]].concat(), "larger than those of xdelta3");
    check(&[&start[..], &[0, 5, 1, 1, 0, 0, 0]].concat(), "compressed by nothing");
    check(&[&start[..], &[0, 9, 1, 0, 0, 0, 0]].concat(), "do not fill it");
    check(&delta(10, 4, b"", &[20], &[10]), "not there yet");
    check(&delta(10, 3, b"", &[20], &[0]), "more bytes than it says");
    check(&delta(10, 5, b"", &[20], &[0]), "do not belong together");
    check(&delta(10, 4, b"x", &[20], &[0]), "do not belong together");
    check(&delta(10, 4, b"", &[20], &[0, 0]), "do not belong together");
    check(&delta(10, 4, b"a", &[5], &[]), "shorter than another one says");
    check(&delta(10, 100, b"a", &[0, 0xff, 0xff, 0xff, 0xff, 0x7f], &[]), "more bytes than it says");
    let error = patched(b"0123456789", &delta(10, 4, b"", &[20], &[0]), 3).unwrap_err();
    assert_eq!(error, "the archive has more than 3 bytes, which is the limit here");
}

#[test]
fn any_damage_is_an_answer() {
    let mut seed = 7_u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    for delta in [PLAIN, LZMA] {
        for _ in 0..300 {
            let mut damaged = delta.to_vec();
            let at = random(damaged.len());
            damaged[at] ^= 1 << random(8);
            // The checksums of windows find what the format does not.
            if let Ok(bytes) = patched(old().as_bytes(), &damaged, 1 << 20) {
                assert!(bytes == new().as_bytes() || bytes.len() < new().len(), "byte {at}");
            }
        }
    }
}
