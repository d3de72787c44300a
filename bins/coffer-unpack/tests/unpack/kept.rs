//! What must survive: capabilities, attributes, access lists, links, holes; and on which file systems.

use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use coffer_base::run::{Program, installed};
use coffer_image::Limits;
use coffer_image::unpack::Confinement;
use tar::EntryType;

use crate::archives::{Archive, METADATA, Member, SAMPLE, sample};
use crate::world::{Image, filesystem, listing};

/// `cap_net_raw+ep`, version 2, with a newline's byte in it.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x2a, 0, 0, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 1024];
    let length = rustix::fs::lgetxattr(path, name, &mut value).ok()?;
    value.truncate(length);
    Some(value)
}

#[test]
fn capabilities_attributes_and_access_lists() {
    let acl = "user::rw-,user:1000:r--,group::r--,mask::r--,other::r--";
    let records: [(&str, &[u8]); 5] = [
        ("SCHILY.xattr.security.capability", &CAPABILITY),
        ("SCHILY.xattr.user.note", b"a\nb"),
        ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
        ("SCHILY.xattr.security.selinux", b"unconfined"),
        ("SCHILY.acl.access", acl.as_bytes()),
    ];
    let ping = Member { content: b"ELF", owner: (0, 3), mode: 0o755, ..Member::of("rootfs/ping", EntryType::Regular) };
    let dir = Member::of("rootfs/shared", EntryType::Directory);
    let default: [(&str, &[u8]); 2] = [("SCHILY.acl.default", b"user::rwx,group::r-x,other::---"), ("SCHILY.xattr.user.dir", b"1")];
    let (dir, unpacked) =
        Image::unified(Archive::image().pax(&default, dir).file("rootfs/shared/f", "").pax(&records, ping).end()).unpack().unwrap();
    let ping = dir.path().join("rootfs/ping");
    // The kernel shows the capability of root's own user namespace in the short form that was stored.
    assert_eq!(xattr(&ping, "security.capability").unwrap()[..8], CAPABILITY[..8]);
    assert_eq!(xattr(&ping, "user.note").unwrap(), b"a\nb");
    assert_eq!(xattr(&ping, "system.posix_acl_access").unwrap().len(), 4 + 5 * 8);
    assert_eq!(xattr(&ping, "trusted.overlay.opaque"), None);
    let shared = dir.path().join("rootfs/shared");
    assert!(xattr(&shared, "system.posix_acl_default").is_some());
    assert_eq!(xattr(&shared, "user.dir").unwrap(), b"1");
    // The list came after the directory's content, which so kept the modes it was given.
    assert_eq!(xattr(&shared.join("f"), "system.posix_acl_access"), None);
    assert_eq!(unpacked.skipped_xattrs, 2);
}

#[test]
fn times_of_files_directories_and_links() {
    let (dir, _) = Image::unified(sample().dir("rootfs/d").file("rootfs/d/f", "x").symlink("rootfs/d/l", "f").end()).unpack().unwrap();
    for name in ["rootfs/d", "rootfs/d/f", "rootfs/d/l", "rootfs", "rootfs/pipe"] {
        assert_eq!(std::fs::symlink_metadata(dir.path().join(name)).unwrap().mtime(), 1_600_000_000, "{name}");
    }
}

#[test]
fn hard_links_are_one_file() {
    let archive = Archive::image()
        .file("rootfs/a", "x")
        .hard_link("rootfs/b/c", "rootfs/a")
        .symlink("rootfs/l", "a")
        .hard_link("rootfs/m", "rootfs/l");
    let (dir, _) = Image::unified(archive.end()).unpack().unwrap();
    let inode = |name: &str| std::fs::symlink_metadata(dir.path().join(name)).unwrap().ino();
    assert_eq!((inode("rootfs/a"), inode("rootfs/l")), (inode("rootfs/b/c"), inode("rootfs/m")));
}

