//! All images of a server, and finding one by a name that a person typed.

use std::collections::HashMap;

use coffer_base::Architecture;

use crate::image::{ImageKind, RemoteImage};

/// All images of a server, the newest and best first.
#[derive(Debug, Default)]
pub struct Catalogue {
    images: Vec<RemoteImage>,
    /// Which images a name means, in the images' order.
    by_alias: HashMap<String, Vec<usize>>,
}

/// What a name means.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// This image.
    One(&'a RemoteImage),
    /// Nothing.
    None,
    /// Several images whose fingerprints begin so.
    Several,
}

impl Catalogue {
    /// Makes one of images in their order. An alias stays with the first image that has it, for each kind and architecture.
    #[must_use]
    pub fn new(mut images: Vec<RemoteImage>) -> Self {
        let mut by_alias: HashMap<String, Vec<usize>> = HashMap::new();
        for index in 0..images.len() {
            let (kind, architecture) = (images[index].kind, images[index].architecture);
            let aliases = std::mem::take(&mut images[index].aliases);
            let own = aliases.into_iter().filter(|alias| {
                let holders = by_alias.entry(alias.clone()).or_default();
                let free = !holders.iter().any(|&holder| images[holder].kind == kind && images[holder].architecture == architecture);
                if free {
                    holders.push(index);
                }
                free
            });
            images[index].aliases = own.collect();
        }
        Self { images, by_alias }
    }

    /// All images.
    #[must_use]
    pub fn images(&self) -> &[RemoteImage] {
        &self.images
    }

    /// Finds the container image that a name means on a host of this architecture: an alias, an alias with an architecture
    /// behind it (`debian/12/arm64`), or the beginning of a fingerprint.
    #[must_use]
    pub fn find(&self, name: &str, host: Architecture) -> Found<'_> {
        if let Some(image) = self.by_alias(name, host) {
            return Found::One(image);
        }
        if let Some((alias, architecture)) = name.rsplit_once('/')
            && let Ok(architecture) = architecture.parse::<Architecture>()
            && let Some(image) = self.holders(alias).find(|image| image.architecture == architecture)
        {
            return Found::One(image);
        }
        self.by_fingerprint(name)
    }

    /// The image of the host's own architecture, or else of one that it runs as well.
    fn by_alias(&self, alias: &str, host: Architecture) -> Option<&RemoteImage> {
        let own = self.holders(alias).find(|image| image.architecture == host);
        own.or_else(|| self.holders(alias).find(|image| host.runs(image.architecture)))
    }

    fn holders(&self, alias: &str) -> impl Iterator<Item = &RemoteImage> {
        let indexes = self.by_alias.get(alias).map(Vec::as_slice).unwrap_or_default();
        indexes.iter().map(|&index| &self.images[index]).filter(|image| image.kind == ImageKind::Container)
    }

    fn by_fingerprint(&self, prefix: &str) -> Found<'_> {
        if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Found::None;
        }
        let mut fitting = self.images.iter().filter(|image| image.fingerprint.starts_with(&prefix.to_ascii_lowercase()));
        let Some(first) = fitting.next() else { return Found::None };
        if fitting.all(|image| image.fingerprint == first.fingerprint) { Found::One(first) } else { Found::Several }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(fingerprint: &str, aliases: &[&str], architecture: Architecture, kind: ImageKind) -> RemoteImage {
        RemoteImage {
            fingerprint: format!("{fingerprint:0<64}"),
            aliases: aliases.iter().map(|&alias| alias.to_owned()).collect(),
            architecture,
            kind,
            size: 1,
            created_at: 0,
            expires_at: None,
            properties: Default::default(),
            filename: String::new(),
            files: Vec::new(),
            deltas: Vec::new(),
        }
    }

    #[track_caller]
    fn check(name: &str, expect: &str) {
        use Architecture::{Aarch64, I686, X86_64};
        let catalogue = Catalogue::new(vec![
            image("e1", &["debian/12"], X86_64, ImageKind::VirtualMachine),
            image("a1", &["debian/12", "debian/bookworm"], X86_64, ImageKind::Container),
            image("b1", &["debian/12"], Aarch64, ImageKind::Container),
            image("a2", &["debian/12"], X86_64, ImageKind::Container),
            image("c1", &["old"], I686, ImageKind::Container),
        ]);
        let got = match catalogue.find(name, X86_64) {
            Found::One(image) => &image.fingerprint[..2],
            Found::None => "none",
            Found::Several => "several",
        };
        assert_eq!(got, expect, "{name}");
    }

    #[test]
    fn names() {
        check("debian/12", "a1");
        check("debian/bookworm", "a1");
        check("debian/12/arm64", "b1");
        check("debian/12/aarch64", "b1");
        check("debian/12/amd64", "a1");
        check("debian/bookworm/arm64", "none");
        check("old", "c1");
        check("a", "several");
        check("A2", "a2");
        check("f", "none");
        check("", "none");
        check("debian", "none");
    }
}
