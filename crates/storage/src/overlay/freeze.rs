//! Making sure that what an instance has changed can be stood on: by copies and snapshots of it.
//!
//! Of one at rest the layer that took the changes is from then on one that never changes, and a new one takes them: one
//! small file is written, however much was changed. Of one that runs the changes are copied, because overlayfs goes on
//! writing where it began; the engine holds it still meanwhile. See `docs/decisions/014-overlay-layers.md`.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use coffer_base::{Progress, fault};
use rustix::fs::Mode;

use super::OverlayPool;
use super::layers::{self, Bare, DEEPEST, LayerId, ROOT, ROOT_NAME, Stack, TOP, WORK};
use super::mounting::{Aside, is_writable};
use crate::dir::quota;
use crate::error::StorageError;
use crate::place::{Scratch, names, open_directory};
use crate::tree;
use crate::volume::Volume;

impl OverlayPool {
    /// The layers that hold all that a volume's root holds now, and never change; nothing if its root lies in no layers.
    pub(super) fn freeze(&self, volume: &Volume, progress: &Progress) -> Result<Option<Stack>, StorageError> {
        let failed = |cause| self.place().missing_or(volume, "reading the layers of", cause);
        let bare = self.bare()?;
        let plain = bare.volume(volume).map_err(failed)?;
        let Some(state) = layers::state(plain.as_fd()).map_err(failed)? else { return Ok(None) };
        let all = layers::read(state.as_fd()).map_err(failed)?;
        if !is_writable(volume) {
            return Ok(Some(all));
        }
        let (changes, below) = all.split().map_err(failed)?;
        let rests = self.rests(volume)?;
        let (top, _) = bare.open_changes(changes).map_err(failed)?;
        if names(top.as_fd()).map_err(failed)?.is_empty() {
            return Ok(Some(below));
        }
        let frozen =
            if rests { all.clone() } else { below.with(self.new_layer(volume, &mut |new| tree::copy(top.as_fd(), new, progress))?) };
        let flat = if frozen.0.len() > DEEPEST { Some(self.flatten(volume, &frozen, progress)?) } else { None };
        let stack = flat.clone().unwrap_or(frozen);
        if rests {
            self.change_above(&bare, plain.as_fd(), &stack).map_err(|cause| self.place().volume_failed(volume, "freezing", cause))?;
            // What overlayfs kept belongs to a layer that takes changes; nothing needs it any more.
            let kept = bare.layers().and_then(|home| open_directory(home.as_fd(), &changes.to_string())).map_err(failed)?;
            let _ = tree::remove(kept.as_fd(), OsStr::new(WORK));
        }
        if flat.is_some() {
            self.sweep(volume, &all)?;
        }
        Ok(Some(stack))
    }

    /// Lets a volume stand on a stack, with a new layer for changes above it.
    fn change_above(&self, bare: &Bare, plain: BorrowedFd<'_>, stack: &Stack) -> io::Result<()> {
        let (id, layer) = layers::make(bare.layers()?.as_fd(), true)?;
        quota::share(plain, layer.as_fd()).map_err(io::Error::other)?;
        fault::point("overlay.layer-made")?;
        let state = open_directory(plain, ROOT)?;
        layers::write(state.as_fd(), &stack.with(id))?;
        fault::point("overlay.layer-frozen")
    }

    /// Makes a layer of the root in a new volume that was filled, and lets it stand on that.
    pub(super) fn layer_root(&self, volume: &Volume, scratch: &Scratch) -> io::Result<()> {
        let plain = open_directory(scratch.directory.as_fd(), &scratch.name)?;
        let root = match open_directory(plain.as_fd(), ROOT) {
            Err(error) if layers::is_no_directory(&error) => return Ok(()),
            other => other?,
        };
        layers::make_lowest(root.as_fd())?;
        drop(root);
        let home = open_directory(self.place().open().map_err(io::Error::other)?.as_fd(), layers::HOME)?;
        let (id, layer) = layers::make(home.as_fd(), false)?;
        rustix::fs::renameat(&plain, ROOT, open_directory(layer.as_fd(), TOP)?, ROOT)?;
        fault::point("overlay.layered")?;
        self.stand_on(plain.as_fd(), &Stack(vec![id]), is_writable(volume))
    }

