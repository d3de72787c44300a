//! A single image that any web server offers at an address: who asks for the head of it is told where the image is, and its
//! hash.

use coffer_base::Architecture;
use coffer_web::{Dialer, FetchError, Fetcher, Proxies, Scheme, Trust, Url};

use crate::AGENT;
use crate::error::RemoteError;
use crate::image::is_hash;
use crate::server::{Hashing, Sink, hex};

/// The name of this way to get an image, as LXD's API has it.
pub const PROTOCOL: &str = "direct";

/// The header that tells the image's hash.
const HASH: &str = "lxd-image-hash";

/// The header that tells where the image is.
const PLACE: &str = "lxd-image-url";

/// An image that an address leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectImage {
    /// SHA-256 of its file.
    pub fingerprint: String,
    /// Where its file is.
    pub url: Url,
}

/// Asks an address which image it leads to.
///
/// # Errors
/// If it cannot be reached, refuses, or does not tell of an image; see [`RemoteError`].
pub async fn find(url: &Url, host: Architecture, proxies: Proxies) -> Result<DirectImage, RemoteError> {
    let runs: Vec<&str> = [host, Architecture::I686].into_iter().filter(|other| host.runs(*other)).map(Architecture::as_str).collect();
    let runs = if host == Architecture::I686 { host.as_str().to_owned() } else { runs.join(", ") };
    let headers = [("lxd-server-architectures", runs.as_str()), ("lxd-server-version", "5.0.2")];
    let reply = fetcher(url, proxies)?.head(url, &headers).await?.success()?;
    let lacking = |what: &str| RemoteError::Lacking { url: url.to_string(), what: what.to_owned() };
    let fingerprint = reply.header(HASH).to_ascii_lowercase();
    if !is_hash(&fingerprint) {
        return Err(lacking("the answer has no LXD-Image-Hash with an image's SHA-256: nothing there is an image for this server"));
    }
    let place = reply.header(PLACE);
    let found = reply.url().redirected(place).map_err(|_| lacking("the answer has no LXD-Image-URL that says where the image is"))?;
    if url.scheme() == Scheme::Https && found.scheme() == Scheme::Http {
        return Err(FetchError::Redirect { url: url.to_string(), to: found.to_string() }.into());
    }
    Ok(DirectImage { fingerprint, url: found })
}

/// Fetches an image: its bytes are in the sink when this succeeds, and hash to its fingerprint.
///
/// # Errors
/// See [`RemoteError`].
pub async fn fetch(image: &DirectImage, proxies: Proxies, sink: &mut dyn Sink) -> Result<(), RemoteError> {
    let mut reply = fetcher(&image.url, proxies)?.get(&image.url, &[]).await?.success()?;
    let mut hashing = Hashing::new(sink);
    while let Some(chunk) = reply.chunk().await? {
        hashing.write(&chunk)?;
    }
    let found = hex(hashing.finish());
    if found == image.fingerprint {
        return Ok(());
    }
    Err(RemoteError::Hash { url: image.url.to_string(), found, expected: image.fingerprint.clone() })
}

fn fetcher(url: &Url, proxies: Proxies) -> Result<Fetcher, RemoteError> {
    let dialer = match url.scheme() {
        Scheme::Https => Dialer::new(&Trust::Authorities, None, proxies)?,
        Scheme::Http => Dialer::clear(proxies)?,
    };
    Ok(Fetcher::new(dialer, AGENT))
}
