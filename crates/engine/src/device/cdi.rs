//! The Container Device Interface: what the host's administrator, or a vendor's tool, says that a device consists of.
//!
//! Specifications are the host's own files: the paths of the host in them are trusted. Those inside an instance are not the
//! host's any more; they are walked by whoever makes something there. No program that a specification names is ever started.
//!
//! Source: SPEC.md of the Container Device Interface, versions 0.3.0 to 1.1.0.

mod document;
mod hooks;

use std::path::{Path, PathBuf};

use coffer_model::device::{CdiName, NodeKind};
use coffer_runtime_spec::Propagation;

use document::{ContainerEdits, Document};

/// Where specifications are looked for; what a later directory says goes before an earlier one's.
pub const DIRECTORIES: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];

/// What an instance gets with a device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edits {
    /// Variables of its environment.
    pub environment: Vec<(String, String)>,
    /// Device nodes.
    pub nodes: Vec<Node>,
    /// Files and directories of the host.
    pub mounts: Vec<Mount>,
    /// Symbolic links.
    pub links: Vec<Link>,
    /// Directories of libraries that its dynamic linker is to know.
    pub libraries: Vec<String>,
}

/// A device node to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Where it is inside, below `/dev`.
    pub path: String,
    /// The host's node.
    pub host: PathBuf,
    /// Character or block, where it is said.
    pub kind: Option<NodeKind>,
    /// Its numbers, where they are said.
    pub number: Option<(u32, u32)>,
    /// Its permission bits, where they are said.
    pub mode: Option<u32>,
    /// Its owner inside, where said.
    pub uid: Option<u32>,
    /// Its group inside, where said.
    pub gid: Option<u32>,
}

/// Something of the host to mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// What, on the host.
    pub host: PathBuf,
    /// Where, inside.
    pub path: String,
    /// Nothing can be written.
    pub readonly: bool,
    /// Set-id bits have no effect.
    pub nosuid: bool,
    /// Nothing can be executed.
    pub noexec: bool,
    /// Mounts below come along.
    pub recursive: bool,
    /// How later mounts spread.
    pub propagation: Propagation,
}

/// A symbolic link to make inside.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Link {
    /// Where it is.
    pub path: String,
    /// What it says.
    pub target: String,
}

/// Why a device cannot be had by its CDI name.
#[derive(Debug, thiserror::Error)]
pub enum CdiError {
    /// No specification has it.
    #[error(
        "no CDI specification in {} has {name}{}{}; `nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml` writes one for NVIDIA's GPUs",
        DIRECTORIES.join(" or "),
        if known.is_empty() { String::new() } else { format!("; there are {}", known.join(", ")) },
        if unreadable.is_empty() { String::new() } else { format!("; not understood: {}", unreadable.join("; ")) }
    )]
    Missing {
        /// The name.
        name: String,
        /// The devices of this kind that there are.
        known: Vec<String>,
        /// Specifications that say nothing that can be understood, and why.
        unreadable: Vec<String>,
    },
    /// Two specifications of one directory have it.
    #[error("CDI device {name} stands in {} and in {}; keep one", first.display(), second.display())]
    Twice {
        /// The name.
        name: String,
        /// One file.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// A directory cannot be read.
    #[error("reading {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The specification wants something that this server does not do.
    #[error("CDI specification {}: {why}", file.display())]
    Refused {
        /// The file.
        file: PathBuf,
        /// What, and why not.
        why: String,
    },
}

/// Looks a device up. `directories` are those of specifications, the most important last.
///
/// # Errors
/// If none has it, two of one directory do, or it wants something that this server does not do.
pub fn find(name: &CdiName, directories: &[impl AsRef<Path>]) -> Result<Edits, CdiError> {
    let (mut known, mut unreadable) = (Vec::new(), Vec::new());
    for directory in directories.iter().rev() {
        let mut found: Option<(PathBuf, Document)> = None;
        for file in files(directory.as_ref())? {
            let document = match Document::read(&file) {
                Ok(document) => document,
                Err(why) => {
                    unreadable.push(format!("{}: {why}", file.display()));
                    continue;
                }
            };
            if document.kind != name.kind {
                continue;
            }
            known.extend(document.devices.iter().map(|device| device.name.clone()));
            if document.devices.iter().all(|device| device.name != name.device) {
                continue;
            }
            if let Some((first, _)) = found {
                return Err(CdiError::Twice { name: name.to_string(), first, second: file });
            }
            found = Some((file, document));
        }
        if let Some((file, document)) = found {
            return edits(document, name).map_err(|why| CdiError::Refused { file, why });
        }
    }
    known.sort();
    known.dedup();
    Err(CdiError::Missing { name: name.to_string(), known, unreadable })
}

/// The specifications of a directory, by name; one that does not exist has none.
fn files(directory: &Path) -> Result<Vec<PathBuf>, CdiError> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(CdiError::Directory { path: directory.to_owned(), cause }),
    };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|kind| kind == "json" || kind == "yaml"));
    files.sort();
    Ok(files)
}

