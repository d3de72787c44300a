//! An image's way through the house: received, looked at, kept, handed out, unpacked.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};

use coffer_base::{Bytes, Progress};
use coffer_image::{Incoming, Limits, Parts, UnpackRequest, Unpacker, export};

use crate::archives::{Archive, SAMPLE, sample};
use crate::world::{Image, file, listing, unpacker};

#[test]
fn received_inspected_kept_exported_unpacked() {
    let dir = tempfile::tempdir().unwrap();
    let images = File::open(dir.path()).unwrap();
    let (metadata, rootfs) = (Archive::image().end(), Archive::default().dir("./").file("./x", "y").end());
    let mut incoming = Incoming::begin(images.as_fd(), Some(Bytes(1 << 20)), None, Progress::default()).unwrap();
    metadata.chunks(1000).for_each(|chunk| Incoming::write(&mut incoming, chunk).unwrap());
    incoming.begin_rootfs().unwrap();
    incoming.write_all(&rootfs).unwrap();
    let arrived = incoming.finish().unwrap();
    let inspected = arrived.inspect(&unpacker(), Limits::default(), true, &Progress::default()).unwrap();
    assert_eq!(inspected.metadata.architecture.as_str(), "x86_64");
    let stored = arrived.keep().unwrap();
    assert_eq!((stored.parts, stored.size), (Parts::Split, (metadata.len() + rootfs.len()) as u64));
    let export = export(images.as_fd(), &stored.fingerprint).unwrap();
    let names: Vec<&str> = export.parts.iter().map(|part| part.filename.as_str()).collect();
    assert_eq!(names, [format!("meta-{}.tar", stored.fingerprint), format!("{}.tar", stored.fingerprint)]);
    let mut again = Vec::new();
    for mut part in export.parts {
        part.file.read_to_end(&mut again).unwrap();
    }
    assert_eq!(again, [metadata, rootfs].concat());
    coffer_image::receive::remove(images.as_fd(), &stored.fingerprint).unwrap();
    assert_eq!(listing(dir.path()), "");
}

#[test]
fn progress_is_told() {
    let image = Archive::image().file("rootfs/big", &"x".repeat(20 << 20)).end();
    let steps = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&steps);
    let progress = Progress::to(move |step| heard.lock().unwrap().push((step.done, step.total)));
    let (bytes, dir) = (file(&image), tempfile::tempdir().unwrap());
    let target = File::open(dir.path()).unwrap();
    let request = UnpackRequest { metadata: bytes.as_fd(), rootfs: None, target: target.as_fd(), limits: Limits::default() };
    unpacker().unpack(&request, &progress).unwrap();
    let steps = steps.lock().unwrap();
    assert!(steps.len() >= 4 && steps.is_sorted(), "{steps:?}");
    assert!(steps.iter().all(|(done, total)| *done <= image.len() as u64 && *total == Some(image.len() as u64)), "{steps:?}");
}

#[test]
fn unpackers_do_not_disturb_each_other() {
    let bytes = file(&sample().end());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let dir = tempfile::tempdir().unwrap();
                let target = File::open(dir.path()).unwrap();
                let request = UnpackRequest { metadata: bytes.as_fd(), rootfs: None, target: target.as_fd(), limits: Limits::default() };
                unpacker().unpack(&request, &Progress::default()).unwrap();
                assert_eq!(listing(dir.path()).lines().count(), SAMPLE.trim().lines().count());
            });
        }
    });
}

#[test]
fn a_program_that_is_not_there_or_not_ours() {
    let dir = tempfile::tempdir().unwrap();
    let (bytes, target) = (file(b"x"), File::open(dir.path()).unwrap());
    let request = UnpackRequest { metadata: bytes.as_fd(), rootfs: None, target: target.as_fd(), limits: Limits::default() };
    let error = Unpacker::at("/does/not/exist").unpack(&request, &Progress::default()).unwrap_err();
    assert_eq!(coffer_base::chain(&error), "starting the unpacker: program /does/not/exist is not installed");
    let error = Unpacker::at("/bin/true").unpack(&request, &Progress::default()).unwrap_err();
    assert!(matches!(error, coffer_image::UnpackError::Silent { .. } | coffer_image::UnpackError::Talk(_)), "{error}");
}

#[test]
fn started_by_hand_it_says_what_it_is() {
    let error = coffer_base::run::Program::new(env!("CARGO_BIN_EXE_coffer-unpack")).run().unwrap_err();
    assert!(error.to_string().contains("this program is started by cofferd only"), "{error}");
}

#[test]
fn a_target_with_something_in_it_keeps_it() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("backup.yaml"), "mine").unwrap();
    std::fs::create_dir(dir.path().join("rootfs")).unwrap();
    let image = Image::unified(Archive::image().dir("rootfs").file("rootfs/a", "b").end());
    image.unpack_into(dir.path(), Limits::default()).unwrap();
    assert_eq!(listing(dir.path()), "f 644 0:0 backup.yaml \"mine\"\nd 755 0:0 rootfs\nf 644 0:0 rootfs/a \"b\"\n");
    // A second image over it is an error, not a mixture.
    assert!(image.unpack_into(dir.path(), Limits::default()).unwrap_err().contains("writing metadata.yaml: File exists"));
}
