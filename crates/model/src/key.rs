//! What one configuration key is: its type, default, reach and documentation in one row.
//!
//! The tables are in [`crate::keys`]. Validation, the manual and shell completion all read them.

use coffer_base::Bytes;

/// One row of a table of configuration keys.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The key. A final `.*` stands for any one or more further segments.
    pub name: &'static str,
    /// What values it takes.
    pub value: Value,
    /// What an absent key means, as text for the manual; empty where it means "nothing".
    pub default: &'static str,
    /// Whether a change takes effect on a running instance; otherwise at its next start.
    pub live: bool,
    /// Which class of restricted projects' rules it falls under.
    pub class: Class,
    /// Whether this server does it.
    pub support: Support,
    /// What it is for: one sentence or two.
    pub doc: &'static str,
}

/// What values a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// `true`, `false`, `1`, `0`, `yes`, `no`, `on`, `off`.
    Bool,
    /// A whole number within bounds, both included.
    Int(i64, i64),
    /// A size such as `512MiB`.
    Size,
    /// A size, or a share of the host's such as `50%`.
    SizeOrPercent,
    /// A number of CPUs, or a set such as `0-3,6`.
    Cpus,
    /// A set of numbers such as `0-1,3`.
    Numbers,
    /// A share such as `50%`, or a hard limit such as `25ms/100ms`.
    CpuAllowance,
    /// A process resource limit: `N`, `SOFT:HARD` or `unlimited`.
    ResourceLimit,
    /// Names of kernel modules, separated by commas.
    Modules,
    /// Names of system calls, separated by spaces or line breaks.
    SystemCalls,
    /// File systems that may be mounted in an instance's place, separated by commas.
    Filesystems,
    /// File systems and the programs inside that mount them, such as `ext4=fuse2fs`, separated by commas.
    FilesystemPrograms,
    /// Entries of an id map, a line each: `both 1000 1000`, `uid 50-60 500-510`.
    IdMapEntries,
    /// Rules of an AppArmor profile, a line each.
    ApparmorRules,
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// A user or group id.
    Id,
    /// A user and its group as `UID:GID`.
    Owner,
    /// Permission bits in octal, such as `0660`.
    Mode,
    /// A number of four hexadecimal digits, as vendors and products of devices have.
    Hex,
    /// Bytes a second such as `30MB`, or operations a second such as `200iops`.
    IoRate,
    /// Bits a second such as `10Mbit`.
    BitRate,
    /// A time to keep something, such as `2w 3d`.
    Expiry,
    /// Moments, such as `0 6 * * 1-5` or `@daily`.
    Schedule,
    /// A pattern for the names of snapshots, such as `snap%d`.
    SnapshotPattern,
    /// A command line, such as `test -e /run/ready`.
    Words,
    /// A port, or an address and a port.
    HealthTcp,
    /// A URL with an address for its host.
    HealthHttp,
    /// Instances and how far they must be, such as `db, cache:running`.
    Depends,
    /// One line of text without control characters.
    Line,
    /// Any text up to 1 MiB without NUL.
    Text,
}

/// Which rules of a restricted project a key falls under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Allowed everywhere.
    Free,
    /// Reaches the kernel or the runtime directly: `restricted.containers.lowlevel`.
    LowLevel,
    /// `restricted.containers.nesting`.
    Nesting,
    /// `restricted.containers.privilege`.
    Privilege,
    /// `restricted.containers.interception`.
    Interception,
}

/// Whether this server does what a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It does.
    Yes,
    /// It does not; setting the key is refused with this reason.
    No(&'static str),
}