/// What a document gives with one of its devices: what it gives with all, and then the device's own.
fn edits(document: Document, name: &CdiName) -> Result<Edits, String> {
    let own = document.devices.into_iter().find(|device| device.name == name.device).map(|device| device.container_edits);
    let mut edits = Edits::default();
    for part in document.container_edits.into_iter().chain(own) {
        add(part, &mut edits)?;
    }
    Ok(edits)
}

fn add(part: ContainerEdits, edits: &mut Edits) -> Result<(), String> {
    let refuse = |what: &str, given: bool| if given { Err(format!("{what} is not supported by this server")) } else { Ok(()) };
    refuse("netDevices", part.net_devices.is_some())?;
    refuse("intelRdt", part.intel_rdt.is_some())?;
    refuse("additionalGids", part.additional_gids.is_some())?;
    for variable in part.env {
        let pair = variable.split_once('=').filter(|(name, _)| !name.is_empty() && !variable.contains(['\0', '\n']));
        let (name, value) = pair.ok_or_else(|| format!("env {variable:?} is no NAME=VALUE of one line"))?;
        edits.environment.push((name.to_owned(), value.to_owned()));
    }
    for node in part.device_nodes {
        edits.nodes.push(self::node(node)?);
    }
    for mount in part.mounts {
        edits.mounts.push(self::mount(mount)?);
    }
    for hook in part.hooks {
        hooks::add(&hook, edits)?;
    }
    Ok(())
}

fn node(node: document::DeviceNode) -> Result<Node, String> {
    let path = inside(&node.path)?;
    if !path.starts_with("/dev/") {
        return Err(format!("device node {path}: device nodes are made below /dev only"));
    }
    let kind = match node.kind.as_deref() {
        None | Some("") => None,
        Some("c" | "u") => Some(NodeKind::Char),
        Some("b") => Some(NodeKind::Block),
        Some(kind) => return Err(format!("device node {path}: type {kind:?} is neither c nor b")),
    };
    if let Some(permissions) = node.permissions.as_deref().filter(|text| !text.is_empty())
        && !(permissions.contains('r') && permissions.contains('w'))
    {
        return Err(format!("device node {path}: permissions {permissions:?} cannot be held; this server gives nodes to read and write"));
    }
    let number = match (node.major, node.minor) {
        (Some(major), Some(minor)) => Some((major, minor)),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => return Err(format!("device node {path}: major and minor go together")),
    };
    let host = node.host_path.filter(|host| !host.is_empty()).unwrap_or_else(|| path.clone()).into();
    let mode = node.file_mode.map(|mode| mode & 0o777);
    Ok(Node { path, host, kind, number, mode, uid: node.uid, gid: node.gid })
}

fn mount(mount: document::Mount) -> Result<Mount, String> {
    let path = inside(&mount.container_path)?;
    match mount.kind.as_deref() {
        None | Some("" | "bind" | "none") => {}
        Some(kind) => return Err(format!("mount {path}: type {kind:?} is not supported; files and directories of the host are")),
    }
    if !mount.host_path.starts_with('/') {
        return Err(format!("mount {path}: hostPath {:?} is not absolute", mount.host_path));
    }
    let mut made = Mount {
        host: mount.host_path.into(),
        path,
        readonly: false,
        nosuid: false,
        noexec: false,
        recursive: false,
        propagation: Propagation::Private,
    };
    for option in &mount.options {
        match option.as_str() {
            "bind" | "private" | "rprivate" | "rw" | "suid" | "exec" | "nodev" | "relatime" => {}
            "rbind" => made.recursive = true,
            "ro" => made.readonly = true,
            "nosuid" => made.nosuid = true,
            "noexec" => made.noexec = true,
            "slave" | "rslave" => made.propagation = Propagation::Slave,
            other => return Err(format!("mount {}: option {other:?} is not supported", made.path)),
        }
    }
    Ok(made)
}