#[test]
fn holes_stay_holes_in_every_form_that_tar_writes() {
    let work = tempfile::tempdir().unwrap();
    std::fs::create_dir(work.path().join("rootfs")).unwrap();
    std::fs::write(work.path().join("metadata.yaml"), METADATA).unwrap();
    let sparse = std::fs::File::create(work.path().join("rootfs/sparse")).unwrap();
    use std::os::unix::fs::FileExt;
    // More pieces than fit into one header, a hole at the start and one at the end.
    (1..=40_u32).for_each(|piece| sparse.write_all_at(&[piece as u8; 5000], u64::from(piece) << 20).unwrap());
    sparse.set_len(100 << 20).unwrap();
    let tail = std::fs::File::create(work.path().join("rootfs/only-a-hole")).unwrap();
    tail.set_len(10 << 20).unwrap();
    let whole = std::fs::read(work.path().join("rootfs/sparse")).unwrap();
    for form in [
        ["--format=gnu", ""],
        ["--format=pax", "--sparse-version=0.0"],
        ["--format=pax", "--sparse-version=0.1"],
        ["--format=pax", "--sparse-version=1.0"],
    ] {
        let archive = work.path().join("image.tar");
        let tar = Program::new("tar").arg("-S").args(form.iter().filter(|word| !word.is_empty())).arg("-cf").arg(&archive);
        tar.arg("-C").arg(work.path()).args(["metadata.yaml", "rootfs"]).run().unwrap();
        let image = Image::unified(std::fs::read(&archive).unwrap());
        assert!(image.metadata.len() < 1 << 20, "{form:?} has holes");
        let (dir, unpacked) = image.unpack().unwrap();
        assert!(std::fs::read(dir.path().join("rootfs/sparse")).unwrap() == whole, "{form:?}");
        let metadata = std::fs::metadata(dir.path().join("rootfs/sparse")).unwrap();
        assert!(metadata.blocks() * 512 < 1 << 20, "{form:?} takes {} blocks", metadata.blocks());
        assert_eq!(std::fs::metadata(dir.path().join("rootfs/only-a-hole")).unwrap().size(), 10 << 20);
        assert!(unpacked.bytes < 1 << 20, "{form:?}");
        image.inspect(true, Limits { bytes: 1 << 20, files: 10 }).unwrap();
    }
}

#[test]
fn what_the_hosts_tar_packs_comes_back() {
    let work = tempfile::tempdir().unwrap();
    let (dir, _) = Image::unified(sample().end()).unpack().unwrap();
    for format in ["v7", "oldgnu", "gnu", "ustar", "posix"] {
        let archive = work.path().join("image.tar");
        let tar = Program::new("tar").arg(format!("--format={format}")).arg("-cf").arg(&archive).arg("-C").arg(dir.path());
        let tar = if format == "v7" { tar.arg("--exclude=pipe") } else { tar };
        tar.arg(".").run().unwrap();
        let (again, _) = Image::unified(std::fs::read(&archive).unwrap()).unpack().unwrap();
        let expect: String =
            listing(dir.path()).lines().filter(|line| format != "v7" || !line.contains("pipe")).map(|line| format!("{line}\n")).collect();
        assert_eq!(listing(again.path()), expect, "{format}");
    }
}

#[test]
fn without_id_mapped_mounts_it_still_works_and_says_how() {
    // ramfs cannot map ids; tmpfs can.
    for (kind, expect) in [("ramfs", Confinement::Privileged), ("tmpfs", Confinement::Unprivileged)] {
        let mount = filesystem(kind, &[]);
        let path = format!("/proc/self/fd/{}/.", mount.as_fd().as_raw_fd());
        match Image::unified(sample().end()).unpack_into(Path::new(&path), Limits::default()) {
            Ok(unpacked) => {
                assert_eq!(unpacked.confinement, expect);
                let expect: String =
                    SAMPLE.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| format!("{line}\n")).collect();
                assert_eq!(listing(Path::new(&path)), expect);
            }
            Err(error) if error.contains("copying the target's mount") => println!("skipped: this kernel copies no unattached mount"),
            Err(error) => panic!("{kind}: {error}"),
        }
    }
}

#[test]
fn directories_that_pass_their_group_on() {
    let dir = tempfile::tempdir().unwrap();
    rustix::fs::chown(dir.path(), None, Some(rustix::fs::Gid::from_raw(42))).unwrap();
    rustix::fs::chmod(dir.path(), rustix::fs::Mode::from_raw_mode(0o2755)).unwrap();
    Image::unified(sample().end()).unpack_into(dir.path(), Limits::default()).unwrap();
    let text = listing(dir.path());
    assert!(text.contains("f 644 0:0 rootfs/mail/box") && text.contains("f 4755 0:8 rootfs/bin/su"), "{text}");
    assert!(installed("tar"));
}
