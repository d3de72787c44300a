//! The host's graphics cards and their nodes, as the kernel tells them.
//!
//! Source: `Documentation/gpu/drm-uapi.rst` of Linux.

use std::path::{Path, PathBuf};

use coffer_model::device::GpuChoice;

/// Where the kernel lists the nodes of graphics cards.
pub const DRM: &str = "/sys/class/drm";

/// A card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// Its directory in the kernel's tree of devices.
    device: PathBuf,
    /// Its number: 1 of `/dev/dri/card1`.
    number: Option<u32>,
    /// Its PCI address, where it has one.
    pci: Option<String>,
    /// Vendor and product in lower case, four digits each, where it has them.
    product: Option<(String, String)>,
    /// Its nodes.
    pub nodes: Vec<CardNode>,
}

/// A node of a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardNode {
    /// Its name below `/dev/dri`.
    pub name: String,
    /// Major and minor number.
    pub number: (u32, u32),
}

impl Card {
    /// Says whether it is one of those that a device asks for.
    #[must_use]
    pub fn fits(&self, choice: &GpuChoice) -> bool {
        match choice {
            GpuChoice::Card(number) => self.number == Some(*number),
            GpuChoice::Pci(address) => self.pci.as_ref() == Some(address),
            GpuChoice::Product { vendor, product } => {
                let same = |asked: &Option<String>, is: Option<&String>| asked.as_ref().is_none_or(|asked| Some(asked) == is);
                let is = self.product.as_ref();
                same(vendor, is.map(|(vendor, _)| vendor)) && same(product, is.map(|(_, product)| product))
            }
            GpuChoice::Cdi(_) => false,
        }
    }
}

/// Lists the cards below `class`, the kernel's directory of their nodes, by number.
#[must_use]
pub fn all(class: &Path) -> Vec<Card> {
    let mut cards: Vec<Card> = Vec::new();
    for entry in std::fs::read_dir(class).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        // Beside cards and render nodes there are the connectors, `card0-DP-1`.
        let number = |prefix: &str| name.strip_prefix(prefix).and_then(|number| number.parse::<u32>().ok());
        let (card, render) = (number("card"), number("renderD"));
        let Some(node) = card.or(render).and_then(|_| node(&entry.path(), &name)) else { continue };
        let Ok(device) = entry.path().join("device").canonicalize() else { continue };
        let at = cards.iter().position(|card| card.device == device).unwrap_or_else(|| {
            cards.push(described(device));
            cards.len() - 1
        });
        cards[at].number = cards[at].number.or(card);
        cards[at].nodes.push(node);
    }
    cards.iter_mut().for_each(|card| card.nodes.sort_by(|a, b| a.name.cmp(&b.name)));
    cards.sort_by(|a, b| (a.number, &a.device).cmp(&(b.number, &b.device)));
    cards
}

fn node(directory: &Path, name: &str) -> Option<CardNode> {
    let text = std::fs::read_to_string(directory.join("dev")).ok()?;
    let (major, minor) = text.trim().split_once(':')?;
    Some(CardNode { name: name.to_owned(), number: (major.parse().ok()?, minor.parse().ok()?) })
}

fn described(device: PathBuf) -> Card {
    let id = |file: &str| {
        let text = std::fs::read_to_string(device.join(file)).ok()?;
        Some(text.trim().trim_start_matches("0x").to_lowercase())
    };
    let product = id("vendor").zip(id("device"));
    let name = device.file_name().map(|name| name.to_string_lossy().to_lowercase());
    let pci = name.filter(|name| name.len() == 12 && name.matches(':').count() == 2 && product.is_some());
    Card { device, number: None, pci, product, nodes: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A tree with two cards on the PCI bus and one that is part of a chip.
    fn tree() -> tempfile::TempDir {
        let top = tempfile::tempdir().unwrap();
        let class = top.path().join("class/drm");
        std::fs::create_dir_all(&class).unwrap();
        let card = |device: &str, ids: Option<(&str, &str)>, nodes: &[(&str, &str)]| {
            let device = top.path().join("devices").join(device);
            std::fs::create_dir_all(&device).unwrap();
            if let Some((vendor, product)) = ids {
                std::fs::write(device.join("vendor"), format!("0x{vendor}\n")).unwrap();
                std::fs::write(device.join("device"), format!("0x{product}\n")).unwrap();
            }
            for (node, number) in nodes {
                let directory = device.join("drm").join(node);
                std::fs::create_dir_all(&directory).unwrap();
                std::fs::write(directory.join("dev"), format!("{number}\n")).unwrap();
                symlink(&device, directory.join("device")).unwrap();
                symlink(&directory, class.join(node)).unwrap();
            }
        };
        card("0000:01:00.0", Some(("10DE", "1c03")), &[("card1", "226:1"), ("renderD129", "226:129")]);
        card("0000:00:02.0", Some(("8086", "5916")), &[("card0", "226:0"), ("renderD128", "226:128")]);
        card("soc:gpu", None, &[("card2", "226:2")]);
        std::fs::create_dir(class.join("card0-DP-1")).unwrap();
        std::fs::write(class.join("version"), "drm").unwrap();
        top
    }

    #[track_caller]
    fn check(choice: &GpuChoice, expect: &[&str]) {
        let top = tree();
        let cards = all(&top.path().join("class/drm"));
        let fitting = cards.iter().filter(|card| card.fits(choice));
        let nodes: Vec<&str> = fitting.flat_map(|card| &card.nodes).map(|node| node.name.as_str()).collect();
        assert_eq!(nodes, expect);
    }

    #[test]
    fn cards_are_chosen() {
        let product = |vendor: Option<&str>, product: Option<&str>| GpuChoice::Product {
            vendor: vendor.map(str::to_owned),
            product: product.map(str::to_owned),
        };
        check(&GpuChoice::Card(1), &["card1", "renderD129"]);
        check(&GpuChoice::Card(3), &[]);
        check(&GpuChoice::Pci("0000:00:02.0".into()), &["card0", "renderD128"]);
        check(&product(Some("10de"), None), &["card1", "renderD129"]);
        check(&product(Some("10de"), Some("5916")), &[]);
        check(&product(None, None), &["card0", "renderD128", "card1", "renderD129", "card2"]);
        check(&GpuChoice::Cdi("a/b=c".parse().unwrap()), &[]);
        let numbers: Vec<_> = all(&tree().path().join("class/drm"))[0].nodes.iter().map(|node| node.number).collect();
        assert_eq!(numbers, [(226, 0), (226, 128)]);
    }

    #[test]
    fn a_host_without_cards_has_none() {
        assert_eq!(all(Path::new("/nowhere")), []);
    }
}
