//! TLS at both ends and HTTP towards others: certificates, who is at the other end, files that a server hands out.
//!
//! Never: trusts a peer by its name alone (it is pinned, or an authority of this host vouches for it); follows a redirect from
//! HTTPS to HTTP; keeps a body in memory without a limit; waits for a silent server without one.

pub mod base64;
pub mod body;
pub mod certificate;
pub mod dial;
pub mod fetch;
pub mod identity;
pub mod multipart;
pub mod proxy;
pub mod tls;
pub mod url;

pub use body::Part;
pub use certificate::{Certificate, CertificateError};
pub use dial::{DialError, Dialer, Stream, Trust};
pub use fetch::{FetchError, Fetcher, Reply};
pub use identity::{Identity, IdentityError, Role};
pub use proxy::Proxies;
pub use url::{Scheme, Url, UrlError};
