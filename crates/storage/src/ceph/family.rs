//! The images of an OSD pool, and which was cloned from which.
//!
//! A clone is made from a kept state of an image: one that is kept for it alone, or the only one of an image that never
//! changes again. The data of a state must stay until the last clone of it is gone. So an image with such states becomes a
//! zombie when it is removed, as it does with LXD: it loses its name at once, and all data that only its last state had, and
//! goes with the last clone.
//!
//! What is known of the images is kept in memory: each of Ceph's programs takes its time to connect. Nothing depends on this
//! being true, because the cluster itself gives up no state that something was cloned from.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coffer_base::Bytes;
use coffer_base::run::RunError;
use uuid::Uuid;

use super::cluster::Cluster;
use super::report::{Image, State};
use crate::mounted::Fault;

/// What the names of zombies begin with.
const ZOMBIE: &str = "zombie_";

/// The state of something that never changes again, which all of its clones are made from.
const READ_ONLY: &str = "readonly";

/// What the names of other states begin with: each was kept for one clone.
const COPY: &str = "copy-";

/// How many ancestors an image may have before what is cloned from it next makes it stand on its own.
///
/// Source: Linux, drivers/block/rbd.c: `RBD_MAX_PARENT_CHAIN_LEN` is 16.
const DEEPEST: u32 = 8;

/// The images by name. The lock is held during every change: what one clones from, another must not remove.
type Images = BTreeMap<String, Image>;

/// The images of an OSD pool.
pub(super) struct Family {
    pub(super) cluster: Arc<Cluster>,
    images: Mutex<Images>,
}

