//! Work that is cancelled ends at once, also while it says nothing of itself.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use coffer_base::Progress;
use coffer_base::progress::{Listener, Step, Wake};
use coffer_image::pack::{Algorithm, Compressor, Member, PackRequest};

use crate::world::unpacker;

/// Cancels when it is told to.
#[derive(Default)]
struct Switch {
    cancelled: AtomicBool,
    waiting: Mutex<Vec<Weak<Wake>>>,
}

impl Switch {
    fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
        self.waiting.lock().unwrap().iter().filter_map(Weak::upgrade).for_each(|wake| wake());
    }
}

/// A listener that sees the switch.
struct Seen(Arc<Switch>);

impl Listener for Seen {
    fn hear(&self, _: Step) {}

    fn cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::SeqCst)
    }

    fn when_cancelled(&self, wake: &Arc<Wake>) {
        self.0.waiting.lock().unwrap().push(Arc::downgrade(wake));
    }
}

#[test]
fn a_packer_that_waits_for_its_reader_ends() {
    let source = tempfile::tempdir().unwrap();
    // Far more than fits into a pipe and all that is on the way: its writer waits, and tells of no progress.
    fs::write(source.path().join("big"), vec![7; 64 << 20]).unwrap();
    let directory = File::open(source.path()).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let (mut reader, writer) = (File::from(OwnedFd::from(reader)), File::from(OwnedFd::from(writer)));
    let switch = Arc::new(Switch::default());
    let progress = Progress::told_to(Seen(switch.clone()));
    let error = std::thread::scope(|scope| {
        let packing = scope.spawn(|| {
            let members = [Member::Tree { name: "tree".into(), directory: 0, entry: ".".into(), ids: None, optional: false }];
            let request = PackRequest {
                members: &members,
                directories: &[directory.as_fd()],
                files: &[],
                compressor: Compressor { algorithm: Algorithm::None, level: 0 },
                reproducible: None,
                output: writer.as_fd(),
                stage: "create_backup",
            };
            unpacker().pack(&request, &progress).map(|_| ()).unwrap_err()
        });
        reader.read_exact(&mut [0; 1]).unwrap();
        switch.cancel();
        // Nobody reads meanwhile: only the cancellation can end it.
        packing.join().unwrap()
    });
    assert!(coffer_base::chain(&error).contains("it was cancelled"), "{error}");
    // What the worker held is free: with our own end closed, the pipe has no writer left.
    drop(writer);
    reader.read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn one_that_is_cancelled_before_it_begins_does_not_begin() {
    let source = tempfile::tempdir().unwrap();
    let directory = File::open(source.path()).unwrap();
    let output = tempfile::tempfile().unwrap();
    let switch = Arc::new(Switch::default());
    switch.cancel();
    let members = [Member::Tree { name: "tree".into(), directory: 0, entry: ".".into(), ids: None, optional: false }];
    let request = PackRequest {
        members: &members,
        directories: &[directory.as_fd()],
        files: &[],
        compressor: Compressor { algorithm: Algorithm::Xz, level: 9 },
        reproducible: None,
        output: output.as_fd(),
        stage: "create_backup",
    };
    let error = unpacker().pack(&request, &Progress::told_to(Seen(switch))).unwrap_err();
    assert!(coffer_base::chain(&error).contains("it was cancelled"), "{error}");
}
