//! `gpu`: graphics cards and other accelerators, by what the kernel knows of them or by their names in CDI specifications.

use std::fmt;
use std::str::FromStr;

use super::DeviceError;
use super::reader::Reader;
use crate::key::Class::LowLevel;
use crate::key::Support::{No, Yes};
use crate::key::Value::{Hex, Id, Line, Mode as ModeValue};
use crate::key::{Key, Mode, Support};
use crate::keys::{NEXT_START, VM, row};

/// Keys of GPU devices.
pub const KEYS: &[Key] = &[
    row("gid", Id, "0", NEXT_START, LowLevel, Yes, "Group of the nodes inside."),
    row("gputype", Line, "physical", NEXT_START, LowLevel, Yes, "Kind of GPU: `physical` is the one for containers."),
    row(
        "id",
        Line,
        "",
        NEXT_START,
        LowLevel,
        Yes,
        "Number of the card (1 of `/dev/dri/card1`), or a name of the Container Device Interface such as `nvidia.com/gpu=0`.",
    ),
    row("mdev", Line, "", NEXT_START, LowLevel, VM, "Profile of a mediated device."),
    row("mig.ci", Line, "", NEXT_START, LowLevel, MIG, "Compute instance of a MIG device."),
    row("mig.gi", Line, "", NEXT_START, LowLevel, MIG, "GPU instance of a MIG device."),
    row("mig.uuid", Line, "", NEXT_START, LowLevel, MIG, "Identity of a MIG device."),
    row("mode", ModeValue, "0660", NEXT_START, LowLevel, Yes, "Permission bits of the nodes inside."),
    row("pci", Line, "", NEXT_START, LowLevel, Yes, "PCI address of the card, such as `0000:01:00.0`."),
    row("productid", Hex, "", NEXT_START, LowLevel, Yes, "The product's number, in hexadecimal."),
    row("type", Line, "", NEXT_START, LowLevel, Yes, "`gpu`."),
    row("uid", Id, "0", NEXT_START, LowLevel, Yes, "Owner of the nodes inside."),
    row("vendorid", Hex, "", NEXT_START, LowLevel, Yes, "The vendor's number, in hexadecimal."),
];

const MIG: Support = No("a part of a GPU has a CDI name (nvidia-ctk cdi list shows them); say id=nvidia.com/gpu=NAME");

/// Kinds of GPU that other servers have, each with the reason why containers here have them not.
const REFUSED_TYPES: &[(&str, &str)] = &[
    ("mdev", "mediated devices are for virtual machines, which this server does not run"),
    ("mig", "a part of a GPU has a CDI name (nvidia-ctk cdi list shows them); leave gputype out and say id=nvidia.com/gpu=NAME"),
    ("sriov", "virtual functions of a GPU are for virtual machines, which this server does not run"),
];

/// GPUs for an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// Which ones.
    pub choice: GpuChoice,
    /// Owner of the nodes inside, where the user says it.
    pub uid: Option<u32>,
    /// Group of the nodes inside, where the user says it.
    pub gid: Option<u32>,
    /// Permission bits of the nodes inside, where the user says them.
    pub mode: Option<Mode>,
}

/// Which GPUs an instance gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GpuChoice {
    /// The card of this number.
    Card(u32),
    /// The card at this PCI address, in lower case.
    Pci(String),
    /// All cards of a vendor and product, in lower case; absent: any.
    Product {
        /// The vendor.
        vendor: Option<String>,
        /// The product.
        product: Option<String>,
    },
    /// What a specification of the Container Device Interface says under this name.
    Cdi(CdiName),
}

/// A name of the Container Device Interface: `VENDOR/CLASS=NAME`.
///
/// Source: SPEC.md of the Container Device Interface, "Device names".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CdiName {
    /// Vendor and class, `nvidia.com/gpu`, as the specification's `kind` has them.
    pub kind: String,
    /// The device among those of its kind.
    pub device: String,
}

impl FromStr for CdiName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const RULE: &str = "it must be the number of a card, or a CDI name such as nvidia.com/gpu=0";
        let parts = text.split_once('=').and_then(|(kind, device)| Some((kind.split_once('/')?, kind, device)));
        let Some(((vendor, class), kind, device)) = parts else { return Err(RULE) };
        let inner = |text: &str, more: &[u8]| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte));
        let word = |text: &str| {
            text.starts_with(|first: char| first.is_ascii_alphabetic())
                && text.ends_with(|last: char| last.is_ascii_alphanumeric())
                && inner(text, b"-_.")
        };
        let ends =
            |text: &str| text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.ends_with(|c: char| c.is_ascii_alphanumeric());
        if word(vendor) && word(class) && ends(device) && inner(device, b"-_.:") {
            Ok(Self { kind: kind.to_owned(), device: device.to_owned() })
        } else {
            Err(RULE)
        }
    }
}

