//! Unpacks an image from the command line and says how long it took: `unpack PROGRAM TARGET METADATA [ROOTFS]`.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Instant;

use coffer_image::{Limits, UnpackRequest, Unpacker};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [program, target, metadata, rootfs @ ..] = arguments.as_slice() else {
        eprintln!("usage: unpack PROGRAM TARGET METADATA [ROOTFS]");
        return ExitCode::FAILURE;
    };
    let open = |path: &String| File::open(path).map_err(|error| eprintln!("{path}: {error}"));
    let (Ok(target), Ok(metadata), Ok(rootfs)) = (open(target), open(metadata), rootfs.first().map(open).transpose()) else {
        return ExitCode::FAILURE;
    };
    let rootfs = rootfs.as_ref().map(AsFd::as_fd);
    let request = UnpackRequest { metadata: metadata.as_fd(), rootfs, target: target.as_fd(), limits: Limits::default() };
    let start = Instant::now();
    match Unpacker::at(program).unpack(&request, &coffer_base::Progress::default()) {
        Ok(unpacked) => {
            eprintln!("{unpacked:?} in {:?}", start.elapsed());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}", coffer_base::chain(&error));
            ExitCode::FAILURE
        }
    }
}
