//! Every command and every option of the genuine `lxc` 5.0.2, run with it and with our own client; what each does is looked at, not
//! only how it ends.
//!
//! The lines are in the files `*.session`, whose form [`session`] explains. Commands and options that no line uses fail
//! [`complete::nothing_is_left_out`], which asks the clients themselves what they know.

mod complete;
mod grammar;
mod monitor;
mod ours;
pub mod pool;
mod session;

use crate::setting::ready_for_genuine_client;

/// A session's text.
fn text(name: &str) -> String {
    let path = format!(concat!(env!("CARGO_MANIFEST_DIR"), "/genuine_commands/{}.session"), name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("reading {path}: {error}"))
}

/// A session's test.
macro_rules! sessions {
    ($($name:ident)*) => {
        /// All sessions.
        const SESSIONS: &[&str] = &[$(stringify!($name)),*];

        $(
            #[test]
            fn $name() {
                let Some(daemon) = ready_for_genuine_client() else { return };
                session::run(&daemon, stringify!($name), &text(stringify!($name)));
            }
        )*
    };
}

sessions! {
    client
    configuration
    copies
    exec
    files
    images
    instances
    networks
    profiles
    projects
    publishing
    refused
    storage
    trust
    volumes
}
