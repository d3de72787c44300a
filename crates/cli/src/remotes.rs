//! The servers known by name: those that are always there, the host's, and the user's own.

mod file;
mod keys;

use std::collections::BTreeMap;
use std::path::PathBuf;

use coffer_client::{Endpoint, Family, HttpsServer};
use coffer_remote::{Cache, Protocol, Server};
use coffer_web::{Dialer, Proxies, Scheme, Trust, Url};

use crate::error::CliError;

/// A server known by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remote {
    /// Its URL; `unix://` is the daemon of this machine.
    pub(crate) addr: String,
    /// How it is spoken to.
    pub(crate) protocol: Protocol,
    /// Whether it is asked without showing who we are.
    pub(crate) public: bool,
    /// The project to work in there; empty is the default one.
    pub(crate) project: String,
    /// Where it is known from.
    pub(crate) known: Known,
}

/// Where a remote is known from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// It is always there and can't be changed.
    Always,
    /// From the host's configuration.
    Host,
    /// From the user's configuration.
    User,
}

/// All remotes.
#[derive(Debug, Clone)]
pub(crate) struct Remotes {
    /// The user's directory.
    directory: PathBuf,
    /// The host's directory.
    host_directory: PathBuf,
    family: Family,
    default: String,
    all: BTreeMap<String, Remote>,
    /// What else stands in the user's file.
    other: file::Other,
}

/// The key of the user's file under which aliases stand.
const ALIASES: &str = "aliases";

/// The name of the daemon of this machine.
const LOCAL: &str = "local";

impl Remote {
    fn images(addr: &str, known: Known) -> Remote {
        Remote { addr: addr.to_owned(), protocol: Protocol::Simplestreams, public: true, project: String::new(), known }
    }

    fn local() -> Remote {
        Remote { addr: "unix://".to_owned(), protocol: Protocol::Lxd, public: false, project: String::new(), known: Known::Always }
    }

    /// Says how it is found out who we are.
    pub(crate) fn auth_type(&self) -> &'static str {
        match self.protocol {
            Protocol::Simplestreams | Protocol::Oci => "none",
            Protocol::Lxd if self.addr.starts_with("unix:") => "file access",
            Protocol::Lxd => "tls",
        }
    }
}

impl Remotes {
    /// Reads the files.
    ///
    /// # Errors
    /// If one can't be read.
    pub(crate) fn load(family: Family) -> Result<Remotes, CliError> {
        Self::read(family, file::user_directory(family), file::host_directory(family))
    }

    /// Those that there are without any file.
    #[cfg(test)]
    pub(crate) fn fresh() -> Remotes {
        Self::read(Family::Coffer, "/no/such/user".into(), "/no/such/host".into()).expect("files that are not there can be left out")
    }

    fn read(family: Family, directory: PathBuf, host_directory: PathBuf) -> Result<Remotes, CliError> {
        let always = [
            (LOCAL, Remote::local()),
            ("ubuntu", Remote::images("https://cloud-images.ubuntu.com/releases", Known::Always)),
            ("ubuntu-daily", Remote::images("https://cloud-images.ubuntu.com/daily", Known::Always)),
        ];
        let mut remotes =
            Remotes { default: LOCAL.to_owned(), all: BTreeMap::new(), other: file::Other::default(), family, directory, host_directory };
        if let Some(read) = file::read(&remotes.host_directory)? {
            remotes.all.extend(read.remotes(Known::Host)?);
        }
        match file::read(&remotes.directory)? {
            None => drop(remotes.all.insert("images".to_owned(), Remote::images("https://images.linuxcontainers.org", Known::User))),
            Some(read) => {
                remotes.all.extend(read.remotes(Known::User)?);
                remotes.other = read.other();
                if !read.default_remote().is_empty() {
                    remotes.default = read.default_remote().to_owned();
                }
            }
        }
        // The user can work in another project of the daemon of this machine, which is else always the same.
        let project = remotes.all.remove(LOCAL).map(|remote| remote.project).unwrap_or_default();
        remotes.all.extend(always.map(|(name, remote)| (name.to_owned(), remote)));
        if let Some(local) = remotes.all.get_mut(LOCAL) {
            local.project = project;
        }
        Ok(remotes)
    }

