//! Keys of instances and profiles: one file for each few prefixes.

mod boot;
mod guest;
mod health;
mod image;
mod limits;
mod linux;
mod oci;
mod raw;
mod security;
mod snapshots;
mod syscalls;
mod user;

use crate::key::Key;

/// The parts, in the order of their names.
const PARTS: &[&[Key]] = &[
    boot::KEYS,
    guest::KEYS,
    health::KEYS,
    image::KEYS,
    limits::KEYS,
    linux::KEYS,
    oci::KEYS,
    raw::KEYS,
    security::KEYS,
    syscalls::KEYS,
    snapshots::KEYS,
    user::KEYS,
];

/// Keys of instances and profiles.
pub const INSTANCE: &[Key] = &joined::<{ length() }>();

const fn length() -> usize {
    let (mut sum, mut part) = (0, 0);
    while part < PARTS.len() {
        sum += PARTS[part].len();
        part += 1;
    }
    sum
}

/// Puts the parts one behind the other while the program is compiled.
const fn joined<const N: usize>() -> [Key; N] {
    let mut all = [PARTS[0][0]; N];
    let (mut at, mut part) = (0, 0);
    while part < PARTS.len() {
        let mut row = 0;
        while row < PARTS[part].len() {
            all[at] = PARTS[part][row];
            at += 1;
            row += 1;
        }
        part += 1;
    }
    all
}
