//! The exchange of keys: `curve25519-sha256` with a host key of `ssh-ed25519`.
//!
//! Source: RFC 4253, sections 7 and 8; RFC 8731; RFC 8709; OpenSSH's PROTOCOL, section 1.10, for the strict exchange, which leaves
//! nobody in between a message to drop or to add before packets are counted under a key.

use ring::agreement::{self, EphemeralPrivateKey, UnparsedPublicKey, X25519};
use ring::digest::{Context, SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair};

use crate::SshError;
use crate::field::{Fields, Text};
use crate::message;

/// The key by which clients know a server again.
pub struct HostKey {
    pair: Ed25519KeyPair,
}

const HOST_KEY: &str = "ssh-ed25519";
const STRICT_SERVER: &str = "kex-strict-s-v00@openssh.com";
const STRICT_CLIENT: &[u8] = b"kex-strict-c-v00@openssh.com";

/// What this server speaks, in the order of the message: each kind with its names.
const SPOKEN: [(&str, &[&str]); 8] = [
    ("exchange of keys", &["curve25519-sha256", "curve25519-sha256@libssh.org"]),
    ("host key", &[HOST_KEY]),
    ("cipher", &["chacha20-poly1305@openssh.com"]),
    ("cipher", &["chacha20-poly1305@openssh.com"]),
    // The cipher has its own; some clients want one to be there.
    ("check of packets", &["hmac-sha2-256", "hmac-sha2-512", "hmac-sha1"]),
    ("check of packets", &["hmac-sha2-256", "hmac-sha2-512", "hmac-sha1"]),
    ("compression", &["none"]),
    ("compression", &["none"]),
];

impl HostKey {
    /// Makes a key.
    ///
    /// # Errors
    /// [`SshError::Random`].
    pub fn generate() -> Result<Self, SshError> {
        let seed: [u8; 32] = random()?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| SshError::Random)?;
        Ok(Self { pair })
    }

    fn public(&self) -> Vec<u8> {
        Text::default().string(HOST_KEY.as_bytes()).string(self.pair.public_key().as_ref()).0
    }

    fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        Text::default().string(HOST_KEY.as_bytes()).string(self.pair.sign(bytes).as_ref()).0
    }
}

/// A word of this many letters and digits that nobody can guess, where it is long enough.
///
/// # Errors
/// [`SshError::Random`].
pub fn secret(length: usize) -> Result<String, SshError> {
    // As many as divide 256, and none that looks like another.
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    (0..length).map(|_| random::<1>().map(|[byte]| char::from(LETTERS[usize::from(byte % 32)]))).collect()
}

/// Random bytes.
fn random<const N: usize>() -> Result<[u8; N], SshError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| SshError::Random)?;
    Ok(bytes)
}

/// The message that says what this server speaks.
pub(crate) fn offer() -> Result<Vec<u8>, SshError> {
    let mut text = Text::of(message::KEX_INIT);
    text.0.extend_from_slice(&random::<16>()?);
    for (place, (_, names)) in SPOKEN.iter().enumerate() {
        let list = names.join(",");
        text = text.string(if place == 0 { format!("{list},{STRICT_SERVER}") } else { list }.as_bytes());
    }
    // No languages; no guess; nothing.
    Ok(text.string(b"").string(b"").flag(false).number(0).0)
}

/// What comes of the two offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Agreed {
    /// The client does the strict exchange too.
    pub(crate) strict: bool,
    /// The client's next message is a guess that was wrong.
    pub(crate) skip: bool,
}

/// Reads the client's offer.
pub(crate) fn agree(theirs: &[u8]) -> Result<Agreed, SshError> {
    let mut fields = Fields(theirs);
    // The number of the message and the cookie.
    fields.skip(17)?;
    let mut agreed = Agreed { strict: false, skip: false };
    let mut guessed = true;
    for (place, (kind, ours)) in SPOKEN.iter().enumerate() {
        let mut names = fields.string()?.split(|byte| *byte == b',');
        let known = |name: &&[u8]| ours.iter().any(|ours| ours.as_bytes() == *name);
        let first = names.clone().next();
        agreed.strict |= place == 0 && names.clone().any(|name| name == STRICT_CLIENT);
        if !names.any(|name| known(&name)) {
            return Err(SshError::NoCommon(kind, ours.first().copied().unwrap_or_default()));
        }
        guessed &= place > 1 || first == ours.first().map(|name| name.as_bytes());
    }
    fields.string()?;
    fields.string()?;
    agreed.skip = fields.flag()? && !guessed;
    Ok(agreed)
}

