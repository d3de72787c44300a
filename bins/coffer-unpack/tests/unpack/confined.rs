//! What the locked-in process still holds.

use std::fs;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;

use coffer_base::Progress;
use coffer_image::pack::Algorithm;
use coffer_image::{Compressor, Member, PackRequest};

use crate::world::unpacker;

/// What the descriptors are of the process that holds this pipe in a process namespace of its own.
fn held_by_worker(pipe: &File) -> Vec<PathBuf> {
    let own = fs::read_link(format!("/proc/self/fd/{}", pipe.as_raw_fd())).unwrap();
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let inner = |pid: &String| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let here = fs::read_to_string("/proc/self/status").unwrap();
        let depth = |text: &str| text.lines().find_map(|line| line.strip_prefix("NSpid:")).map_or(0, |ids| ids.split_whitespace().count());
        depth(&status) > depth(&here)
    };
    let pids = processes.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).filter(inner);
    let held = pids.map(|pid| {
        let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
        fds.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok()).collect::<Vec<_>>()
    });
    held.into_iter().find(|links| links.contains(&own)).expect("the worker")
}

#[test]
fn of_the_hosts_directories_it_holds_its_views_alone() {
    let source = tempfile::tempdir().unwrap();
    // More than fits into a pipe: the worker waits for us while we look at it.
    fs::write(source.path().join("big"), vec![7; 8 << 20]).unwrap();
    let directory = File::open(source.path()).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let (mut reader, writer) = (File::from(std::os::fd::OwnedFd::from(reader)), File::from(std::os::fd::OwnedFd::from(writer)));
    let held = std::thread::scope(|scope| {
        let packing = scope.spawn(|| {
            let members = [Member::Tree { name: "tree".into(), directory: 0, entry: ".".into(), ids: None, optional: false }];
            let compressor = Compressor { algorithm: Algorithm::None, level: 0 };
            let request = PackRequest {
                members: &members,
                directories: &[directory.as_fd()],
                files: &[],
                compressor,
                reproducible: None,
                output: writer.as_fd(),
                stage: "create_backup",
            };
            unpacker().pack(&request, &Progress::default()).map(|_| ()).map_err(|error| coffer_base::chain(&error))
        });
        let mut first = [0; 1];
        reader.read_exact(&mut first).unwrap();
        let held = held_by_worker(&reader);
        // Nobody reads any more: it ends.
        drop(reader);
        assert!(packing.join().unwrap().is_err());
        held
    });
    let directories: Vec<&PathBuf> = held.iter().filter(|link| link.is_absolute() && !link.starts_with("/dev")).collect();
    // Its view is a mount that stands nowhere, of which the kernel knows no path on the host.
    let host: Vec<_> = directories.iter().filter(|link| link.starts_with(source.path()) || link.starts_with("/tmp")).collect();
    assert!(host.is_empty(), "{held:?}");
}
