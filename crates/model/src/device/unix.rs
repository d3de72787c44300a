//! `unix-char` and `unix-block`: device nodes of the host.

use super::DeviceError;
use super::reader::Reader;
use crate::key::Class::LowLevel;
use crate::key::Support::Yes;
use crate::key::Value::{Bool, Id, Int, Line, Mode as ModeValue};
use crate::key::{Key, Mode, Owner};
use crate::keys::{NEXT_START, row};

/// Keys of both kinds of device node.
pub const KEYS: &[Key] = &[
    row("gid", Id, "0", NEXT_START, LowLevel, Yes, "Group of the node inside."),
    row("major", Int(0, 4095), "", NEXT_START, LowLevel, Yes, "Major number; absent: that of the host's node. It goes with `minor`."),
    row("minor", Int(0, 1_048_575), "", NEXT_START, LowLevel, Yes, "Minor number."),
    row("mode", ModeValue, "0660", NEXT_START, LowLevel, Yes, "Permission bits of the node inside."),
    row("path", Line, "", NEXT_START, LowLevel, Yes, "Where the node is inside, below `/dev`; absent: as `source`."),
    row(
        "required",
        Bool,
        "true",
        NEXT_START,
        LowLevel,
        Yes,
        "Whether a missing node of the host keeps the instance from starting; if not, it comes as soon as the host has it.",
    ),
    row("source", Line, "", NEXT_START, LowLevel, Yes, "The host's node; absent: as `path`."),
    row("type", Line, "", NEXT_START, LowLevel, Yes, "`unix-char` or `unix-block`."),
    row("uid", Id, "0", NEXT_START, LowLevel, Yes, "Owner of the node inside."),
];

/// A device node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnixDevice {
    /// Character or block.
    pub kind: NodeKind,
    /// Where the node is inside, below `/dev`.
    pub path: String,
    /// What it is.
    pub source: NodeSource,
    /// Its owner and permission bits inside.
    pub access: NodeAccess,
    /// Whether a missing node of the host keeps the instance from starting.
    pub required: bool,
}

/// The two kinds of device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// A character device.
    Char,
    /// A block device.
    Block,
}

/// What a device node stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeSource {
    /// The device of the host's node at this absolute path.
    Host(String),
    /// The device of these numbers, whether the host has a node for it or not.
    Numbers(u32, u32),
}

/// Who may use a device node inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeAccess {
    /// Its owner.
    pub owner: Owner,
    /// Its permission bits.
    pub mode: Mode,
}

/// Reads a device node.
pub(super) fn parse(reader: &Reader<'_>, kind: NodeKind) -> Result<UnixDevice, DeviceError> {
    let keys = reader.keys;
    let host = keys.get("source").or_else(|| keys.get("path")).ok_or_else(|| reader.missing("source"))?;
    if !host.starts_with('/') {
        let key = if keys.get("source").is_some() { "source" } else { "path" };
        return Err(reader.value(key, host, "it must be an absolute path of the host"));
    }
    let source = match (keys.parse("major"), keys.parse("minor")) {
        (Some(major), Some(minor)) => NodeSource::Numbers(major, minor),
        (None, None) => NodeSource::Host(host.to_owned()),
        (Some(_), None) => return Err(reader.missing("minor")),
        (None, Some(_)) => return Err(reader.missing("major")),
    };
    let path = if keys.get("path").is_some() { reader.inside_path("path")? } else { reader.inside_path("source")? };
    node_path(reader, if keys.get("path").is_some() { "path" } else { "source" }, &path)?;
    Ok(UnixDevice { kind, path, source, access: access(reader), required: keys.flag("required", true) })
}

/// Refuses nodes outside `/dev`: only there is a file system that is ours to put nodes in.
pub(super) fn node_path(reader: &Reader<'_>, key: &'static str, path: &str) -> Result<(), DeviceError> {
    if path.strip_prefix("/dev/").is_some_and(|below| !below.is_empty()) {
        return Ok(());
    }
    Err(reader.value(key, path, "device nodes are made below /dev only; say path=/dev/NAME"))
}

/// Reads who may use a node.
pub(super) fn access(reader: &Reader<'_>) -> NodeAccess {
    let owner = Owner { uid: reader.keys.parse("uid").unwrap_or(0), gid: reader.keys.parse("gid").unwrap_or(0) };
    NodeAccess { owner, mode: reader.keys.parse("mode").unwrap_or(Mode(0o660)) }
}

#[cfg(test)]
mod tests {
    use crate::device::tests::check;

    #[test]
    fn nodes() {
        check(&[("type", "unix-char"), ("source", "/dev/ttyS0")], "fine");
        check(&[("type", "unix-char"), ("path", "/dev/x"), ("major", "10"), ("minor", "236"), ("mode", "0600")], "fine");
        check(&[("type", "unix-block")], "device dev: key \"source\" is missing");
        check(&[("type", "unix-char"), ("path", "/dev/x"), ("major", "10")], "device dev: key \"minor\" is missing");
        check(
            &[("type", "unix-char"), ("source", "/dev/ttyS0"), ("path", "/opt/tty")],
            "device dev: invalid value \"/opt/tty\" for key \"path\": device nodes are made below /dev only; say path=/dev/NAME",
        );
        check(
            &[("type", "unix-char"), ("source", "/dev/ttyS0"), ("path", "/dev/../x")],
            "device dev: invalid value \"/dev/../x\" for key \"path\": it must be absolute, without . and ..",
        );
        check(
            &[("type", "unix-block"), ("source", "/dev/vdb"), ("mode", "rw")],
            "device dev: invalid value \"rw\" for device configuration key \"mode\": it must be permission bits in octal such as 0660",
        );
    }
}
