//! What most tests start from.

use coffer_testkit::{Daemon, Options, can_run, has_genuine_client};

/// A daemon with a pool, a bridge and the busybox image; none where containers cannot run.
#[track_caller]
pub fn ready_daemon() -> Option<Daemon> {
    ready_daemon_with(Options::default())
}

/// Like [`ready_daemon`], started in a way of its own.
#[track_caller]
pub fn ready_daemon_with(options: Options) -> Option<Daemon> {
    if !can_run() {
        return None;
    }
    let daemon = Daemon::start_with(options);
    daemon.initialise("dir");
    daemon.import_busybox();
    Some(daemon)
}

/// Like [`ready_daemon`], where the genuine client is installed too.
#[track_caller]
pub fn ready_for_genuine_client() -> Option<Daemon> {
    if has_genuine_client() { ready_daemon() } else { None }
}

/// Makes a client's certificate and key in the daemon's surroundings, and answers where each is.
#[track_caller]
pub fn client_certificate(daemon: &Daemon, name: &str) -> (String, String) {
    let path = |ending: &str| daemon.scratch().join(format!("{name}.{ending}")).display().to_string();
    let (certificate, key) = (path("crt"), path("key"));
    let subject = format!("/CN={name}");
    let words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp384r1", "-nodes", "-days", "30", "-subj", &subject];
    daemon.inside("openssl", words.iter().chain(&["-keyout", &key, "-out", &certificate])).ok();
    (certificate, key)
}

/// Expects that a text holds all of these words.
#[track_caller]
pub fn holds(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "no {word:?} in: {text}");
    }
}
