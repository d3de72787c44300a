//! One server of images: listing what it has, finding an image, and fetching it whole and right.

use std::fmt;
use std::io;
use std::str::FromStr;

use coffer_base::Architecture;
use coffer_web::{Certificate, Dialer, FetchError, Fetcher, Proxies, Trust, Url};
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use crate::AGENT;
use crate::cache::{Cache, Kept};
use crate::catalogue::{Catalogue, Found};
use crate::error::RemoteError;
use crate::image::RemoteImage;
use crate::lxd;
use crate::signature::{self, Signers};
use crate::simplestreams::{INDEX, Index, Products, date};

/// The largest index that is read.
const INDEX_LIMIT: usize = 8 << 20;

/// The largest list of products that is read.
const LIST_LIMIT: usize = 64 << 20;

/// Lists of products that an index may name.
const LISTS: usize = 16;

/// How often a file is asked for again in a row without a byte more of it.
pub(crate) const ATTEMPTS: u32 = 3;

/// How a server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Plain files: an index, lists, images.
    Simplestreams,
    /// A daemon's own API.
    Lxd,
    /// A registry of OCI images.
    Oci,
}

/// A protocol that nobody speaks here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("image servers are spoken to by simplestreams, lxd or oci, not by {0:?}")]
pub struct ProtocolError(pub String);

impl Protocol {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Simplestreams => "simplestreams",
            Self::Lxd => "lxd",
            Self::Oci => "oci",
        }
    }
}

impl FromStr for Protocol {
    type Err = ProtocolError;