impl Family {
    pub(super) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster, images: Mutex::default() }
    }

    /// Looks anew at all images, and answers their names and sizes.
    pub(super) fn scan(&self) -> Result<Vec<(String, u64)>, Fault> {
        let mut images = self.images();
        *images = self.cluster.images()?;
        Ok(images.iter().map(|(name, image)| (name.clone(), image.size)).collect())
    }

    /// Makes an empty image.
    pub(super) fn create(&self, name: &str, size: Bytes) -> Result<(), Fault> {
        self.cluster.create_image(name, size)?;
        self.images().insert(name.to_owned(), Image { size: size.0, ..Image::default() });
        Ok(())
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), Fault> {
        self.rename_held(&mut self.images(), from, to)
    }

    pub(super) fn resize(&self, name: &str, size: Bytes) -> Result<(), Fault> {
        self.cluster.resize(name, size)
    }

    /// Makes a clone of an image, which never changes again if it is frozen.
    pub(super) fn clone(&self, from: &str, frozen: bool, to: &str) -> Result<(), Fault> {
        let mut images = self.images();
        let origin = self.origin_of(&mut images, from, frozen)?;
        if let Err(fault) = self.cluster.clone_image(&origin.0, &origin.1, to) {
            // What was kept for the clone alone; if something else was cloned from it, it stays.
            let _ = self.release(&mut images, origin);
            return Err(fault);
        }
        let size = images.get(&origin.0).map_or(0, |image| image.size);
        images.insert(to.to_owned(), Image { size, states: Vec::new(), parent: Some(origin) });
        Ok(())
    }

    /// Removes an image, or makes it a zombie; then what was only kept for it.
    pub(super) fn remove(&self, name: &str) -> Result<(), Fault> {
        let images = &mut self.images();
        let states = images.get(name).map(|image| image.states.clone()).unwrap_or_default();
        for state in states {
            self.give_up(images, &(name.to_owned(), state))?;
        }
        if images.get(name).is_none_or(|image| image.states.is_empty()) {
            return self.remove_held(images, name);
        }
        let zombie = format!("{ZOMBIE}{}", Uuid::new_v4());
        self.rename_held(images, name, &zombie)?;
        // Room that cannot be freed now is freed with the rest.
        let _ = self.cluster.resize(&zombie, Bytes(0));
        Ok(())
    }

    /// Removes what a kill left of the steps above, and says how many things that were.
    pub(super) fn tidy(&self) -> Result<usize, Fault> {
        let images = &mut self.images();
        let mut removed = 0;
        for name in images.keys().cloned().collect::<Vec<_>>() {
            let zombie = name.starts_with(ZOMBIE);
            for state in images.get(&name).map(|image| image.states.clone()).unwrap_or_default() {
                let origin = (name.clone(), state);
                if (zombie || origin.1.starts_with(COPY)) && !is_needed(images, &origin) {
                    self.release(images, origin)?;
                    removed += 1;
                }
            }
            if zombie && images.get(&name).is_some_and(|image| image.states.is_empty()) {
                self.remove_held(images, &name)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// The state to clone an image from, which is kept from now on.
    fn origin_of(&self, images: &mut Images, name: &str, frozen: bool) -> Result<State, Fault> {
        let image = images.get(name).ok_or(Fault::Missing)?.clone();
        let state = if !frozen {
            match next_state(image.parent.as_ref().map(|(_, state)| state.as_str())) {
                Some(state) => state,
                None => {
                    self.flatten(images, name)?;
                    next_state(None).unwrap_or_default()
                }
            }
        } else if let Some(parent) = image.parent {
            // It has the same content, and then nothing has to be kept for this image once it is removed.
            return Ok(parent);
        } else if image.states.iter().any(|state| state == READ_ONLY) {
            return Ok((name.to_owned(), READ_ONLY.to_owned()));
        } else {
            READ_ONLY.to_owned()
        };
        self.cluster.keep(name, &state)?;
        if let Some(image) = images.get_mut(name) {
            image.states.push(state.clone());
        }
        Ok((name.to_owned(), state))
    }

    /// Gives a clone all that it shares, so that it comes from nothing any more. States of it that are kept still do.
    fn flatten(&self, images: &mut Images, name: &str) -> Result<(), Fault> {
        self.cluster.flatten(name)?;
        match images.get_mut(name).and_then(|image| image.parent.take()) {
            Some(parent) => self.release(images, parent),
            None => Ok(()),
        }
    }

    /// Gives up a state that was kept for a clone which is gone, and a zombie that nothing needs any more.
    fn release(&self, images: &mut Images, origin: State) -> Result<(), Fault> {
        let zombie = origin.0.starts_with(ZOMBIE);
        // What never changes keeps its one state for the next clone.
        if zombie || origin.1.starts_with(COPY) {
            self.give_up(images, &origin)?;
        }
        if zombie && images.get(&origin.0).is_some_and(|image| image.states.is_empty()) {
            return self.remove_held(images, &origin.0);
        }
        Ok(())
    }

    /// Gives up a state unless something was cloned from it.
    fn give_up(&self, images: &mut Images, origin: &State) -> Result<(), Fault> {
        if is_needed(images, origin) {
            return Ok(());
        }
        match self.cluster.give_up(&origin.0, &origin.1) {
            // Something was cloned from it that we do not know of, or of which a state is kept.
            Err(Fault::Busy(_)) => return Ok(()),
            Ok(()) | Err(Fault::Missing) => {}
            Err(fault) => return Err(fault),
        }
        if let Some(image) = images.get_mut(&origin.0) {
            image.states.retain(|state| *state != origin.1);
        }
        Ok(())
    }

    /// Removes an image without states, and what was only kept for it.
    fn remove_held(&self, images: &mut Images, name: &str) -> Result<(), Fault> {
        self.cluster.remove(name)?;
        match images.remove(name).and_then(|image| image.parent) {
            Some(parent) => self.release(images, parent),
            None => Ok(()),
        }
    }

    fn rename_held(&self, images: &mut Images, from: &str, to: &str) -> Result<(), Fault> {
        self.cluster.rename(from, to)?;
        if let Some(image) = images.remove(from) {
            images.insert(to.to_owned(), image);
        }
        for parent in images.values_mut().filter_map(|image| image.parent.as_mut()).filter(|parent| parent.0 == from) {
            to.clone_into(&mut parent.0);
        }
        Ok(())
    }

    fn images(&self) -> MutexGuard<'_, Images> {
        self.images.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says whether an error means that a name is taken.
pub(super) fn is_taken(fault: &Fault) -> bool {
    matches!(fault, Fault::Tool(RunError::Failed { stderr, .. }) if stderr.contains("File exists"))
}

fn is_needed(images: &Images, origin: &State) -> bool {
    images.values().any(|image| image.parent.as_ref() == Some(origin))
}

/// Names the state to keep of an image for one clone, given the state that the image itself is a clone of; none if the new
/// clone would have too many ancestors.
fn next_state(parent: Option<&str>) -> Option<String> {
    let depth = parent.map_or(0, depth_of) + 1;
    (depth <= DEEPEST).then(|| format!("{COPY}{depth}-{}", Uuid::new_v4()))
}

/// How many ancestors a clone of a state has.
fn depth_of(state: &str) -> u32 {
    let depth = state.strip_prefix(COPY).and_then(|rest| rest.split_once('-')).and_then(|(depth, _)| depth.parse().ok());
    depth.unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_descent_are_cut_before_the_kernel_refuses_them() {
        let mut parent: Option<String> = None;
        let mut generations = 0;
        while let Some(state) = next_state(parent.as_deref()) {
            generations += 1;
            assert_eq!(depth_of(&state), generations);
            parent = Some(state);
        }
        assert_eq!(generations, DEEPEST);
        assert_eq!(depth_of(READ_ONLY), 1);
        assert_eq!(depth_of(&next_state(Some(READ_ONLY)).unwrap()), 2);
    }
}
