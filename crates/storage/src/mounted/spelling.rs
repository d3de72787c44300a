//! How things are called in stores whose names are plain text with few letters of their own: datasets, RBD images.
//!
//! A volume is `KIND/[PROJECT_]NAME`, a snapshot `KIND-snapshots/[PROJECT_]NAME::SNAPSHOT`, with the store's own mark in the
//! place of the slash. What not every store takes is written as a colon and two hexadecimal digits.

use coffer_model::VolumeKind;

use super::{Base, Name};
use crate::volume::Volume;

/// Where half made things are.
pub(crate) const SCRATCH: &str = "tmp";

/// Where whole things are that are about to take the place of a volume.
pub(crate) const NEXT: &str = "next";

/// Between a volume's name and its snapshot's.
const OF: &str = "::";

/// Names with this mark between what a thing is and whose it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spelling(pub(crate) char);

impl Spelling {
    /// What comes before the mark in all names: the kinds of things.
    pub(crate) fn kinds() -> impl Iterator<Item = &'static str> {
        let volumes = Volume::KINDS.into_iter().flat_map(|kind| [Some(Volume::home(kind)), Volume::snapshots_home(kind)]);
        volumes.flatten().chain([SCRATCH, NEXT])
    }

    /// Writes a name.
    pub(crate) fn encode(self, name: &Name) -> String {
        let mark = self.0;
        let (kind, base) = match &name.base {
            Base::Volume(volume) => (Volume::home(volume.kind()), escape(volume.directory())),
            Base::Scratch(scratch) => (SCRATCH, escape(scratch)),
            Base::Next(volume) => (NEXT, format!("{}{OF}{}", Volume::home(volume.kind()), escape(volume.directory()))),
        };
        match (&name.snapshot, &name.base) {
            (Some(snapshot), Base::Volume(volume)) => {
                let kind = Volume::snapshots_home(volume.kind()).unwrap_or(kind);
                format!("{kind}{mark}{base}{OF}{}", escape(snapshot.as_str()))
            }
            (Some(snapshot), Base::Scratch(_) | Base::Next(_)) => format!("{kind}{mark}{base}{OF}{}", escape(snapshot.as_str())),
            (None, _) => format!("{kind}{mark}{base}"),
        }
    }

    /// Reads a name, if it is one that [`Self::encode`] would write.
    pub(crate) fn decode(self, text: &str) -> Option<Name> {
        let (kind, rest) = text.split_once(self.0)?;
        let (base, snapshot) = rest.split_once(OF).map_or((rest, None), |(base, snapshot)| (base, Some(snapshot)));
        let name = match (kind, snapshot) {
            (SCRATCH, None) => Name::scratch(unescape(base)?),
            (NEXT, Some(of)) => Name::next(&Volume::parse(volume_kind(base, false)?, &unescape(of)?)?),
            (kind, None) => Name::of(&Volume::parse(volume_kind(kind, false)?, &unescape(base)?)?),
            (kind, Some(snapshot)) => {
                let volume = Volume::parse(volume_kind(kind, true)?, &unescape(base)?)?;
                Name::of(&volume.snapshot(&unescape(snapshot)?.parse().ok()?))
            }
        };
        (self.encode(&name) == text).then_some(name)
    }
}

fn volume_kind(home: &str, of_snapshots: bool) -> Option<VolumeKind> {
    let of = |kind: &VolumeKind| if of_snapshots { Volume::snapshots_home(*kind) } else { Some(Volume::home(*kind)) };
    Volume::KINDS.into_iter().find(|kind| of(kind) == Some(home))
}

fn escape(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!(":{byte:02x}"));
        }
    }
    name
}

fn unescape(text: &str) -> Option<String> {
    let mut name = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b':' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            name.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            name.push(byte);
        }
    }
    String::from_utf8(name).ok()
}

#[cfg(test)]
mod tests {
    use coffer_model::ProjectName;

    use super::*;

    #[track_caller]
    fn check(name: &Name, expect: &str) {
        let spelling = Spelling('/');
        assert_eq!(spelling.encode(name), expect);
        assert_eq!(spelling.decode(expect).as_ref(), Some(name), "{expect} reads back as something else");
    }

    fn instance(project: &str, name: &str) -> Volume {
        Volume::instance(&project.parse().unwrap(), &name.parse().unwrap())
    }

    #[test]
    fn ordinary_names_look_as_they_are() {
        check(&Name::of(&instance("default", "web-1")), "containers/web-1");
        check(&Name::of(&instance("dev", "web").snapshot(&"snap0".parse().unwrap())), "containers-snapshots/dev_web::snap0");
        check(&Name::of(&Volume::custom(&ProjectName::default_project(), &"my_data".parse().unwrap())), "custom/default_my_data");
        check(&Name::of(&Volume::image(&"a".repeat(64).parse().unwrap())), &format!("images/{}", "a".repeat(64)));
        check(&Name::scratch("12-3"), "tmp/12-3");
        check(&Name::next(&instance("dev", "a-b")), "next/containers::dev_a-b");
    }

    #[test]
    fn hostile_names_stay_names() {
        check(&Name::of(&instance("p~@:", "web")), "containers/p:7e:40:3a_web");
        check(
            &Name::of(&Volume::custom(&ProjectName::default_project(), &"a+b-".parse().unwrap()).snapshot(&"x-@y".parse().unwrap())),
            "custom-snapshots/default_a:2bb-::x-:40y",
        );
    }

    #[test]
    fn what_we_would_not_write_is_not_ours() {
        for foreign in
            ["root", "containers", "containers/", "containers/web::s", "containers-snapshots/web", "containers/w:65b", "tmp/:zz", "x/y"]
        {
            assert!(Spelling('/').decode(foreign).is_none(), "{foreign}");
        }
    }
}
