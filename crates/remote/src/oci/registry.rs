//! One registry: asking, proving who we are, fetching and checking.

use std::io;
use std::sync::Mutex;

use coffer_base::Architecture;
use coffer_web::dial::DialError;
use coffer_web::tls::ClientConfigError;
use coffer_web::{Certificate, Dialer, FetchError, Fetcher, Proxies, Reply, Scheme, Trust, Url, UrlError, base64};
use hyper::{Method, StatusCode};
use sha2::{Digest as _, Sha256};

use super::auth::{Challenge, Token, encode};
use super::config::ImageConfig;
use super::manifest::{Descriptor, Document, INDEXES, MANIFESTS};
use super::reference::{Reference, ReferenceError};
use crate::AGENT;
use crate::server::{ATTEMPTS, hex, is_passing};

/// The largest manifest, index or configuration that is read, in bytes.
const DOCUMENT_LIMIT: usize = 4 << 20;

/// The largest token that is read, in bytes.
const TOKEN_LIMIT: usize = 64 << 10;

/// Redirects that are followed.
const REDIRECTS: usize = 5;

/// The names by which people know Docker's registry, and where it is.
const DOCKER: [&str; 2] = ["docker.io", "index.docker.io"];
const DOCKER_HOST: &str = "registry-1.docker.io";

/// Why a registry was of no use.
#[derive(Debug, thiserror::Error)]
pub enum OciError {
    /// Fetching failed.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// TLS is not set up here.
    #[error(transparent)]
    Tls(#[from] ClientConfigError),
    /// An address that is none.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// A name that is none.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// There is no such image.
    #[error("registry {registry} has no image {name}{}", architecture.map(|architecture| format!(" for {architecture}")).unwrap_or_default())]
    NoImage {
        /// The registry.
        registry: String,
        /// What was asked for.
        name: String,
        /// For which machine, if it has the image for others.
        architecture: Option<Architecture>,
    },
    /// We are nobody to it.
    #[error(
        "registry {registry} does not let {} read {repository}: it may be private, or not there; \
         name and password can stand in the remote's address",
        if *named { "this user" } else { "strangers" }
    )]
    Denied {
        /// The registry.
        registry: String,
        /// The repository.
        repository: String,
        /// Whether we said who we are.
        named: bool,
    },
    /// A way to prove who we are that is not known here.
    #[error("registry {registry} asks for {asked:?}, which is no way to prove who one is that is known here")]
    Challenge {
        /// The registry.
        registry: String,
        /// What it asks for.
        asked: String,
    },
    /// Text that is no JSON of the expected shape.
    #[error("{what} is not what registries hand out")]
    Json {
        /// What was read.
        what: &'static str,
        /// What is wrong.
        #[source]
        cause: serde_json::Error,
    },
    /// Something that is no image we can run.
    #[error("the registry offers {what}, which is not supported")]
    Strange {
        /// What it is.
        what: String,
    },
    /// A part is not what it should be.
    #[error("{url} has hash {found}, not {expected}: it was damaged or replaced on the way")]
    Hash {
        /// The part.
        url: String,
        /// Its SHA-256.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// A part is longer or shorter than the manifest says.
    #[error("{url} has {found} bytes, not the {expected} that the manifest says")]
    Size {
        /// The part.
        url: String,
        /// Bytes that came.
        found: u64,
        /// Bytes that should have come.
        expected: u64,
    },
    /// What came could not be stored.
    #[error(transparent)]
    Store(io::Error),
}

impl From<DialError> for OciError {
    fn from(error: DialError) -> Self {
        Self::Fetch(error.into())
    }
}

/// An image as a registry describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OciImage {
    /// SHA-256 of its manifest: this and no other image.
    pub digest: String,
    /// The repository that its parts are in.
    pub repository: String,
    /// What it says about itself.
    pub config: ImageConfig,
    /// Its layers, the lowest first.
    pub layers: Vec<Descriptor>,
    /// Bytes of its manifest and configuration.
    pub described: u64,
}

impl OciImage {
    /// Bytes of all its parts; a layer that is there twice counts once.
    #[must_use]
    pub fn size(&self) -> u64 {
        let distinct: std::collections::BTreeMap<&str, u64> = self.layers.iter().map(|layer| (layer.digest.as_str(), layer.size)).collect();
        distinct.values().sum::<u64>() + self.described
    }
}

/// A name and a password.
#[derive(Clone)]
struct Credentials(String);

/// One registry.
pub struct Registry {
    url: Url,
    fetcher: Fetcher,
    credentials: Option<Credentials>,
    /// What the last challenge was answered with: a header's value.
    proof: Mutex<Option<String>>,
}