/// A path inside: absolute, without `.` and `..`; double and trailing slashes go.
fn inside(path: &str) -> Result<String, String> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if !path.starts_with('/') || parts.is_empty() || parts.iter().any(|part| matches!(*part, "." | "..")) || path.contains('\0') {
        return Err(format!("path {path:?} inside the container is not absolute, or holds . or .."));
    }
    Ok(format!("/{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NVIDIA: &str = r#"
cdiVersion: 0.5.0
kind: nvidia.com/gpu
containerEdits:
  deviceNodes:
  - path: /dev/nvidiactl
  env: [NVIDIA_VISIBLE_DEVICES=void]
  hooks:
  - args: [nvidia-cdi-hook, create-symlinks, --link, libcuda.so.1::/usr/lib/libcuda.so]
    hookName: createContainer
    path: /usr/bin/nvidia-cdi-hook
  - args: [nvidia-ctk, hook, update-ldcache, --folder, /usr/lib/nvidia]
    hookName: createContainer
    path: /usr/bin/nvidia-ctk
  mounts:
  - {containerPath: /usr/lib/libcuda.so.1, hostPath: /usr/lib/libcuda.so.1, options: [ro, nosuid, nodev, rbind, rprivate]}
devices:
- name: "0"
  containerEdits:
    deviceNodes:
    - {path: /dev/nvidia0, hostPath: /host/nvidia0, major: 195, minor: 0, fileMode: 438, permissions: rw, uid: 7}
- name: all
  containerEdits: {}
"#;

    fn look(name: &str, files: &[(&str, &str)]) -> Result<Edits, String> {
        let top = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = top.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let directories = [top.path().join("etc"), top.path().join("run")];
        find(&name.parse().unwrap(), &directories).map_err(|error| coffer_base::chain(&error).replace(top.path().to_str().unwrap(), ""))
    }

    /// Checks why a specification's edits are refused.
    #[track_caller]
    fn refused(edits: &str, expect: &str) {
        let text = format!(r#"{{"cdiVersion": "0.6.0", "kind": "a.b/c", "devices": [{{"name": "x", "containerEdits": {edits}}}]}}"#);
        assert_eq!(look("a.b/c=x", &[("etc/a.json", &text)]).unwrap_err(), format!("CDI specification /etc/a.json: {expect}"));
    }

    #[test]
    fn a_device_is_what_all_get_and_its_own() {
        let edits = look("nvidia.com/gpu=0", &[("etc/nvidia.yaml", NVIDIA)]).unwrap();
        let paths: Vec<&str> = edits.nodes.iter().map(|node| node.path.as_str()).collect();
        assert_eq!(paths, ["/dev/nvidiactl", "/dev/nvidia0"]);
        let own = &edits.nodes[1];
        assert_eq!((own.host.to_str(), own.number, own.mode, own.uid), (Some("/host/nvidia0"), Some((195, 0)), Some(0o666), Some(7)));
        assert_eq!(edits.environment, [("NVIDIA_VISIBLE_DEVICES".into(), "void".into())]);
        assert_eq!(edits.links, [Link { path: "/usr/lib/libcuda.so".into(), target: "libcuda.so.1".into() }]);
        assert_eq!(edits.libraries, ["/usr/lib/nvidia"]);
        let mount = &edits.mounts[0];
        assert!(mount.readonly && mount.nosuid && mount.recursive && !mount.noexec);
        assert_eq!(look("nvidia.com/gpu=all", &[("etc/nvidia.yaml", NVIDIA)]).unwrap().nodes.len(), 1);
    }

    #[test]
    fn what_is_made_while_the_host_runs_goes_before() {
        let other = NVIDIA.replace("/dev/nvidia0", "/dev/other");
        let edits = look("nvidia.com/gpu=0", &[("etc/a.yaml", NVIDIA), ("run/a.yaml", &other)]).unwrap();
        assert_eq!(edits.nodes[1].path, "/dev/other");
        let error = look("nvidia.com/gpu=0", &[("etc/a.yaml", NVIDIA), ("etc/b.yaml", NVIDIA)]).unwrap_err();
        assert_eq!(error, "CDI device nvidia.com/gpu=0 stands in /etc/a.yaml and in /etc/b.yaml; keep one");
    }

    #[test]
    fn what_is_missing_is_said_with_what_there_is() {
        let error = look("nvidia.com/gpu=7", &[("etc/a.yaml", NVIDIA), ("etc/b.yaml", "kind: x"), ("etc/c.txt", "")]).unwrap_err();
        for word in ["nvidia.com/gpu=7", "there are 0, all", "not understood: /etc/b.yaml", "nvidia-ctk cdi generate"] {
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        refused(r#"{"deviceNodes": [{"path": "/opt/x"}]}"#, "device node /opt/x: device nodes are made below /dev only");
        refused(r#"{"deviceNodes": [{"path": "/dev/../x"}]}"#, "path \"/dev/../x\" inside the container is not absolute, or holds . or ..");
        refused(r#"{"deviceNodes": [{"path": "/dev/x", "major": 1}]}"#, "device node /dev/x: major and minor go together");
        refused(r#"{"deviceNodes": [{"path": "/dev/x", "type": "p"}]}"#, "device node /dev/x: type \"p\" is neither c nor b");
        refused(
            r#"{"deviceNodes": [{"path": "/dev/x", "permissions": "r"}]}"#,
            "device node /dev/x: permissions \"r\" cannot be held; this server gives nodes to read and write",
        );
        refused(
            r#"{"mounts": [{"hostPath": "tmpfs", "containerPath": "/x", "type": "tmpfs"}]}"#,
            "mount /x: type \"tmpfs\" is not supported; files and directories of the host are",
        );
        refused(
            r#"{"mounts": [{"hostPath": "/x", "containerPath": "/x", "options": ["shared"]}]}"#,
            "mount /x: option \"shared\" is not supported",
        );
        refused(r#"{"env": ["=x"]}"#, "env \"=x\" is no NAME=VALUE of one line");
        refused(r#"{"netDevices": []}"#, "netDevices is not supported by this server");
        refused(
            r#"{"hooks": [{"hookName": "prestart", "path": "/bin/sh", "args": ["sh", "-c", "x"]}]}"#,
            "hook /bin/sh is not run: this server starts no program that a specification names",
        );
    }
}