    fn from_str(text: &str) -> Result<Self, ProtocolError> {
        match text {
            "simplestreams" => Ok(Self::Simplestreams),
            "lxd" | "" => Ok(Self::Lxd),
            "oci" => Ok(Self::Oci),
            other => Err(ProtocolError(other.to_owned())),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which image is wanted of a daemon, besides its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Opens an image that is not public.
    pub secret: String,
    /// The project that it is in there.
    pub project: String,
}

/// Takes in an image's bytes.
pub trait Sink: Send {
    /// Takes in the next bytes.
    ///
    /// # Errors
    /// If they can't be kept.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// The metadata is over; the root file system's bytes follow.
    ///
    /// # Errors
    /// If that can't be.
    fn begin_rootfs(&mut self) -> io::Result<()>;

    /// How many bytes there will be in all.
    fn expect(&mut self, bytes: u64);
}

/// One server of images.
pub struct Server {
    pub(crate) url: Url,
    pub(crate) fetcher: Fetcher,
    protocol: Protocol,
    cache: Option<Cache>,
    signers: Signers,
}

impl Server {
    /// Makes one. With a certificate the server must have that one; otherwise the host's authorities must vouch for it.
    ///
    /// # Errors
    /// If TLS is not set up here.
    pub fn new(
        url: Url,
        protocol: Protocol,
        certificate: Option<Certificate>,
        proxies: Proxies,
        cache: Option<Cache>,
    ) -> Result<Self, RemoteError> {
        let dialer = match (certificate, url.scheme()) {
            (Some(certificate), _) => Dialer::new(&Trust::Pinned(certificate), None, proxies)?,
            (None, coffer_web::Scheme::Https) => Dialer::new(&Trust::Authorities, None, proxies)?,
            (None, coffer_web::Scheme::Http) => Dialer::clear(proxies)?,
        };
        Ok(Self { url, protocol, fetcher: Fetcher::new(dialer, AGENT), cache, signers: Signers::default() })
    }

    /// Believes only what these have signed, as far as they say.
    ///
    /// # Errors
    /// [`RemoteError::SignsNothing`] where nothing could be signed.
    pub fn with_signers(self, signers: Signers) -> Result<Self, RemoteError> {
        match self.protocol {
            Protocol::Lxd | Protocol::Oci if signers.required => {
                Err(RemoteError::SignsNothing { server: self.url.to_string(), protocol: self.protocol.as_str() })
            }
            Protocol::Lxd | Protocol::Simplestreams | Protocol::Oci => Ok(Self { signers, ..self }),
        }
    }

    /// How it is spoken to.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// All that it offers.
    ///
    /// # Errors
    /// See [`RemoteError`].
    pub async fn catalogue(&self, wanted: &Wanted) -> Result<Catalogue, RemoteError> {
        match self.protocol {
            Protocol::Simplestreams => self.lists().await.map(Catalogue::new),
            Protocol::Lxd => lxd::images(self, wanted).await.map(Catalogue::new),
            Protocol::Oci => Err(self.no_list()),
        }
    }

    /// Finds the container image that a name means for a host of this architecture.
    ///
    /// # Errors
    /// See [`RemoteError`].
    pub async fn find(&self, name: &str, host: Architecture, wanted: &Wanted) -> Result<RemoteImage, RemoteError> {
        match self.protocol {
            Protocol::Lxd => return lxd::find(self, name, host, wanted).await,
            Protocol::Oci => return Err(self.no_list()),
            Protocol::Simplestreams => {}
        }
        let server = self.url.to_string();
        match self.catalogue(wanted).await?.find(name, host) {
            Found::One(image) => Ok(image.clone()),
            Found::None => Err(RemoteError::NoImage { server, name: name.to_owned(), architecture: host.to_string() }),
            Found::Several => Err(RemoteError::Ambiguous { server, name: name.to_owned() }),
        }
    }

    fn no_list(&self) -> RemoteError {
        RemoteError::NoList { registry: self.url.to_string() }
    }

    /// Fetches an image: its bytes are in the sink when this succeeds, and hash to its fingerprint.
    ///
    /// # Errors
    /// See [`RemoteError`].
    pub async fn fetch(&self, image: &RemoteImage, wanted: &Wanted, sink: &mut dyn Sink) -> Result<(), RemoteError> {
        sink.expect(image.size);
        let mut hashing = Hashing::new(sink);
        match self.protocol {
            Protocol::Simplestreams => self.files(&image.files, &mut hashing).await?,
            Protocol::Lxd => lxd::fetch(self, image, wanted, &mut hashing).await?,
            Protocol::Oci => return Err(self.no_list()),
        }
        let found = hex(hashing.whole);
        if found == image.fingerprint {
            return Ok(());
        }
        let url = format!("image {} of {}", &image.fingerprint[..12], self.url);
        Err(RemoteError::Hash { url, found, expected: image.fingerprint.clone() })
    }

    /// Checks a list against the signature beside it, if anybody here cares whose it is.
    async fn check_signature(&self, path: &str, body: &[u8]) -> Result<(), RemoteError> {
        if !self.signers.care() {
            return Ok(());
        }
        let url = self.url.below(&format!("{path}{}", signature::SUFFIX))?;
        let reply = self.fetcher.get(&url, &[]).await?;
        let file = match reply.status().as_u16() {
            404 | 410 => None,
            _ => Some(reply.success()?.bytes(signature::LIMIT).await?),
        };
        let checked = signature::check(path, body, file.as_deref(), &self.signers);
        checked.map(drop).map_err(|cause| RemoteError::Signature {
            url: self.url.below(path).map_or_else(|_| path.to_owned(), |url| url.to_string()),
            cause,
        })
    }

    async fn lists(&self) -> Result<Vec<RemoteImage>, RemoteError> {
        let index: Index = self.list(INDEX, INDEX_LIMIT, |index: &Index| &index.updated).await?;
        let mut images = Vec::new();
        for path in index.lists().into_iter().take(LISTS) {
            let products: Products = self.list(path, LIST_LIMIT, |products: &Products| &products.updated).await?;
            images.extend(products.images());
        }
        Ok(images)
    }

    /// Fetches a list, or takes the one that is kept if it is still the same. A list that is older than the kept one is refused.
    async fn list<T: DeserializeOwned>(&self, path: &str, limit: usize, updated: impl Fn(&T) -> &String) -> Result<T, RemoteError> {
        let url = self.url.below(path)?;
        let name = url.to_string();
        let kept = self.cache.as_ref().and_then(|cache| cache.get(&name));
        let known: Option<T> = kept.as_ref().and_then(|kept| serde_json::from_slice(&kept.body).ok());
        let mut conditions = Vec::new();
        if let Some(kept) = kept.as_ref().filter(|_| known.is_some()) {
            let pairs = [("if-none-match", kept.etag.as_str()), ("if-modified-since", kept.last_modified.as_str())];
            conditions.extend(pairs.into_iter().filter(|(_, value)| !value.is_empty()));
        }
        let reply = self.fetcher.get(&url, &conditions).await?;
        if let (304, Some(kept), true) = (reply.status().as_u16(), &kept, known.is_some()) {
            self.check_signature(path, &kept.body).await?;
            return known.ok_or_else(|| RemoteError::Lacking { url: name, what: "the kept list is gone".into() });
        }
        let reply = reply.success()?;
        let (etag, last_modified) = (reply.header("etag").to_owned(), reply.header("last-modified").to_owned());
        let body = reply.bytes(limit).await?;
        self.check_signature(path, &body).await?;
        let read: T = serde_json::from_slice(&body).map_err(|cause| RemoteError::Form { url: name.clone(), cause })?;
        if let (Some(cache), Some(known)) = (&self.cache, &known)
            && date(updated(known)) > date(updated(&read))
        {
            return Err(RemoteError::Downgraded {
                url: name,
                now: one_line(updated(&read)),
                before: one_line(updated(known)),
                cache: cache.directory().display().to_string(),
            });
        }
        if let Some(cache) = &self.cache {
            cache.put(&name, &Kept { etag, last_modified, body }).map_err(RemoteError::Store)?;
        }
        Ok(read)
    }
}

/// A date of a server for a message.
fn one_line(text: &str) -> String {
    let shown: String = text.chars().filter(|character| !character.is_control()).take(64).collect();
    if shown.is_empty() { "no date".to_owned() } else { shown }
}

/// Says whether asking again may help.
pub(crate) fn is_passing(error: &FetchError) -> bool {
    match error {
        FetchError::Broken { .. } | FetchError::Silent { .. } | FetchError::Short { .. } | FetchError::Dial(_) => true,
        FetchError::Refused { status, .. } => status.is_server_error(),
        FetchError::Large { .. } | FetchError::Redirect { .. } | FetchError::Request { .. } | FetchError::Url(_) => false,
    }
}

pub(crate) fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A sink that hashes what goes into it.
pub(crate) struct Hashing<'a> {
    sink: &'a mut dyn Sink,
    whole: Sha256,
}

impl<'a> Hashing<'a> {
    pub(crate) fn new(sink: &'a mut dyn Sink) -> Self {
        Self { sink, whole: Sha256::new() }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), RemoteError> {
        self.whole.update(bytes);
        self.sink.write(bytes).map_err(RemoteError::Store)
    }

    /// The hash of all that went in.
    pub(crate) fn finish(self) -> Sha256 {
        self.whole
    }

    pub(crate) fn begin_rootfs(&mut self) -> Result<(), RemoteError> {
        self.sink.begin_rootfs().map_err(RemoteError::Store)
    }
}
