//! The user's terminal: its size and raw mode.

use std::io::{self, IsTerminal, stdin, stdout};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use crate::error::CliError;

/// Tells whether input and output are both a terminal.
pub(crate) fn is_interactive() -> bool {
    stdin().is_terminal() && stdout().is_terminal()
}

/// Returns columns and rows; 0 and 0 if there is no terminal.
pub(crate) fn size() -> (u16, u16) {
    tcgetwinsize(stdout()).or_else(|_| tcgetwinsize(stdin())).map_or((0, 0), |size| (size.ws_col, size.ws_row))
}

/// Raw mode: every key goes through as it is. Ends when dropped.
pub(crate) struct RawMode {
    before: Termios,
}

impl RawMode {
    /// Switches the terminal of standard input to raw mode.
    ///
    /// # Errors
    /// If it is no terminal or can't be switched.
    pub(crate) fn enter() -> Result<RawMode, CliError> {
        let switch = || -> io::Result<Termios> {
            let before = tcgetattr(stdin())?;
            let mut raw = before.clone();
            raw.make_raw();
            tcsetattr(stdin(), OptionalActions::Now, &raw)?;
            Ok(before)
        };
        Ok(RawMode { before: switch().map_err(|cause| CliError::Terminal { cause })? })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // The terminal may be gone, and then nothing needs to be put back.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}
