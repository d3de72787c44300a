//! Reads hostile bytes: unpacks an image's files for the daemon that started it.

use std::process::ExitCode;

fn main() -> ExitCode {
    coffer_image::unpack::worker::main()
}