/// Why a key or its value is refused.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum KeyError {
    /// No table knows the key.
    #[error("unknown {entity} configuration key {key:?}{}", hint.as_ref().map(|near| format!("; did you mean {near:?}?")).unwrap_or_default())]
    Unknown {
        /// What was configured.
        entity: &'static str,
        /// The key.
        key: String,
        /// A known key that looks alike.
        hint: Option<String>,
    },
    /// The key is known, but this server does not do it.
    #[error("{entity} configuration key {key:?} is not supported: {why}")]
    Unsupported {
        /// What was configured.
        entity: &'static str,
        /// The key.
        key: String,
        /// The reason.
        why: &'static str,
    },
    /// The value is not of the key's type.
    #[error("invalid value {value:?} for {entity} configuration key {key:?}: {why}")]
    Value {
        /// What was configured.
        entity: &'static str,
        /// The key.
        key: String,
        /// The value, cut after 100 characters.
        value: String,
        /// What is wrong with it.
        why: String,
    },
}

/// Finds a key's row: an exact name first, else the longest `.*` row that fits.
#[must_use]
pub fn find(table: &'static [Key], name: &str) -> Option<&'static Key> {
    let exact = table.iter().find(|row| row.name == name);
    exact.or_else(|| table.iter().filter(|row| wild(row.name, name)).max_by_key(|row| row.name.len()))
}

/// Checks one key and its value against a table.
///
/// # Errors
/// See [`KeyError`].
pub fn check(entity: &'static str, table: &'static [Key], name: &str, value: &str) -> Result<&'static Key, KeyError> {
    let Some(row) = find(table, name) else {
        return Err(KeyError::Unknown { entity, key: name.to_owned(), hint: near(table, name) });
    };
    if value.is_empty() {
        return Ok(row);
    }
    if let Support::No(why) = row.support {
        return Err(KeyError::Unsupported { entity, key: name.to_owned(), why });
    }
    if name.strip_prefix("linux.sysctl.").is_some_and(|parameter| !is_parameter(parameter)) {
        return Err(KeyError::Unsupported { entity, key: name.to_owned(), why: "it is not the name of a kernel parameter" });
    }
    row.value.check(value).and_then(|()| one_process(name, value)).map_err(|why| KeyError::Value {
        entity,
        key: name.to_owned(),
        value: value.chars().take(100).collect(),
        why,
    })?;
    Ok(row)
}

/// What a type does not say of the keys of instances that run one process.
fn one_process(name: &str, value: &str) -> Result<(), String> {
    match name {
        "oci.entrypoint" => match crate::command_line::split(value) {
            Ok(words) if words.first().is_some_and(|program| !program.is_empty()) => Ok(()),
            Ok(_) => Err("it must name a program".into()),
            Err(error) => Err(error.to_string()),
        },
        "oci.dns.nameservers" if items(value).any(|address| address.parse::<std::net::IpAddr>().is_err()) => {
            Err("it must be addresses, separated by commas".into())
        }
        "oci.dns.domain" | "oci.dns.search" => {
            let plain = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
            if items(value).all(plain) { Ok(()) } else { Err("it must be names of domains, separated by commas".into()) }
        }
        "oci.cwd" if !value.starts_with('/') || value.split('/').any(|part| part == "..") => {
            Err("it must be an absolute path inside, without \"..\"".into())
        }
        _ => Ok(()),
    }
}

/// What stands between commas.
fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim)
}

