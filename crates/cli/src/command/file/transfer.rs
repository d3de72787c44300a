//! How far files are on their way.

use std::cell::Cell;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use coffer_base::Bytes;

use crate::app::App;
use crate::progress::Progress;

/// How often the line is written anew.
const EVERY: Duration = Duration::from_millis(100);

/// A line that tells how much is through, on a terminal.
pub(super) struct Transfer {
    line: Option<Progress>,
    total: Option<u64>,
    through: Cell<u64>,
    started: Instant,
    shown: Cell<Instant>,
}

impl Transfer {
    /// Begins; `total` is how much there is, if that is known.
    pub(super) fn new(app: &App, prefix: &str, total: Option<u64>) -> Self {
        let wanted = !app.globals.quiet && io::stderr().is_terminal();
        let now = Instant::now();
        Self { line: wanted.then(|| Progress::new(prefix)), total, through: Cell::new(0), started: now, shown: Cell::new(now) }
    }

    /// Counts bytes that are through.
    pub(super) fn add(&self, bytes: u64) {
        self.through.set(self.through.get() + bytes);
        let Some(line) = &self.line else { return };
        let now = Instant::now();
        if now.duration_since(self.shown.get()) >= EVERY {
            self.shown.set(now);
            line.show(&text(self.through.get(), self.total, now.duration_since(self.started)));
        }
    }

    /// Wipes the line.
    pub(super) fn end(&self) {
        if let Some(line) = &self.line {
            line.clear();
        }
    }
}

fn text(through: u64, total: Option<u64>, time: Duration) -> String {
    let speed = Bytes((through as f64 / time.as_secs_f64().max(0.001)) as u64);
    match total {
        Some(total) if total > 0 => format!("{}% ({speed}/s)", (through.saturating_mul(100) / total).min(100)),
        _ => format!("{} ({speed}/s)", Bytes(through)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_what_is_known_are_told_in_percent() {
        assert!(text(50, Some(200), Duration::from_secs(1)).starts_with("25% ("));
        assert!(text(300, Some(200), Duration::from_secs(1)).starts_with("100% ("));
        assert!(!text(50, None, Duration::ZERO).contains('%'));
    }
}
