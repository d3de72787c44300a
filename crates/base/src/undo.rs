//! Taking back what was done when a later step fails.

/// One recorded way back: what it takes back, and how.
type Step<'a> = (String, Box<dyn FnOnce() -> Result<(), String> + Send + 'a>);

/// A stack of steps that are taken back, last first, unless [`Undo::keep`] is called.
///
/// After each step that changed the world push how to take it back; call `keep` at the end of the use case.
/// A step that cannot be taken back is reported to the sink given at the start (the user sees it as a warning), and the
/// remaining steps are still taken back.
///
/// ```
/// use coffer_base::Undo;
/// let mut undo = Undo::new(|warning| eprintln!("{warning}"));
/// undo.push("removing directory x", || std::fs::remove_dir("/tmp/x"));
/// undo.keep();
/// ```
pub struct Undo<'a> {
    steps: Vec<Step<'a>>,
    warn: Box<dyn Fn(String) + Send + 'a>,
}

impl<'a> Undo<'a> {
    /// Starts with nothing to take back; `warn` hears of every step whose undoing failed.
    pub fn new(warn: impl Fn(String) + Send + 'a) -> Self {
        Self { steps: Vec::new(), warn: Box::new(warn) }
    }

    /// Records how to take back the step just done. `what` reads like "removing volume web".
    pub fn push<E: std::fmt::Display>(&mut self, what: impl Into<String>, back: impl FnOnce() -> Result<(), E> + Send + 'a) {
        self.steps.push((what.into(), Box::new(move || back().map_err(|error| error.to_string()))));
    }

    /// Declares the use case complete: nothing is taken back.
    pub fn keep(mut self) {
        self.steps.clear();
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        while let Some((what, back)) = self.steps.pop() {
            if let Err(error) = back() {
                (self.warn)(format!("{what}: {error}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn takes_back_last_first_and_reports_failures() {
        let log = Mutex::new(Vec::new());
        {
            let mut undo = Undo::new(|warning| log.lock().unwrap().push(warning));
            undo.push("one", || {
                log.lock().unwrap().push("one".into());
                Ok::<(), String>(())
            });
            undo.push("two", || Err("busy"));
        }
        assert_eq!(*log.lock().unwrap(), ["two: busy", "one"]);
    }

    #[test]
    fn kept_steps_stay() {
        let done = Mutex::new(false);
        let mut undo = Undo::new(|_| ());
        undo.push("x", || {
            *done.lock().unwrap() = true;
            Ok::<(), String>(())
        });
        undo.keep();
        assert!(!*done.lock().unwrap());
    }
}