impl Value {
    /// Says what is wrong with a value, if anything.
    ///
    /// # Errors
    /// A sentence for the user.
    pub fn check(self, text: &str) -> Result<(), String> {
        let lines = matches!(self, Self::Text | Self::SystemCalls | Self::IdMapEntries | Self::ApparmorRules);
        if !lines && text.contains(char::is_control) {
            return Err("it must be one line without control characters".into());
        }
        match self {
            Self::Bool => match text.to_ascii_lowercase().as_str() {
                "true" | "false" | "1" | "0" | "yes" | "no" | "on" | "off" => Ok(()),
                _ => Err("it must be true or false".into()),
            },
            Self::Int(low, high) => match text.parse::<i64>() {
                Ok(number) if (low..=high).contains(&number) => Ok(()),
                _ if high == i64::MAX => Err(format!("it must be a whole number of at least {low}")),
                _ => Err(format!("it must be a whole number from {low} to {high}")),
            },
            Self::Size => text.parse::<Bytes>().map(drop).map_err(|error| error.to_string()),
            Self::SizeOrPercent => match text.strip_suffix('%') {
                Some(share) => percent(share),
                None => text.parse::<Bytes>().map(drop).map_err(|error| error.to_string()),
            },
            Self::Cpus => Cpus::parse(text).map(drop),
            Self::Numbers => number_set(text).map(drop).ok_or_else(|| "it must be a set of numbers such as 0-1,3".into()),
            Self::CpuAllowance => CpuAllowance::parse(text).map(drop),
            Self::ResourceLimit => ResourceLimit::parse(text).map(drop),
            Self::Modules => text.split(',').try_for_each(|name| word(name.trim_matches(' '), "a kernel module", b"_-")),
            Self::SystemCalls => text.split_whitespace().try_for_each(|name| word(name, "a system call", b"_")),
            Self::Filesystems => crate::filesystems::check(text),
            Self::FilesystemPrograms => crate::filesystems::programs(text).map(drop),
            Self::IdMapEntries => crate::raw_idmap::parse(text).map(drop),
            Self::ApparmorRules => crate::apparmor::check(text),
            Self::Choice(words) => {
                if words.contains(&text) {
                    Ok(())
                } else {
                    Err(format!("it must be one of {}", words.join(", ")))
                }
            }
            Self::Id => match text.parse::<u32>() {
                Ok(0..=LAST_ID) => Ok(()),
                _ => Err("it must be a user or group id".into()),
            },
            Self::Owner => text.parse::<Owner>().map(drop),
            Self::Mode => text.parse::<Mode>().map(drop),
            Self::Hex => {
                if text.len() == 4 && text.chars().all(|c| c.is_ascii_hexdigit()) {
                    Ok(())
                } else {
                    Err("it must be four hexadecimal digits such as 046d".into())
                }
            }
            Self::IoRate => text.parse::<IoRate>().map(drop),
            Self::BitRate => text.parse::<crate::BitRate>().map(drop),
            Self::Expiry => text.parse::<crate::Expiry>().map(drop).map_err(|error| error.to_string()),
            Self::Schedule => text.parse::<crate::Schedule>().map(drop).map_err(|error| error.to_string()),
            Self::SnapshotPattern => text.parse::<crate::SnapshotPattern>().map(drop).map_err(|error| error.to_string()),
            Self::Words => crate::health::command(text).map(drop),
            Self::HealthTcp => crate::health::tcp(text).map(drop),
            Self::HealthHttp => crate::health::http(text).map(drop),
            Self::Depends => text.parse::<crate::Dependencies>().map(drop),
            Self::Line => {
                if text.chars().any(|c| c.is_control() || c == '\u{2028}' || c == '\u{2029}') {
                    Err("it must be one line without control characters".into())
                } else if text.len() > 64 << 10 {
                    Err("it must not be longer than 64 KiB".into())
                } else {
                    Ok(())
                }
            }
            Self::Text => {
                if text.contains('\0') {
                    Err("it must not hold a NUL character".into())
                } else if text.len() > 1 << 20 {
                    Err("it must not be longer than 1 MiB".into())
                } else {
                    Ok(())
                }
            }
        }
    }
}

/// Whether a kernel parameter's dotted name leads where it says: each part is a name, and a slash, which stands for a dot
/// within one, makes none that leads up.
fn is_parameter(name: &str) -> bool {
    let part = |part: &str| !part.is_empty() && !part.bytes().all(|byte| byte == b'/') && !part.chars().any(|c| c.is_control() || c == ' ');
    name.split('.').all(part)
}

/// A name of letters, digits and a few more characters.
fn word(name: &str, what: &str, more: &[u8]) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || more.contains(&byte);
    if (1..=64).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('-') {
        Ok(())
    } else {
        Err(format!("{name:?} is not the name of {what}"))
    }
}

fn percent(text: &str) -> Result<(), String> {
    match text.parse::<u64>() {
        Ok(1..=100) => Ok(()),
        _ => Err("the share must be from 1% to 100%".into()),
    }
}

/// A request for CPUs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cpus {
    /// This many, chosen by the server.
    Count(u32),
    /// Exactly these, in order, without repeats.
    Set(Vec<u32>),
}

