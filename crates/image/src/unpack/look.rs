//! Reading an image without writing: the same checks as unpacking makes, so that what is accepted can be unpacked.

use super::budget::Budget;
use super::entry::{Content, Entry, Kind};
use super::failure::Failure;
use super::layout::Sink;
use super::order::Limits;

/// Takes members and keeps only the metadata.
pub(super) struct Look {
    budget: Budget,
    pub(super) text: Option<Vec<u8>>,
}

impl Look {
    pub(super) fn new(limits: Limits) -> Self {
        Self { budget: Budget::new(limits), text: None }
    }

    /// Names count here; bytes are bounded by the archive itself, whose stream is read within the same limits.
    fn count(&mut self) -> Result<(), Failure> {
        self.budget.file()
    }
}

impl Sink for Look {
    fn metadata(&mut self, text: Vec<u8>) -> Result<(), Failure> {
        self.text = Some(text);
        Ok(())
    }

    fn template(&mut self, _entry: Entry, _content: &mut dyn Content) -> Result<(), Failure> {
        self.count()
    }

    fn rootfs(&mut self, entry: Entry, _content: &mut dyn Content) -> Result<(), Failure> {
        if entry.path.is_empty() && entry.kind != Kind::Directory {
            return Err(Failure::refused(b"/", "the root file system's top must be a directory"));
        }
        self.count()
    }
}
