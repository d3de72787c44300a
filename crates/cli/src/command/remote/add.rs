//! `remote add`.

use clap::Args;
use coffer_api::{CertificateAddToken, CertificatesPost};
use coffer_client::{Client, Endpoint, HttpsServer};
use coffer_remote::{Protocol, Wanted};
use coffer_web::{Certificate, Dialer, Proxies, Trust, Url};

use crate::app::App;
use crate::error::CliError;
use crate::prompt::{ask, ask_secret};
use crate::remotes::{Known, Remote, Remotes, check_scheme, without_secret};
use crate::trust_token;

/// The port of daemons where none is named.
const PORT: u16 = 8443;

/// Add a server under a name
///
/// A daemon is named by its address, or by a token that 'config trust add' made there. A server of images is named by its
/// URL and --protocol=simplestreams, a registry of OCI images by its URL and --protocol=oci; name and password for one can
/// stand in the URL.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  coffer remote add box 192.0.2.7\n  coffer remote add box TOKEN\n  coffer remote add debs https://images.example --protocol=simplestreams\n  coffer remote add docker https://docker.io --protocol=oci"
)]
pub(crate) struct Add {
    /// Name; the address if it is left out
    #[arg(value_name = "[NAME] ADDRESS|URL|TOKEN", num_args = 1..=2, required = true)]
    arguments: Vec<String>,
    /// Believe the server's certificate without asking
    #[arg(long)]
    accept_certificate: bool,
    /// Token that was made with 'config trust add' there
    #[arg(long, value_name = "TOKEN", default_value = "", hide_default_value = true, conflicts_with = "password")]
    token: String,
    /// Trust password or token
    #[arg(long, value_name = "PASSWORD", default_value = "", hide_default_value = true)]
    password: String,
    /// How the server is spoken to: lxd, simplestreams or oci
    #[arg(long, default_value = "", hide_default_value = true)]
    protocol: String,
    /// Only read what the server shows to everybody
    #[arg(long)]
    public: bool,
    /// How to prove who we are: tls
    #[arg(long, value_name = "TYPE", default_value = "tls", hide_default_value = true)]
    auth_type: String,
}

impl Add {
    pub(super) async fn run(self, app: &App) -> Result<(), CliError> {
        let (name, place) = match self.arguments.as_slice() {
            [name, place] => (name.clone(), place.as_str()),
            [place] => (nameless(place), place.as_str()),
            _ => return Err(CliError::Missing { what: "the address" }),
        };
        let mut remotes = app.remotes().clone();
        remotes.check_new(&name)?;
        let password = if self.token.is_empty() { &self.password } else { &self.token };
        if self.auth_type != "tls" {
            return Err(CliError::Unsupported { what: "authentication by anything but tls" });
        }
        let protocol = self.protocol.parse().map_err(|cause| CliError::RemoteProtocol { name: name.clone(), cause })?;
        match protocol {
            Protocol::Simplestreams => return add_image_server(&mut remotes, &name, place).await,
            Protocol::Oci => return add_registry(&mut remotes, &name, place),
            Protocol::Lxd => {}
        }
        let remote =
            |addr: String| Remote { addr, protocol, public: self.public, project: app.globals.project.clone(), known: Known::User };
        if place.starts_with("unix:") {
            return remotes.set(&name, remote(place.to_owned()));
        }
        if let Some(token) = trust_token::read(place) {
            return self.add_by_token(&mut remotes, &name, &token, place, remote).await;
        }
        let url = address(place)?;
        let certificate = self.believe(&url, &name).await?;
        let client = connect(&remotes, &url, certificate.as_ref(), self.public)?;
        if !self.public {
            self.become_trusted(&client, &name, password).await?;
        }
        save(&mut remotes, &name, certificate.as_ref(), remote(url.to_string()))
    }

