//! The tree on disk: its lists, read and replaced whole, with one writer at a time.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use coffer_remote::{INDEX, signature};
use coffer_sys::path::Root;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use rustix::fs::FlockOperation;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::document::{Entry, Index, LIST, Product, Products};
use crate::error::PublishError;
use crate::sign::SigningKey;

/// The largest list that is read, in bytes.
const LIMIT: u64 = 64 << 20;

/// A tree of images.
#[derive(Debug)]
pub struct Tree {
    path: PathBuf,
    pub(crate) root: Root,
}

/// One image of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The product's name.
    pub product: String,
    /// The version's name.
    pub version: String,
    /// What clients know it by.
    pub fingerprint: String,
    /// The product's aliases, separated by commas; only the newest version goes by them.
    pub aliases: String,
    /// Its architecture in Debian's words.
    pub architecture: String,
    /// The kinds of its files.
    pub kinds: Vec<String>,
    /// Bytes of all its files.
    pub size: u64,
}

impl Tree {
    /// Opens the tree in a directory; one that is empty is a tree without images.
    ///
    /// # Errors
    /// [`PublishError::Tree`] if there is no such directory.
    pub fn open(path: &Path) -> Result<Self, PublishError> {
        let root = Root::open(path).map_err(|cause| PublishError::Tree { tree: path.to_owned(), path: "the directory".into(), cause })?;
        Ok(Self { path: path.to_owned(), root })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What an error in the tree is.
    pub(crate) fn failed(&self, path: impl Into<String>) -> impl FnOnce(io::Error) -> PublishError {
        let (tree, path) = (self.path.clone(), path.into());
        move |cause| PublishError::Tree { tree, path, cause }
    }

    /// Keeps other writers out as long as the answer lives.
    pub(crate) fn lock(&self) -> Result<File, PublishError> {
        let directory = self.root.open_directory(".").map_err(self.failed("the directory"))?;
        rustix::fs::flock(&directory, FlockOperation::LockExclusive).map_err(|errno| self.failed("the lock")(errno.into()))?;
        Ok(directory.into())
    }

    /// Reads the list of products.
    ///
    /// # Errors
    /// [`PublishError::Tree`], [`PublishError::List`].
    pub fn products(&self) -> Result<Products, PublishError> {
        let empty = || Products {
            content_id: "images".into(),
            datatype: "image-downloads".into(),
            format: "products:1.0".into(),
            updated: String::new(),
            products: Default::default(),
        };
        Ok(self.read(LIST)?.unwrap_or_else(empty))
    }

    /// All images, in the lists' order.
    ///
    /// # Errors
    /// As [`Tree::products`].
    pub fn list(&self) -> Result<Vec<Listed>, PublishError> {
        let products = self.products()?;
        let mut images = Vec::new();
        for (name, product) in &products.products {
            for (serial, version) in &product.versions {
                let paths: std::collections::BTreeMap<&str, u64> =
                    version.items.values().map(|item| (item.path.as_str(), item.size)).collect();
                let mut kinds: Vec<String> = version.items.values().map(|item| item.ftype.clone()).collect();
                kinds.sort();
                kinds.dedup();
                images.extend(version.fingerprints().into_iter().map(|fingerprint| Listed {
                    product: name.clone(),
                    version: serial.clone(),
                    fingerprint: fingerprint.to_owned(),
                    aliases: product.aliases.clone(),
                    architecture: product.arch.clone(),
                    kinds: kinds.clone(),
                    size: paths.values().sum(),
                }));
            }
        }
        Ok(images)
    }

    /// Replaces the lists, the index last: whoever reads it finds what it names. Signs them if a key is given; a tree that was
    /// signed is not changed without.
    pub(crate) fn write(&self, mut products: Products, key: Option<&SigningKey>) -> Result<(), PublishError> {
        if key.is_none() && self.is_signed() {
            return Err(PublishError::Signed { tree: self.path.clone() });
        }
        products.products.retain(|_, product| !product.versions.is_empty());
        let now = now();
        products.updated.clone_from(&now);
        let entry = Entry {
            datatype: "image-downloads".into(),
            path: LIST.into(),
            format: "products:1.0".into(),
            updated: now.clone(),
            products: products.products.keys().cloned().collect(),
        };
        let index = Index { format: "index:1.0".into(), updated: now, index: [("images".to_owned(), entry)].into() };
        self.root.create_dir_all("streams/v1", 0o755).map_err(self.failed("streams/v1"))?;
        self.put(LIST, &products, key)?;
        self.put(INDEX, &index, key)
    }

    /// Signs the lists as they are.
    ///
    /// # Errors
    /// [`PublishError::Tree`], [`PublishError::List`].
    pub fn sign(&self, key: &SigningKey) -> Result<(), PublishError> {
        let _lock = self.lock()?;
        let products = self.products()?;
        self.write(products, Some(key))
    }

    /// Says whether the index has a signature.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.root.exists(format!("{INDEX}{}", signature::SUFFIX))
    }

    fn put(&self, path: &str, list: &impl Serialize, key: Option<&SigningKey>) -> Result<(), PublishError> {
        let mut text =
            serde_json::to_vec_pretty(list).map_err(|cause| PublishError::List { tree: self.path.clone(), path: path.into(), cause })?;
        text.push(b'\n');
        if let Some(key) = key {
            let file = format!("{path}{}", signature::SUFFIX);
            self.root.replace_file(&file, &key.sign(path, &text), 0o644).map_err(self.failed(file))?;
        }
        self.root.replace_file(path, &text, 0o644).map_err(self.failed(path))
    }

    pub(crate) fn read<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, PublishError> {
        let bytes = match self.root.read(path, LIMIT) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(self.failed(path)(cause)),
        };
        let read = serde_json::from_slice(&bytes);
        read.map(Some).map_err(|cause| PublishError::List { tree: self.path.clone(), path: path.into(), cause })
    }
}

/// The product that has an alias.
pub(crate) fn holder<'p>(products: &'p Products, alias: &str, architecture: &str) -> Option<(&'p String, &'p Product)> {
    let mut all = products.products.iter();
    all.find(|(_, product)| product.arch == architecture && product.aliases().any(|own| own == alias))
}

/// The time as lists have it.
fn now() -> String {
    DateTimePrinter::new().timestamp_to_string(&Timestamp::now()).unwrap_or_default()
}
