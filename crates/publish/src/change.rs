//! Taking images out of a tree.

use std::collections::BTreeSet;
use std::io;

use rustix::fs::FileType;

use crate::document::Products;
use crate::error::PublishError;
use crate::sign::SigningKey;
use crate::tree::Tree;

/// Where the images' files are below the tree; nothing is ever removed elsewhere.
const IMAGES: &str = "images";

/// What was taken out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Fingerprints of images.
    pub images: Vec<String>,
    /// Files that no list named any more.
    pub files: Vec<String>,
}

impl Tree {
    /// Takes out the version that has an image of this fingerprint, or of which it is the beginning.
    ///
    /// # Errors
    /// [`PublishError::NoImage`], [`PublishError::Ambiguous`], [`PublishError::Signed`], [`PublishError::Tree`].
    pub fn remove(&self, fingerprint: &str, key: Option<&SigningKey>) -> Result<Removed, PublishError> {
        let _lock = self.lock()?;
        let mut products = self.products()?;
        let mut found: Vec<(String, String)> = Vec::new();
        for (name, product) in &products.products {
            let fitting =
                product.versions.iter().filter(|(_, version)| version.fingerprints().iter().any(|own| own.starts_with(fingerprint)));
            found.extend(fitting.map(|(serial, _)| (name.clone(), serial.clone())));
        }
        let missing = || PublishError::NoImage { tree: self.path().to_owned(), name: fingerprint.to_owned() };
        if fingerprint.is_empty() || found.len() > 1 {
            return Err(PublishError::Ambiguous { tree: self.path().to_owned(), name: fingerprint.to_owned() });
        }
        let (product, serial) = found.pop().ok_or_else(missing)?;
        let mut images = Vec::new();
        if let Some(version) = products.products.get_mut(&product).and_then(|product| product.versions.remove(&serial)) {
            images.extend(version.fingerprints().into_iter().map(str::to_owned));
        }
        self.settle(products, images, key)
    }

    /// Keeps only the newest versions of each product, so many, and removes the files that no list names.
    ///
    /// # Errors
    /// [`PublishError::Signed`], [`PublishError::Tree`].
    pub fn prune(&self, keep: usize, key: Option<&SigningKey>) -> Result<Removed, PublishError> {
        let _lock = self.lock()?;
        let mut products = self.products()?;
        let mut images = Vec::new();
        for product in products.products.values_mut() {
            while product.versions.len() > keep.max(1) {
                let Some((_, version)) = product.versions.pop_first() else { break };
                images.extend(version.fingerprints().into_iter().map(str::to_owned));
            }
        }
        self.settle(products, images, key)
    }

    /// Writes the lists if an image went, then removes the files that they do not name.
    fn settle(&self, products: Products, images: Vec<String>, key: Option<&SigningKey>) -> Result<Removed, PublishError> {
        let named = named(&products);
        if !images.is_empty() {
            self.write(products, key)?;
        }
        let mut files = Vec::new();
        for file in self.strangers(&named)? {
            self.root.remove_file(&file).map_err(self.failed(&file))?;
            files.push(file);
        }
        self.remove_empty(IMAGES)?;
        Ok(Removed { images, files })
    }

    /// Files below `images/` that are not among these.
    pub(crate) fn strangers(&self, named: &BTreeSet<String>) -> Result<Vec<String>, PublishError> {
        let (mut left, mut found) = (vec![IMAGES.to_owned()], Vec::new());
        while let Some(directory) = left.pop() {
            let entries = match self.root.entries(&directory) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other.map_err(self.failed(&directory))?,
            };
            for entry in entries {
                // A name that is no text is none of ours, and is left alone.
                let Some(name) = entry.name.to_str() else { continue };
                let path = format!("{directory}/{name}");
                if entry.kind == FileType::Directory {
                    left.push(path);
                } else if !named.contains(&path) {
                    found.push(path);
                }
            }
        }
        found.sort();
        Ok(found)
    }

    fn remove_empty(&self, directory: &str) -> Result<(), PublishError> {
        let entries = match self.root.entries(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(self.failed(directory))?,
        };
        for entry in entries {
            if let (FileType::Directory, Some(name)) = (entry.kind, entry.name.to_str()) {
                let path = format!("{directory}/{name}");
                self.remove_empty(&path)?;
                if self.root.entries(&path).map_err(self.failed(&path))?.is_empty() {
                    self.root.remove_dir(&path).map_err(self.failed(&path))?;
                }
            }
        }
        Ok(())
    }
}

/// The files that lists name.
pub(crate) fn named(products: &Products) -> BTreeSet<String> {
    let versions = products.products.values().flat_map(|product| product.versions.values());
    versions.flat_map(|version| version.paths().into_iter().map(str::to_owned).collect::<Vec<_>>()).collect()
}