impl Cpus {
    /// Reads `4`, `0-3`, `1,5,7-9`. One number alone is a count; `1-1` pins one CPU.
    ///
    /// # Errors
    /// A sentence for the user.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Ok(count) = text.parse::<u32>() {
            return if count == 0 { Err("it must be at least 1".into()) } else { Ok(Self::Count(count)) };
        }
        number_set(text).map(Self::Set).ok_or_else(|| "it must be a number of CPUs or a set such as 0-3,6".into())
    }
}

/// Reads `0-3,6`: numbers up to 8191, in order, without repeats.
#[must_use]
pub fn number_set(text: &str) -> Option<Vec<u32>> {
    let mut set = std::collections::BTreeSet::new();
    for part in text.split(',') {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        let (low, high): (u32, u32) = (low.trim().parse().ok()?, high.trim().parse().ok()?);
        if low > high || high > 8191 {
            return None;
        }
        set.extend(low..=high);
    }
    Some(set.into_iter().collect())
}

/// A limit on CPU time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuAllowance {
    /// A share in percent that counts only when CPUs are busy.
    Share(u32),
    /// A hard limit: this many microseconds in each period of microseconds.
    Quota {
        /// Microseconds of CPU time.
        quota: u64,
        /// Length of the period in microseconds.
        period: u64,
    },
}

impl CpuAllowance {
    /// Reads `50%` or `25ms/100ms`.
    ///
    /// # Errors
    /// A sentence for the user.
    pub fn parse(text: &str) -> Result<Self, String> {
        const WHY: &str = "it must be a share such as 50% or a time such as 25ms/100ms";
        if let Some(share) = text.strip_suffix('%') {
            return match share.parse::<u32>() {
                Ok(share @ 1..=100) => Ok(Self::Share(share)),
                _ => Err("the share must be from 1% to 100%".into()),
            };
        }
        let (quota, period) = text.split_once('/').ok_or(WHY)?;
        let milliseconds = |part: &str| part.trim().strip_suffix("ms").and_then(|number| number.parse::<u64>().ok());
        match (milliseconds(quota), milliseconds(period)) {
            (Some(quota @ 1..=1_000_000), Some(period @ 1..=1000)) => Ok(Self::Quota { quota: quota * 1000, period: period * 1000 }),
            (Some(_), Some(_)) => Err("the period must be from 1ms to 1000ms".into()),
            _ => Err(WHY.into()),
        }
    }
}

/// The last id there is: the one after it means "none" to the kernel.
const LAST_ID: u32 = u32::MAX - 1;

/// A user and its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The user's id.
    pub uid: u32,
    /// The group's id.
    pub gid: u32,
}

impl std::str::FromStr for Owner {
    type Err = String;

    /// Reads `UID:GID`, or `UID` for a user whose group has the same number.
    fn from_str(text: &str) -> Result<Self, String> {
        let (uid, gid) = text.split_once(':').unwrap_or((text, text));
        let id = |part: &str| part.parse().ok().filter(|id| *id <= LAST_ID);
        match (id(uid), id(gid)) {
            (Some(uid), Some(gid)) => Ok(Self { uid, gid }),
            _ => Err("it must be a user's and a group's id such as 1000:1000".into()),
        }
    }
}

/// Permission bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode(pub u32);

impl std::str::FromStr for Mode {
    type Err = String;

    /// Reads octal digits: `0660`, `660`.
    fn from_str(text: &str) -> Result<Self, String> {
        match u32::from_str_radix(text, 8) {
            Ok(mode @ 0..=0o777) if text.chars().all(|c| c.is_digit(8)) => Ok(Self(mode)),
            _ => Err("it must be permission bits in octal such as 0660".into()),
        }
    }
}

/// How much may be read or written in a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoRate {
    /// Bytes.
    Bytes(u64),
    /// Operations.
    Operations(u64),
}

impl std::str::FromStr for IoRate {
    type Err = String;

