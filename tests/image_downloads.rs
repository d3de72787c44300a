//! Images that come in pieces: several at once, again where the connection broke, and as the difference to one that is here.

use coffer_test_images::{Image, Release};
use coffer_testkit::{Daemon, ImageServer, Offer, images};
use serde_json::{Value, json};

use crate::setting::ready_daemon;

/// Bytes of a piece of a large file.
const PIECE: usize = 2 << 20;

/// A daemon without images, and a server that offers an image of some pieces.
fn daemon_and_server() -> Option<(Daemon, ImageServer, String)> {
    let daemon = ready_daemon()?;
    daemon.api().expect("DELETE", daemon.api().get("/1.0/images")[0].as_str()?, None);
    let server = ImageServer::start(daemon.pen());
    let offered = server.offer(&large("first"), Offer { serial: OLD, ..Offer::default() });
    Some((daemon, server, offered))
}

const OLD: &str = "20261101_0000";
const NEW: &str = "20261102_0000";

/// Busybox with some megabytes that do not get smaller when they are packed, and a text.
pub fn large(text: &str) -> Image {
    images::spoiled(&format!("noise and {text}"), |root| {
        let mut seed = 7_u32;
        let noise = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        });
        std::fs::write(root.join("noise"), noise.take(5 * PIECE).collect::<Vec<_>>())?;
        std::fs::write(root.join("version"), text)
    })
}

fn copy(server: &ImageServer, image: &str) -> Value {
    json!({"source": {"type": "image", "mode": "pull", "protocol": "simplestreams", "server": server.url(), "alias": image}})
}

/// Has the daemon fetch an image, and returns what was asked of the server for it: the file's name, the first byte, the status.
#[track_caller]
fn fetched(daemon: &Daemon, server: &ImageServer, fingerprint: &str) -> Vec<(String, usize, u16)> {
    let before = server.requests().len();
    let done = daemon.api().expect("POST", "/1.0/images", Some(&copy(server, fingerprint)));
    assert_eq!(done["metadata"]["fingerprint"], fingerprint);
    let requests = server.requests().into_iter().skip(before).filter(|request| request.path.starts_with("images/"));
    requests.map(|request| (request.path.rsplit('/').next().unwrap_or_default().to_owned(), request.from, request.status)).collect()
}

#[test]
fn a_large_file_comes_in_pieces_several_at_once() {
    let Some((daemon, server, offered)) = daemon_and_server() else { return };
    // Neither of the two files is answered before the other is asked for.
    server.gather(0, 2);
    let mut pieces = fetched(&daemon, &server, &offered);
    assert!(server.has_gathered(), "the image's files were not asked for at once");
    pieces.retain(|(name, ..)| name == "root.squashfs");
    pieces.sort();
    let starts: Vec<_> = pieces.iter().map(|(_, from, status)| (*from, *status)).collect();
    assert_eq!(starts, (0..6).map(|piece| (piece * PIECE, 206)).collect::<Vec<_>>());
    daemon.run_instance_of(&offered, "c1");
    daemon.coffer(["delete", "--force", "c1"]).ok();
    // Four pieces behind the first are on their way together.
    daemon.api().expect("DELETE", &format!("/1.0/images/{offered}"), None);
    server.gather(1, 4);
    fetched(&daemon, &server, &offered);
    assert!(server.has_gathered(), "the pieces of a file were not asked for at once");
    // One that breaks off goes on where it was.
    daemon.api().expect("DELETE", &format!("/1.0/images/{offered}"), None);
    server.cut_once("root.squashfs", 100_000);
    let pieces = fetched(&daemon, &server, &offered);
    let again: Vec<_> = pieces.iter().filter(|(_, from, _)| *from > 0 && *from < PIECE).collect();
    assert!(matches!(again.as_slice(), [(_, from, 206)] if *from <= 100_000), "{pieces:?}");
    // A server without ranges sends the whole.
    daemon.api().expect("DELETE", &format!("/1.0/images/{offered}"), None);
    server.forget_ranges();
    let pieces = fetched(&daemon, &server, &offered);
    assert!(pieces.iter().all(|(.., status)| *status == 200), "{pieces:?}");
    daemon.run_instance_of(&offered, "c1");
}

