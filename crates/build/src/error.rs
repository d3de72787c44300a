//! Why a build fails.

use std::io;

use coffer_base::run::RunError;
use coffer_client::ClientError;
use coffer_sftp::SessionError;

use crate::context::ContextError;
use crate::plan::PlanError;
use crate::read::RecipeError;

/// Why a build fails.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The recipe can't be used.
    #[error("{file}")]
    Recipe {
        /// The recipe's file.
        file: String,
        /// Why.
        #[source]
        cause: RecipeError,
    },
    /// The recipe names files that can't be used.
    #[error("{file}")]
    Plan {
        /// The recipe's file.
        file: String,
        /// Why.
        #[source]
        cause: PlanError,
    },
    /// Something of the build context.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// A step failed.
    #[error("step {number} of {count} failed{}: {title}", of_line(*line))]
    Step {
        /// Which step, from 1 on.
        number: usize,
        /// How many there are.
        count: usize,
        /// The recipe's line; 0 if it stands in none.
        line: usize,
        /// What it does.
        title: String,
        /// Why.
        #[source]
        cause: Box<BuildError>,
    },
    /// A program inside ended with a failure.
    #[error("'{command}' ended with status {status}{}", said(output))]
    Failed {
        /// The program and its arguments.
        command: String,
        /// Its exit status; 128 + number for signals.
        status: i32,
        /// The last lines that it wrote.
        output: Vec<String>,
    },
    /// A program inside could not be started.
    #[error("'{command}' could not be started: {reason}")]
    NotStarted {
        /// The program and its arguments.
        command: String,
        /// Why.
        reason: String,
    },
    /// Nobody of that name.
    #[error("the file system knows no {what} {name}")]
    Unknown {
        /// `user` or `group`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A file inside.
    #[error("{doing} {path}")]
    Inside {
        /// What was being done.
        doing: &'static str,
        /// The path inside.
        path: String,
        /// What the file server said.
        #[source]
        cause: SessionError,
    },
    /// Nothing to copy.
    #[error("the stage has nothing that is called {path}")]
    Nothing {
        /// The path.
        path: String,
    },
    /// Several things for one place.
    #[error("{path} would be several things: a place for several ends with a slash")]
    Several {
        /// The place.
        path: String,
    },
    /// An archive is another than it should be.
    #[error("{file} has the SHA-256 {found}, not {expected}")]
    OtherArchive {
        /// The file.
        file: String,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A program of this host failed.
    #[error("making the packages' root file system")]
    Bootstrap(#[from] RunError),
    /// A temporary file.
    #[error("{doing}")]
    Local {
        /// What was being done.
        doing: &'static str,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
    /// The server.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The server's answer lacks something.
    #[error("the server did not say {what}")]
    Lacking {
        /// What.
        what: &'static str,
    },
    /// The user stopped it.
    #[error("stopped, as you wished; steps that were done are kept")]
    Stopped,
}

fn of_line(line: usize) -> String {
    if line == 0 { String::new() } else { format!(" (line {line})") }
}

fn said(output: &[String]) -> String {
    if output.is_empty() { ", and said nothing".into() } else { format!("; it said last:\n    {}", output.join("\n    ")) }
}

impl BuildError {
    pub(crate) fn local(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Local { doing, cause }
    }
}