    /// Reads `30MB` or `200iops`.
    fn from_str(text: &str) -> Result<Self, String> {
        let rate = match text.strip_suffix("iops") {
            Some(number) => number.parse().map(Self::Operations).map_err(|_| "before iops there must be a whole number".to_owned()),
            None => text.parse::<Bytes>().map(|bytes| Self::Bytes(bytes.0)).map_err(|error| error.to_string()),
        };
        match rate {
            Ok(Self::Bytes(0) | Self::Operations(0)) => Err("it must be at least 1; leave the key out for no limit".into()),
            rate => rate,
        }
    }
}

/// A process resource limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceLimit {
    /// The soft limit; `None` is unlimited.
    pub soft: Option<u64>,
    /// The hard limit; `None` is unlimited.
    pub hard: Option<u64>,
}

impl ResourceLimit {
    /// Reads `N`, `SOFT:HARD` or `unlimited`.
    ///
    /// # Errors
    /// A sentence for the user.
    pub fn parse(text: &str) -> Result<Self, String> {
        let one = |part: &str| match part {
            "unlimited" => Ok(None),
            number => number.parse().map(Some).map_err(|_| "it must be a number, SOFT:HARD or unlimited".to_owned()),
        };
        let (soft, hard) = text.split_once(':').unwrap_or((text, text));
        Ok(Self { soft: one(soft)?, hard: one(hard)? })
    }
}

fn wild(row: &str, name: &str) -> bool {
    row.strip_suffix('*').is_some_and(|prefix| name.len() > prefix.len() && name.starts_with(prefix))
}

/// A known key at most two edits away.
fn near(table: &'static [Key], name: &str) -> Option<String> {
    coffer_base::near::nearest(name, table.iter().map(|row| row.name)).map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: Value, text: &str, fine: bool) {
        assert_eq!(value.check(text).is_ok(), fine, "{text:?}: {:?}", value.check(text));
    }

    #[test]
    fn values() {
        check(Value::Bool, "yes", true);
        check(Value::Bool, "ja", false);
        check(Value::Int(0, 10), "11", false);
        check(Value::SizeOrPercent, "50%", true);
        check(Value::SizeOrPercent, "0%", false);
        check(Value::Line, "a\nb", false);
        check(Value::Line, "a\u{2028}b", false);
        check(Value::Cpus, "0-3,6", true);
        check(Value::Cpus, "3-1", false);
        check(Value::CpuAllowance, "25ms/100ms", true);
        check(Value::CpuAllowance, "25/100", false);
        check(Value::ResourceLimit, "1024:unlimited", true);
        check(Value::Owner, "1000:1000", true);
        check(Value::Owner, "4294967295", false);
        check(Value::Mode, "0660", true);
        check(Value::Mode, "+660", false);
        check(Value::Mode, "0888", false);
        check(Value::Hex, "046d", true);
        check(Value::Hex, "0x46", false);
        check(Value::IoRate, "30MB", true);
        check(Value::IoRate, "200iops", true);
        check(Value::IoRate, "0iops", false);
    }

    #[test]
    fn a_kernel_parameter_leads_nowhere_else() {
        let fine = |name: &str| super::check("instance", crate::keys::INSTANCE, name, "1").is_ok();
        for name in ["linux.sysctl.net.ipv4.ip_forward", "linux.sysctl.net.ipv4.conf.eth0/1.forwarding", "linux.sysctl.kernel.shmmax"] {
            assert!(fine(name), "{name}");
        }
        for name in [
            "linux.sysctl.kernel.core_pattern",
            "linux.sysctl.vm.swappiness",
            "linux.sysctl.net.//.kernel.core_pattern",
            "linux.sysctl.net../.x",
            "linux.sysctl.net..x",
            "linux.sysctl.net.x\n",
            "linux.sysctl.kernel.shmmax.x",
        ] {
            assert!(!fine(name), "{name}");
        }
    }

    #[test]
    fn a_typing_error_gets_a_hint() {
        let error = super::check("instance", crate::keys::INSTANCE, "limits.memroy", "1").unwrap_err();
        assert_eq!(error.to_string(), "unknown instance configuration key \"limits.memroy\"; did you mean \"limits.memory\"?");
    }
}
