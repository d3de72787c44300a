//! Names of vendors and products by their numbers, where the host has the lists (packages `pci.ids`, `usb.ids`).

use std::collections::HashMap;
use std::path::Path;

/// Where distributions keep the lists.
const DIRECTORIES: [&str; 3] = ["/usr/share/misc", "/usr/share/hwdata", "/usr/share"];

/// Names by number.
#[derive(Debug, Default)]
pub struct Names {
    vendors: HashMap<String, String>,
    products: HashMap<(String, String), String>,
}

impl Names {
    /// Reads `pci.ids` or `usb.ids`; a host without it has no names.
    pub fn load(file: &str) -> Self {
        let read = DIRECTORIES.iter().find_map(|directory| std::fs::read(Path::new(directory).join(file)).ok());
        read.map(|bytes| Self::parse(&String::from_utf8_lossy(&bytes))).unwrap_or_default()
    }

    /// Reads a list: a line for each vendor, and below it one for each product, after a tab.
    pub fn parse(text: &str) -> Self {
        let mut names = Self::default();
        let mut vendor = String::new();
        for line in text.lines() {
            let (product, line) = line.strip_prefix('\t').map_or((false, line), |rest| (true, rest));
            // Two tabs are a subsystem; what has no number of four digits is another list behind the vendors'.
            let Some((number, name)) = line.split_once("  ") else { continue };
            if number.len() != 4 || !number.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                if !product {
                    vendor.clear();
                }
                continue;
            }
            if !product {
                number.clone_into(&mut vendor);
                names.vendors.insert(vendor.clone(), name.to_owned());
            } else if !vendor.is_empty() {
                names.products.insert((vendor.clone(), number.to_owned()), name.to_owned());
            }
        }
        names
    }

    /// A vendor's name.
    pub fn vendor(&self, number: &str) -> Option<&str> {
        self.vendors.get(number).map(String::as_str)
    }

    /// A product's name.
    pub fn product(&self, vendor: &str, number: &str) -> Option<&str> {
        self.products.get(&(vendor.to_owned(), number.to_owned())).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let names = Names::parse(
            "# PCI\n1af4  Red Hat, Inc.\n\t1000  Virtio network device\n\t\t01de fffe  Subsystem\n\t1001  Virtio block device\n8086  Intel\n\
             C 01  Mass storage\n\t1000  SCSI\n",
        );
        assert_eq!(names.vendor("1af4"), Some("Red Hat, Inc."));
        assert_eq!(names.product("1af4", "1001"), Some("Virtio block device"));
        assert_eq!(names.product("8086", "1000"), None);
        assert_eq!(names.vendor("ffff"), None);
    }
}
