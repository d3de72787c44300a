//! `simplestreams`: a tree of images that any client reads.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use coffer_image::Unpacker;
use coffer_publish::{NewImage, SigningKey, Tree};
use coffer_remote::PublicKey;
use serde::Serialize;

use crate::app::App;
use crate::error::CliError;
use crate::render::{Format, Table, decimal_size, render_list};

/// Publish images for any simplestreams client
///
/// A tree is a directory with images and the lists that name them. 'image serve' hands one out, and so does any web server.
#[derive(Debug, Subcommand)]
pub(crate) enum Simplestreams {
    Add(Add),
    /// List the images of a tree
    #[command(visible_alias = "ls")]
    List {
        /// Directory of the tree
        tree: PathBuf,
        /// Format
        #[arg(short, long, value_enum, default_value_t)]
        format: Format,
    },
    /// Remove old versions, and files that no list names
    Prune {
        /// Directory of the tree
        tree: PathBuf,
        /// Versions of each product that stay
        #[arg(long, value_name = "NUMBER", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
        keep: u16,
        #[command(flatten)]
        key: Key,
    },
    /// Remove images
    #[command(visible_alias = "rm", alias = "delete")]
    Remove {
        /// Directory of the tree
        tree: PathBuf,
        /// Fingerprints, or their beginnings
        #[arg(required = true)]
        fingerprints: Vec<String>,
        #[command(flatten)]
        key: Key,
    },
    /// Sign the lists of a tree; print the key for images.trusted_keys
    Sign {
        /// Directory of the tree
        tree: PathBuf,
        /// File with the key; made if it is not there
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Check every file, hash and signature of a tree
    Verify {
        /// Directory of the tree
        tree: PathBuf,
        /// The key that the lists must be signed by, as 'sign' prints it
        #[arg(long, value_name = "KEY")]
        signed_by: Option<PublicKey>,
    },
}

/// Add an image to a tree
///
/// Give one unified tarball, or the metadata tarball and then the root file system (squashfs or a tarball). The product is named
/// after the image's properties os, release and variant; 'debian/12' is then an alias, and further versions join it.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// Directory of the tree
    tree: PathBuf,
    /// Image, or its metadata
    image: PathBuf,
    /// Root file system
    rootfs: Option<PathBuf>,
    /// Alias for the product; may be given several times
    #[arg(long)]
    alias: Vec<String>,
    #[command(flatten)]
    key: Key,
}

/// The key of a signed tree.
#[derive(Debug, Args)]
pub(crate) struct Key {
    /// File with the key of a tree that is signed
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

impl Key {
    fn load(&self) -> Result<Option<SigningKey>, CliError> {
        Ok(self.key.as_deref().map(SigningKey::load).transpose()?)
    }
}

/// An image as `list` shows it.
#[derive(Serialize)]
struct Row {
    product: String,
    version: String,
    fingerprint: String,
    aliases: Vec<String>,
    architecture: String,
    kinds: Vec<String>,
    size: u64,
}

impl Simplestreams {
    pub(crate) fn run(self, app: &App) -> Result<(), CliError> {
        match self {
            Simplestreams::Add(add) => add.run(app),
            Simplestreams::List { tree, format } => list(app, &tree, format),
            Simplestreams::Prune { tree, keep, key } => {
                let removed = Tree::open(&tree)?.prune(keep.into(), key.load()?.as_ref())?;
                app.note(&format!("Images removed: {}, files: {}", removed.images.len(), removed.files.len()))
            }
            Simplestreams::Remove { tree, fingerprints, key } => {
                let (tree, key) = (Tree::open(&tree)?, key.load()?);
                for fingerprint in fingerprints {
                    for removed in tree.remove(&fingerprint, key.as_ref())?.images {
                        app.note(&format!("Image removed: {removed}"))?;
                    }
                }
                Ok(())
            }
            Simplestreams::Sign { tree, key } => {
                let tree = Tree::open(&tree)?;
                let key = SigningKey::load_or_make(&key)?;
                tree.sign(&key)?;
                app.print(&format!("{}\n", key.public()))
            }
            Simplestreams::Verify { tree, signed_by } => {
                let verified = Tree::open(&tree)?.verify(signed_by)?;
                for stranger in &verified.strangers {
                    app.complain(&format!("no list names {stranger}; 'prune' removes it"));
                }
                let by = verified.signed_by.map_or_else(|| "not signed".to_owned(), |key| format!("signed by {key}"));
                app.note(&format!("Images that are as they should be: {}, {by}", verified.images))
            }
        }
    }
}

impl Add {
    fn run(self, app: &App) -> Result<(), CliError> {
        let key = self.key.load()?;
        let image = NewImage { metadata: &self.image, rootfs: self.rootfs.as_deref(), aliases: &self.alias };
        let added = Tree::open(&self.tree)?.add(image, key.as_ref(), &Unpacker::beside_this_program())?;
        app.note(&format!("Image added as {} {} with fingerprint: {}", added.product, added.version, added.fingerprint))
    }
}

fn list(app: &App, tree: &Path, format: Format) -> Result<(), CliError> {
    let rows: Vec<Row> = Tree::open(tree)?
        .list()?
        .into_iter()
        .map(|image| Row {
            aliases: image.aliases.split(',').map(str::to_owned).collect(),
            product: image.product,
            version: image.version,
            fingerprint: image.fingerprint,
            architecture: image.architecture,
            kinds: image.kinds,
            size: image.size,
        })
        .collect();
    app.print(&render_list(format, &rows, app.colour(), || {
        let mut table = Table::new(["PRODUCT", "VERSION", "FINGERPRINT", "ALIASES", "ARCHITECTURE", "SIZE"]);
        for row in &rows {
            let short = row.fingerprint.get(..12).unwrap_or(&row.fingerprint);
            let size = decimal_size(i64::try_from(row.size).unwrap_or(i64::MAX));
            table.row([row.product.as_str(), &row.version, short, &row.aliases.join(" "), &row.architecture, &size]);
        }
        table
    }))
}
