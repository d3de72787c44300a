//! Telling whoever waits how far a long step is.

use std::sync::Arc;

/// Where a long step reports how far it is. Cheap to clone; does nothing unless somebody listens.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<dyn Fn(Step) + Send + Sync>>);

/// One report of progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is being done, in LXD's key form without `_progress`: `download`, `create_instance_from_image_unpack`, …
    pub stage: &'static str,
    /// Bytes done so far.
    pub done: u64,
    /// Bytes in all, where known.
    pub total: Option<u64>,
}

impl Progress {
    /// Reports to `listener`, which must be quick: it runs on the working thread.
    pub fn to(listener: impl Fn(Step) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    /// Reports that `done` of `total` bytes are through.
    pub fn report(&self, stage: &'static str, done: u64, total: Option<u64>) {
        if let Some(listener) = &self.0 {
            listener(Step { stage, done, total });
        }
    }
}