    /// Lets a new volume stand on layers.
    fn stand_on(&self, plain: BorrowedFd<'_>, stack: &Stack, writable: bool) -> io::Result<()> {
        if !writable {
            return layers::begin(plain, stack);
        }
        let home = open_directory(self.place().open().map_err(io::Error::other)?.as_fd(), layers::HOME)?;
        let (id, layer) = layers::make(home.as_fd(), true)?;
        quota::share(plain, layer.as_fd()).map_err(io::Error::other)?;
        layers::begin(plain, &stack.with(id))
    }

    /// Copies the plain files of a volume into a new one, and lets that stand on layers.
    pub(super) fn copy_plain(
        &self,
        source: BorrowedFd<'_>,
        target: BorrowedFd<'_>,
        stack: Option<&Stack>,
        writable: bool,
    ) -> Result<(), crate::pool::FillError> {
        tree::copy_without(source, target, stack.is_some().then_some(ROOT_NAME), &Progress::default())?;
        Ok(stack.map_or(Ok(()), |stack| self.stand_on(target, stack, writable))?)
    }

    /// Copies all layers of a stack into one.
    fn flatten(&self, volume: &Volume, stack: &Stack, progress: &Progress) -> Result<Stack, StorageError> {
        let failed = |cause| self.place().volume_failed(volume, "merging the layers of", cause);
        let opened = Bare(self.place().open()?).open(stack).map_err(failed)?;
        let opened: Vec<_> = opened.iter().map(AsFd::as_fd).collect();
        let merged = Aside::mount(self.place(), layers::merge(&opened, None).map_err(failed)?.as_fd())?;
        let source = merged.top().map_err(failed)?;
        let id = self.new_layer(volume, &mut |new| {
            tree::copy(source.as_fd(), new, progress)?;
            let mark = || layers::make_lowest(open_directory(new, ROOT)?.as_fd());
            mark().map_err(|cause| tree::TreeError { path: std::path::Path::new(ROOT).into(), cause })
        })?;
        Ok(Stack(vec![id]))
    }

    /// Makes a layer that never changes, which shows under its name when it is whole.
    fn new_layer(
        &self,
        volume: &Volume,
        fill: &mut dyn FnMut(BorrowedFd<'_>) -> Result<(), tree::TreeError>,
    ) -> Result<LayerId, StorageError> {
        let failed = |cause| self.place().volume_failed(volume, "making a layer of", cause);
        let scratch = self.place().scratch()?;
        let mut make = || -> Result<LayerId, StorageError> {
            rustix::fs::mkdirat(&scratch.directory, scratch.name.as_str(), Mode::RWXU).map_err(|errno| failed(errno.into()))?;
            let home = open_directory(scratch.directory.as_fd(), &scratch.name).map_err(failed)?;
            let (id, layer) = layers::make(home.as_fd(), false).map_err(failed)?;
            let top = open_directory(layer.as_fd(), TOP).map_err(failed)?;
            fill(top.as_fd()).map_err(|cause| {
                let (pool, volume) = (self.place().pool.clone(), volume.clone());
                StorageError::Tree { pool, volume, doing: "making a layer of", cause }
            })?;
            let all = open_directory(self.place().open()?.as_fd(), layers::HOME).map_err(failed)?;
            rustix::fs::renameat(&home, id.to_string(), &all, id.to_string()).map_err(|errno| failed(errno.into()))?;
            Ok(id)
        };
        let made = make();
        // On failure with what it holds; what cannot be removed now goes with the temporaries.
        let _ = self.dir.discard(&scratch);
        made
    }
}
