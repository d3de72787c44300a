//! How much a directory holds and may hold: what Ceph's servers count themselves.

use std::io;
use std::os::fd::BorrowedFd;

use coffer_base::Bytes;
use rustix::fs::XattrFlags;
use rustix::io::Errno;

use crate::pool::Usage;

/// The most bytes that may be below a directory, or 0. Source: Ceph's documentation, CephFS quotas.
const LIMIT: &str = "ceph.quota.max_bytes";

/// How many bytes are below a directory. Source: ceph(7), virtual extended attributes.
const USED: &str = "ceph.dir.rbytes";

/// Limits what is below a directory, or lifts the limit.
pub(super) fn set(directory: BorrowedFd<'_>, size: Option<Bytes>) -> io::Result<()> {
    let text = size.map_or(0, |size| size.0).to_string();
    Ok(rustix::fs::fsetxattr(directory, LIMIT, text.as_bytes(), XattrFlags::empty())?)
}

/// Gives a directory the limit of another one.
pub(super) fn inherit(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    match number(from, LIMIT)? {
        None | Some(0) => Ok(()),
        Some(limit) => set(to, Some(Bytes(limit))),
    }
}

/// What is below a directory and may be.
pub(super) fn usage(directory: BorrowedFd<'_>) -> io::Result<Usage> {
    let used = number(directory, USED)?.unwrap_or_default();
    let limit = number(directory, LIMIT)?.filter(|limit| *limit > 0);
    Ok(Usage { used, exclusive: None, limit })
}

fn number(directory: BorrowedFd<'_>, name: &str) -> io::Result<Option<u64>> {
    let mut text = [0; 32];
    match rustix::fs::fgetxattr(directory, name, &mut text[..]) {
        Ok(length) => Ok(std::str::from_utf8(&text[..length]).ok().and_then(|text| text.trim_end_matches('\0').parse().ok())),
        // Where nothing was ever limited.
        Err(Errno::NODATA) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}