impl fmt::Display for CdiName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.kind, self.device)
    }
}

/// Reads a GPU.
pub(super) fn parse(reader: &Reader<'_>) -> Result<Gpu, DeviceError> {
    let keys = reader.keys;
    match keys.get("gputype") {
        None | Some("physical") => {}
        Some(kind) => {
            let why = REFUSED_TYPES.iter().find(|(refused, _)| *refused == kind).map_or("it must be physical", |(_, why)| why);
            return Err(reader.value("gputype", kind, why));
        }
    }
    let lower = |key: &str| keys.get(key).map(str::to_ascii_lowercase);
    let (vendor, product) = (lower("vendorid"), lower("productid"));
    let chosen = [keys.get("id"), keys.get("pci"), keys.get("vendorid").or_else(|| keys.get("productid"))];
    if chosen.iter().flatten().count() > 1 {
        return Err(reader.combination("id, pci, and vendorid with productid exclude each other: each says which card"));
    }
    let choice = match (keys.get("id"), keys.get("pci")) {
        (Some(id), _) => match id.parse() {
            Ok(card) => GpuChoice::Card(card),
            Err(_) => GpuChoice::Cdi(id.parse().map_err(|why| reader.value("id", id, why))?),
        },
        (None, Some(address)) => GpuChoice::Pci(pci_address(reader, address)?),
        (None, None) => GpuChoice::Product { vendor, product },
    };
    Ok(Gpu { choice, uid: keys.parse("uid"), gid: keys.parse("gid"), mode: keys.parse("mode") })
}

/// Reads `0000:01:00.0`, or the same without its first part.
fn pci_address(reader: &Reader<'_>, text: &str) -> Result<String, DeviceError> {
    let lower = text.to_ascii_lowercase();
    let whole = if lower.matches(':').count() == 1 { format!("0000:{lower}") } else { lower };
    let hexadecimal = |text: &str, length: usize| text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parts: Vec<&str> = whole.split([':', '.']).collect();
    let fine = match parts[..] {
        [domain, bus, slot, function] => {
            hexadecimal(domain, 4) && hexadecimal(bus, 2) && hexadecimal(slot, 2) && matches!(function.as_bytes(), [b'0'..=b'7'])
        }
        _ => false,
    };
    if fine && whole.matches('.').count() == 1 {
        Ok(whole)
    } else {
        Err(reader.value("pci", text, "it must be a PCI address such as 0000:01:00.0"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::tests::check;

    #[test]
    fn gpus() {
        check(&[("type", "gpu")], "fine");
        check(&[("type", "gpu"), ("gputype", "physical"), ("id", "1"), ("gid", "44")], "fine");
        check(&[("type", "gpu"), ("pci", "01:00.0")], "fine");
        check(&[("type", "gpu"), ("vendorid", "10DE"), ("productid", "1c03")], "fine");
        check(&[("type", "gpu"), ("id", "nvidia.com/gpu=all")], "fine");
        check(&[("type", "gpu"), ("id", "nvidia.com/gpu=0:1")], "fine");
        for id in
            ["nvidia", "nvidia.com/gpu", "nvidia.com=0", "/gpu=0", "nvidia.com/gpu=", "nvidia.com/../gpu=0", "nvidia.com/gpu=../0", "-1"]
        {
            check(
                &[("type", "gpu"), ("id", id)],
                &format!(
                    "device dev: invalid value {id:?} for key \"id\": it must be the number of a card, or a CDI name such as nvidia.com/gpu=0"
                ),
            );
        }
        check(
            &[("type", "gpu"), ("pci", "01-00.0")],
            "device dev: invalid value \"01-00.0\" for key \"pci\": it must be a PCI address such as 0000:01:00.0",
        );
        check(
            &[("type", "gpu"), ("id", "0"), ("vendorid", "10de")],
            "device dev: id, pci, and vendorid with productid exclude each other: each says which card",
        );
        check(
            &[("type", "gpu"), ("gputype", "sriov")],
            "device dev: invalid value \"sriov\" for key \"gputype\": virtual functions of a GPU are for virtual machines, which this server does \
             not run",
        );
    }

    #[test]
    fn cdi_names() {
        let name: CdiName = "nvidia.com/gpu=GPU-955ef018".parse().unwrap();
        assert_eq!((name.kind.as_str(), name.device.as_str()), ("nvidia.com/gpu", "GPU-955ef018"));
        assert_eq!(name.to_string(), "nvidia.com/gpu=GPU-955ef018");
    }
}
