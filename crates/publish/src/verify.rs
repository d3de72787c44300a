//! Checking a tree: every file there, whole and right; every fingerprint the hash that clients will compute.

use std::io;

use coffer_remote::{INDEX, PublicKey, Signers, signature};
use sha2::{Digest as _, Sha256};

use crate::change::named;
use crate::document::{Index, Item, LIST, METADATA, ROOTS, Version};
use crate::error::PublishError;
use crate::hash::{copy, hex};
use crate::tree::Tree;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Images that are as they should be.
    pub images: usize,
    /// Files that no list names; `prune` removes them.
    pub strangers: Vec<String>,
    /// Who signed the lists.
    pub signed_by: Option<PublicKey>,
}

impl Tree {
    /// Reads everything. With a key the lists must be signed by it; otherwise a signature must be its own key's.
    ///
    /// # Errors
    /// [`PublishError::Wrong`] with all that is wrong; [`PublishError::Tree`], [`PublishError::List`].
    pub fn verify(&self, key: Option<PublicKey>) -> Result<Verified, PublishError> {
        let mut wrong = Vec::new();
        let products = self.products()?;
        let index: Option<Index> = self.read(INDEX)?;
        let listed = index.and_then(|mut index| index.index.remove("images"));
        match listed {
            Some(entry) if !entry.products.iter().eq(products.products.keys()) => {
                wrong.push(format!("{INDEX} names other products than {LIST} has"));
            }
            None if !products.products.is_empty() => wrong.push(format!("{INDEX} names no list of images")),
            _ => {}
        }
        let mut images = 0;
        for (name, product) in &products.products {
            for (serial, version) in &product.versions {
                for complaint in self.version(version)? {
                    wrong.push(format!("{name} {serial}: {complaint}"));
                }
                images += version.fingerprints().len();
            }
        }
        let signed_by = self.signatures(key, &mut wrong)?;
        if !wrong.is_empty() {
            return Err(PublishError::Wrong { tree: self.path().to_owned(), wrong });
        }
        Ok(Verified { images, strangers: self.strangers(&named(&products))?, signed_by })
    }

    fn version(&self, version: &Version) -> Result<Vec<String>, PublishError> {
        let mut wrong = Vec::new();
        for (name, item) in &version.items {
            match self.hash(&[item]) {
                Ok((size, _)) if size != item.size => wrong.push(format!("{name} has {size} bytes, not {}", item.size)),
                Ok((_, sha256)) if sha256 != item.sha256 => wrong.push(format!("{name} has hash {sha256}, not {}", item.sha256)),
                Ok(_) => {}
                Err(error) => wrong.push(format!("{name}: {}: {error}", item.path)),
            }
        }
        if !wrong.is_empty() {
            return Ok(wrong);
        }
        for metadata in version.items.values().filter(|item| METADATA.contains(&item.ftype.as_str())) {
            for (kind, field) in ROOTS {
                let claimed = metadata.more.get(field).and_then(|value| value.as_str());
                let (Some(claimed), Some(root)) = (claimed, version.items.values().find(|item| item.ftype == kind)) else { continue };
                let (_, found) = self.hash(&[metadata, root]).map_err(self.failed(&root.path))?;
                if found != claimed {
                    wrong.push(format!("{} and {} together have hash {found}, not {claimed}", metadata.ftype, root.ftype));
                }
            }
        }
        if version.fingerprints().is_empty() {
            wrong.push("its files make no image".into());
        }
        Ok(wrong)
    }

    /// Size and hash of files one after the other.
    fn hash(&self, items: &[&Item]) -> io::Result<(u64, String)> {
        let (mut hash, mut size) = (Sha256::new(), 0);
        for item in items {
            size += copy(&mut self.root.open_file(&item.path)?, &mut io::sink(), &mut [&mut hash])?;
        }
        Ok((size, hex(hash)))
    }

    fn signatures(&self, key: Option<PublicKey>, wrong: &mut Vec<String>) -> Result<Option<PublicKey>, PublishError> {
        let mut signer = None;
        for path in [LIST, INDEX] {
            let Some(body) = self.bytes(path)? else { continue };
            let file = self.bytes(&format!("{path}{}", signature::SUFFIX))?;
            let Some(own) = key.or_else(|| file.as_deref().and_then(signature::claimed)) else { continue };
            let signers = Signers { keys: vec![own], required: true };
            match signature::check(path, &body, file.as_deref(), &signers) {
                Ok(by) => signer = by,
                Err(error) => wrong.push(format!("{path} {error}")),
            }
        }
        Ok(signer)
    }

    fn bytes(&self, path: &str) -> Result<Option<Vec<u8>>, PublishError> {
        match self.root.read(path, 64 << 20) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(self.failed(path)(cause)),
        }
    }
}