    /// Tries the addresses that a token names; the server must have the certificate that it names.
    async fn add_by_token(
        &self,
        remotes: &mut Remotes,
        name: &str,
        token: &CertificateAddToken,
        text: &str,
        remote: impl Fn(String) -> Remote,
    ) -> Result<(), CliError> {
        let mut last = CliError::Missing { what: "an address in the token" };
        for place in &token.addresses {
            let url = address(place)?;
            match shown(&url).await {
                Ok(certificate) if certificate.fingerprint() == token.fingerprint => {
                    let client = connect(remotes, &url, Some(&certificate), false)?;
                    self.become_trusted(&client, name, text).await?;
                    return save(remotes, name, Some(&certificate), remote(url.to_string()));
                }
                Ok(certificate) => {
                    last = CliError::WrongFingerprint { expected: token.fingerprint.clone(), found: certificate.fingerprint().to_owned() };
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The certificate to know the server by; `None` if an authority of this host vouches for it.
    async fn believe(&self, url: &Url, name: &str) -> Result<Option<Certificate>, CliError> {
        let vouched = match Dialer::new(&Trust::Authorities, None, Proxies::of_environment()) {
            Ok(dialer) => dialer.dial(url).await.is_ok(),
            Err(_) => false,
        };
        if vouched {
            return Ok(None);
        }
        let certificate = shown(url).await?;
        if self.accept_certificate {
            return Ok(Some(certificate));
        }
        println_fingerprint(&certificate);
        let answer = ask(&format!("Is this the certificate of {name}? (yes/no, or the fingerprint that it must have)"), "no")?;
        let yes = matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes") || answer.eq_ignore_ascii_case(certificate.fingerprint());
        if yes { Ok(Some(certificate)) } else { Err(CliError::Declined) }
    }

    /// Has the server trust our certificate, unless it does already.
    async fn become_trusted(&self, client: &Client, name: &str, password: &str) -> Result<(), CliError> {
        if client.server().await?.value.auth == "trusted" {
            return Ok(());
        }
        let password = if password.is_empty() { ask_secret(&format!("Trust password or token for {name}"))? } else { password.to_owned() };
        let request = CertificatesPost { kind: "client".into(), password, ..Default::default() };
        client.add_certificate(&request).await?;
        if client.server().await?.value.auth == "trusted" { Ok(()) } else { Err(CliError::NotTrusted { name: name.to_owned() }) }
    }
}

fn println_fingerprint(certificate: &Certificate) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "Certificate fingerprint: {}", certificate.fingerprint());
}

async fn add_image_server(remotes: &mut Remotes, name: &str, place: &str) -> Result<(), CliError> {
    let url: Url = place.parse()?;
    check_scheme(&url)?;
    let remote =
        Remote { addr: url.to_string(), protocol: Protocol::Simplestreams, public: true, project: String::new(), known: Known::User };
    // A typing mistake shows now, not at the first launch.
    let server = coffer_remote::Server::new(url, Protocol::Simplestreams, None, Proxies::of_environment(), None)?;
    server.catalogue(&Wanted::default()).await?;
    remotes.set(name, remote)
}

/// Notes a registry; nothing is asked of it before an image is wanted.
fn add_registry(remotes: &mut Remotes, name: &str, place: &str) -> Result<(), CliError> {
    let (address, _) = without_secret(place);
    check_scheme(&address.parse()?)?;
    let remote = Remote { addr: place.to_owned(), protocol: Protocol::Oci, public: true, project: String::new(), known: Known::User };
    remotes.set(name, remote)
}

fn save(remotes: &mut Remotes, name: &str, certificate: Option<&Certificate>, remote: Remote) -> Result<(), CliError> {
    if let Some(certificate) = certificate {
        remotes.pin(name, certificate)?;
    }
    remotes.set(name, remote)
}

fn connect(remotes: &Remotes, url: &Url, certificate: Option<&Certificate>, public: bool) -> Result<Client, CliError> {
    let trust = certificate.map_or(Trust::Authorities, |certificate| Trust::Pinned(certificate.clone()));
    let identity = if public { None } else { Some(remotes.identity()?) };
    let dialer = Dialer::new(&trust, identity.as_deref(), Proxies::of_environment())?;
    Ok(Client::new(Endpoint::Https(Box::new(HttpsServer::new(url.clone(), dialer))), ""))
}

/// The certificate that a server shows. Nothing is said to it.
async fn shown(url: &Url) -> Result<Certificate, CliError> {
    let dialer = Dialer::new(&Trust::Anyone, None, Proxies::of_environment())?;
    let certificate = dialer.dial(url).await?.peer_certificate();
    certificate.ok_or_else(|| CliError::NotHttps { url: url.to_string() })
}

/// An address as people type it: the scheme and the port may be missing.
fn address(place: &str) -> Result<Url, CliError> {
    if place.starts_with("http://") {
        return Err(CliError::NotHttps { url: place.to_owned() });
    }
    if let Some(rest) = place.strip_prefix("https://") {
        let has_port = rest.trim_end_matches('/').rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let text = if has_port { place.to_owned() } else { format!("{}:{PORT}", place.trim_end_matches('/')) };
        return Ok(text.parse()?);
    }
    let text = match place.parse::<std::net::Ipv6Addr>() {
        Ok(ip) => format!("https://[{ip}]:{PORT}"),
        Err(_) if place.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) => format!("https://{place}"),
        Err(_) => format!("https://{place}:{PORT}"),
    };
    Ok(text.parse()?)
}

/// The name of a remote that was given none.
fn nameless(place: &str) -> String {
    let host = place.split_once("://").map_or(place, |(_, rest)| rest);
    host.split(['/', ':']).next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(place: &str, expect: Option<&str>) {
        assert_eq!(address(place).ok().map(|url| url.to_string()).as_deref(), expect, "{place}");
    }

    #[test]
    fn addresses_as_people_type_them() {
        check("box", Some("https://box:8443"));
        check("192.0.2.7", Some("https://192.0.2.7:8443"));
        check("192.0.2.7:9443", Some("https://192.0.2.7:9443"));
        check("fd00::1", Some("https://[fd00::1]:8443"));
        check("[fd00::1]:9443", Some("https://[fd00::1]:9443"));
        check("https://box", Some("https://box:8443"));
        check("https://box:443", Some("https://box"));
        check("http://box", None);
        check("", None);
        assert_eq!((nameless("https://box:8443/"), nameless("192.0.2.7")), ("box".to_owned(), "192.0.2.7".to_owned()));
    }
}