impl Registry {
    /// Makes one. With a certificate the registry must have that one; otherwise the host's authorities must vouch for it.
    /// `secret` is `NAME:PASSWORD`, or empty.
    ///
    /// # Errors
    /// If TLS is not set up here.
    pub fn new(url: Url, certificate: Option<Certificate>, proxies: Proxies, secret: &str) -> Result<Self, OciError> {
        let url = if DOCKER.contains(&url.host()) { format!("{}://{DOCKER_HOST}", url.scheme().as_str()).parse()? } else { url };
        let dialer = match (certificate, url.scheme()) {
            (Some(certificate), _) => Dialer::new(&Trust::Pinned(certificate), None, proxies)?,
            (None, Scheme::Https) => Dialer::new(&Trust::Authorities, None, proxies)?,
            (None, Scheme::Http) => Dialer::clear(proxies)?,
        };
        let credentials = (!secret.is_empty()).then(|| Credentials(secret.to_owned()));
        Ok(Self { url, fetcher: Fetcher::new(dialer, AGENT), credentials, proof: Mutex::new(None) })
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Finds the image that a reference means for a host of this architecture.
    ///
    /// # Errors
    /// See [`OciError`].
    pub async fn find(&self, reference: &Reference, host: Architecture) -> Result<OciImage, OciError> {
        let repository = if self.url.host() == DOCKER_HOST && !reference.repository.contains('/') {
            format!("library/{}", reference.repository)
        } else {
            reference.repository.clone()
        };
        let missing = |architecture| OciError::NoImage { registry: self.url.to_string(), name: reference.to_string(), architecture };
        let (mut digest, mut body) = self.manifest(&repository, &reference.wanted()).await?.ok_or_else(|| missing(None))?;
        if let Some(expected) = &reference.digest
            && *expected != digest
        {
            return Err(OciError::Hash { url: format!("{}/{reference}", self.url), found: digest, expected: expected.clone() });
        }
        let mut document = read(&body)?;
        if document.is_index() {
            let chosen = document.choose(host)?.ok_or_else(|| missing(Some(host)))?;
            let wanted = format!("sha256:{}", chosen.digest);
            (digest, body) = self.manifest(&repository, &wanted).await?.ok_or_else(|| missing(None))?;
            if digest != chosen.digest {
                return Err(OciError::Hash { url: format!("{}/{repository}", self.url), found: digest, expected: chosen.digest });
            }
            document = read(&body)?;
        }
        let manifest = document.manifest()?;
        let mut config = Vec::new();
        if manifest.config.size > DOCUMENT_LIMIT as u64 {
            return Err(OciError::Strange { what: format!("a configuration of {} bytes", manifest.config.size) });
        }
        let mut take = |bytes: &[u8]| {
            config.extend_from_slice(bytes);
            Ok(())
        };
        self.blob(&repository, &manifest.config, &mut take).await?;
        let described = (body.len() + config.len()) as u64;
        let config = ImageConfig::parse(&config, manifest.layers.len())?;
        Ok(OciImage { digest, repository, config, layers: manifest.layers, described })
    }

    /// Fetches a part: its bytes were all taken when this succeeds, and hash to its digest. Goes on where it was when the
    /// connection breaks.
    ///
    /// # Errors
    /// See [`OciError`].
    pub async fn blob(
        &self,
        repository: &str,
        part: &Descriptor,
        take: &mut (dyn FnMut(&[u8]) -> io::Result<()> + Send),
    ) -> Result<(), OciError> {
        let url = self.url.below(&format!("v2/{repository}/blobs/sha256:{}", part.digest))?;
        let (mut got, mut hash, mut idle) = (0, Sha256::new(), 0);
        loop {
            let before = got;
            match self.piece(&url, repository, part.size, &mut got, &mut hash, take).await {
                Ok(()) => break,
                Err(OciError::Fetch(error)) if is_passing(&error) => {
                    idle = if got > before { 0 } else { idle + 1 };
                    if idle >= ATTEMPTS {
                        return Err(error.into());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        let found = hex(hash);
        if found == part.digest { Ok(()) } else { Err(OciError::Hash { url: url.to_string(), found, expected: part.digest.clone() }) }
    }

    async fn piece(
        &self,
        url: &Url,
        repository: &str,
        size: u64,
        got: &mut u64,
        hash: &mut Sha256,
        take: &mut (dyn FnMut(&[u8]) -> io::Result<()> + Send),
    ) -> Result<(), OciError> {
        let range = format!("bytes={got}-");
        let headers = [("range", range.as_str())];
        let mut reply = self.get(url, repository, if *got > 0 { &headers } else { &[] }).await?.success()?;
        // A server that knows no ranges begins anew: what is here already is passed over.
        let resumed = reply.status() == StatusCode::PARTIAL_CONTENT && reply.header("content-range").starts_with(&format!("bytes {got}-"));
        let mut skip = if resumed { 0 } else { *got };
        while let Some(chunk) = reply.chunk().await? {
            let passed = skip.min(chunk.len() as u64);
            skip -= passed;
            let chunk = &chunk[usize::try_from(passed).unwrap_or(chunk.len())..];
            *got += chunk.len() as u64;
            if *got > size {
                return Err(OciError::Size { url: url.to_string(), found: *got, expected: size });
            }
            hash.update(chunk);
            take(chunk).map_err(OciError::Store)?;
        }
        // Cut off where the length was not said: as good as broken.
        if *got < size { Err(FetchError::Short { url: url.to_string(), got: *got }.into()) } else { Ok(()) }
    }

    /// Fetches a manifest or an index with its digest; none if there is none.
    async fn manifest(&self, repository: &str, wanted: &str) -> Result<Option<(String, Vec<u8>)>, OciError> {
        let url = self.url.below(&format!("v2/{repository}/manifests/{wanted}"))?;
        let accept = MANIFESTS.iter().chain(&INDEXES).copied().collect::<Vec<_>>().join(", ");
        let reply = self.get(&url, repository, &[("accept", &accept)]).await?;
        if reply.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let body = reply.success()?.bytes(DOCUMENT_LIMIT).await?;
        let mut hash = Sha256::new();
        hash.update(&body);
        Ok(Some((hex(hash), body)))
    }

    /// Asks, and proves who we are if that is wanted.
    async fn get(&self, url: &Url, repository: &str, headers: &[(&str, &str)]) -> Result<Reply, OciError> {
        let proof = self.proof.lock().ok().and_then(|proof| proof.clone());
        let reply = self.follow(url, headers, proof.as_deref()).await?;
        if reply.status() != StatusCode::UNAUTHORIZED {
            return Ok(reply);
        }
        let denied =
            || OciError::Denied { registry: self.url.to_string(), repository: repository.to_owned(), named: self.credentials.is_some() };
        let header = reply.header("www-authenticate").to_owned();
        let proof = match Challenge::parse(&header) {
            Some(Challenge::Basic) => self.credentials.as_ref().map(Credentials::header).ok_or_else(denied)?,
            Some(Challenge::Bearer { realm, service, scope }) => self.token(&realm, &service, &scope).await?.ok_or_else(denied)?,
            None => {
                let asked = header.chars().filter(|character| !character.is_control()).take(80).collect();
                return Err(OciError::Challenge { registry: self.url.to_string(), asked });
            }
        };
        let reply = self.follow(url, headers, Some(&proof)).await?;
        if matches!(reply.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(denied());
        }
        if let Ok(mut kept) = self.proof.lock() {
            *kept = Some(proof);
        }
        Ok(reply)
    }

    /// Has a token given out; none if we are refused one.
    async fn token(&self, realm: &str, service: &str, scope: &str) -> Result<Option<String>, OciError> {
        let query = [("service", service), ("scope", scope)].into_iter().filter(|(_, value)| !value.is_empty());
        let query: Vec<String> = query.map(|(key, value)| format!("{key}={}", encode(value))).collect();
        let separator = if realm.contains('?') { '&' } else { '?' };
        let url: Url = format!("{realm}{separator}{}", query.join("&")).parse()?;
        if self.url.scheme() == Scheme::Https && url.scheme() == Scheme::Http {
            return Err(OciError::Challenge { registry: self.url.to_string(), asked: "a token from a place without TLS".into() });
        }
        let proof = self.credentials.as_ref().map(Credentials::header);
        let headers: Vec<(&str, &str)> = proof.iter().map(|proof| ("authorization", proof.as_str())).collect();
        let reply = self.fetcher.send(Method::GET, &url, &headers, bytes::Bytes::new()).await?;
        if matches!(reply.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Ok(None);
        }
        let body = reply.success()?.bytes(TOKEN_LIMIT).await?;
        let token: Token = serde_json::from_slice(&body).map_err(|cause| OciError::Json { what: "the token", cause })?;
        Ok(token.text().map(|token| format!("Bearer {token}")))
    }

    /// Follows redirects; the proof goes no further than the registry itself.
    async fn follow(&self, url: &Url, headers: &[(&str, &str)], proof: Option<&str>) -> Result<Reply, OciError> {
        let mut here = url.clone();
        for _ in 0..=REDIRECTS {
            let own = here.host() == self.url.host() && here.port() == self.url.port() && here.scheme() == self.url.scheme();
            let proof = proof.filter(|_| own).map(|proof| ("authorization", proof));
            let sent: Vec<(&str, &str)> = headers.iter().copied().chain(proof).collect();
            let reply = self.fetcher.send(Method::GET, &here, &sent, bytes::Bytes::new()).await?;
            if !reply.status().is_redirection() {
                return Ok(reply);
            }
            let to = reply.header("location").to_owned();
            let wrong = || FetchError::Redirect { url: url.to_string(), to: to.clone() };
            let next = here.redirected(&to).map_err(|_| wrong())?;
            if here.scheme() == Scheme::Https && next.scheme() == Scheme::Http {
                return Err(wrong().into());
            }
            here = next;
        }
        Err(FetchError::Redirect { url: url.to_string(), to: here.to_string() }.into())
    }
}

impl Credentials {
    fn header(&self) -> String {
        format!("Basic {}", base64::encode(self.0.as_bytes()))
    }
}

fn read(body: &[u8]) -> Result<Document, OciError> {
    serde_json::from_slice(body).map_err(|cause| OciError::Json { what: "the manifest", cause })
}
