//! Images: taken in, unpacked for the first time on each pool, and listed from a server with a thousand products.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use coffer_test_images::{Image, Release};
use coffer_testkit::{Authority, ImageServer, Offer, images};
use serde_json::json;

use crate::Plan;
use crate::contender::Contender;
use crate::lists::time_to_enter;
use crate::samples::{Samples, Side};
use crate::scenes::in_turn;

/// Products that the server offers.
const PRODUCTS: usize = 1000;

/// The Debian image in the forms that it is taken in.
struct Forms {
    image: Image,
    zstd: PathBuf,
}

/// Measures all of it.
///
/// # Errors
/// An image is not made, or cannot be packed anew.
pub fn measure(plan: &Plan, contenders: &mut [Contender], samples: &mut Samples) -> Result<(), String> {
    let scratch = contenders.first().map(|contender| contender.daemon.scratch()).unwrap_or_default();
    let image = images::debian(Release::Bookworm).ok_or("the Debian image is not made; `cargo xtask images bookworm` makes it")?;
    let zstd = packed_anew(&image.unified, &scratch)?;
    let forms = Forms { image, zstd };
    for round in 0..plan.rounds {
        eprintln!("images: round {} of {}", round + 1, plan.rounds);
        for contender in in_turn(contenders, round) {
            import("image import, unified", "bb", &[&images::busybox().unified], contender, samples);
        }
        for (what, files) in forms.all() {
            for contender in in_turn(contenders, round) {
                import(&format!("image import, {what}"), "deb", &files, contender, samples);
            }
        }
    }
    for round in 0..plan.rounds.div_ceil(3) {
        for (what, files) in forms.all() {
            for pool in ["dir", "btrfs", "host"] {
                for contender in in_turn(contenders, round) {
                    unpack(&format!("image unpack, {what}"), pool, &files, contender, samples);
                }
            }
        }
    }
    for contender in contenders.iter_mut() {
        list(plan, contender, samples);
    }
    Ok(())
}

impl Forms {
    fn all(&self) -> Vec<(&'static str, Vec<&Path>)> {
        let split = self.image.squashfs.as_deref().map(|squashfs| ("split", vec![self.image.metadata.as_path(), squashfs]));
        let whole = [("tar.xz", vec![self.image.unified.as_path()]), ("tar.zst", vec![self.zstd.as_path()])];
        split.into_iter().chain(whole).collect()
    }
}

/// Packs an archive with zstd, at the level at which images are.
fn packed_anew(archive: &Path, scratch: &Path) -> Result<PathBuf, String> {
    let failed = |error: std::io::Error| format!("packing the Debian image with zstd: {error}");
    let path = scratch.join("unified.tar.zst");
    let mut unpacking =
        Command::new("xz").args(["--decompress", "--stdout"]).arg(archive).stdout(Stdio::piped()).spawn().map_err(failed)?;
    let text = unpacking.stdout.take().map_or_else(Stdio::null, Stdio::from);
    let packing = Command::new("zstd").args(["-q", "-9", "-T0", "-o"]).arg(&path).stdin(text).status().map_err(failed)?;
    let unpacked = unpacking.wait().map_err(failed)?;
    if packing.success() && unpacked.success() { Ok(path) } else { Err(format!("xz ended with {unpacked}, zstd with {packing}")) }
}

fn words(files: &[&Path], alias: &str) -> Vec<String> {
    let files = files.iter().map(|file| file.display().to_string());
    let words = ["image".to_owned(), "import".into()].into_iter().chain(files);
    words.chain(["--alias".into(), alias.into()]).collect()
}

fn run(contender: &Contender, words: &[String]) -> Result<std::time::Duration, String> {
    contender.cli(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Takes an image in under another alias than it may have, and removes it.
fn import(what: &str, place: &str, files: &[&Path], contender: &Contender, samples: &mut Samples) {
    // LXD takes the same bytes only once.
    let again = if place == "bb" { "again" } else { "deb" };
    let _ = contender.cli(&["image", "delete", again]);
    match run(contender, &words(files, again)) {
        Ok(took) => samples.time(what, place, contender.side, took),
        Err(why) => samples.note(format!("{:?} cannot do {what}: {why}", contender.side)),
    }
    let _ = contender.cli(&["image", "delete", again]);
}

/// Makes the first instance from an image on a pool: what the next ones share, where the pool has that, is not there yet.
fn unpack(what: &str, pool: &str, files: &[&Path], contender: &Contender, samples: &mut Samples) {
    if let Err(why) = run(contender, &words(files, "deb")) {
        return samples.note(format!("{:?} cannot import: {why}", contender.side));
    }
    match contender.cli(&["init", "deb", "first", "--storage", pool]) {
        Ok(took) => samples.time(what, &format!("deb {pool}"), contender.side, took),
        Err(why) => samples.note(format!("{:?} cannot do {what}: {why}", contender.side)),
    }
    for words in [["delete", "first"].as_slice(), &["image", "delete", "deb"]] {
        if let Err(why) = contender.cli(words) {
            samples.note(format!("{:?}: {why}", contender.side));
        }
    }
}

/// Lists a server's images, and has the daemon find one among them.
fn list(plan: &Plan, contender: &mut Contender, samples: &mut Samples) {
    let authority = Authority::new(&contender.daemon.scratch());
    contender.daemon.set_env("SSL_CERT_FILE", &authority.file());
    contender.daemon.stop();
    contender.daemon.spawn();
    if let Err(why) = contender.daemon.wait_ready() {
        return samples.note(format!("{:?}: {why}", contender.side));
    }
    let server = ImageServer::start_with_tls(contender.daemon.pen(), &authority);
    server.offer(&images::busybox(), Offer::default());
    server.multiply("busybox:1:amd64", PRODUCTS - 1);
    let client = |words: &[&str]| {
        let invocation = match contender.side {
            Side::Ours => contender.daemon.coffer(words),
            Side::Lxd | Side::Runtime | Side::Crun | Side::CrunUser | Side::Lxc => contender.daemon.lxc(words),
        };
        let done = invocation.env("SSL_CERT_FILE", &authority.file()).run();
        if done.code == 0 { Ok(done) } else { Err(done.to_string()) }
    };
    if let Err(why) = client(&["remote", "add", "many", &server.url(), "--protocol=simplestreams", "--public"]) {
        return samples.note(format!("{:?}: {why}", contender.side));
    }
    let entering = time_to_enter(contender);
    let source = json!({"type": "image", "mode": "pull", "protocol": "simplestreams", "server": server.url(), "alias": "busybox"});
    let body = json!({"source": source});
    contender.daemon.api().expect("POST", "/1.0/images", Some(&body));
    for _ in 0..plan.rounds {
        match client(&["image", "list", "many:"]) {
            Ok(done) if lines(&done.stdout) >= PRODUCTS => {
                samples.time("list of 1,000 products", "", contender.side, done.took.saturating_sub(entering));
            }
            Ok(done) => samples.note(format!("{:?}: the list has {} lines", contender.side, lines(&done.stdout))),
            Err(why) => samples.note(format!("{:?}: {why}", contender.side)),
        }
        let began = Instant::now();
        contender.daemon.api().expect("POST", "/1.0/images", Some(&body));
        samples.time("API: find one of 1,000 products", "", contender.side, began.elapsed());
    }
}

fn lines(text: &[u8]) -> usize {
    text.iter().filter(|&&byte| byte == b'\n').count()
}