    /// The name of the default remote.
    pub(crate) fn default_name(&self) -> &str {
        &self.default
    }

    /// All remotes by name.
    pub(crate) fn all(&self) -> &BTreeMap<String, Remote> {
        &self.all
    }

    /// Finds a remote; an empty name is the default one.
    pub(crate) fn named<'a>(&'a self, name: &'a str) -> Result<(&'a str, &'a Remote), CliError> {
        let name = if name.is_empty() { self.default.as_str() } else { name };
        self.all.get(name).map(|remote| (name, remote)).ok_or_else(|| CliError::UnknownRemote { name: name.to_owned() })
    }

    /// Says whether two names mean the same remote.
    pub(crate) fn same(&self, one: &str, other: &str) -> Result<bool, CliError> {
        Ok(self.named(one)?.0 == self.named(other)?.0)
    }

    /// Where a remote's daemon listens, and how it is believed.
    pub(crate) fn endpoint(&self, name: &str) -> Result<Endpoint, CliError> {
        let (name, remote) = self.named(name)?;
        if remote.protocol != Protocol::Lxd {
            return Err(CliError::ImagesOnly { name: name.to_owned() });
        }
        if let Some(path) = remote.addr.strip_prefix("unix:") {
            let path = path.trim_start_matches("//");
            return Ok(if path.is_empty() { Endpoint::local(self.family) } else { Endpoint::Unix(path.into()) });
        }
        let url: Url = remote.addr.parse()?;
        let trust = self.certificate(name)?.map_or(Trust::Authorities, Trust::Pinned);
        let identity = if remote.public { None } else { keys::own(&self.directory)? };
        let dialer = Dialer::new(&trust, identity.as_ref(), Proxies::of_environment())?;
        Ok(Endpoint::Https(Box::new(HttpsServer::new(url, dialer))))
    }

    /// A remote that only serves images; `None` for one that is a daemon.
    pub(crate) fn image_server(&self, name: &str) -> Result<Option<Server>, CliError> {
        let (name, remote) = self.named(name)?;
        if remote.protocol == Protocol::Lxd {
            return Ok(None);
        }
        let cache = Cache::at(self.directory.join("cache"));
        let certificate = self.certificate(name)?;
        let (address, _) = without_secret(&remote.addr);
        Ok(Some(Server::new(address.parse()?, remote.protocol, certificate, Proxies::of_environment(), Some(cache))?))
    }

    /// Name and password for a registry, as they stand in its address; empty without.
    pub(crate) fn secret(&self, name: &str) -> Result<String, CliError> {
        Ok(without_secret(&self.named(name)?.1.addr).1)
    }

    /// Refuses a name that is none, or taken.
    pub(crate) fn check_new(&self, name: &str) -> Result<(), CliError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || name.starts_with(['.', '-']) || !name.bytes().all(plain) {
            return Err(CliError::RemoteName { name: name.to_owned() });
        }
        if self.all.contains_key(name) {
            return Err(CliError::AlreadyThere { object: "your configuration".to_owned(), what: "remote", name: name.to_owned() });
        }
        Ok(())
    }

    /// Adds a remote of the user's, or replaces one.
    pub(crate) fn set(&mut self, name: &str, remote: Remote) -> Result<(), CliError> {
        self.all.insert(name.to_owned(), remote);
        self.save()
    }

    /// Finds a remote that the user may change.
    pub(crate) fn own<'a>(&'a self, name: &'a str) -> Result<&'a Remote, CliError> {
        let (name, remote) = self.named(name)?;
        match remote.known {
            Known::User => Ok(remote),
            Known::Always | Known::Host => Err(CliError::FixedRemote { name: name.to_owned() }),
        }
    }

    /// Removes a remote, with the certificate it was believed by.
    pub(crate) fn remove(&mut self, name: &str) -> Result<(), CliError> {
        self.own(name)?;
        if self.default == name {
            return Err(CliError::DefaultRemote { name: name.to_owned() });
        }
        self.all.remove(name);
        self.save()?;
        keys::forget(&self.directory, name)
    }

    /// Gives a remote another name.
    pub(crate) fn rename(&mut self, name: &str, new: &str) -> Result<(), CliError> {
        self.own(name)?;
        self.check_new(new)?;
        // First the certificate, so that the new name is never believed without it.
        if let Some(certificate) = self.certificate(name)? {
            keys::pin(&self.directory, new, &certificate)?;
        }
        if let Some(remote) = self.all.remove(name) {
            self.all.insert(new.to_owned(), remote);
        }
        if self.default == name {
            self.default = new.to_owned();
        }
        self.save()?;
        keys::forget(&self.directory, name)
    }

    /// Makes another remote the default.
    pub(crate) fn switch(&mut self, name: &str) -> Result<(), CliError> {
        self.named(name)?;
        self.default = name.to_owned();
        self.save()
    }

    /// Works in another project of a remote from now on; of one that the host knows, this user does.
    pub(crate) fn set_project(&mut self, name: &str, project: &str) -> Result<(), CliError> {
        let name = self.named(name)?.0.to_owned();
        let remote = self.all.get_mut(&name).ok_or_else(|| CliError::UnknownRemote { name: name.clone() })?;
        if remote.protocol != Protocol::Lxd {
            return Err(CliError::ImagesOnly { name });
        }
        remote.project = project.to_owned();
        if remote.known == Known::Host {
            remote.known = Known::User;
        }
        self.save()
    }

    /// The certificate that a remote's server must have, if it is known by one.
    pub(crate) fn certificate(&self, name: &str) -> Result<Option<coffer_web::Certificate>, CliError> {
        match keys::pinned(&self.directory, name)? {
            Some(certificate) => Ok(Some(certificate)),
            None => keys::pinned(&self.host_directory, name),
        }
    }

    /// Believes a server by its certificate from now on.
    pub(crate) fn pin(&self, name: &str, certificate: &coffer_web::Certificate) -> Result<(), CliError> {
        keys::pin(&self.directory, name, certificate)
    }

    /// Our own certificate with its key; made at the first use.
    pub(crate) fn identity(&self) -> Result<std::sync::Arc<coffer_web::Identity>, CliError> {
        keys::own_or_made(&self.directory)
    }

    /// The user's own words for commands.
    pub(crate) fn aliases(&self) -> BTreeMap<String, String> {
        self.other.get(ALIASES).and_then(|aliases| serde_json::from_value(aliases.clone()).ok()).unwrap_or_default()
    }

    /// Replaces the user's own words for commands.
    ///
    /// # Errors
    /// If the file can't be written.
    pub(crate) fn set_aliases(&mut self, aliases: &BTreeMap<String, String>) -> Result<(), CliError> {
        let aliases = aliases.iter().map(|(alias, target)| (alias.clone(), target.clone().into()));
        self.other.insert(ALIASES.to_owned(), serde_json::Value::Object(aliases.collect()));
        self.save()
    }

    fn save(&self) -> Result<(), CliError> {
        file::write(&self.directory, &self.default, &self.all, &self.other)
    }
}

