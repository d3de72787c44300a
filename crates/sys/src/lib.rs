//! Safe wrappers over the kernel's calls: the only crate of the product with `unsafe`.
//!
//! Invariants: descriptors are owned or borrowed, never bare numbers; processes are pidfds, never pids that may be
//! recycled; one call a block, with a SAFETY comment that names what the callee demands. No policy, no product words.

pub mod bpf;
pub mod btrfs;
pub mod cred;
pub mod heap;
pub mod loop_device;
pub mod mount;
pub mod netlink;
pub mod ns;
pub mod path;
pub mod pipe;
pub mod process;
pub mod pty;
pub mod quota;
pub mod schedule;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod writeout;
pub mod xattr;
