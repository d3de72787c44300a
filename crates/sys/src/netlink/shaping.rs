//! Limits of what a link sends: a token bucket in front of it.

use std::io;

use super::message::Batch;
use super::socket::RouteSocket;

const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;
const TCA_TBF_BURST: u16 = 6;
const ROOT: u32 = 0xffff_ffff;
/// `1:0`, so that a later change meets what an earlier one made.
const HANDLE: u32 = 0x0001_0000;
/// `TC_LINKLAYER_ETHERNET`: the kernel counts bytes itself and wants no table of times.
const ETHERNET: u8 = 1;
/// The smallest bucket: several of the largest packets that a link hands on at once.
const LEAST_BURST: u64 = 256 << 10;
/// Packets wait no longer than this, in parts of a second.
const LONGEST_WAIT: u64 = 10;

impl RouteSocket {
    /// Holds what a link sends to `bytes` a second, whatever held it before.
    ///
    /// # Errors
    /// `ENODEV` if the link is gone, `ENOENT` where the kernel has no token buckets (`sch_tbf`).
    ///
    /// Source: tc-tbf(8); `TCA_TBF_BURST`: Linux 3.15.
    pub fn limit_sending(&mut self, index: u32, bytes: u64) -> io::Result<()> {
        let mut batch = Batch::new();
        let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
        batch.message(libc::RTM_NEWQDISC, flags, &traffic(index, HANDLE)).text(TCA_KIND, "tbf");
        // Enough for a tick of a slow clock (100 a second), and for what comes in one piece.
        let burst = LEAST_BURST.max(bytes / 100).min(u64::from(u32::MAX)) as u32;
        let queue = (bytes / LONGEST_WAIT).clamp(u64::from(burst), u64::from(u32::MAX)) as u32;
        batch.nested(TCA_OPTIONS, |options| {
            options.attribute(TCA_TBF_PARMS, &parameters(bytes, queue)).number(TCA_TBF_BURST, burst);
            if bytes > u64::from(u32::MAX) {
                options.attribute(TCA_TBF_RATE64, &bytes.to_ne_bytes());
            }
        });
        self.change(batch)
    }

    /// Takes the limit of what a link sends away; without one there is none to take.
    ///
    /// # Errors
    /// `ENODEV` if the link is gone.
    pub fn unlimit_sending(&mut self, index: u32) -> io::Result<()> {
        let mut batch = Batch::new();
        batch.message(libc::RTM_DELQDISC, libc::NLM_F_ACK, &traffic(index, HANDLE));
        match self.change(batch) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL)) => Ok(()),
            other => other,
        }
    }
}

/// `struct tcmsg` of a link's outermost queue.
fn traffic(index: u32, handle: u32) -> [u8; 20] {
    let mut header = [0; 20];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&handle.to_ne_bytes());
    header[12..16].copy_from_slice(&ROOT.to_ne_bytes());
    header
}

/// `struct tc_tbf_qopt`: the rate, no peak, the queue's length in bytes; bucket and packet are said elsewhere.
fn parameters(bytes: u64, queue: u32) -> [u8; 36] {
    let mut options = [0; 36];
    options[1] = ETHERNET;
    let rate = u32::try_from(bytes).unwrap_or(u32::MAX);
    options[8..12].copy_from_slice(&rate.to_ne_bytes());
    options[24..28].copy_from_slice(&queue.to_ne_bytes());
    options
}
