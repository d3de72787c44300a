//! The daemon's log: lines on standard error or in a file, and the same lines as events.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use coffer_engine::{EventBody, Events, LogLine};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

/// How much is logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Verbosity {
    /// What an administrator should look at.
    #[default]
    Warnings,
    /// What happens, too.
    Verbose,
    /// Everything.
    Debug,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log file cannot be opened.
    #[error("opening log file {path}", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        cause: std::io::Error,
    },
    /// A log was begun before.
    #[error("the log was begun twice")]
    Twice,
}

/// The log. Until it is connected, lines are no events.
#[derive(Clone, Default)]
pub struct Log(Arc<OnceLock<Events>>);

impl Log {
    /// Begins to log, panics included; to `file` if there is one.
    ///
    /// # Errors
    /// See [`LogError`].
    pub fn begin(verbosity: Verbosity, file: Option<&Path>) -> Result<Self, LogError> {
        let log = Self::default();
        let level = match verbosity {
            Verbosity::Warnings => LevelFilter::WARN,
            Verbosity::Verbose => LevelFilter::INFO,
            Verbosity::Debug => LevelFilter::DEBUG,
        };
        let lines = tracing_subscriber::fmt::layer().with_target(false).with_ansi(false);
        let events = log.clone();
        let registry = tracing_subscriber::registry().with(level);
        let set = match file {
            Some(path) => {
                let opened = File::options().append(true).create(true).mode(0o600).open(path);
                let file = opened.map_err(|cause| LogError::Open { path: path.to_owned(), cause })?;
                tracing::subscriber::set_global_default(registry.with(lines.with_writer(Arc::new(file))).with(events))
            }
            None => tracing::subscriber::set_global_default(registry.with(lines.with_writer(std::io::stderr)).with(events)),
        };
        set.map_err(|_| LogError::Twice)?;
        log_panics();
        Ok(log)
    }

    /// Makes events of the lines from now on.
    pub fn connect(&self, events: Events) {
        let _ = self.0.set(events);
    }
}

fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.payload_as_str().unwrap_or("no text");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        tracing::error!(place, thread = thread.name().unwrap_or_default(), "panic; this is a bug, please report it: {text}");
    }));
}

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Some(events) = self.0.get() else { return };
        let mut line = Line::default();
        event.record(&mut line);
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warning",
            Level::INFO => "info",
            Level::DEBUG | Level::TRACE => "debug",
        };
        events.send(None, EventBody::Logging(LogLine { level, message: line.message, context: line.context }));
    }
}

#[derive(Default)]
struct Line {
    message: String,
    context: BTreeMap<String, String>,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, format!("{value:?}"));
    }
}

impl Line {
    fn set(&mut self, field: &Field, value: String) {
        if field.name() == "message" {
            self.message = value;
        } else {
            self.context.insert(field.name().to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_events() {
        let (log, events) = (Log::default(), Events::default());
        let mut listener = events.listen();
        log.connect(events);
        let subscriber = tracing_subscriber::registry().with(log);
        tracing::subscriber::with_default(subscriber, || tracing::warn!(instance = "web", count = 3, "it is {}", "odd"));
        let event = listener.try_recv().unwrap();
        let EventBody::Logging(line) = &event.body else { panic!("no line") };
        assert_eq!((line.level, line.message.as_str()), ("warning", "it is odd"));
        assert_eq!(line.context["instance"], "web");
        assert_eq!(line.context["count"], "3");
    }
}