#[test]
fn a_newer_image_comes_as_the_difference_to_one_that_is_here() {
    let Some((daemon, server, old)) = daemon_and_server() else { return };
    let new = server.offer(&large("second"), Offer { serial: NEW, ..Offer::default() });
    server.offer_delta("busybox:1:amd64", NEW, OLD, difference(&daemon, &large("first"), &large("second"), "lzma"));
    let names = |pieces: Vec<(String, usize, u16)>| {
        let mut names: Vec<_> = pieces.into_iter().map(|(name, ..)| name).collect();
        names.dedup();
        names
    };
    // Nothing is here that it could begin with.
    assert_eq!(names(fetched(&daemon, &server, &new)).last().map(String::as_str), Some("root.squashfs"));
    daemon.api().expect("DELETE", &format!("/1.0/images/{new}"), None);
    fetched(&daemon, &server, &old);
    assert_eq!(names(fetched(&daemon, &server, &new)), ["lxd.tar.xz", "delta.20261101_0000.vcdiff"]);
    daemon.run_instance_of(&new, "c1");
    assert_eq!(daemon.coffer(["exec", "c1", "--", "cat", "/version"]).ok(), "second");
    daemon.coffer(["delete", "--force", "c1"]).ok();

    // What does not lead to the image is an offer that is declined: the whole is fetched.
    let before = daemon.world();
    let whole = difference(&daemon, &large("first"), &large("second"), "none");
    let other = difference(&daemon, &large("first"), &large("other"), "none");
    let foreign = difference(&daemon, &large("second"), &large("first"), "none");
    let djw = difference(&daemon, &large("first"), &large("second"), "djw");
    for delta in [other, foreign, djw, whole[..whole.len() / 2].to_vec(), b"no delta".to_vec(), vec![0xd6, 0xc3, 0xc4, 0]] {
        daemon.api().expect("DELETE", &format!("/1.0/images/{new}"), None);
        server.offer_delta("busybox:1:amd64", NEW, OLD, delta);
        let names = names(fetched(&daemon, &server, &new));
        assert!(names.contains(&"delta.20261101_0000.vcdiff".to_owned()), "{names:?}");
        assert_eq!(names.last().map(String::as_str), Some("root.squashfs"));
    }
    daemon.expect_nothing_since(&before);
    daemon.run_instance_of(&new, "c1");
}

/// What `xdelta3` makes of two images' root file systems.
#[track_caller]
fn difference(daemon: &Daemon, old: &Image, new: &Image, secondary: &str) -> Vec<u8> {
    let squashfs = |image: &Image| image.squashfs.as_ref().expect("mksquashfs is among the test packages").display().to_string();
    let delta = daemon.scratch().join("delta");
    let words = ["-e", "-f", "-S", secondary, "-s", &squashfs(old), &squashfs(new), &delta.display().to_string()].map(str::to_owned);
    daemon.inside("xdelta3", words).ok();
    std::fs::read(delta).expect("a delta that was just made")
}

/// Kilobytes of a process' memory, as its status names them.
fn memory(daemon: &Daemon, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("a daemon that runs");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_else(|| panic!("no {field} in {status}"));
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}

#[test]
fn the_daemon_s_memory_does_not_grow_with_an_image() {
    let Some(image) = images::debian(Release::Bookworm) else { return };
    let Some(squashfs) = image.squashfs.clone() else { return };
    let Some(daemon) = ready_daemon() else { return };
    let server = ImageServer::start(daemon.pen());
    let offered = server.offer(&image, Offer::default());
    let size = std::fs::metadata(&squashfs).expect("a root file system").len() >> 10;
    let files = [&image.metadata, &squashfs].map(|file| file.display().to_string());
    // What the daemon needs for anything at all is there after the first time.
    let measured = |what: &str, take: &dyn Fn()| {
        let before = memory(&daemon, "VmRSS:");
        std::fs::write(format!("/proc/{}/clear_refs", daemon.pid()), "5").expect("a peak that is forgotten");
        take();
        let grown = memory(&daemon, "VmHWM:").saturating_sub(before);
        println!("{what}: {size} KiB of an image, {grown} KiB of the daemon's memory at the peak");
        assert!(grown < size / 2, "{what}: {size} KiB of an image took {grown} KiB of memory");
        daemon.coffer(["image", "delete", &offered]).clean();
    };
    measured("import", &|| drop(daemon.coffer(["image", "import", &files[0], &files[1]]).clean()));
    measured("download", &|| drop(fetched(&daemon, &server, &offered)));
}
