//! How a build is shown: a line for each step that is done, and the last line of output of the one that is not.

use std::cell::RefCell;
use std::io::IsTerminal;
use std::time::Instant;

use coffer_build::Report;

use crate::app::App;
use crate::progress::Progress;
use crate::render::clean_lines;

/// Shows a build.
pub(super) struct Shown<'a> {
    app: &'a App,
    /// The step that is being done, and when it began.
    step: RefCell<Option<(String, Instant)>>,
    /// The line that is written over, on a terminal.
    line: Option<Progress>,
}

impl<'a> Shown<'a> {
    pub(super) fn new(app: &'a App) -> Self {
        let line = (!app.globals.quiet && std::io::stderr().is_terminal()).then(|| Progress::new(""));
        Self { app, step: RefCell::new(None), line }
    }

    /// Wipes what is shown of a step that is not done.
    pub(super) fn clear(&self) {
        if let Some(line) = &self.line {
            line.clear();
        }
    }

    fn over(&self, text: &str) {
        if let Some(line) = &self.line {
            let width = usize::from(crate::terminal::size().0).max(40) - 1;
            line.show(&text.chars().take(width).collect::<String>());
        }
    }

    fn say(&self, text: &str) {
        self.clear();
        // Progress is a courtesy.
        let _ = self.app.note(&clean_lines(text));
    }
}

impl Report for Shown<'_> {
    fn begins(&self, number: usize, count: usize, title: &str) {
        let text = format!("[{number}/{count}] {title}");
        self.over(&text);
        self.step.replace(Some((text, Instant::now())));
    }

    fn cached(&self, number: usize, count: usize, title: &str) {
        self.say(&format!("[{number}/{count}] {title}: cached"));
    }

    fn done(&self) {
        if let Some((text, begun)) = self.step.take() {
            self.say(&format!("{text}: {:.1}s", begun.elapsed().as_secs_f64()));
        }
    }

    fn line(&self, line: &str) {
        if let Some((text, _)) = &*self.step.borrow() {
            self.over(&format!("{text}: {line}"));
        }
    }

    fn warn(&self, text: &str) {
        self.clear();
        self.app.complain(&clean_lines(text));
    }
}
