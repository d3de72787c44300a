//! Images, good and hostile, go through the real program in its sandbox.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests fail as tests do")]

mod archives;
mod bombs;
mod cancelled;
mod confined;
mod formats;
mod hostile;
mod kept;
mod layers;
mod lifetime;
mod round_trip;
mod settle;
mod squashfs;
mod world;
