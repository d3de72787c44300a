//! The `coffer-monitor` program: wires, and does nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    coffer_runtime::command::main()
}
