//! `console`.

use std::io::{self, Read, Write};
use std::thread;

use clap::Args;
use coffer_api::{ControlMessage, InstanceConsolePost};
use coffer_client::Client;
use coffer_client::websocket::{Flow, pump};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::app::App;
use crate::error::CliError;
use crate::target::Target;
use crate::terminal::{self, RawMode};

/// Attach to the console of an instance
///
/// Ctrl+a q detaches.
#[derive(Debug, Args)]
pub(crate) struct Console {
    /// Instance
    #[arg(value_name = "[REMOTE:]INSTANCE")]
    instance: Target,
    /// Print what was written to the console lately, and end
    #[arg(long)]
    show_log: bool,
    /// Kind of console
    #[arg(short = 't', long = "type", default_value = "console")]
    kind: String,
}

impl Console {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        let client = app.client(&self.instance)?;
        let name = self.instance.required("the instance's name")?;
        if !self.show_log {
            return attach(client, name, &self.kind).await;
        }
        let log = client.console_log(name).await?.bytes().await?;
        app.print(&format!("\nConsole log:\n\n{}\n", crate::render::clean_lines(&String::from_utf8_lossy(&log))))
    }
}

/// Attaches the terminal to the console of an instance until the user or the server ends it.
pub(super) async fn attach(client: &Client, instance: &str, kind: &str) -> Result<(), CliError> {
    if kind != "console" {
        return Err(CliError::Unsupported { what: "a console of this type" });
    }
    let (width, height) = terminal::size();
    let request = InstanceConsolePost { width: width.into(), height: height.into(), kind: kind.to_owned() };
    let session = client.console(instance, &request).await?;
    let mut out = io::stdout();
    let broken = |cause| CliError::Stream { stream: "output", cause };
    out.write_all(b"To detach from the console, press: <ctrl>+a q\n").and_then(|()| out.flush()).map_err(broken)?;
    let raw = if terminal::is_interactive() { Some(RawMode::enter()?) } else { None };
    let (control_in, control) = session.control.split();
    let (incoming, outgoing) = session.terminal.split();
    let (shown, mut finished) = oneshot::channel();
    let flows = vec![Flow::drained(control_in), Flow::to(incoming, Box::new(io::stdout()))];
    thread::spawn(move || shown.send(pump(flows)));
    let (left, mut detached) = oneshot::channel();
    thread::spawn(move || {
        let mut keys = Keys { input: io::stdin(), armed: false, detached: false };
        let copied = outgoing.copy_from(&mut keys);
        // Only the escape detaches; input that merely ends leaves the console on the screen.
        if keys.detached || copied.is_err() {
            let _ = left.send(());
        }
    });
    let mut resized = signal(SignalKind::window_change()).map_err(|cause| CliError::Terminal { cause })?;
    loop {
        tokio::select! {
            _ = &mut finished => break,
            Ok(()) = &mut detached => break,
            Some(()) = resized.recv() => {
                let (columns, rows) = terminal::size();
                let text = serde_json::to_string(&ControlMessage::window_resize(columns, rows)).unwrap_or_default();
                let _ = control.send_text(&text);
            }
        }
    }
    control.close();
    drop(raw);
    out.write_all(b"\n").map_err(broken)
}

/// Input that ends at ctrl+a q; ctrl+a twice sends one.
struct Keys<R> {
    input: R,
    armed: bool,
    detached: bool,
}

/// Ctrl+a.
const ESCAPE: u8 = 1;

impl<R: Read> Read for Keys<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.detached || buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let count = self.input.read(buffer)?;
            if count == 0 {
                return Ok(0);
            }
            let kept = self.filter(&mut buffer[..count]);
            if kept > 0 || self.detached {
                return Ok(kept);
            }
        }
    }
}

impl<R> Keys<R> {
    /// Takes escapes out of `keys` and returns how many bytes are left. A held-back escape before another key is dropped.
    fn filter(&mut self, keys: &mut [u8]) -> usize {
        let mut kept = 0;
        for at in 0..keys.len() {
            let key = keys[at];
            if self.armed && key == b'q' {
                self.detached = true;
                return kept;
            }
            if key == ESCAPE && !self.armed {
                self.armed = true;
                continue;
            }
            self.armed = false;
            keys[kept] = key;
            kept += 1;
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(typed: &[&[u8]], sent: &[u8], detached: bool) {
        let mut keys = Keys { input: io::empty(), armed: false, detached: false };
        let mut all = Vec::new();
        for piece in typed {
            let mut piece = piece.to_vec();
            let kept = keys.filter(&mut piece);
            all.extend_from_slice(&piece[..kept]);
        }
        assert_eq!((all.as_slice(), keys.detached), (sent, detached));
    }

    #[test]
    fn ctrl_a_q_detaches() {
        check(&[b"ls\n"], b"ls\n", false);
        check(&[b"ls\x01qrest"], b"ls", true);
        check(&[b"x\x01", b"q"], b"x", true);
        check(&[b"\x01\x01q"], b"\x01q", false);
        check(&[b"\x01x"], b"x", false);
    }
}