/// Takes `NAME:PASSWORD@` out of an address.
pub(crate) fn without_secret(address: &str) -> (String, String) {
    let parts = address.split_once("://").and_then(|(scheme, rest)| {
        let authority = rest.find('/').unwrap_or(rest.len());
        let at = rest[..authority].rfind('@')?;
        Some((format!("{scheme}://{}", &rest[at + 1..]), rest[..at].to_owned()))
    });
    parts.unwrap_or_else(|| (address.to_owned(), String::new()))
}

/// Says whether a server may be spoken to: over HTTPS, or on this machine.
pub(crate) fn check_scheme(url: &Url) -> Result<(), CliError> {
    let here = url.host() == "localhost" || url.host().parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match url.scheme() {
        Scheme::Http if !here => Err(CliError::NotHttps { url: url.to_string() }),
        Scheme::Http | Scheme::Https => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(directory: &std::path::Path) -> Remotes {
        Remotes::read(Family::Coffer, directory.join("user"), directory.join("host")).unwrap()
    }

    fn shown(remotes: &Remotes) -> Vec<String> {
        remotes.all().iter().map(|(name, remote)| format!("{name} {} {:?}", remote.addr, remote.known)).collect()
    }

    #[test]
    fn users_and_host_add_to_those_that_are_always_there() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            shown(&read(dir.path())),
            [
                "images https://images.linuxcontainers.org User",
                "local unix:// Always",
                "ubuntu https://cloud-images.ubuntu.com/releases Always",
                "ubuntu-daily https://cloud-images.ubuntu.com/daily Always",
            ]
        );
        for (name, text) in [
            ("host", "remotes:\n  office:\n    addr: https://office:8443\n    protocol: lxd\n    public: false\n"),
            ("user", "default-remote: box\nremotes:\n  box:\n    addr: https://box:8443\naliases:\n  ll: list\nmystery: 1\n"),
        ] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name).join("config.yml"), text).unwrap();
        }
        let mut remotes = read(dir.path());
        assert_eq!(remotes.default_name(), "box");
        assert!(remotes.own("office").is_err() && remotes.own("local").is_err() && remotes.own("nix").is_err());
        remotes.rename("box", "case").unwrap();
        remotes.set("public", Remote::images("https://images.example", Known::User)).unwrap();
        assert!(remotes.remove("case").unwrap_err().to_string().contains("default"));
        let again = read(dir.path());
        assert_eq!((again.default_name(), again.all().len()), ("case", 6));
        let text = std::fs::read_to_string(dir.path().join("user/config.yml")).unwrap();
        for kept in ["ll: list", "mystery: 1", "default-remote: case", "addr: https://box:8443"] {
            assert!(text.contains(kept), "{text}");
        }
        assert!(!text.contains("office") && !text.contains("unix://"), "{text}");
    }

    #[test]
    fn secrets_are_taken_out_of_addresses() {
        let check = |address: &str, expect: (&str, &str)| {
            assert_eq!(without_secret(address), (expect.0.to_owned(), expect.1.to_owned()), "{address}");
        };
        check("https://r.example", ("https://r.example", ""));
        check("https://me:p@ss@r.example/x@y", ("https://r.example/x@y", "me:p@ss"));
        check("https://r.example/a@b", ("https://r.example/a@b", ""));
    }

    #[test]
    fn a_project_is_kept_for_each_remote() {
        let dir = tempfile::tempdir().unwrap();
        let mut remotes = read(dir.path());
        assert!(remotes.set_project("images", "dev").is_err());
        remotes.set_project("", "dev").unwrap();
        let again = read(dir.path());
        assert_eq!((again.all()["local"].project.as_str(), again.all()["local"].known), ("dev", Known::Always));
        assert_eq!(again.all()["local"].addr, "unix://");
        remotes.set_project("local", "default").unwrap();
        assert_eq!(read(dir.path()).all()["local"].project, "default");
    }

    #[test]
    fn names_of_remotes_are_names_of_files_too() {
        let dir = tempfile::tempdir().unwrap();
        let remotes = read(dir.path());
        for bad in ["", "a:b", "a/b", "..", ".x", "-x", "a b"] {
            assert!(remotes.check_new(bad).is_err(), "{bad}");
        }
        assert!(remotes.check_new("local").is_err() && remotes.check_new("box-1.example").is_ok());
    }
}
