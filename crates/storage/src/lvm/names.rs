//! What things are called as logical volumes.
//!
//! A volume is `KIND_[PROJECT_]NAME`, a snapshot has `-SNAPSHOT` behind it; hyphens in names are doubled, and what LVM
//! takes in no name is written as `+` and two hexadecimal digits. Ordinary names so look as LXD writes them.

use coffer_model::VolumeKind;

use crate::mounted::{Base, Fault, Name};
use crate::volume::Volume;

/// What LVM keeps for its own use inside names.
///
/// Source: lvm(8), valid names.
const RESERVED: [&str; 18] = [
    "cdata", "cmeta", "corig", "cpool", "cvol", "iorig", "mimage", "mlog", "pmspare", "rimage", "rmeta", "tdata", "tmeta", "vdata",
    "vorigin", "wcorig", "imeta", "vpool",
];

/// The longest name that the device mapper takes for group and volume together.
const LONGEST_DEVICE: usize = 127;

/// Writes the name of a logical volume.
pub(super) fn encode(name: &Name) -> String {
    let base = match &name.base {
        Base::Volume(volume) => volume_name(volume),
        Base::Scratch(scratch) => format!("tmp_{}", escape(scratch)),
        Base::Next(volume) => format!("next_{}", volume_name(volume)),
    };
    match &name.snapshot {
        None => base,
        Some(snapshot) => format!("{base}-{}", escape(snapshot.as_str())),
    }
}

/// Reads the name of a logical volume, if it is one that [`encode`] would write.
pub(super) fn decode(text: &str) -> Option<Name> {
    let (kind, rest) = text.split_once('_')?;
    let (base, snapshot) = split(rest);
    let base = match kind {
        "tmp" => Base::Scratch(unescape(base)?),
        "next" => {
            let (kind, rest) = base.split_once('_')?;
            Base::Next(Volume::parse(kind_of(kind)?, &unescape(rest)?)?)
        }
        kind => Base::Volume(Volume::parse(kind_of(kind)?, &unescape(base)?)?),
    };
    let snapshot = snapshot.map(|snapshot| unescape(snapshot)?.parse().ok()).map_or(Some(None), |parsed: Option<_>| parsed.map(Some))?;
    let name = Name { base, snapshot };
    (encode(&name) == text).then_some(name)
}

/// The name of a volume's device in `/dev/mapper`.
pub(super) fn device(group: &str, volume: &str) -> String {
    format!("{}-{}", group.replace('-', "--"), volume.replace('-', "--"))
}

/// Refuses a name that is too long for the device mapper.
///
/// # Errors
/// A sentence for the user.
pub(super) fn require_short(group: &str, volume: &str) -> Result<(), Fault> {
    let device = device(group, volume);
    if device.len() <= LONGEST_DEVICE {
        return Ok(());
    }
    Err(Fault::Refused(format!("its name is too long for LVM by {} characters: use shorter names", device.len() - LONGEST_DEVICE)))
}

fn volume_name(volume: &Volume) -> String {
    format!("{}_{}", Volume::home(volume.kind()), escape(volume.directory()))
}

fn kind_of(home: &str) -> Option<VolumeKind> {
    Volume::KINDS.into_iter().find(|kind| Volume::home(*kind) == home)
}

fn escape(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    for (at, byte) in text.bytes().enumerate() {
        let reserved = at.checked_sub(1).is_some_and(|before| text.as_bytes()[before] == b'_')
            && RESERVED.iter().any(|word| text[at..].starts_with(word));
        // The first letters stand behind an underscore too.
        let reserved = reserved || at == 0 && RESERVED.iter().any(|word| text.starts_with(word));
        match byte {
            b'-' => name.push_str("--"),
            byte if !reserved && (byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'_') => name.push(char::from(byte)),
            byte => name.push_str(&format!("+{byte:02x}")),
        }
    }
    name
}

fn unescape(text: &str) -> Option<String> {
    let mut name = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = match byte {
            b'-' => tail.strip_prefix(b"-")?,
            b'+' => {
                let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
                name.push(u8::from_str_radix(digits, 16).ok()?);
                rest = &tail[2..];
                continue;
            }
            _ => tail,
        };
        name.push(byte);
    }
    String::from_utf8(name).ok()
}

/// Splits a name at the first hyphen that is not doubled.
fn split(text: &str) -> (&str, Option<&str>) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'-' {
            if bytes.get(at + 1) != Some(&b'-') {
                return (&text[..at], Some(&text[at + 1..]));
            }
            at += 1;
        }
        at += 1;
    }
    (text, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_model::ProjectName;

    #[track_caller]
    fn check(name: &Name, expect: &str) {
        assert_eq!(encode(name), expect);
        assert_eq!(decode(expect).as_ref(), Some(name), "{expect} reads back as something else");
    }

    fn instance(project: &str, name: &str) -> Volume {
        Volume::instance(&project.parse().unwrap(), &name.parse().unwrap())
    }

    #[test]
    fn ordinary_names_look_as_lxds() {
        check(&Name::of(&instance("default", "web")), "containers_web");
        check(&Name::of(&instance("default", "web-1").snapshot(&"snap0".parse().unwrap())), "containers_web--1-snap0");
        check(&Name::of(&instance("dev", "web")), "containers_dev_web");
        check(&Name::of(&Volume::custom(&ProjectName::default_project(), &"my_data".parse().unwrap())), "custom_default_my_data");
        check(&Name::scratch("12-3"), "tmp_12--3");
        check(&Name::next(&instance("dev", "a-b")), "next_containers_dev_a--b");
    }

    #[test]
    fn hostile_names_stay_names() {
        check(&Name::of(&instance("default", "tdata")), "containers_+74data");
        check(&Name::of(&instance("p~@:", "rimage0")), "containers_p+7e+40+3a_+72image0");
        check(
            &Name::of(&Volume::custom(&ProjectName::default_project(), &"a+b-".parse().unwrap()).snapshot(&"x-@y".parse().unwrap())),
            "custom_default_a+2bb---x--+40y",
        );
    }

    #[test]
    fn what_we_would_not_write_is_not_ours() {
        for foreign in ["root", "LXDThinPool", "containers_", "containers_web-", "containers_w+65b", "custom_data", "tmp_+zz", "images_x"] {
            assert_eq!(decode(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn devices_double_hyphens_again() {
        assert_eq!(device("my-vg", "containers_web--1-snap0"), "my--vg-containers_web----1--snap0");
        require_short("vg", &"x".repeat(124)).unwrap();
        require_short("vg", &"x".repeat(125)).unwrap_err();
    }
}
