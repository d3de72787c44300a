//! What went wrong, where, with the kernel's error number.

use std::io;

use coffer_runtime_spec::{Refusal, RefusalKind, Stage};

/// A step of a start or an exec that failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{stage}: {text}")]
pub struct Failed {
    /// The step.
    pub stage: Stage,
    /// The kernel's error number, where there is one.
    pub errno: Option<i32>,
    /// What was tried and what came of it, in words that name the thing.
    pub text: String,
}

impl Failed {
    /// A failure that is no error of the kernel.
    pub fn new(stage: Stage, text: impl Into<String>) -> Self {
        Self { stage, errno: None, text: text.into() }
    }

    /// The same, of the root file system: the caller may have another way to give it the instance's ids.
    #[must_use]
    pub fn of_root(self) -> Self {
        // The stage's own words name the root already.
        if self.stage == Stage::IdMappedMounts {
            return Self { stage: Stage::IdMappedRoot, ..self };
        }
        Self { text: format!("root file system: {}", self.text), ..self }
    }

    /// The same, as it is answered.
    #[must_use]
    pub fn refusal(self) -> Refusal {
        Refusal { kind: RefusalKind::Failed, stage: Some(self.stage), errno: self.errno, text: self.text }
    }
}

/// Names the step and the thing of an error.
pub(crate) trait At<T> {
    /// `what` reads like "opening /dev/null".
    fn at(self, stage: Stage, what: impl FnOnce() -> String) -> Result<T, Failed>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, stage: Stage, what: impl FnOnce() -> String) -> Result<T, Failed> {
        self.map_err(|error| {
            let error = error.into();
            Failed { stage, errno: error.raw_os_error(), text: format!("{}: {error}", what()) }
        })
    }
}
