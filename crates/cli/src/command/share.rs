//! `share` and `unshare`: a directory of this machine inside an instance, whose files have the right owner on both sides.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::Args;
use coffer_client::{Client, FileReply};

use crate::app::App;
use crate::error::CliError;
use crate::object::{Instance, Object};
use crate::target::Target;

/// Share a directory of this machine with an instance
///
/// Your files there belong to one user inside, and what that user makes inside belongs to you: the mount maps the ids, and
/// no file is changed. What other users make inside has the instance's own ids on this machine.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  coffer share dev ~/proj /src\n  coffer share dev ~/proj /home/ubuntu/proj --as ubuntu")]
pub(crate) struct Share {
    /// Instance
    #[arg(value_name = "INSTANCE")]
    instance: Target,
    /// Directory or file of this machine
    #[arg(value_name = "SOURCE")]
    source: PathBuf,
    /// Where it appears inside [default: its own name, below /]
    #[arg(value_name = "PATH")]
    path: Option<String>,
    /// User inside whom your files belong to: a name of its /etc/passwd, UID or UID:GID
    #[arg(long = "as", value_name = "USER", default_value = "root")]
    user: String,
    /// Name of the device [default: made of the path]
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Nothing can be written from inside
    #[arg(long)]
    readonly: bool,
}

/// Stop sharing a directory with an instance
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  coffer unshare dev /src")]
pub(crate) struct Unshare {
    /// Instance
    #[arg(value_name = "INSTANCE")]
    instance: Target,
    /// Where it appears inside, the directory of this machine, or the name of the device
    #[arg(value_name = "WHAT")]
    what: String,
}

/// A user's and its group's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ids {
    uid: u32,
    gid: u32,
}

impl std::fmt::Display for Ids {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

impl Share {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        let client = local(app, &self.instance)?;
        let source = std::fs::canonicalize(&self.source).map_err(|cause| CliError::File { file: self.source.clone(), cause })?;
        let shown = source.to_str().ok_or_else(|| CliError::NotText { file: source.clone() })?.to_owned();
        let path = self.path.clone().unwrap_or_else(|| format!("/{}", last_name(&source)));
        let host = sharer(&source).map_err(|cause| CliError::File { file: source.clone(), cause })?;
        let inside = user_inside(client, &self.instance.name, &self.user).await?;

        let object = Instance(self.instance.name.clone());
        let (_, mut put, etag) = object.read(client).await?;
        let name = self.device.clone().unwrap_or_else(|| device_name(&path));
        if put.devices.contains_key(&name) {
            return Err(CliError::AlreadyThere { object: self.instance.name, what: "device", name });
        }
        let mut device: BTreeMap<String, String> = [
            ("type", "disk".to_owned()),
            ("source", shown.clone()),
            ("path", path.clone()),
            ("owner.host", host.to_string()),
            ("owner.inside", inside.to_string()),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
        if self.readonly {
            device.insert("readonly".to_owned(), "true".to_owned());
        }
        put.devices.insert(name.clone(), device);
        object.write(app, client, &put, &etag).await?;
        app.note(&format!("{shown} is {path} in {} (device {name}): {host} here is {inside} there", self.instance.name))
    }
}

impl Unshare {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        let client = local(app, &self.instance)?;
        let object = Instance(self.instance.name.clone());
        let (_, mut put, etag) = object.read(client).await?;
        let real = std::fs::canonicalize(&self.what).ok().and_then(|path| path.to_str().map(ToOwned::to_owned));
        let fits = |name: &str, device: &BTreeMap<String, String>| {
            let value = |key: &str| device.get(key).map(String::as_str);
            let host = value("source").is_some_and(|source| source.starts_with('/')) && value("pool").is_none();
            value("type") == Some("disk")
                && host
                && (name == self.what || value("path") == Some(&self.what) || (real.is_some() && value("source") == real.as_deref()))
        };
        let found: Vec<String> = put.devices.iter().filter(|(name, device)| fits(name, device)).map(|(name, _)| name.clone()).collect();
        let [name] = found.as_slice() else {
            return Err(match found.is_empty() {
                true => CliError::NoSuch { object: self.instance.name, what: "shared directory", name: self.what },
                false => CliError::Ambiguous { object: self.instance.name },
            });
        };
        put.devices.remove(name);
        object.write(app, client, &put, &etag).await?;
        app.note(&format!("{} is no longer shared with {}", self.what, self.instance.name))
    }
}

/// The client of the instance's server, which must be this machine's: another one has other directories.
fn local<'a>(app: &'a App, instance: &Target) -> Result<&'a Client, CliError> {
    instance.required("the instance's name")?;
    match instance.remote.as_str() {
        "" | "local" => app.client(instance),
        _ => Err(CliError::Unsupported { what: "sharing a directory with an instance of another machine" }),
    }
}

/// Whose files are shared: the caller's; root shares on behalf of whom the directory belongs to.
fn sharer(source: &Path) -> std::io::Result<Ids> {
    let (uid, gid) = (rustix::process::getuid(), rustix::process::getgid());
    if !uid.is_root() {
        return Ok(Ids { uid: uid.as_raw(), gid: gid.as_raw() });
    }
    let owner = std::fs::metadata(source)?;
    Ok(Ids { uid: owner.uid(), gid: owner.gid() })
}

/// Finds a user inside by number, or by name in its `/etc/passwd`.
async fn user_inside(client: &Client, instance: &str, user: &str) -> Result<Ids, CliError> {
    if user == "root" {
        return Ok(Ids { uid: 0, gid: 0 });
    }
    let (uid, gid) = user.split_once(':').unwrap_or((user, user));
    if let (Ok(uid), Ok(gid)) = (uid.parse(), gid.parse()) {
        return Ok(Ids { uid, gid });
    }
    let missing = || CliError::NoSuch { object: instance.to_owned(), what: "user", name: user.to_owned() };
    let FileReply::File(_, mut body) = client.file(instance, "/etc/passwd").await? else { return Err(missing()) };
    let mut passwd = Vec::new();
    while let Some(chunk) = body.chunk().await? {
        passwd.extend_from_slice(&chunk);
        if passwd.len() > MOST_PASSWD {
            return Err(missing());
        }
    }
    find_user(&String::from_utf8_lossy(&passwd), user).ok_or_else(missing)
}

/// An `/etc/passwd` that is longer is none.
const MOST_PASSWD: usize = 4 << 20;

/// Finds a user in the text of an `/etc/passwd`. Source: passwd(5).
fn find_user(passwd: &str, user: &str) -> Option<Ids> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, uid, gid) = (fields.next()?, fields.nth(1)?, fields.next()?);
        if name != user {
            return None;
        }
        Some(Ids { uid: uid.parse().ok()?, gid: gid.parse().ok()? })
    })
}

/// Makes a device's name of a path inside.
fn device_name(path: &str) -> String {
    let fine = |c: char| if c.is_ascii_alphanumeric() || c == '.' || c == '_' { c } else { '-' };
    let parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(|part| part.chars().map(fine).collect()).collect();
    let name: String = parts.join("-").chars().take(48).collect();
    format!("share-{name}")
}

fn last_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\nubuntu:x:1000:1001::/home/ubuntu:/bin/bash\n";
        assert_eq!(find_user(passwd, "ubuntu"), Some(Ids { uid: 1000, gid: 1001 }));
        assert_eq!(find_user(passwd, "ubunt"), None);
    }

    #[test]
    fn devices_are_named_by_their_place() {
        assert_eq!(device_name("/home/ubuntu/my proj/"), "share-home-ubuntu-my-proj");
    }
}
