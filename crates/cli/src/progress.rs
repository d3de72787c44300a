//! Progress on one line of the terminal.

use std::cell::Cell;
use std::io::{self, Write};

use coffer_api::Operation;
use unicode_width::UnicodeWidthStr;

use crate::render::clean;

/// One line that is written over and over.
pub(crate) struct Progress {
    prefix: String,
    width: Cell<usize>,
}

impl Progress {
    /// Starts a line; nothing is shown yet.
    pub(crate) fn new(prefix: &str) -> Progress {
        Progress { prefix: prefix.to_owned(), width: Cell::new(0) }
    }

    /// Shows how far an operation is.
    pub(crate) fn show_operation(&self, operation: &Operation) {
        if let Some(text) = progress_text(operation) {
            self.show(&text);
        }
    }

    /// Shows a text behind the prefix.
    pub(crate) fn show(&self, text: &str) {
        let text = clean(text);
        let line = if self.prefix.is_empty() { text.into_owned() } else { format!("{}: {text}", self.prefix) };
        let width = line.width();
        let blank = " ".repeat(self.width.get().saturating_sub(width));
        self.width.set(width);
        write_now(&format!("\r{line}{blank}"));
    }

    /// Wipes the line.
    pub(crate) fn clear(&self) {
        let width = self.width.take();
        if width > 0 {
            write_now(&format!("\r{}\r", " ".repeat(width)));
        }
    }
}

/// Finds the text of whatever stage an operation is in.
fn progress_text(operation: &Operation) -> Option<String> {
    let metadata = operation.metadata.as_ref()?;
    let (_, value) = metadata.iter().find(|(key, _)| key.ends_with("_progress"))?;
    value.as_str().map(str::to_owned)
}

fn write_now(text: &str) {
    let mut out = io::stderr().lock();
    // Progress is a courtesy.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
