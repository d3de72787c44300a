//! Serves the files of one instance, locked into its root directory, for the daemon that started it.

use std::process::ExitCode;

fn main() -> ExitCode {
    coffer_file_server::worker::main()
}
