//! Commands and consoles inside instances.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

wire! {
    /// `POST /1.0/instances/{name}/exec`.
    pub struct InstanceExecPost {
        /// Program and arguments.
        pub command: Vec<String>,
        /// Whether the command waits for the client's websockets.
        #[serde(rename = "wait-for-websocket")]
        pub wait_for_websocket: bool,
        /// Whether it runs on a terminal.
        pub interactive: bool,
        /// Coffer's own, for clients on the unix socket: instead of websockets the client hands over the pipes that the
        /// command reads and writes. Servers that don't know it, and commands on terminals, use websockets all the same.
        #[serde(rename = "local-pipes", skip_serializing_if = "std::ops::Not::not")]
        pub local_pipes: bool,
        /// Variables over the instance's `environment.*`.
        pub environment: BTreeMap<String, String>,
        /// Columns of the terminal.
        pub width: i64,
        /// Rows of the terminal.
        pub height: i64,
        /// Whether output goes to log files (without websockets only).
        #[serde(rename = "record-output")]
        pub record_output: bool,
        /// User id inside the instance.
        pub user: u32,
        /// Group id inside the instance.
        pub group: u32,
        /// Working directory; empty means the user's home.
        pub cwd: String,
    }

    /// `POST /1.0/instances/{name}/console`.
    pub struct InstanceConsolePost {
        /// Columns of the terminal.
        pub width: i64,
        /// Rows of the terminal.
        pub height: i64,
        /// `console` or `vga`; empty means `console`.
        #[serde(rename = "type")]
        pub kind: String,
    }

    /// A terminal's size; both are decimal texts on the wire.
    pub struct WindowSize {
        /// Columns.
        pub width: String,
        /// Rows.
        pub height: String,
    }
}

/// What travels on the control websocket of an exec or console session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum ControlMessage {
    /// The client's terminal has a new size.
    WindowResize {
        /// The size.
        args: WindowSize,
    },
    /// Send a signal to the command.
    Signal {
        /// Number of the signal on Linux.
        signal: i32,
    },
}

/// What the server says on a connection that a command's pipes were handed over on: one JSON object a line. A connection
/// that ends without [`PipesMessage::Return`] leaves the operation to be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PipesMessage {
    /// Nothing was run, since no usable pipes came: a relay between client and server can't carry them.
    Refused(String),
    /// The pipes have come and belong to the command now.
    Running,
    /// Why the program could not be run, for the standard error.
    Complaint(String),
    /// The command has ended: its exit code, or 128 + the signal's number.
    Return(i32),
}

impl ControlMessage {
    /// Makes the message for a terminal of `columns` by `rows`.
    pub fn window_resize(columns: u16, rows: u16) -> ControlMessage {
        ControlMessage::WindowResize { args: WindowSize { width: columns.to_string(), height: rows.to_string() } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &ControlMessage, text: &str) {
        assert_eq!(serde_json::to_string(message).unwrap(), text);
        assert_eq!(&serde_json::from_str::<ControlMessage>(text).unwrap(), message);
    }

    #[test]
    fn control_messages_have_texts_for_sizes_and_numbers_for_signals() {
        check(&ControlMessage::window_resize(80, 24), r#"{"command":"window-resize","args":{"width":"80","height":"24"}}"#);
        check(&ControlMessage::Signal { signal: 15 }, r#"{"command":"signal","signal":15}"#);
    }

    #[test]
    fn messages_beside_pipes_have_one_key() {
        assert_eq!(serde_json::to_string(&PipesMessage::Return(7)).unwrap(), r#"{"return":7}"#);
        assert_eq!(serde_json::from_str::<PipesMessage>(r#"{"complaint":"x"}"#).unwrap(), PipesMessage::Complaint("x".into()));
    }
}