/// What both ends have said before keys are made.
pub(crate) struct Said<'a> {
    pub(crate) their_version: &'a [u8],
    pub(crate) our_version: &'a [u8],
    pub(crate) their_offer: &'a [u8],
    pub(crate) our_offer: &'a [u8],
}

/// What comes of an exchange.
pub(crate) struct Keys {
    /// The answer to the client.
    pub(crate) reply: Vec<u8>,
    /// Names the connection, if it is its first.
    pub(crate) hash: Vec<u8>,
    pub(crate) from_client: [u8; 64],
    pub(crate) to_client: [u8; 64],
}

/// Makes keys with what the client has sent of its own.
pub(crate) fn exchange(host: &HostKey, said: &Said<'_>, message: &[u8], session: Option<&[u8]>) -> Result<Keys, SshError> {
    let theirs = Fields(message.get(1..).unwrap_or_default()).string()?;
    let rng = SystemRandom::new();
    let private = EphemeralPrivateKey::generate(&X25519, &rng).map_err(|_| SshError::Random)?;
    let ours = private.compute_public_key()?;
    let key = host.public();
    // It fails for points that would make the secret one that everybody knows.
    agreement::agree_ephemeral(private, &UnparsedPublicKey::new(&X25519, theirs), |secret| {
        let secret = Text::default().big_number(secret).0;
        let all = Text::default().string(said.their_version).string(said.our_version).string(said.their_offer).string(said.our_offer);
        let mut all = all.string(&key).string(theirs).string(ours.as_ref()).0;
        all.extend_from_slice(&secret);
        let hash = digest(&SHA256, &all).as_ref().to_vec();
        let session = session.unwrap_or(&hash);
        Keys {
            reply: Text::of(message::KEX_ECDH_REPLY).string(&key).string(ours.as_ref()).string(&host.sign(&hash)).0,
            from_client: stretched(&secret, &hash, b'C', session),
            to_client: stretched(&secret, &hash, b'D', session),
            hash,
        }
    })
    .map_err(SshError::from)
}

/// 64 bytes of key. Source: RFC 4253, section 7.2.
fn stretched(secret: &[u8], hash: &[u8], letter: u8, session: &[u8]) -> [u8; 64] {
    let of = |parts: [&[u8]; 2]| {
        let mut context = Context::new(&SHA256);
        [secret, hash, parts[0], parts[1]].into_iter().for_each(|part| context.update(part));
        context.finish()
    };
    let first = of([&[letter], session]);
    let second = of([first.as_ref(), &[]]);
    let mut key = [0; 64];
    key[..32].copy_from_slice(first.as_ref());
    key[32..].copy_from_slice(second.as_ref());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(lists: [&str; 8], guess: bool) -> Result<Agreed, SshError> {
        let mut text = Text::of(message::KEX_INIT);
        text.0.extend_from_slice(&[0; 16]);
        let text = lists.into_iter().fold(text, |text, list| text.string(list.as_bytes()));
        agree(&text.string(b"").string(b"").flag(guess).number(0).0)
    }

    #[test]
    fn there_must_be_a_way_that_both_know() {
        let (kex, key, cipher, mac) =
            ("sntrup761x25519-sha512,curve25519-sha256", "ssh-ed25519", "chacha20-poly1305@openssh.com", "hmac-sha2-256");
        let all = [kex, key, cipher, cipher, mac, mac, "none", "none"];
        assert_eq!(client(all, false), Ok(Agreed { strict: false, skip: false }));
        assert_eq!(client(all, true), Ok(Agreed { strict: false, skip: true }), "it guessed another exchange");
        let strict = "curve25519-sha256,kex-strict-c-v00@openssh.com";
        assert_eq!(client([strict, key, cipher, cipher, mac, mac, "none", "none"], true), Ok(Agreed { strict: true, skip: false }));
        let old = client([kex, "ssh-rsa", cipher, cipher, mac, mac, "none", "none"], false);
        assert_eq!(old, Err(SshError::NoCommon("host key", "ssh-ed25519")));
        assert_eq!(agree(&offer().unwrap()), Ok(Agreed { strict: false, skip: false }));
        assert_eq!(agree(&[20; 30]), Err(SshError::Damaged));
    }

    #[test]
    fn a_point_without_a_secret_is_refused() {
        let said = Said { their_version: b"", our_version: b"", their_offer: b"", our_offer: b"" };
        let host = HostKey::generate().unwrap();
        let message = Text::of(message::KEX_ECDH_INIT).string(&[0; 32]).0;
        assert_eq!(exchange(&host, &said, &message, None).err(), Some(SshError::Damaged));
    }
}
