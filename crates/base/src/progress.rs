//! Telling whoever waits how far a long step is, and hearing whether anybody still wants it.

use std::io;
use std::sync::Arc;

/// What is called when work is cancelled. It must be quick: it runs on the thread that cancels.
pub type Wake = dyn Fn() + Send + Sync;

/// Where a long step reports how far it is. Cheap to clone; does nothing unless somebody listens.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<dyn Listener>>);

/// Who listens. It must be quick: it runs on the working thread.
pub trait Listener: Send + Sync {
    /// Hears how far the work is.
    fn hear(&self, step: Step);

    /// Says whether the work was cancelled.
    fn cancelled(&self) -> bool {
        false
    }

    /// Calls `wake` when the work is cancelled, as long as somebody holds it; at once if it is cancelled already.
    fn when_cancelled(&self, _wake: &Arc<Wake>) {}
}

/// Holds what is to be called when work is cancelled; dropping it takes that back.
#[must_use = "nothing is called once it is dropped"]
pub struct Waking {
    _wake: Arc<Wake>,
}

impl<F: Fn(Step) + Send + Sync> Listener for F {
    fn hear(&self, step: Step) {
        self(step);
    }
}

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
    /// Reports to `listener`, which never cancels.
    pub fn to(listener: impl Fn(Step) + Send + Sync + 'static) -> Self {
        Self::told_to(listener)
    }

    /// Reports to a listener that may cancel the work.
    pub fn told_to(listener: impl Listener + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    /// Lets the work go on, or says that nobody wants it any more. A long step asks this between its parts.
    ///
    /// # Errors
    /// `Interrupted` if the work was cancelled.
    pub fn check(&self) -> io::Result<()> {
        match &self.0 {
            Some(listener) if listener.cancelled() => Err(io::Error::new(io::ErrorKind::Interrupted, "it was cancelled")),
            _ => Ok(()),
        }
    }

    /// Calls `wake` when the work is cancelled, as long as the answer is held: for whoever waits for something else meanwhile, such
    /// as another process, and so cannot ask [`Progress::check`].
    pub fn when_cancelled(&self, wake: impl Fn() + Send + Sync + 'static) -> Waking {
        let wake: Arc<Wake> = Arc::new(wake);
        if let Some(listener) = &self.0 {
            listener.when_cancelled(&wake);
        }
        Waking { _wake: wake }
    }

    /// Reports that `done` of `total` bytes are through.
    pub fn report(&self, stage: &'static str, done: u64, total: Option<u64>) {
        if let Some(listener) = &self.0 {
            listener.hear(Step { stage, done, total });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    struct Switch(AtomicBool);

    impl Listener for Arc<Switch> {
        fn hear(&self, _: Step) {}

        fn cancelled(&self) -> bool {
            self.0.load(Ordering::SeqCst)
        }
    }

    #[test]
    fn work_goes_on_until_it_is_cancelled() {
        assert!(Progress::default().check().is_ok());
        assert!(Progress::to(|_| ()).check().is_ok());
        let switch = Arc::new(Switch(AtomicBool::new(false)));
        let progress = Progress::told_to(switch.clone());
        assert!(progress.check().is_ok());
        switch.0.store(true, Ordering::SeqCst);
        assert_eq!(progress.check().unwrap_err().kind(), io::ErrorKind::Interrupted);
    }
}
