//! Hashing files on their way.

use std::io::{self, Read, Write};

use sha2::{Digest as _, Sha256};

/// Bytes taken at once.
const CHUNK: usize = 256 << 10;

/// Copies everything, and has these hashes see it; answers how many bytes there were.
pub(crate) fn copy(from: &mut dyn Read, to: &mut dyn Write, hashes: &mut [&mut Sha256]) -> io::Result<u64> {
    let mut chunk = vec![0; CHUNK];
    let mut all = 0;
    loop {
        let count = match from.read(&mut chunk) {
            Ok(0) => return Ok(all),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        for hash in hashes.iter_mut() {
            hash.update(&chunk[..count]);
        }
        to.write_all(&chunk[..count])?;
        all += count as u64;
    }
}

/// A hash as text.
pub(crate) fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
