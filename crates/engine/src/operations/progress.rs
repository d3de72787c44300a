//! Progress of an operation, in LXD's form: keys that end in `_progress` are text, `progress` has the parts.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use coffer_base::Bytes;
use coffer_base::progress::{Listener, Step, Wake};
use serde_json::Value;

use super::{Entry, Operations};

/// Tells an operation's listeners how far it is: at most once for each percent or 8 MiB.
pub(super) struct Told {
    entry: Arc<Entry>,
    operations: Operations,
    /// The last mark that was told, and when the work began.
    last: Mutex<(u64, Instant)>,
}

impl Told {
    pub(super) fn new(entry: Arc<Entry>, operations: Operations) -> Self {
        Self { entry, operations, last: Mutex::new((u64::MAX, Instant::now())) }
    }
}

impl Listener for Told {
    fn hear(&self, step: Step) {
        let mark = step.total.filter(|total| *total > 0).map_or(step.done >> 23, |total| step.done.saturating_mul(100) / total);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0 == mark {
            return;
        }
        last.0 = mark;
        let speed = (step.done as f64 / last.1.elapsed().as_secs_f64().max(0.001)) as u64;
        let amount = match step.total {
            Some(_) => format!("{mark}%"),
            None => Bytes(step.done).to_string(),
        };
        let text = format!("{amount} ({}/s)", Bytes(speed));
        self.operations.change(&self.entry, |view| {
            view.metadata.insert(format!("{}_progress", step.stage), Value::from(text));
            let progress = serde_json::json!({
                "stage": step.stage,
                "percent": if step.total.is_some() { mark.to_string() } else { String::new() },
                "processed": step.done.to_string(),
                "speed": speed.to_string(),
            });
            view.metadata.insert("progress".to_owned(), progress);
        });
    }

    fn cancelled(&self) -> bool {
        self.entry.is_cancelled()
    }

    fn when_cancelled(&self, wake: &Arc<Wake>) {
        self.entry.wake_when_cancelled(wake);
    }
}
